#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "client/data/readers.h"

namespace shoal::client::data {
namespace {

using namespace std::string_literals;

constexpr Bytes kLimit{1 << 20};

std::unique_ptr<ByteSource> source(const std::string& bytes, std::string name) {
  return bytes_in_memory({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, std::move(name));
}

Result<Dataset> read(const std::string& images, const std::string& labels, Bytes limit = kLimit) {
  return read_idx(*source(images, "images"), *source(labels, "labels"), limit);
}

// Three 2 x 2 images with pixels 0..11, labels 2, 0, 1.
const std::string kImages = "\0\0\x08\x03\0\0\0\3\0\0\0\2\0\0\0\2"s + "\0\1\2\3\4\5\6\7\x08\x09\x0a\x0b"s;
const std::string kLabels = "\0\0\x08\x01\0\0\0\3\2\0\1"s;

TEST(Idx, reads_images_and_labels) {
  const Dataset data = read(kImages, kLabels).value();
  EXPECT_EQ(data.shape, (std::vector<std::uint32_t>{1, 2, 2}));
  EXPECT_EQ(data.classes, 3u);
  EXPECT_EQ(data.labels, (std::vector<std::uint32_t>{2, 0, 1}));
  std::vector<float> pixels(4);
  data.example(2, pixels);
  EXPECT_FLOAT_EQ(pixels[3], 11.0f / 255.0f);
}

TEST(Idx, reads_big_endian_floats_of_any_shape) {
  const std::string images = "\0\0\x0d\x02\0\0\0\2\0\0\0\1"s + "\x3f\x80\0\0"s + "\xc0\0\0\0"s;  // 1, -2
  const Dataset data = read(images, "\0\0\x08\x01\0\0\0\2\0\1"s).value();
  EXPECT_EQ(data.shape, (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(data.floats, (std::vector<float>{1, -2}));
  const std::string nan = "\0\0\x0d\x02\0\0\0\2\0\0\0\1"s + "\x7f\xc0\0\0"s + "\xc0\0\0\0"s;
  EXPECT_EQ(read(nan, "\0\0\x08\x01\0\0\0\2\0\1"s).error().code(), ErrorCode::kCorrupt);
}

TEST(Idx, refuses_every_truncation_and_any_extra_byte) {
  for (std::size_t cut = 0; cut < kImages.size(); ++cut) {
    const auto result = read(kImages.substr(0, cut), kLabels);
    ASSERT_FALSE(result.ok()) << cut;
    EXPECT_EQ(result.error().code(), ErrorCode::kCorrupt);
    EXPECT_NE(result.error().message().find("images, byte"), std::string::npos);
  }
  for (std::size_t cut = 0; cut < kLabels.size(); ++cut)
    EXPECT_FALSE(read(kImages, kLabels.substr(0, cut)).ok()) << cut;
  EXPECT_FALSE(read(kImages + "x", kLabels).ok());
  EXPECT_FALSE(read(kImages, kLabels + "x").ok());
}

TEST(Idx, refuses_headers_that_lie) {
  const auto with = [](std::string bytes, std::size_t at, char value) {
    bytes[at] = value;
    return bytes;
  };
  EXPECT_FALSE(read(with(kImages, 0, 1), kLabels).ok());
  EXPECT_FALSE(read(with(kImages, 2, 0x09), kLabels).ok());
  EXPECT_FALSE(read(with(kImages, 3, 1), kLabels).ok());
  EXPECT_FALSE(read(with(kImages, 3, 9), kLabels).ok());
  EXPECT_FALSE(read(with(kImages, 11, 0), kLabels).ok());  // height 0
  EXPECT_FALSE(read(with(kImages, 7, 2), kLabels).ok());   // fewer images than labels
  EXPECT_FALSE(read(kImages, with(kLabels, 2, 0x0d)).ok());
  std::string huge = kImages;
  for (std::size_t at = 4; at < 16; ++at) huge[at] = '\xff';
  EXPECT_FALSE(read(huge, kLabels).ok());
}

TEST(Idx, does_not_take_more_memory_than_allowed) {
  const auto result = read(kImages, kLabels, Bytes{11});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kExhausted);
}

}  // namespace
}  // namespace shoal::client::data
