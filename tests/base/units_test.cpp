// Durations and sizes: what people write, what is printed, and that the two agree.
#include "base/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace shoal {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Units, ReadsDurations) {
  EXPECT_EQ(parse_duration("90s").value(), 90s);
  EXPECT_EQ(parse_duration("1.5h").value(), 90min);
  EXPECT_EQ(parse_duration("200ms").value(), 200ms);
  EXPECT_EQ(parse_duration("2 min").value(), 2min);
  EXPECT_EQ(parse_duration("3d").value(), 72h);
  EXPECT_EQ(parse_duration("7us").value(), 7us);
  EXPECT_EQ(parse_duration("1ns").value(), 1ns);
  EXPECT_EQ(parse_duration("0").value(), 0s);
}

TEST(Units, ReadsSizes) {
  EXPECT_EQ(parse_bytes("64MiB")->count, std::uint64_t{64} << 20);
  EXPECT_EQ(parse_bytes("250KB")->count, 250000u);
  EXPECT_EQ(parse_bytes("1.5GiB")->count, std::uint64_t{3} << 29);
  EXPECT_EQ(parse_bytes("1TB")->count, 1000000000000u);
  EXPECT_EQ(parse_bytes("17 B")->count, 17u);
  EXPECT_EQ(parse_bytes("0")->count, 0u);
}

TEST(Units, RefusesWhatIsNotAQuantity) {
  for (const char* text : {"", "s", "90", "-1s", "nans", "infs", "1e999s", "9e18h", "90sec", "90s ", "1..5s"}) {
    const auto parsed = parse_duration(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalid);
    EXPECT_THAT(parsed.error().message(), HasSubstr("write it like"));
  }
  for (const char* text : {"64", "64mib", "64 M", "-1B", "1e30TiB"}) EXPECT_FALSE(parse_bytes(text).ok()) << text;
}

TEST(Units, PrintsTheShortestExactText) {
  EXPECT_EQ(format_duration(90s), "90s");
  EXPECT_EQ(format_duration(1h), "1h");
  EXPECT_EQ(format_duration(1500us), "1500us");
  EXPECT_EQ(format_duration(0s), "0s");
  EXPECT_EQ(format_bytes(Bytes{std::uint64_t{64} << 20}), "64MiB");
  EXPECT_EQ(format_bytes(Bytes{250000}), "250KB");
  EXPECT_EQ(format_bytes(Bytes{12345}), "12345B");
}

TEST(Units, PrintedTextReadsBackExactly) {
  for (const std::int64_t ns :
       {std::int64_t{1}, std::int64_t{999}, std::int64_t{1000001}, std::int64_t{86400} * 1000000000,
        (std::int64_t{1} << 53) + 1, std::int64_t{9100000000000000001}})
    EXPECT_EQ(parse_duration(format_duration(Duration(ns))).value(), Duration(ns)) << ns;
  for (const std::uint64_t n :
       {std::uint64_t{1}, std::uint64_t{1023}, std::uint64_t{1} << 40, (std::uint64_t{1} << 53) + 1})
    EXPECT_EQ(parse_bytes(format_bytes(Bytes{n}))->count, n);
}

TEST(Units, SpeaksToPeople) {
  EXPECT_EQ(human_duration(250us), "250 us");
  EXPECT_EQ(human_duration(12ms), "12 ms");
  EXPECT_EQ(human_duration(1500ms), "1.5 s");
  EXPECT_EQ(human_duration(90s), "1m 30s");
  EXPECT_EQ(human_duration(3h + 5min), "3h 05m");
  EXPECT_EQ(human_duration(50h), "2d 02h");
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(2400000), "2.4 MB");
  EXPECT_EQ(human_bytes(999999), "1 MB") << "rounds to the next unit instead of 1e+03 KB";
}

}  // namespace
}  // namespace shoal
