#include "base/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <span>

namespace shoal {
namespace {

struct Unit {
  std::string_view name;
  double size;  // exact in a double for every unit here
};

constexpr std::array kDurationUnits = {Unit{"d", 86400e9}, Unit{"h", 3600e9}, Unit{"min", 60e9}, Unit{"s", 1e9},
                                       Unit{"ms", 1e6},    Unit{"us", 1e3},   Unit{"ns", 1}};
constexpr std::array kByteUnits = {Unit{"TiB", 0x1p40}, Unit{"GiB", 0x1p30}, Unit{"MiB", 0x1p20},
                                   Unit{"KiB", 0x1p10}, Unit{"TB", 1e12},    Unit{"GB", 1e9},
                                   Unit{"MB", 1e6},     Unit{"KB", 1e3},     Unit{"B", 1}};

// The quantity in the smallest unit. Whole numbers are exact; fractions are rounded to it.
Result<std::uint64_t> parse(std::string_view text, std::span<const Unit> units, std::string_view what,
                            std::string_view example) {
  const auto bad = [&](std::string_view why) {
    return Error(ErrorCode::kInvalid, "\"" + std::string(text) + "\" is not a " + std::string(what) + " (" +
                                          std::string(why) + "); write it like " + std::string(example));
  };
  double number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, ec] = std::from_chars(text.data(), last, number);
  if (ec != std::errc{}) return bad("no number");
  if (!(number >= 0) || std::isinf(number)) return bad("negative or not finite");
  std::uint64_t whole = 0;
  const auto [whole_end, whole_ec] = std::from_chars(text.data(), last, whole);
  const bool is_whole = whole_ec == std::errc{} && whole_end == end;

  std::string_view unit(end, static_cast<std::size_t>(last - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  if (unit.empty() && number == 0) return std::uint64_t{0};
  for (const Unit& u : units) {
    if (u.name != unit) continue;
    const double value = number * u.size;
    if (value >= 9.2e18) return bad("too large");
    if (is_whole) return whole * static_cast<std::uint64_t>(u.size);
    return static_cast<std::uint64_t>(std::rint(value));
  }
  return bad(unit.empty() ? "no unit" : "unknown unit");
}

std::string shortest(std::uint64_t value, std::span<const Unit> units) {
  if (value == 0) return "0" + std::string(units.back().name);
  for (const Unit& u : units) {
    const auto size = static_cast<std::uint64_t>(u.size);
    if (value % size == 0) return std::to_string(value / size) + std::string(u.name);
  }
  return std::to_string(value) + std::string(units.back().name);
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  SHOAL_TRY_ASSIGN(const std::uint64_t ns, parse(text, kDurationUnits, "duration", "90s, 1.5h or 200ms"));
  return Duration(static_cast<std::int64_t>(ns));
}

Result<Bytes> parse_bytes(std::string_view text) {
  SHOAL_TRY_ASSIGN(const std::uint64_t count, parse(text, kByteUnits, "size", "64MiB or 250KB"));
  return Bytes{count};
}

std::string format_duration(Duration d) {
  return d == Duration::zero() ? "0s" : shortest(static_cast<std::uint64_t>(d.count()), kDurationUnits);
}

std::string format_bytes(Bytes b) { return shortest(b.count, kByteUnits); }

std::string human_duration(Duration d) {
  char text[64];
  const double s = to_seconds(d);
  if (s < 1e-3) {
    std::snprintf(text, sizeof text, "%.3g us", s * 1e6);
  } else if (s < 1) {
    std::snprintf(text, sizeof text, "%.3g ms", s * 1e3);
  } else if (s < 60) {
    std::snprintf(text, sizeof text, "%.1f s", s);
  } else if (s < 3600) {
    std::snprintf(text, sizeof text, "%dm %02ds", static_cast<int>(s) / 60, static_cast<int>(s) % 60);
  } else if (s < 86400) {
    std::snprintf(text, sizeof text, "%dh %02dm", static_cast<int>(s) / 3600, static_cast<int>(s) / 60 % 60);
  } else {
    std::snprintf(text, sizeof text, "%.0fd %02dh", std::floor(s / 86400),
                  static_cast<int>(std::fmod(s, 86400) / 3600));
  }
  return text;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kNames = {"B", "KB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kNames.size()) value /= 1000, ++unit;
  char text[64];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.3g %s", value, kNames[unit].data());
  return text;
}

}  // namespace shoal
