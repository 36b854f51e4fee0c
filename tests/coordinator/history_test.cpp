#include "coordinator/history.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temporary_folder.h"

namespace shoal::coordinator {
namespace {

HistoryRow row(Version version, std::optional<double> accuracy = std::nullopt) {
  HistoryRow r;
  r.version = version;
  r.seconds = 1.5;
  r.received = 4;
  r.bytes_up = 123456789012;
  r.accuracy = accuracy;
  return r;
}

TEST(History, ComesBackAfterARestartWithTheNewestRowOfEachVersion) {
  ::shoal::testing::TemporaryFolder folder;
  {
    History history = History::open(folder.path().string()).value();
    history.put(JobId{2}, row(1));
    history.put(JobId{2}, row(2));
    history.put(JobId{2}, row(1, 0.5));
    history.put(JobId{3}, row(9));
  }
  const History history = History::open(folder.path().string()).value();
  const auto rows = history.rows(JobId{2});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].accuracy, 0.5);
  EXPECT_EQ(rows[1].bytes_up, 123456789012u);
  EXPECT_EQ(history.rows(JobId{2}, 1).size(), 1u);
  EXPECT_EQ(history.row(JobId{3}, 9)->received, 4u);
  EXPECT_FALSE(history.row(JobId{3}, 8).has_value());
  EXPECT_TRUE(history.rows(JobId{4}).empty());
}

TEST(History, CountingGoesOnFromTheMostThatWasTold) {
  ::shoal::testing::TemporaryFolder folder;
  History history = History::open(folder.path().string()).value();
  HistoryRow last = row(2);
  last.bytes_down = 7;
  history.put(JobId{1}, last);
  HistoryRow torn = row(3);  // an evaluation whose round's row was lost
  torn.bytes_up = 0;
  history.put(JobId{1}, torn);
  EXPECT_EQ(history.traffic(JobId{1}), (protocol::Traffic{123456789012, 7}));
  EXPECT_EQ(history.traffic(JobId{2}), protocol::Traffic{});
}

TEST(History, SkipsATornLine) {
  ::shoal::testing::TemporaryFolder folder;
  {
    History history = History::open(folder.path().string()).value();
    history.put(JobId{1}, row(1));
  }
  std::ofstream(folder.path().string() + "/job-1.jsonl", std::ios::app) << R"({"version":2,"secon)";
  History history = History::open(folder.path().string()).value();
  EXPECT_EQ(history.rows(JobId{1}).size(), 1u);
}

}  // namespace
}  // namespace shoal::coordinator
