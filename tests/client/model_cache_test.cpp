// Models on disk: verified before use, resumed where they broke off, within the quota.
#include "client/model_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "protocol/sha256.h"
#include "tests/support/temporary_folder.h"

namespace shoal::client {
namespace {

using protocol::kChunkBytes;
using protocol::kTagBytes;
using protocol::ObjectInfo;
namespace fs = std::filesystem;

// A model's bytes, and sealed copies of them.
struct Model {
  explicit Model(std::uint64_t seed, std::size_t size = 3 * kChunkBytes + 77) : bytes(size) {
    Stream random(seed, "model");
    for (std::byte& b : bytes) b = static_cast<std::byte>(random.next32());
    digest = protocol::sha256(bytes);
    seal_anew();
  }
  void seal_anew() { object = {1000, bytes.size(), protocol::preferred_suite(), protocol::make_object_key().value()}; }
  std::vector<std::byte> chunk(std::uint32_t i) const {
    std::vector<std::byte> sealed(object.sealed_bytes(i));
    protocol::ChunkCipher(object).seal(
        i, std::span(bytes).subspan(std::size_t{i} * kChunkBytes, sealed.size() - kTagBytes), sealed);
    return sealed;
  }
  void send(ModelDownload& download, std::uint32_t from, std::uint32_t to) const {
    for (std::uint32_t i = from; i < to; ++i) ASSERT_TRUE(download.write(i, chunk(i)).ok());
  }

  std::vector<std::byte> bytes;
  Digest digest;
  ObjectInfo object;
};

class ModelCacheTest : public ::testing::Test {
 protected:
  ModelCache open(std::uint64_t quota = 64 << 20) {
    auto cache = ModelCache::open(folder_.path(), Bytes{quota});
    EXPECT_TRUE(cache.ok()) << cache.error().to_string();
    return std::move(*cache);
  }
  static ModelDownload begin(ModelCache& cache, const Model& model) {
    auto download = cache.begin(model.digest, model.object);
    EXPECT_TRUE(download.ok()) << download.error().to_string();
    return std::move(*download);
  }
  static void fetch(ModelCache& cache, const Model& model) {
    ModelDownload download = begin(cache, model);
    model.send(download, download.first_chunk(), model.object.chunks());
    auto path = cache.finish(model.digest, std::move(download));
    ASSERT_TRUE(path.ok()) << path.error().to_string();
    EXPECT_EQ(content(*path), model.bytes);
  }
  static bool holds(ModelCache& cache, const Model& model) {
    auto found = cache.find(model.digest);
    EXPECT_TRUE(found.ok());
    return found->has_value();
  }
  static std::vector<std::byte> content(const std::string& path) {
    std::vector<std::byte> bytes(fs::file_size(path));
    std::ifstream(path, std::ios::binary)
        .read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return bytes;
  }

