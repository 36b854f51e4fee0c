// What the other end of a stream can show: colors, a line that is drawn again, Unicode.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace shoal::cli {

struct Terminal {
  bool interactive = false;  // somebody watches: lines may be drawn again
  bool color = false;
  bool unicode = false;
  int columns = 80;
};

// Of this descriptor. NO_COLOR (no-color.org), TERM=dumb and the locale decide; `get` reads an environment variable and
// may return null.
Terminal terminal_of(int descriptor, const std::function<const char*(const char*)>& get);
Terminal terminal_of(int descriptor);

enum class Color { kBold, kDim, kRed, kGreen, kYellow, kCyan };
// `text` in this color, or as it is where there are none.
std::string paint(std::string_view text, Color color, const Terminal& terminal);

// Columns that UTF-8 text takes, escape sequences and continuation bytes apart; every character counts as one.
int display_width(std::string_view text);

}  // namespace shoal::cli
