#include <gtest/gtest.h>

#include <vector>

#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

std::vector<std::uint8_t> records(const std::vector<std::uint8_t>& labels) {
  std::vector<std::uint8_t> bytes;
  for (std::uint8_t label : labels) {
    bytes.push_back(label);
    bytes.insert(bytes.end(), 3072, static_cast<std::uint8_t>(100 + label));
  }
  return bytes;
}

TEST(Cifar, reads_records_and_appends_files) {
  Dataset data;
  const auto first = records({3, 9}), second = records({0});
  read_cifar(*bytes_in_memory(first, "1.bin"), Bytes{1 << 20}, data).value();
  read_cifar(*bytes_in_memory(second, "2.bin"), Bytes{1 << 20}, data).value();
  EXPECT_TRUE(check_dataset(data, "both").ok());
  EXPECT_EQ(data.shape, (std::vector<std::uint32_t>{3, 32, 32}));
  EXPECT_EQ(data.labels, (std::vector<std::uint32_t>{3, 9, 0}));
  EXPECT_EQ(data.bytes[3072], 109);
}

TEST(Cifar, refuses_damage_and_says_where) {
  const auto error_of = [](const std::vector<std::uint8_t>& bytes, std::uint64_t limit) {
    Dataset data;
    return read_cifar(*bytes_in_memory(bytes, "1.bin"), Bytes{limit}, data).error();
  };
  std::vector<std::uint8_t> bytes = records({3, 9});
  EXPECT_EQ(error_of(bytes, 5000).code(), ErrorCode::kExhausted);
  EXPECT_EQ(error_of({}, 5000).code(), ErrorCode::kCorrupt);
  bytes.pop_back();
  EXPECT_NE(error_of(bytes, 1 << 20).message().find("3072 bytes into a record"), std::string::npos);
  EXPECT_NE(error_of(records({1, 10}), 1 << 20).message().find("byte 3073 has label 10"), std::string::npos);
}

}  // namespace
}  // namespace shoal::client::data
