#include "simulator/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

namespace shoal::simulator {
namespace {

constexpr double kWidth = 400, kHeight = 230, kLeft = 44, kRight = 12, kTop = 10, kBottom = 40;
constexpr std::size_t kPoints = 600;  // of a series: about one a pixel

std::string number(double value, int digits = 6) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

// The interval that holds the values, widened to round tick marks.
struct Scale {
  double low = 0, high = 1, step = 0.2;
  double pixel_low = 0, pixel_high = 1;

  double operator()(double v) const { return pixel_low + (v - low) / (high - low) * (pixel_high - pixel_low); }
};

Scale scale_for(double low, double high, int ticks, double pixel_low, double pixel_high) {
  if (!(high > low)) {
    const double room = std::max(std::fabs(high), 1e-9) * 0.5;
    low -= room;
    high += room;
  }
  const double raw = (high - low) / ticks;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (double factor : {5.0, 2.5, 2.0, 1.0})
    if (factor * power >= raw) step = factor * power;
  return {std::floor(low / step + 1e-9) * step, std::ceil(high / step - 1e-9) * step, step, pixel_low, pixel_high};
}

Series thinned(const Series& series) {
  if (series.x.size() <= kPoints) return series;
  Series few{series.name, series.color, {}, {}};
  const double stride = static_cast<double>(series.x.size() - 1) / (kPoints - 1);
  for (std::size_t i = 0; i < kPoints; ++i) {
    const auto at = static_cast<std::size_t>(std::lround(static_cast<double>(i) * stride));
    few.x.push_back(series.x[at]);
    few.y.push_back(series.y[at]);
  }
  return few;
}

std::string text(double x, double y, std::string_view anchor, std::string_view css, std::string_view content) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + std::string(anchor) + "\" class=\"" +
         std::string(css) + "\">" + escaped(content) + "</text>";
}

std::string axes(const Chart& chart, const Scale& x, const Scale& y) {
  std::string svg;
  for (int i = 0; y.low + i * y.step <= y.high + y.step / 2; ++i) {
    const double value = y.low + i * y.step, at = y(value);
    svg += "<line class=\"grid\" x1=\"" + number(kLeft) + "\" x2=\"" + number(kWidth - kRight) + "\" y1=\"" +
           number(at) + "\" y2=\"" + number(at) + "\"/>";
    svg += text(kLeft - 8, at + 4, "end", "tick", number(std::fabs(value) < y.step / 1e6 ? 0 : value, 4));
  }
  for (int i = 0; x.low + i * x.step <= x.high + x.step / 2; ++i) {
    const double value = x.low + i * x.step;
    svg += text(x(value), kHeight - kBottom + 18, "middle", "tick",
                number(std::fabs(value) < x.step / 1e6 ? 0 : value, 4));
  }
  svg += "<line class=\"axis\" x1=\"" + number(kLeft) + "\" x2=\"" + number(kWidth - kRight) + "\" y1=\"" +
         number(kHeight - kBottom) + "\" y2=\"" + number(kHeight - kBottom) + "\"/>";
  svg += text((kLeft + kWidth - kRight) / 2, kHeight - 4, "middle", "label", chart.x.title);
  return svg;
}

std::string line(const Series& series, const Scale& x, const Scale& y) {
  std::string path;
  for (std::size_t i = 0; i < series.x.size(); ++i)
    path += (i == 0 ? "M" : "L") + number(x(series.x[i]), 5) + " " + number(y(series.y[i]), 5);
  const std::string css = "s" + std::to_string(series.color);
  std::string svg = "<path class=\"line " + css + "\" d=\"" + path + "\"/>";
  svg += "<circle class=\"end " + css + "\" r=\"3.5\" cx=\"" + number(x(series.x.back()), 5) + "\" cy=\"" +
         number(y(series.y.back()), 5) + "\"/>";
  return svg;
}

// [{"n": name, "c": colour, "p": [[x, y, pixel x, pixel y], ...]}, ...]
std::string points_json(const std::vector<Series>& all, const Scale& x, const Scale& y) {
  std::string json = "[";
  for (const Series& series : all) {
    std::string name;
    for (char c : series.name)
      name += c == '"' || c == '\\' ? std::string("\\") + c : c == '<' ? "\\u003c" : std::string(1, c);
    json +=
        (json.size() > 1 ? ",{\"n\":\"" : "{\"n\":\"") + name + "\",\"c\":" + std::to_string(series.color) + ",\"p\":[";
    for (std::size_t i = 0; i < series.x.size(); ++i)
      json += (i > 0 ? ",[" : "[") + number(series.x[i], 5) + "," + number(series.y[i], 5) + "," +
              number(x(series.x[i]), 5) + "," + number(y(series.y[i]), 5) + "]";
    json += "]}";
  }
  return json + "]";
}

Axis unit_axis(std::string_view title, double largest,
               std::initializer_list<std::pair<double, std::string_view>> units) {
  Axis axis;
  std::string_view unit = units.begin()->second;
  for (const auto& [divisor, name] : units) {
    if (largest < 2 * divisor && divisor != units.begin()->first) break;
    axis.divisor = divisor;
    unit = name;
  }
  axis.title = std::string(title) + " (" + std::string(unit) + ")";
  return axis;
}

}  // namespace

Axis time_axis(std::string_view title, double largest_seconds) {
  return unit_axis(title, largest_seconds, {{1, "s"}, {60, "min"}, {3600, "h"}, {86400, "days"}});
}

Axis bytes_axis(std::string_view title, double largest_bytes) {
  return unit_axis(title, largest_bytes, {{1, "B"}, {1e3, "KB"}, {1e6, "MB"}, {1e9, "GB"}, {1e12, "TB"}});
}

std::string escaped(std::string_view text) {
  std::string safe;
  for (char c : text) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      default: safe += c;
    }
  }
  return safe;
}

std::string to_html(const Chart& chart) {
  std::vector<Series> drawn;
  double low = std::numeric_limits<double>::infinity(), high = -low, last = 0;
  for (const Series& series : chart.series) {
    if (series.x.empty()) continue;
    Series scaled = thinned(series);
    for (double& v : scaled.x) v /= chart.x.divisor;
    for (double& v : scaled.y) v /= chart.y.divisor;
    low = std::min(low, *std::min_element(scaled.y.begin(), scaled.y.end()));
    high = std::max(high, *std::max_element(scaled.y.begin(), scaled.y.end()));
    last = std::max(last, scaled.x.back());
    drawn.push_back(std::move(scaled));
  }
  std::string html = "<figure class=\"card\"><figcaption>" + escaped(chart.title) + "</figcaption>";
  if (drawn.empty()) return html + "<p class=\"empty\">nothing was measured</p></figure>\n";
  if (chart.y.from_zero) {
    low = 0;
    high = std::max(high, 1.0);
  }
  const Scale x = scale_for(0, last, 5, kLeft, kWidth - kRight), y = scale_for(low, high, 5, kHeight - kBottom, kTop);
  html += "<svg viewBox=\"0 0 " + number(kWidth) + " " + number(kHeight) + "\" role=\"img\" aria-label=\"" +
          escaped(chart.title) + "\">" + axes(chart, x, y);
  for (const Series& series : drawn) html += line(series, x, y);
  html += "<line class=\"cursor\" y1=\"" + number(kTop) + "\" y2=\"" + number(kHeight - kBottom) + "\"/></svg>";
  html += "<script type=\"application/json\">" + points_json(drawn, x, y) + "</script></figure>\n";
  return html;
}

}  // namespace shoal::simulator