  shoal::testing::TemporaryFolder folder_;
};

TEST_F(ModelCacheTest, FindsWhatWasDownloadedAlsoAfterARestart) {
  const Model model(1);
  {
    ModelCache cache = open();
    EXPECT_FALSE(holds(cache, model));
    fetch(cache, model);
    EXPECT_TRUE(holds(cache, model));
  }
  ModelCache again = open();
  EXPECT_TRUE(holds(again, model));
}

TEST_F(ModelCacheTest, ResumesAtTheChunkThatWasReached) {
  Model model(1);
  {
    ModelCache cache = open();
    ModelDownload download = begin(cache, model);
    EXPECT_EQ(download.first_chunk(), 0u);
    model.send(download, 0, 2);
    EXPECT_FALSE(cache.finish(model.digest, std::move(download)).ok()) << "chunks are missing";
  }
  model.seal_anew();  // another copy, under another key
  ModelCache cache = open();
  ModelDownload download = begin(cache, model);
  EXPECT_EQ(download.first_chunk(), 2u);
  model.send(download, 2, 4);
  auto path = cache.finish(model.digest, std::move(download));
  ASSERT_TRUE(path.ok()) << path.error().to_string();
  EXPECT_EQ(content(*path), model.bytes);
}

TEST_F(ModelCacheTest, ResumesAfterAKillWithAtMostOneChunkTwice) {
  const Model model(1, 20 * kChunkBytes + 5);
  Stream random(4, "kill");
  std::uint32_t reached = 0;
  while (reached + 1 < model.object.chunks()) {
    const auto to = std::min(model.object.chunks(), reached + 1 + static_cast<std::uint32_t>(random.below(4)));
    const pid_t child = ::fork();
    if (child == 0) {
      ModelCache cache = open();
      ModelDownload download = begin(cache, model);
      model.send(download, download.first_chunk(), to);
      // In the midst of the next chunk.
      std::ofstream(folder_.file(model.digest.hex() + ".partial"), std::ios::binary | std::ios::app) << "torn";
      ::_exit(0);
    }
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    ModelCache cache = open();
    const std::uint32_t first = begin(cache, model).first_chunk();
    EXPECT_GE(first + 1, to);
    reached = to;
  }
  ModelCache cache = open();
  fetch(cache, model);
}

TEST_F(ModelCacheTest, RefusesChunksThatDoNotOpenOrComeOutOfOrder) {
  const Model model(1);
  ModelCache cache = open();
  ModelDownload download = begin(cache, model);
  auto bad = model.chunk(0);
  bad[100] ^= std::byte{1};
  EXPECT_FALSE(download.write(0, bad).ok());
  EXPECT_FALSE(download.write(1, model.chunk(1)).ok());
  EXPECT_FALSE(download.write(0, model.chunk(1)).ok());
  EXPECT_FALSE(download.write(0, std::span(bad).first(50)).ok());
  model.send(download, 0, 4);
  EXPECT_FALSE(download.write(4, model.chunk(3)).ok());
  EXPECT_TRUE(cache.finish(model.digest, std::move(download)).ok());
}

TEST_F(ModelCacheTest, AModelWithAnotherDigestIsNotKept) {
  const Model model(1), other(2);
  ModelCache cache = open();
  auto download = cache.begin(other.digest, model.object);
  ASSERT_TRUE(download.ok());
  model.send(*download, 0, 4);
  const auto path = cache.finish(other.digest, std::move(*download));
  ASSERT_FALSE(path.ok());
  EXPECT_EQ(path.error().code(), ErrorCode::kCorrupt);
  EXPECT_FALSE(holds(cache, other));
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST_F(ModelCacheTest, AFileThatRottedOnDiskIsNotUsed) {
  const Model model(1);
  {
    ModelCache cache = open();
    fetch(cache, model);
  }
  std::fstream(folder_.file(model.digest.hex() + ".safetensors"), std::ios::in | std::ios::out | std::ios::binary)
      << "rot";
  ModelCache cache = open();
  EXPECT_FALSE(holds(cache, model));
  EXPECT_EQ(cache.bytes(), 0u);
  fetch(cache, model);
}

TEST_F(ModelCacheTest, TheLeastRecentlyUsedGoesFirst) {
  const std::size_t size = kChunkBytes;
  const Model a(1, size), b(2, size), c(3, size), d(4, size);
  {
    ModelCache cache = open(3 * size);
    fetch(cache, a);
    fetch(cache, b);
    fetch(cache, c);
    EXPECT_TRUE(holds(cache, a));
  }
  ModelCache cache = open(3 * size);  // the order is kept over restarts
  fetch(cache, d);
  EXPECT_FALSE(holds(cache, b));
  EXPECT_TRUE(holds(cache, a) && holds(cache, c) && holds(cache, d));
}

TEST_F(ModelCacheTest, NeverHoldsMoreThanItsQuota) {
  Stream random(5, "quota");
  const std::uint64_t quota = 5 * kChunkBytes;
  for (int i = 0; i < 40; ++i) {
    ModelCache cache = open(quota);
    const Model model(100 + random.below(12), 1 + random.below(2 * kChunkBytes));
    if (holds(cache, model)) continue;
    ModelDownload download = begin(cache, model);
    const bool whole = random.below(3) > 0;
    model.send(download, download.first_chunk(), whole ? model.object.chunks() : model.object.chunks() - 1);
    EXPECT_EQ(cache.finish(model.digest, std::move(download)).ok(), whole || model.object.chunks() == 0);
    EXPECT_LE(cache.bytes(), quota);
  }
}

TEST_F(ModelCacheTest, AModelBeyondTheQuotaIsRefused) {
  ModelCache cache = open(1000);
  const Model model(1);
  const auto download = cache.begin(model.digest, model.object);
  ASSERT_FALSE(download.ok());
  EXPECT_EQ(download.error().code(), ErrorCode::kExhausted);
}

}  // namespace
}  // namespace shoal::client
