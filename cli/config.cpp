#include "cli/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>

namespace shoal::cli {
namespace config_detail {
namespace {

std::string number_text(double number) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
  std::string text(buffer, end);
  // TOML tells fractions from integers by their looks.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string to_toml(const Value& value) {
  struct Printer {
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(std::int64_t n) const { return std::to_string(n); }
    std::string operator()(double d) const { return number_text(d); }
    std::string operator()(const std::string& s) const { return quoted(s); }
    std::string operator()(const std::vector<std::string>& list) const {
      std::string out = "[";
      for (const std::string& item : list) out += (out.size() > 1 ? ", " : "") + quoted(item);
      return out + "]";
    }
  };
  return std::visit(Printer{}, value);
}

Error invalid(std::string message) { return Error(ErrorCode::kInvalid, std::move(message)); }

// Levenshtein distance: insertions, deletions and replacements of one character.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// The dotted path of an option with exactly this name, wherever it is.
std::optional<std::string> find_elsewhere(std::string_view name, const std::vector<Option>& options,
                                          const std::string& prefix) {
  for (const Option& option : options) {
    if (option.name == name) return prefix + option.name;
    if (auto found = find_elsewhere(name, option.table, prefix + option.name + ".")) return found;
  }
  return std::nullopt;
}

// "did you mean ...?", for a key that `siblings` does not have; `all` is the whole configuration.
std::string suggestion(std::string_view key, const std::vector<Option>& siblings, const std::vector<Option>& all) {
  if (const auto found = find_elsewhere(key, all, "")) return "did you mean \"" + *found + "\"?";
  const Option* nearest = nullptr;
  std::size_t best = std::max<std::size_t>(2, key.size() / 3) + 1;
  for (const Option& option : siblings) {
    const std::size_t distance = edit_distance(key, option.name);
    if (distance < best) best = distance, nearest = &option;
  }
  if (nearest != nullptr) return "did you mean \"" + nearest->name + "\"?";
  std::string names;
  for (const Option& option : siblings) names += (names.empty() ? "" : ", ") + option.name;
  return siblings.empty() ? "there are no options here" : "the options here are " + names;
}

// The value of a TOML node, or nullopt for kinds that no option has (dates, mixed lists).
std::optional<Value> value_of(const toml::node& node) {
  if (const auto* v = node.as_boolean()) return Value(v->get());
  if (const auto* v = node.as_integer()) return Value(v->get());
  if (const auto* v = node.as_floating_point()) return Value(v->get());
  if (const auto* v = node.as_string()) return Value(v->get());
  const auto* array = node.as_array();
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> list;
  for (const toml::node& item : *array) {
    const auto* text = item.as_string();
    if (text == nullptr) return std::nullopt;
    list.push_back(text->get());
  }
  return Value(std::move(list));
}

// Assigns a parsed table, remembering the mistake that stands first in the file (tables iterate by name, not by line).
class Loader {
 public:
  Loader(std::string origin, const std::vector<Option>& all) : origin_(std::move(origin)), all_(all) {}

  void assign(const toml::table& table, const std::vector<Option>& options, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string_view name = key.str();
      const auto option = std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == name; });
      if (option == options.end()) {
        mistake(key.source().begin.line,
                "unknown option \"" + prefix + std::string(name) + "\"; " + suggestion(name, options, all_));
      } else {
        assign_one(node, *option, prefix);
      }
    }
  }

  Status result() && {
    if (!first_) return {};
    return invalid(origin_ + ":" + std::to_string(first_line_) + ": " + *first_);
  }

 private:
  void assign_one(const toml::node& node, const Option& option, const std::string& prefix) {
    const std::string path = prefix + option.name;
    const auto line = node.source().begin.line;
    if (option.kind == OptionKind::kTable) {
      if (const auto* inner = node.as_table()) return assign(*inner, option.table, path + ".");
      return mistake(line, path + " is a table; write its options under [" + path + "]");
    }
    if (node.is_table()) return mistake(line, path + " is not a table; it is " + option.allowed);
    const auto value = value_of(node);
    if (!value) return mistake(line, path + " must be " + option.allowed);
    if (const Status assigned = option.assign(*value); !assigned.ok())
      mistake(line, path + ": " + assigned.error().to_string());
  }

  void mistake(toml::source_index line, std::string message) {
    if (first_ && first_line_ <= line) return;
    first_ = std::move(message);
    first_line_ = line;
  }

  std::string origin_;
  const std::vector<Option>& all_;
  std::optional<std::string> first_;
  toml::source_index first_line_ = 0;
};

