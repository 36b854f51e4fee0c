#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace shoal::cli {
namespace {

std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

bool is_unicode(const std::function<const char*(const char*)>& get) {
  // The first that is set decides, as in setlocale(3).
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string locale = text_or_empty(get(name));
    if (locale.empty()) continue;
    return locale.find("UTF-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  }
  // Containers and services set no locale at all, and their terminals read UTF-8.
  return true;
}

}  // namespace

Terminal terminal_of(int descriptor, const std::function<const char*(const char*)>& get) {
  Terminal terminal;
  terminal.unicode = is_unicode(get);
  const std::string term = text_or_empty(get("TERM"));
  terminal.interactive = ::isatty(descriptor) == 1 && !term.empty() && term != "dumb";
  terminal.color = terminal.interactive && text_or_empty(get("NO_COLOR")).empty();
  winsize size{};
  if (terminal.interactive && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    terminal.columns = size.ws_col;
  return terminal;
}

Terminal terminal_of(int descriptor) {
  return terminal_of(descriptor, [](const char* name) { return std::getenv(name); });
}

std::string paint(std::string_view text, Color color, const Terminal& terminal) {
  if (!terminal.color) return std::string(text);
  static constexpr const char* kCodes[] = {"1", "2", "31", "32", "33", "36"};
  return "\033[" + std::string(kCodes[static_cast<int>(color)]) + "m" + std::string(text) + "\033[0m";
}

int display_width(std::string_view text) {
  int width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      i = std::min(text.find('m', i), text.size());
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {
      ++width;
    }
  }
  return width;
}

}  // namespace shoal::cli
