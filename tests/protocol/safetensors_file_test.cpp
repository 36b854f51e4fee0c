#include "protocol/safetensors_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/rng.h"
#include "protocol/durable_file.h"
#include "tests/support/temporary_folder.h"

namespace shoal::protocol {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SafetensorsFileTest : public ::testing::Test {
 protected:
  // One tensor "t" of `dtype` whose data are `values` as they lie in memory.
  template <class T>
  SafetensorsFile one_tensor(const std::string& dtype, const std::vector<T>& values) {
    const std::uint64_t bytes = values.size() * sizeof(T);
    const std::string json = R"({"t":{"dtype":")" + dtype + R"(","shape":[)" + std::to_string(values.size()) +
                             R"(],"data_offsets":[0,)" + std::to_string(bytes) + "]}}";
    const std::uint64_t length = json.size();
    const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(&length, 1)), std::as_bytes(std::span(json)),
                                                 std::as_bytes(std::span(values))};
    EXPECT_TRUE(write_file(path_, pieces, 0644, IfExists::kReplace).ok());
    return std::move(SafetensorsFile::open(path_)).value();
  }
  template <class T>
  std::vector<float> floats(const std::string& dtype, const std::vector<T>& values) {
    const SafetensorsFile file = one_tensor(dtype, values);
    return *file.read_floats(file.header().tensors[0]);
  }
  template <class T>
  Result<std::vector<std::int64_t>> integers(const std::string& dtype, const std::vector<T>& values) {
    const SafetensorsFile file = one_tensor(dtype, values);
    return file.read_integers(file.header().tensors[0]);
  }

  testing::TemporaryFolder folder_;
  const std::string path_ = folder_.file("model.safetensors");
};

TEST_F(SafetensorsFileTest, AModelComesBackBitForBit) {
  const TensorLayout layout =
      *TensorLayout::make({{"fc.weight", {30, 7}, "head"}, {"fc.bias", {30}, "head"}, {"s", {}, "norm"}});
  std::vector<float> values(layout.total());
  Stream stream(4, "model");
  for (float& v : values) v = static_cast<float>(stream.normal());
  const std::map<std::string, std::string> metadata{{"shoal.model", "{\"kind\":\"mlp\"}"}};
  ASSERT_TRUE(write_model(path_, layout, values, metadata).ok());

  const Result<ModelFile> model = read_model(path_);
  ASSERT_TRUE(model.ok()) << model.error().to_string();
  EXPECT_EQ(model->layout, layout);
  EXPECT_TRUE(std::equal(values.begin(), values.end(), model->values.begin(), model->values.end()));
  EXPECT_EQ(model->metadata, metadata);
}

