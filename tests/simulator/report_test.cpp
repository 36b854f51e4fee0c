#include "simulator/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "simulator/chart.h"
#include "tests/simulator/temporary_folder.h"

namespace shoal::simulator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ReportTest : public ::testing::Test {
 protected:
  std::string folder(const std::string& name, const std::string& metrics, const std::string& config) {
    write_text(folder_ / (name + "/metrics.jsonl"), metrics);
    write_text(folder_ / (name + "/config.toml"), config);
    return folder_ / name;
  }
  std::string report(const std::vector<std::string>& folders) {
    const auto written = write_report(folders, folder_ / "out.html");
    EXPECT_TRUE(written.ok()) << written.error().to_string();
    return text_of(folder_ / "out.html");
  }

  static constexpr const char* kMetrics =
      R"({"version":1,"virtual_seconds":10,"bytes_up":100,"bytes_down":200,"accuracy":0.5,"loss":1.5,"received":5}
{"version":2,"virtual_seconds":20,"bytes_up":300,"bytes_down":400,"accuracy":0.875,"loss":0.25,"received":5,"digest":"abcdef"}
)";
  TemporaryFolder folder_;
};

TEST_F(ReportTest, IsOnePageThatNeedsNothingElse) {
  const std::string page = report({folder("run", kMetrics, "a = 1\n")});
  EXPECT_THAT(page, HasSubstr("87.50 %"));
  EXPECT_THAT(page, HasSubstr("<svg"));
  for (const char* outside : {"http:", "https:", "src=", "<link", "@import", "url("})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
}

TEST_F(ReportTest, ShowsOnlyWhatDiffersBetweenRuns) {
  const std::string a = folder("a", kMetrics, "[job]\nseed = 1\nname = \"x # y\"  # comment\n");
  const std::string b = folder("b", kMetrics, "[job]\nseed = 2\nname = \"x # y\"\n");
  const std::string page = report({a, b});
  const std::string differs =
      page.substr(page.find("What differs"), page.find("<h2>Configuration") - page.find("What differs"));
  EXPECT_THAT(differs, HasSubstr("job.seed"));
  EXPECT_THAT(differs, Not(HasSubstr("job.name")));
  EXPECT_THAT(page, HasSubstr("x # y"));
  EXPECT_THAT(page, Not(HasSubstr("comment")));
  EXPECT_THAT(page, HasSubstr("2 runs compared"));
}

TEST_F(ReportTest, EscapesWhatPeopleWrote) {
  const std::string page = report({folder("a<b>", kMetrics, "name = \"<script>alert(1)</script>\"\n")});
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, HasSubstr("a&lt;b&gt;"));
}

TEST_F(ReportTest, ReadsARunWithoutTestSetOrConfiguration) {
  write_text(folder_ / "live/metrics.jsonl",
             "{\"version\":1,\"seconds\":4,\"train_loss\":0.5}\n{\"version\":2,\"seconds\":9,\"train_loss\":0.25}\n");
  const std::string page = report({folder_ / "live"});
  EXPECT_THAT(page, HasSubstr("Training loss by rounds"));
  EXPECT_THAT(page, HasSubstr("0.2500"));
}

TEST_F(ReportTest, ReadsARunThatHasNotBegun) {
  EXPECT_THAT(report({folder("empty", "", "")}), HasSubstr("nothing was measured"));
}

TEST_F(ReportTest, SaysWhatIsWrong) {
  const auto missing = write_report({folder_ / "nowhere"}, folder_ / "out.html");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), ErrorCode::kNotFound);
  const auto torn = write_report({folder("torn", std::string(kMetrics) + "{\"ver", "")}, folder_ / "out.html");
  ASSERT_FALSE(torn.ok());
  EXPECT_EQ(torn.error().code(), ErrorCode::kCorrupt);
  EXPECT_THAT(torn.error().message(), HasSubstr("line 3"));
  EXPECT_EQ(write_report({}, folder_ / "out.html").error().code(), ErrorCode::kInvalid);
}

TEST(Chart, ThinsLongSeriesButKeepsTheirEnds) {
  Series series{"long", 0, {}, {}};
  for (int i = 0; i <= 100'000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i % 2 + 3.25);
  }
  const std::string html = to_html({"t", {"x"}, {"y"}, {series}});
  EXPECT_LT(html.size(), 60'000u);
  EXPECT_THAT(html, HasSubstr("[0,3.25,"));
  EXPECT_THAT(html, HasSubstr("[1e+05,3.25,"));
}

TEST(Chart, PicksUnitsThatSuitTheLargestValue) {
  EXPECT_EQ(time_axis("time", 90).title, "time (s)");
  EXPECT_EQ(time_axis("time", 900).title, "time (min)");
  EXPECT_EQ(time_axis("time", 9e4).title, "time (h)");
  EXPECT_EQ(bytes_axis("data", 5e9).title, "data (GB)");
  EXPECT_EQ(bytes_axis("data", 5e9).divisor, 1e9);
}

}  // namespace
}  // namespace shoal::simulator
