// Ranges and named enums, as every visit() uses them.
#include "base/options.h"

#include <gtest/gtest.h>

#include <array>

namespace shoal {
namespace {

enum class Fruit { kApple, kPear };
EnumNames<Fruit> enum_names(Fruit) {
  static constexpr std::array<std::pair<Fruit, std::string_view>, 2> kNames{
      {{Fruit::kApple, "apple"}, {Fruit::kPear, "pear"}}};
  return kNames;
}
enum class Nameless { kA };

TEST(Options, RangesIncludeTheirEnds) {
  EXPECT_TRUE(between(1, 3).contains(1));
  EXPECT_TRUE(between(1, 3).contains(3));
  EXPECT_FALSE(between(1, 3).contains(4));
  EXPECT_TRUE(at_least(5u).contains(4000000000u));
  EXPECT_FALSE(at_least(5u).contains(4u));
  EXPECT_FALSE(between(0.0, 1.0).contains(std::numeric_limits<double>::quiet_NaN()));
}

TEST(Options, NamesGoBothWays) {
  static_assert(NamedEnum<Fruit>);
  static_assert(!NamedEnum<Nameless>);
  EXPECT_EQ(name_of(Fruit::kPear), "pear");
  EXPECT_EQ(from_name<Fruit>("apple"), Fruit::kApple);
  EXPECT_EQ(from_name<Fruit>("Apple"), std::nullopt);
  EXPECT_EQ(name_of(static_cast<Fruit>(9)), "?");
}

}  // namespace
}  // namespace shoal
