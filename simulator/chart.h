// Line charts as inline SVG: axes with round numbers, one line a series, colours by CSS class so that themes apply.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shoal::simulator {

struct Series {
  std::string name;
  std::size_t color = 0;     // class s0, s1, ...
  std::vector<double> x, y;  // equally long, x ascending
};

// How numbers of an axis are shown: value / divisor, with the suffix on the axis title.
struct Axis {
  std::string title;
  double divisor = 1;
  bool from_zero = false;  // counts: the axis begins at 0 and is at least 1 long
};

struct Chart {
  std::string title;
  Axis x, y;
  std::vector<Series> series;
};

// One <figure> with the SVG and, for the page's hover script, the points as JSON. Long series are thinned to what a
// screen can show. A chart without a point says so.
std::string to_html(const Chart& chart);

// Units that suit the largest value: "virtual time (min)", "data moved (GB)".
Axis time_axis(std::string_view title, double largest_seconds);
Axis bytes_axis(std::string_view title, double largest_bytes);

// Text with the characters that HTML reserves replaced.
std::string escaped(std::string_view text);

}  // namespace shoal::simulator