Result<toml::table> parse(std::string_view text, const std::string& origin) {
  try {
    return toml::parse(text, origin);
  } catch (const toml::parse_error& e) {
    return invalid(origin + ":" + std::to_string(e.source().begin.line) + ": " + std::string(e.description()));
  }
}

// What --set gave for one option, as TOML would have it.
Result<Value> value_from_argument(std::string_view text, const Option& option) {
  const bool looks_like_toml = !text.empty() && (text.front() == '"' || text.front() == '\'' || text.front() == '[');
  if (option.kind == OptionKind::kText && !looks_like_toml) return Value(std::string(text));
  if (option.kind == OptionKind::kList && !looks_like_toml) {
    std::vector<std::string> list;
    std::istringstream items{std::string(text)};
    for (std::string item; std::getline(items, item, ',');) list.push_back(item);
    return Value(std::move(list));
  }
  const auto parsed = parse("value = " + std::string(text), "--set");
  const auto value = parsed.ok() && parsed->size() == 1 ? value_of(*parsed->get("value")) : std::nullopt;
  if (!value) return invalid("\"" + std::string(text) + "\" is not allowed; it must be " + option.allowed);
  return *value;
}

void print_level(const std::vector<Option>& options, const std::string& prefix, bool with_docs, std::string& out) {
  // A table's own values have to stand before its inner tables.
  for (const Option& option : options) {
    if (option.kind == OptionKind::kTable) continue;
    if (with_docs) out += "# " + option.doc + " (" + option.allowed + ")\n";
    out += option.name + " = " + to_toml(option.value()) + "\n";
    if (with_docs) out += "\n";
  }
  for (const Option& option : options) {
    if (option.kind != OptionKind::kTable) continue;
    if (!with_docs && !out.empty()) out += "\n";
    if (with_docs) out += "# " + option.doc + "\n";
    const bool has_values = std::any_of(option.table.begin(), option.table.end(),
                                        [](const Option& o) { return o.kind != OptionKind::kTable; });
    if (has_values || with_docs) out += "[" + prefix + option.name + "]\n";
    print_level(option.table, prefix + option.name + ".", with_docs, out);
  }
}

void markdown_level(const std::vector<Option>& options, const std::string& prefix, std::string& out) {
  for (const Option& option : options) {
    const std::string path = prefix + option.name;
    if (option.kind == OptionKind::kTable) {
      markdown_level(option.table, path + ".", out);
    } else {
      out += "| `" + path + "` | `" + to_toml(option.value()) + "` | " + option.allowed + " | " + option.doc + " |\n";
    }
  }
}

}  // namespace

std::string allowed_range(std::string_view what, const std::string& low, const std::string& high) {
  std::string text(what);
  if (!low.empty() && !high.empty()) return text + " from " + low + " to " + high;
  if (!low.empty()) return text + " of at least " + low;
  if (!high.empty()) return text + " of at most " + high;
  return text;
}

std::string allowed_names(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 < names.size() ? ", " : " or ") + quoted(names[i]);
  return text;
}

Status not_allowed(const Value& value, const std::string& allowed) {
  return invalid(to_toml(value) + " is not allowed; it must be " + allowed);
}

