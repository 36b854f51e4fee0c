#include "client/data/byte_source.h"

#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace shoal::client::data {
namespace {

constexpr std::size_t kInputBytes = 64 * 1024;                 // compressed bytes held at a time
constexpr std::uint64_t kXzMemory = std::uint64_t{128} << 20;  // what `xz -9` needs to decompress, twice

class FileSource final : public ByteSource {
 public:
  FileSource(std::string name, std::FILE* file) : ByteSource(std::move(name)), file_(file, &std::fclose) {}

 private:
  Result<std::size_t> read_some(std::span<std::uint8_t> out) override {
    const std::size_t got = std::fread(out.data(), 1, out.size(), file_.get());
    if (got == 0 && std::ferror(file_.get())) return errno_error(ErrorCode::kFailed, "reading " + name(), errno);
    return got;
  }
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::span<const std::uint8_t> bytes, std::string name) : ByteSource(std::move(name)), rest_(bytes) {}

 private:
  Result<std::size_t> read_some(std::span<std::uint8_t> out) override {
    const std::size_t got = std::min(out.size(), rest_.size());
    std::copy_n(rest_.begin(), got, out.begin());
    rest_ = rest_.subspan(got);
    return got;
  }
  std::span<const std::uint8_t> rest_;
};

// What both decompressors share: a window of compressed input.
class Decompressor : public ByteSource {
 protected:
  explicit Decompressor(std::unique_ptr<ByteSource> from) : ByteSource(from->name()), from_(std::move(from)) {}

  // The next compressed bytes; empty at the end.
  Result<std::span<const std::uint8_t>> refill() {
    SHOAL_TRY_ASSIGN(const std::size_t got, from_->read(input_));
    return std::span<const std::uint8_t>(input_.data(), got);
  }

 private:
  std::unique_ptr<ByteSource> from_;
  std::array<std::uint8_t, kInputBytes> input_{};
};

class GzipSource final : public Decompressor {
 public:
  explicit GzipSource(std::unique_ptr<ByteSource> from) : Decompressor(std::move(from)) {}
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  bool start() { return inflateInit2(&stream_, 15 + 16) == Z_OK; }  // largest window, gzip header

 private:
  Result<std::size_t> read_some(std::span<std::uint8_t> out) override {
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), 1u << 30));
    const uInt wanted = stream_.avail_out;
    while (stream_.avail_out == wanted) {
      if (stream_.avail_in == 0) {
        SHOAL_TRY_ASSIGN(const auto input, refill());
        if (input.empty()) {
          if (inside_member_) return corrupt("the gzip data end in the middle");
          return std::size_t{0};
        }
        stream_.next_in = const_cast<Bytef*>(input.data());  // zlib's interface predates const
        stream_.avail_in = static_cast<uInt>(input.size());
      }
      if (!inside_member_ && inflateReset(&stream_) != Z_OK) return corrupt("zlib cannot start");
      inside_member_ = true;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        inside_member_ = false;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        return corrupt(std::string("the gzip data are damaged: ") +
                       (stream_.msg != nullptr ? stream_.msg : "no reason"));
      }
    }
    return std::size_t{wanted - stream_.avail_out};
  }

  z_stream stream_{};
  bool inside_member_ = true;  // an empty file is no gzip file
};

class XzSource final : public Decompressor {
 public:
  explicit XzSource(std::unique_ptr<ByteSource> from) : Decompressor(std::move(from)) {}
  ~XzSource() override { lzma_end(&stream_); }
  XzSource(const XzSource&) = delete;
  XzSource& operator=(const XzSource&) = delete;

  bool start() { return lzma_stream_decoder(&stream_, kXzMemory, LZMA_CONCATENATED) == LZMA_OK; }

 private:
  Result<std::size_t> read_some(std::span<std::uint8_t> out) override {
    stream_.next_out = out.data();
    stream_.avail_out = out.size();
    while (stream_.avail_out == out.size() && !ended_) {
      if (stream_.avail_in == 0 && action_ == LZMA_RUN) {
        SHOAL_TRY_ASSIGN(const auto input, refill());
        if (input.empty()) action_ = LZMA_FINISH;
        stream_.next_in = input.data();
        stream_.avail_in = input.size();
      }
      const lzma_ret status = lzma_code(&stream_, action_);
      if (status == LZMA_STREAM_END) {
        ended_ = true;
      } else if (status == LZMA_MEMLIMIT_ERROR) {
        return Error(ErrorCode::kExhausted, name() + ": decompressing needs more than 128 MiB; compress it with xz -6");
      } else if (status != LZMA_OK) {
        return corrupt(action_ == LZMA_FINISH ? "the xz data end in the middle" : "the xz data are damaged");
      }
    }
    return out.size() - stream_.avail_out;
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  lzma_action action_ = LZMA_RUN;
  bool ended_ = false;
};

template <class Source>
Result<std::unique_ptr<ByteSource>> started(std::unique_ptr<ByteSource> compressed) {
  auto source = std::make_unique<Source>(std::move(compressed));
  if (!source->start()) return Error(ErrorCode::kExhausted, source->name() + ": no memory to decompress it");
  return std::unique_ptr<ByteSource>(std::move(source));
}

}  // namespace

Result<std::size_t> ByteSource::read(std::span<std::uint8_t> out) {
  std::size_t have = 0;
  while (have < out.size()) {
    SHOAL_TRY_ASSIGN(const std::size_t got, read_some(out.subspan(have)));
    if (got == 0) break;
    have += got;
    position_ += got;
  }
  return have;
}

Status ByteSource::read_exactly(std::span<std::uint8_t> out) {
  SHOAL_TRY_ASSIGN(const std::size_t got, read(out));
  if (got < out.size())
    return corrupt("it ends here, " + std::to_string(out.size() - got) + " more bytes were announced");
  return {};
}

Status ByteSource::expect_end() {
  std::array<std::uint8_t, 1> extra{};
  SHOAL_TRY_ASSIGN(const std::size_t got, read(extra));
  if (got != 0) return corrupt("there is more data than was announced");
  return {};
}

Error ByteSource::corrupt(std::string why) const {
  return Error(ErrorCode::kCorrupt, name_ + ", byte " + std::to_string(position_) + ": " + std::move(why));
}

Result<std::unique_ptr<ByteSource>> open_bytes(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr)
    return errno_error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kFailed, "opening " + path, errno);
  std::unique_ptr<ByteSource> source = std::make_unique<FileSource>(path, file);
  if (path.ends_with(".gz")) return gunzip(std::move(source));
  if (path.ends_with(".xz")) return unxz(std::move(source));
  return source;
}

std::unique_ptr<ByteSource> bytes_in_memory(std::span<const std::uint8_t> bytes, std::string name) {
  return std::make_unique<MemorySource>(bytes, std::move(name));
}

Result<std::unique_ptr<ByteSource>> gunzip(std::unique_ptr<ByteSource> compressed) {
  return started<GzipSource>(std::move(compressed));
}

Result<std::unique_ptr<ByteSource>> unxz(std::unique_ptr<ByteSource> compressed) {
  return started<XzSource>(std::move(compressed));
}

}  // namespace shoal::client::data
