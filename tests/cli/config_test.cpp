// Configuration files: what is read, what is refused and with which words, and that printing reads back.
#include "cli/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace shoal::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

enum class Color { kRed, kGreen };
EnumNames<Color> enum_names(Color) {
  static constexpr std::array<std::pair<Color, std::string_view>, 2> kNames{
      {{Color::kRed, "red"}, {Color::kGreen, "green"}}};
  return kNames;
}

struct Inner {
  std::uint32_t cohort = 10;
  double fraction = 0.5;

  template <class Visitor>
  void visit(Visitor& v) {
    v("cohort", cohort, between(1u, 100u), "Updates that close a round");
    v("fraction", fraction, between(0.0, 1.0), "A share");
  }
};

struct Outer {
  bool on = false;
  std::int64_t part = -1;
  std::uint64_t seed = 7;
  std::uint8_t small = 1;
  double rate = 0.1;
  std::string name = "shoal";
  std::vector<std::string> words = {"a", "b"};
  Duration wait = std::chrono::seconds(90);
  Bytes limit{std::uint64_t{64} << 20};
  Color color = Color::kRed;
  Inner inner;

  template <class Visitor>
  void visit(Visitor& v) {
    v("on", on, any, "A switch");
    v("part", part, at_least(std::int64_t{-1}), "Part of the data");
    v("seed", seed, any, "Seed");
    v("small", small, any, "A small number");
    v("rate", rate, any, "A rate");
    v("name", name, any, "A name");
    v("words", words, any, "Words");
    v("wait", wait, between(Duration(std::chrono::seconds(1)), Duration(std::chrono::hours(1))), "How long");
    v("limit", limit, at_least(Bytes{1024}), "How much");
    v("color", color, any, "Which color");
    v("inner", inner, any, "Rounds");
  }
};

std::string error_of(std::string_view toml) {
  Outer options;
  const Status status = load(toml, "job.toml", options);
  return status.ok() ? "accepted" : status.error().to_string();
}

