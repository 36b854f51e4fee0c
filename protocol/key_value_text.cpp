#include "protocol/key_value_text.h"

#include <algorithm>

#include "protocol/message_limits.h"

namespace shoal::protocol {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

Result<std::map<std::string, std::string, std::less<>>> parse_key_value_text(std::string_view text,
                                                                             std::span<const std::string_view> names) {
  std::map<std::string, std::string, std::less<>> values;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;

    const auto refuse = [&](const std::string& why) {
      return Error(ErrorCode::kInvalid, "line " + std::to_string(number) + " " + why);
    };
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) return refuse("is not of the form 'name = value'");
    const std::string name(trimmed(line.substr(0, equals)));
    if (std::find(names.begin(), names.end(), name) == names.end())
      return refuse("has an unknown name '" + one_line(name, 40) + "'");
    if (!values.emplace(name, trimmed(line.substr(equals + 1))).second) return refuse("repeats '" + name + "'");
  }
  for (std::string_view name : names)
    if (!values.contains(name))
      return Error(ErrorCode::kInvalid, "the line '" + std::string(name) + " = ...' is missing");
  return values;
}

}  // namespace shoal::protocol