void Describer::describe_bool(bool& member, Option& option) {
  option.kind = OptionKind::kBool;
  option.allowed = "true or false";
  option.assign = [&member, allowed = option.allowed](const Value& value) -> Status {
    const auto* flag = std::get_if<bool>(&value);
    if (flag == nullptr) return not_allowed(value, allowed);
    member = *flag;
    return {};
  };
  option.value = [&member] { return Value(member); };
}

void Describer::describe_number(double& member, const Range<double>& range, Option& option) {
  option.kind = OptionKind::kNumber;
  option.allowed =
      allowed_range("a number", range.low ? number_text(*range.low) : "", range.high ? number_text(*range.high) : "");
  option.assign = [&member, range, allowed = option.allowed](const Value& value) -> Status {
    double number = std::numeric_limits<double>::quiet_NaN();
    if (const auto* fraction = std::get_if<double>(&value)) number = *fraction;
    if (const auto* integer = std::get_if<std::int64_t>(&value)) number = static_cast<double>(*integer);
    if (!std::isfinite(number) || !range.contains(number)) return not_allowed(value, allowed);
    member = number;
    return {};
  };
  option.value = [&member] { return Value(member); };
}

void Describer::describe_string(std::string& member, Option& option) {
  option.kind = OptionKind::kText;
  option.allowed = "a text";
  option.assign = [&member, allowed = option.allowed](const Value& value) -> Status {
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) return not_allowed(value, allowed);
    member = *text;
    return {};
  };
  option.value = [&member] { return Value(member); };
}

void Describer::describe_list(std::vector<std::string>& member, Option& option) {
  option.kind = OptionKind::kList;
  option.allowed = "a list of texts";
  option.assign = [&member, allowed = option.allowed](const Value& value) -> Status {
    const auto* list = std::get_if<std::vector<std::string>>(&value);
    if (list == nullptr) return not_allowed(value, allowed);
    member = *list;
    return {};
  };
  option.value = [&member] { return Value(member); };
}

Status load(std::string_view text, const std::string& origin, const std::vector<Option>& options) {
  SHOAL_TRY_ASSIGN(const toml::table table, parse(text, origin));
  Loader loader(origin, options);
  loader.assign(table, options, "");
  return std::move(loader).result();
}

Status set(std::string_view assignment, const std::vector<Option>& options) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos)
    return invalid("--set " + std::string(assignment) + ": write it like --set name=value or --set table.name=value");
  const std::string path(assignment.substr(0, equals));
  const std::vector<Option>* level = &options;
  const Option* option = nullptr;
  std::istringstream parts(path);
  for (std::string name; std::getline(parts, name, '.');) {
    const auto found = std::find_if(level->begin(), level->end(), [&](const Option& o) { return o.name == name; });
    if (found == level->end())
      return invalid("--set " + path + ": unknown option \"" + name + "\"; " + suggestion(name, *level, options));
    option = &*found;
    level = &option->table;
  }
  if (option == nullptr || option->kind == OptionKind::kTable)
    return invalid("--set " + path + ": this is a table; name one of its options");
  const auto value = value_from_argument(assignment.substr(equals + 1), *option);
  const Status assigned = value.ok() ? option->assign(*value) : Status(value.error());
  if (!assigned.ok()) return invalid("--set " + path + ": " + assigned.error().to_string());
  return {};
}

std::string print(const std::vector<Option>& options, bool with_docs) {
  std::string out;
  print_level(options, "", with_docs, out);
  while (out.size() >= 2 && out.ends_with("\n\n")) out.pop_back();
  return out;
}

std::string markdown(const std::vector<Option>& options) {
  std::string out = "| option | default | allowed | meaning |\n|---|---|---|---|\n";
  markdown_level(options, "", out);
  return out;
}

}  // namespace config_detail

Result<std::string> read_config_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) return Error(ErrorCode::kInvalid, "cannot read the configuration " + path);
  return std::move(text).str();
}

}  // namespace shoal::cli