TEST(Config, ReadsEveryKindOfOption) {
  Outer o;
  const Status status = load(R"(
on = true
part = 3
seed = 9223372036854775807
small = 255
rate = 1e-3
name = "über \"x\""
words = ["one", "two", "three"]
wait = "1.5min"
limit = "2KiB"
color = "green"
[inner]
cohort = 100
fraction = 1
)",
                             "job.toml", o);
  ASSERT_TRUE(status.ok()) << status.error().to_string();
  EXPECT_TRUE(o.on);
  EXPECT_EQ(o.part, 3);
  EXPECT_EQ(o.seed, 9223372036854775807u);
  EXPECT_EQ(o.small, 255);
  EXPECT_EQ(o.rate, 1e-3);
  EXPECT_EQ(o.name, "über \"x\"");
  EXPECT_EQ(o.words, (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(o.wait, std::chrono::seconds(90));
  EXPECT_EQ(o.limit.count, 2048u);
  EXPECT_EQ(o.color, Color::kGreen);
  EXPECT_EQ(o.inner.cohort, 100u);
  EXPECT_EQ(o.inner.fraction, 1.0) << "an integer is a number too";
}

TEST(Config, WhatIsNotMentionedKeepsItsDefault) {
  Outer o;
  ASSERT_TRUE(load("[inner]\ncohort = 3", "job.toml", o).ok());
  EXPECT_EQ(o.inner.cohort, 3u);
  EXPECT_EQ(o.inner.fraction, 0.5);
  EXPECT_EQ(o.name, "shoal");
}

TEST(Config, AnEmptyFileIsAllDefaults) {
  Outer o;
  ASSERT_TRUE(load("", "job.toml", o).ok());
  EXPECT_EQ(print(o), print(Outer{}));
}

TEST(Config, UnknownOptionsNameTheLineAndTheNearestName) {
  EXPECT_EQ(error_of("on = true\n\n[inner]\ncohrt = 5"),
            "job.toml:4: unknown option \"inner.cohrt\"; did you mean \"cohort\"?");
}

TEST(Config, AnOptionInTheWrongTableIsPointedToItsOwn) {
  EXPECT_EQ(error_of("cohort = 5"), "job.toml:1: unknown option \"cohort\"; did you mean \"inner.cohort\"?");
}

TEST(Config, AnOptionLikeNoOtherGetsTheListOfThem) {
  EXPECT_THAT(error_of("[inner]\nxyzzyplugh = 5"), HasSubstr("the options here are cohort, fraction"));
}

TEST(Config, TheFirstMistakeInTheFileIsReported) {
  // Tables iterate by name; "zzz" is last by name and first by line.
  EXPECT_THAT(error_of("zzz = 1\naaa = 2"), HasSubstr("job.toml:1: unknown option \"zzz\""));
}

TEST(Config, WrongTypesSayWhatIsAllowed) {
  EXPECT_EQ(error_of("[inner]\ncohort = \"5\""),
            "job.toml:2: inner.cohort: \"5\" is not allowed; it must be an integer from 1 to 100");
  EXPECT_THAT(error_of("on = 1"), HasSubstr("it must be true or false"));
  EXPECT_THAT(error_of("name = 1"), HasSubstr("it must be a text"));
  EXPECT_THAT(error_of("rate = \"fast\""), HasSubstr("it must be a number"));
  EXPECT_THAT(error_of("words = \"a\""), HasSubstr("it must be a list of texts"));
  EXPECT_THAT(error_of("words = [\"a\", 1]"), HasSubstr("must be a list of texts"));
  EXPECT_THAT(error_of("name = 1979-05-27"), HasSubstr("must be a text"));
  EXPECT_THAT(error_of("inner = 5"), HasSubstr("inner is a table; write its options under [inner]"));
  EXPECT_THAT(error_of("[name]\nx = 1"), HasSubstr("name is not a table"));
  EXPECT_THAT(error_of("[inner]\ncohort = 5.0"), HasSubstr("it must be an integer"));
}

TEST(Config, ValuesOutOfRangeSayTheRange) {
  EXPECT_THAT(error_of("[inner]\ncohort = 0"), HasSubstr("0 is not allowed; it must be an integer from 1 to 100"));
  EXPECT_THAT(error_of("[inner]\ncohort = 101"), HasSubstr("from 1 to 100"));
  EXPECT_THAT(error_of("[inner]\nfraction = 1.01"), HasSubstr("a number from 0.0 to 1.0"));
  EXPECT_THAT(error_of("part = -2"), HasSubstr("an integer of at least -1"));
  EXPECT_THAT(error_of("small = 256"), HasSubstr("an integer from 0 to 255"));
  EXPECT_THAT(error_of("seed = -1"), HasSubstr("an integer of at least 0"));
  EXPECT_THAT(error_of("wait = \"2h\""), HasSubstr("a duration like \"90s\" from 1s to 1h"));
  EXPECT_THAT(error_of("limit = \"1KB\""), HasSubstr("a size like \"64MiB\" of at least 1KiB"));
  EXPECT_THAT(error_of("color = \"blue\""), HasSubstr("\"blue\" is not allowed; it must be \"red\" or \"green\""));
}

TEST(Config, FractionsThatAreNotFiniteAreRefusedEvenWithoutARange) {
  EXPECT_THAT(error_of("rate = nan"), HasSubstr("job.toml:1: rate"));
  EXPECT_THAT(error_of("rate = inf"), HasSubstr("job.toml:1: rate"));
}

TEST(Config, UnitsAreRequired) {
  EXPECT_THAT(error_of("wait = \"90\""), HasSubstr("no unit"));
  EXPECT_THAT(error_of("wait = 90"), HasSubstr("it must be a duration like \"90s\""));
  EXPECT_THAT(error_of("limit = \"64Mib\""), HasSubstr("unknown unit"));
}

TEST(Config, BrokenTomlNamesTheLine) {
  EXPECT_THAT(error_of("on = true\nname = \"open"), HasSubstr("job.toml:2: "));
  EXPECT_THAT(error_of("on = true\non = false"), HasSubstr("job.toml:2: "));
}

TEST(Config, AMistakeChangesNothing) {
  Outer o;
  EXPECT_FALSE(load("name = \"changed\"\nzzz = 1", "job.toml", o).ok());
  EXPECT_EQ(o.name, "shoal");
}

TEST(Config, ErrorsAreUsageErrors) {
  Outer o;
  EXPECT_EQ(load("zzz = 1", "job.toml", o).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(load_file("no/such/file.toml", o).error().code(), ErrorCode::kInvalid);
  EXPECT_THAT(load_file("no/such/file.toml", o).error().to_string(), HasSubstr("no/such/file.toml"));
}

TEST(ConfigSet, OverridesOneOption) {
  Outer o;
  ASSERT_TRUE(set(o, "inner.cohort=5").ok());
  ASSERT_TRUE(set(o, "name=two words = fine").ok());
  ASSERT_TRUE(set(o, "wait=10s").ok());
  ASSERT_TRUE(set(o, "color=green").ok());
  ASSERT_TRUE(set(o, "on=true").ok());
  ASSERT_TRUE(set(o, "words=x,y").ok());
  EXPECT_EQ(o.inner.cohort, 5u);
  EXPECT_EQ(o.name, "two words = fine");
  EXPECT_EQ(o.wait, std::chrono::seconds(10));
  EXPECT_EQ(o.color, Color::kGreen);
  EXPECT_TRUE(o.on);
  EXPECT_EQ(o.words, (std::vector<std::string>{"x", "y"}));
  ASSERT_TRUE(set(o, "words=[\"a,b\"]").ok());
  EXPECT_EQ(o.words, (std::vector<std::string>{"a,b"}));
  ASSERT_TRUE(set(o, "name=").ok());
  EXPECT_EQ(o.name, "");
}

TEST(ConfigSet, SaysWhatIsWrong) {
  Outer o;
  const auto error = [&](std::string_view text) { return set(o, text).error().to_string(); };
  EXPECT_THAT(error("inner.cohort"), HasSubstr("write it like --set name=value"));
  EXPECT_THAT(error("inner.cohrt=5"), HasSubstr("did you mean \"cohort\"?"));
  EXPECT_THAT(error("inner=5"), HasSubstr("this is a table"));
  EXPECT_THAT(error("=5"), HasSubstr("--set"));
  EXPECT_THAT(error("inner.cohort=five"), HasSubstr("an integer from 1 to 100"));
  EXPECT_THAT(error("inner.cohort=0"), HasSubstr("an integer from 1 to 100"));
  EXPECT_THAT(error("on=yes"), HasSubstr("true or false"));
  EXPECT_THAT(error("seed=1\nname=\"x\""), HasSubstr("an integer"));
  EXPECT_THAT(error("inner.cohort.x=5"), HasSubstr("unknown option \"x\""));
}

TEST(ConfigPrint, ReadsBackToTheSameValues) {
  Outer o;
  o.on = true;
  o.part = -1;
  o.rate = 1.0 / 3.0;
  o.name = "tab\t quote\" backslash\\ newline\n bell\x07 ü";
  o.words = {"with, comma", "with \"quotes\"", ""};
  o.wait = std::chrono::milliseconds(1500);
  o.limit = Bytes{12345};
  o.color = Color::kGreen;
  o.inner.cohort = 42;
  for (const Docs docs : {Docs::kWithout, Docs::kWith}) {
    Outer back;
    const std::string text = print(o, docs);
    const Status status = load(text, "printed.toml", back);
    ASSERT_TRUE(status.ok()) << status.error().to_string() << "\n" << text;
    EXPECT_EQ(back.rate, o.rate);
    EXPECT_EQ(back.name, o.name);
    EXPECT_EQ(back.words, o.words);
    EXPECT_EQ(back.wait, o.wait);
    EXPECT_EQ(back.limit, o.limit);
    EXPECT_EQ(print(back), print(o));
  }
}

TEST(ConfigPrint, ShowsWhatPeopleWouldWrite) {
  EXPECT_EQ(print(Inner{}), "cohort = 10\nfraction = 0.5\n");
  EXPECT_EQ(print(Inner{}, Docs::kWith),
            "# Updates that close a round (an integer from 1 to 100)\ncohort = 10\n\n"
            "# A share (a number from 0.0 to 1.0)\nfraction = 0.5\n");
}

TEST(ConfigPrint, AFractionKeepsLookingLikeOne) {
  Inner o;
  o.fraction = 1;
  EXPECT_THAT(print(o), HasSubstr("fraction = 1.0\n"));
  o.fraction = 1e-300;
  EXPECT_THAT(print(o), HasSubstr("fraction = 1e-300\n"));
}

struct Deep {
  struct Middle {
    Inner inner;
    template <class Visitor>
    void visit(Visitor& v) {
      v("inner", inner, any, "Innermost");
    }
  } middle;
  bool after = true;
  template <class Visitor>
  void visit(Visitor& v) {
    v("middle", middle, any, "Middle");
    v("after", after, any, "Declared after a table");
  }
};

TEST(ConfigPrint, ValuesDeclaredAfterATableStayOutsideIt) {
  Deep deep;
  deep.after = false;
  deep.middle.inner.cohort = 9;
  Deep back;
  ASSERT_TRUE(load(print(deep), "printed.toml", back).ok()) << print(deep);
  EXPECT_FALSE(back.after);
  EXPECT_EQ(back.middle.inner.cohort, 9u);
  EXPECT_THAT(print(deep), Not(HasSubstr("[middle]\n"))) << "a table without own values needs no header";
}

TEST(ConfigMarkdown, HasOneLineForEveryOption) {
  EXPECT_EQ(markdown(Deep{}),
            "| option | default | allowed | meaning |\n|---|---|---|---|\n"
            "| `middle.inner.cohort` | `10` | an integer from 1 to 100 | Updates that close a round |\n"
            "| `middle.inner.fraction` | `0.5` | a number from 0.0 to 1.0 | A share |\n"
            "| `after` | `true` | true or false | Declared after a table |\n");
}

}  // namespace
}  // namespace shoal::cli