// Other writers need not align what they write.
TEST_F(SafetensorsFileTest, ValuesMayLieAtAnyAddress) {
  const TensorLayout layout = *TensorLayout::make({{"a", {3}, "head"}});
  const std::vector<float> values{1, 2, 3};
  ASSERT_TRUE(write_model(path_, layout, values, {}).ok());
  const std::string aligned = *read_file(path_, 10'000);
  for (std::uint64_t spaces = 1; spaces < 4; ++spaces) {
    std::uint64_t header = 0;
    std::memcpy(&header, aligned.data(), sizeof header);
    std::string shifted = aligned;
    shifted.insert(8 + header, std::string(spaces, ' '));
    header += spaces;
    std::memcpy(shifted.data(), &header, sizeof header);
    ASSERT_TRUE(write_file(path_, shifted, 0644, IfExists::kReplace).ok());
    const Result<ModelFile> model = read_model(path_);
    ASSERT_TRUE(model.ok()) << model.error().to_string();
    EXPECT_TRUE(std::equal(values.begin(), values.end(), model->values.begin(), model->values.end())) << spaces;
  }
}

TEST_F(SafetensorsFileTest, TheSameModelIsTheSameFile) {
  const TensorLayout layout = *TensorLayout::make({{"b", {2}, "bias"}, {"a", {1}, "head"}});
  const std::vector<float> values{1, 2, 3};
  ASSERT_TRUE(write_model(path_, layout, values, {{"y", "1"}, {"x", "2"}}).ok());
  const std::string other = folder_.file("other.safetensors");
  ASSERT_TRUE(write_model(other, layout, values, {{"x", "2"}, {"y", "1"}}).ok());
  EXPECT_EQ(*read_file(path_, 10'000), *read_file(other, 10'000));
}

TEST_F(SafetensorsFileTest, AModelWithoutTensorsIsReadable) {
  ASSERT_TRUE(write_model(path_, TensorLayout(), {}, {}).ok());
  EXPECT_EQ(read_model(path_)->values.size(), 0u);
}

TEST_F(SafetensorsFileTest, IntegersOfEveryWidth) {
  EXPECT_THAT(*integers<std::uint8_t>("BOOL", {0, 1}), ElementsAre(0, 1));
  EXPECT_THAT(*integers<std::uint8_t>("U8", {0, 255}), ElementsAre(0, 255));
  EXPECT_THAT(*integers<std::int8_t>("I8", {-128, 127}), ElementsAre(-128, 127));
  EXPECT_THAT(*integers<std::uint16_t>("U16", {65535}), ElementsAre(65535));
  EXPECT_THAT(*integers<std::int16_t>("I16", {-32768}), ElementsAre(-32768));
  EXPECT_THAT(*integers<std::uint32_t>("U32", {4294967295}), ElementsAre(4294967295));
  EXPECT_THAT(*integers<std::int32_t>("I32", {-2147483647 - 1}), ElementsAre(-2147483648LL));
  EXPECT_THAT(*integers<std::int64_t>("I64", {std::numeric_limits<std::int64_t>::min()}),
              ElementsAre(std::numeric_limits<std::int64_t>::min()));
  EXPECT_THAT(*integers<std::uint64_t>("U64", {5}), ElementsAre(5));
}

TEST_F(SafetensorsFileTest, WhatIsNoInt64IsInvalid) {
  EXPECT_EQ(integers<std::uint64_t>("U64", {1, ~0ull}).error().code(), ErrorCode::kInvalid);
  const auto real = integers<float>("F32", {1});
  ASSERT_FALSE(real.ok());
  EXPECT_THAT(real.error().message(), HasSubstr("is F32, not an integer type"));
}

TEST_F(SafetensorsFileTest, FloatsFromEveryType) {
  EXPECT_THAT(floats<float>("F32", {1.5f, -0.0f}), ElementsAre(1.5f, 0.0f));
  EXPECT_THAT(floats<double>("F64", {0.1, 1e300}), ElementsAre(0.1f, std::numeric_limits<float>::infinity()));
  EXPECT_THAT(floats<std::uint16_t>("BF16", {0x3F80, 0xC000, 0x7F80}),
              ElementsAre(1.0f, -2.0f, std::numeric_limits<float>::infinity()));
  EXPECT_THAT(floats<std::uint8_t>("U8", {0, 200}), ElementsAre(0.0f, 200.0f));
  EXPECT_THAT(floats<std::int64_t>("I64", {-3}), ElementsAre(-3.0f));
}

TEST_F(SafetensorsFileTest, HalfPrecisionWithItsEdges) {
  // one, -2, largest, smallest normal, smallest and largest subnormal, zeros, infinities
  EXPECT_THAT(floats<std::uint16_t>("F16", {0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x03FF, 0x0000, 0x7C00, 0xFC00}),
              ElementsAre(1.0f, -2.0f, 65504.0f, 0x1p-14f, 0x1p-24f, 1023 * 0x1p-24f, 0.0f,
                          std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()));
  const std::vector<float> special = floats<std::uint16_t>("F16", {0x8000, 0x7E00});
  EXPECT_TRUE(std::signbit(special[0]));
  EXPECT_TRUE(std::isnan(special[1]));
}

TEST_F(SafetensorsFileTest, ErrorsNameTheFile) {
  const auto expect_error = [&](ErrorCode code) {
    const Result<ModelFile> model = read_model(path_);
    ASSERT_FALSE(model.ok());
    EXPECT_EQ(model.error().code(), code) << model.error().to_string();
    EXPECT_THAT(model.error().to_string(), HasSubstr(path_));
  };
  expect_error(ErrorCode::kNotFound);
  ASSERT_TRUE(write_file(path_, "short", 0644, IfExists::kReplace).ok());
  expect_error(ErrorCode::kCorrupt);
  ASSERT_TRUE(write_file(path_, std::string(1000, 'x'), 0644, IfExists::kReplace).ok());
  expect_error(ErrorCode::kCorrupt);
  (void)one_tensor<double>("F64", {1});
  expect_error(ErrorCode::kInvalid);
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  expect_error(ErrorCode::kInvalid);
}

TEST_F(SafetensorsFileTest, NoTruncationOfAModelIsRead) {
  const TensorLayout layout = *TensorLayout::make({{"w", {4}, "head"}});
  ASSERT_TRUE(write_model(path_, layout, std::vector<float>(4), {}).ok());
  for (std::uintmax_t size = std::filesystem::file_size(path_); size-- > 0;) {
    std::filesystem::resize_file(path_, size);
    ASSERT_FALSE(read_model(path_).ok()) << size;
  }
}

TEST_F(SafetensorsFileTest, AnOpenFileMovesAndReadsOn) {
  SafetensorsFile first = one_tensor<float>("F32", {1, 2});
  SafetensorsFile second = std::move(first);
  EXPECT_THAT(*second.read_floats(second.header().tensors[0]), ElementsAre(1.0f, 2.0f));
  second = one_tensor<float>("F32", {3});
  EXPECT_THAT(*second.read_floats(second.header().tensors[0]), ElementsAre(3.0f));
}

}  // namespace
}  // namespace shoal::protocol
