#include "client/data/byte_source.h"

#include <gtest/gtest.h>
#include <lzma.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "tests/client/data/temporary_folder.h"

namespace shoal::client::data {
namespace {

using Blob = std::vector<std::uint8_t>;

Blob pattern(std::size_t size) {
  Blob bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>((i * i) >> 7);
  return bytes;
}

Blob gzip(const Blob& plain) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Blob packed(deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

Blob xz(const Blob& plain) {
  Blob packed(lzma_stream_buffer_bound(plain.size()));
  std::size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, nullptr, plain.data(), plain.size(), packed.data(), &size,
                                    packed.size()),
            LZMA_OK);
  packed.resize(size);
  return packed;
}

struct Format {
  const char* name;
  Blob (*pack)(const Blob&);
  Result<std::unique_ptr<ByteSource>> (*unpack)(std::unique_ptr<ByteSource>);
};
void PrintTo(const Format& f, std::ostream* out) { *out << f.name; }

class Compressed : public testing::TestWithParam<Format> {
 protected:
  Result<Blob> unpack(const Blob& packed) {
    SHOAL_TRY_ASSIGN(const auto source, GetParam().unpack(bytes_in_memory(packed, "blob")));
    Blob all, piece(777);
    for (;;) {
      SHOAL_TRY_ASSIGN(const std::size_t got, source->read(piece));
      all.insert(all.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got));
      if (got < piece.size()) break;
    }
    EXPECT_EQ(source->position(), all.size());
    return all;
  }
};

TEST_P(Compressed, gives_back_what_was_packed) {
  for (std::size_t size : {0, 1, 776, 777, 300000})
    EXPECT_EQ(unpack(GetParam().pack(pattern(size))).value(), pattern(size));
}

TEST_P(Compressed, reads_members_one_after_the_other) {
  Blob two = GetParam().pack(pattern(1000));
  const Blob second = GetParam().pack(pattern(10));
  two.insert(two.end(), second.begin(), second.end());
  Blob want = pattern(1000);
  const Blob tail = pattern(10);
  want.insert(want.end(), tail.begin(), tail.end());
  EXPECT_EQ(unpack(two).value(), want);
}

TEST_P(Compressed, refuses_every_truncation) {
  const Blob packed = GetParam().pack(pattern(2000));
  for (std::size_t cut = 0; cut < packed.size(); ++cut) {
    const auto result = unpack(Blob(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(cut)));
    ASSERT_FALSE(result.ok()) << cut;
    EXPECT_EQ(result.error().code(), ErrorCode::kCorrupt);
  }
}

TEST_P(Compressed, notices_a_flipped_bit_or_delivers_the_same_bytes) {
  const Blob packed = GetParam().pack(pattern(2000));
  std::size_t refused = 0;
  for (std::size_t at = 0; at < packed.size(); ++at) {
    Blob damaged = packed;
    damaged[at] ^= 0x10;
    const auto result = unpack(damaged);
    refused += !result.ok();
    if (result.ok()) {
      EXPECT_EQ(*result, pattern(2000)) << at;  // a header field of no consequence
    }
  }
  EXPECT_GT(refused, packed.size() * 9 / 10);
}
INSTANTIATE_TEST_SUITE_P(Formats, Compressed, testing::Values(Format{"gzip", gzip, gunzip}, Format{"xz", xz, unxz}));

TEST(ByteSource, opens_files_by_their_ending) {
  const TemporaryFolder folder;
  const Blob plain = pattern(5000);
  const auto text = [](const Blob& b) { return std::string_view(reinterpret_cast<const char*>(b.data()), b.size()); };
  for (const std::string& path : {folder.write("a", text(plain)), folder.write("a.gz", text(gzip(plain))),
                                  folder.write("a.xz", text(xz(plain)))}) {
    const auto source = open_bytes(path).value();
    Blob read(plain.size());
    source->read_exactly(read).value();
    EXPECT_EQ(read, plain) << path;
    EXPECT_TRUE(source->expect_end().ok());
  }
  EXPECT_EQ(open_bytes(folder.path("none")).error().code(), ErrorCode::kNotFound);
}

TEST(ByteSource, names_file_and_byte_when_it_ends_early) {
  const Blob three = pattern(3);
  const auto source = bytes_in_memory(three, "short");
  Blob four(4);
  const Status status = source->read_exactly(four);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message().find("short, byte 3"), std::string::npos) << status.error().message();
}

}  // namespace
}  // namespace shoal::client::data
