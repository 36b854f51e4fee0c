#include "coordinator/segments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "coordinator/extent_header.h"
#include "tests/support/faulty_files.h"
#include "tests/support/sample_object.h"

namespace shoal::coordinator {
namespace {

using tests::FaultyFiles;
using tests::FileOperation;
using tests::SampleObject;

constexpr std::uint64_t kSegmentBytes = 2 << 20;
constexpr std::size_t kChunk = protocol::kChunkBytes;

class SegmentsTest : public testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void reopen() {
    bodies.reset();
    auto opened = open_segments(disk, {.folder = "/data/bodies", .segment_bytes = kSegmentBytes, .headroom_bytes = 0});
    ASSERT_TRUE(opened.ok()) << opened.error().to_string();
    bodies = std::move(*opened);
  }
  void crash() {
    disk.crash();
    reopen();
  }

  Status write(const SampleObject& object, std::uint32_t from, std::uint32_t to) {
    for (std::uint32_t chunk = from; chunk < to; ++chunk)
      SHOAL_TRY(bodies->write(AssignmentId{object.info().id}, chunk, object.sealed(chunk)));
    return {};
  }
  Status store(const SampleObject& object) {
    SHOAL_TRY_ASSIGN(const std::uint32_t held, bodies->open(AssignmentId{object.info().id}, object.info()));
    SHOAL_TRY(write(object, held, object.info().chunks()));
    return bodies->sync(AssignmentId{object.info().id});
  }
  bool holds(const SampleObject& object) {
    std::vector<std::byte> sealed;
    for (std::uint32_t chunk = 0; chunk < object.info().chunks(); ++chunk)
      if (!bodies->read(AssignmentId{object.info().id}, chunk, sealed).ok() || sealed != object.sealed(chunk))
        return false;
    return *bodies->info(AssignmentId{object.info().id}) == object.info();
  }
  std::vector<std::string> files(std::string_view suffix) {
    std::vector<std::string> names = *disk.list("/data/bodies");
    std::erase_if(names, [&](const std::string& name) { return !name.ends_with(suffix); });
    return names;
  }

  FaultyFiles disk{1};
  std::unique_ptr<BodyStore> bodies;
};

TEST_F(SegmentsTest, GivesBackWhatWasWrittenAlsoAfterACrash) {
  const SampleObject small(1, 100, 1), large(2, 2 * kChunk + 77, 2), empty(3, 0, 3);
  for (const SampleObject* object : {&small, &large, &empty}) ASSERT_TRUE(store(*object).ok());
  const std::uint64_t bytes = small.info().sealed_bytes() + large.info().sealed_bytes() + empty.info().sealed_bytes();
  EXPECT_EQ(bodies->bytes_held(), bytes);
  crash();
  for (const SampleObject* object : {&small, &large, &empty}) EXPECT_TRUE(holds(*object)) << object->info().id;
  EXPECT_EQ(bodies->held(), (std::vector{AssignmentId{1}, AssignmentId{2}, AssignmentId{3}}));
  EXPECT_EQ(bodies->bytes_held(), bytes);
}

TEST_F(SegmentsTest, AnUploadGoesOnAfterAnotherProcessTakesOver) {
  const SampleObject object(7, 5 * kChunk + 1, 7);
  ASSERT_EQ(*bodies->open(AssignmentId{7}, object.info()), 0u);
  ASSERT_TRUE(write(object, 0, 3).ok());
  reopen();  // the process was killed, the machine was not: nothing was synced, everything is there
  ASSERT_EQ(*bodies->open(AssignmentId{7}, object.info()), 3u);
  ASSERT_TRUE(write(object, 3, object.info().chunks()).ok());
  ASSERT_TRUE(bodies->sync(AssignmentId{7}).ok());
  crash();
  EXPECT_TRUE(holds(object));
  EXPECT_EQ(*bodies->open(AssignmentId{7}, object.info()), object.info().chunks());
}

TEST_F(SegmentsTest, AChunkThatDoesNotVerifyEndsWhatIsIntact) {
  const SampleObject object(7, 3 * kChunk, 7);
  ASSERT_TRUE(store(object).ok());
  const std::byte wrong = ~object.sealed(1)[1000];
  disk.overwrite("/data/bodies/00000001.segment", kBlock + kChunk + protocol::kTagBytes + 1000, std::span(&wrong, 1));
  reopen();
  EXPECT_EQ(*bodies->open(AssignmentId{7}, object.info()), 1u);
  EXPECT_TRUE(write(object, 1, 3).ok());
  EXPECT_TRUE(holds(object));
}

TEST_F(SegmentsTest, ACorruptHeaderCostsItsOwnBodyOnly) {
  const SampleObject first(1, 10'000, 1), second(2, kChunk, 2), third(3, 10, 3);
  for (const SampleObject* object : {&first, &second, &third}) ASSERT_TRUE(store(*object).ok());
  const std::byte wrong{0x55};
  disk.overwrite("/data/bodies/00000001.segment", extent_bytes(first.info()) + 40, std::span(&wrong, 1));
  reopen();
  EXPECT_EQ(bodies->held(), (std::vector{AssignmentId{1}, AssignmentId{3}}));
  EXPECT_TRUE(holds(first));
  EXPECT_TRUE(holds(third));
}

TEST_F(SegmentsTest, ABodyCannotPassForAHeader) {
  const SampleObject victim(1, 3 * kBlock, 1);
  ASSERT_TRUE(store(victim).ok());
  const std::vector<std::byte> segment = disk.contents("/data/bodies/00000001.segment");
  // The victim's header, copied into a block of the body, which is looked at once the real header does not verify.
  const auto header = std::span(segment).first(kBlock);
  disk.overwrite("/data/bodies/00000001.segment", 2 * kBlock, header);
  const std::byte wrong{0x55};
  disk.overwrite("/data/bodies/00000001.segment", 40, std::span(&wrong, 1));
  reopen();
  EXPECT_THAT(bodies->held(), testing::IsEmpty());
}

TEST_F(SegmentsTest, RefusesChunksOutOfOrderOrOfAnotherSize) {
  const SampleObject object(1, 2 * kChunk, 1);
  ASSERT_EQ(bodies->write(AssignmentId{1}, 0, object.sealed(0)).error().code(), ErrorCode::kNotFound);
  ASSERT_TRUE(bodies->open(AssignmentId{1}, object.info()).ok());
  EXPECT_EQ(bodies->write(AssignmentId{1}, 1, object.sealed(1)).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(bodies->write(AssignmentId{1}, 0, std::vector<std::byte>(5)).error().code(), ErrorCode::kInvalid);
  ASSERT_TRUE(write(object, 0, 2).ok());
  EXPECT_EQ(bodies->write(AssignmentId{1}, 2, object.sealed(1)).error().code(), ErrorCode::kInvalid);
  std::vector<std::byte> out;
  EXPECT_EQ(bodies->read(AssignmentId{1}, 2, out).error().code(), ErrorCode::kNotFound);
}

TEST_F(SegmentsTest, AnotherObjectReplacesAnIncompleteOneButNeverACompleteOne) {
  const SampleObject first(1, 2 * kChunk, 1), second(1, kChunk, 2);
  ASSERT_TRUE(bodies->open(AssignmentId{1}, first.info()).ok());
  ASSERT_TRUE(write(first, 0, 1).ok());
  ASSERT_EQ(*bodies->open(AssignmentId{1}, second.info()), 0u);
  ASSERT_TRUE(write(second, 0, 1).ok());
  ASSERT_TRUE(bodies->sync(AssignmentId{1}).ok());
  EXPECT_EQ(bodies->open(AssignmentId{1}, first.info()).error().code(), ErrorCode::kInvalid);
  crash();
  EXPECT_EQ(bodies->open(AssignmentId{1}, first.info()).error().code(), ErrorCode::kInvalid);
  EXPECT_TRUE(holds(second));
  EXPECT_EQ(bodies->bytes_held(), second.info().sealed_bytes());
}

TEST_F(SegmentsTest, TheKeyOfAPeriodGoesWithItsLastBody) {
  const SampleObject a(1, 1000, 1), b(2, 1000, 2), c(3, 1000, 3);
  ASSERT_TRUE(store(a).ok());
  ASSERT_TRUE(store(b).ok());
  EXPECT_EQ(files(".key"), (std::vector<std::string>{"00000001.key"}));
  ASSERT_TRUE(bodies->release(std::vector{AssignmentId{1}}).ok());
  ASSERT_TRUE(store(c).ok());  // after a release: the next period
  EXPECT_EQ(files(".key"), (std::vector<std::string>{"00000001.key", "00000002.key"}));
  ASSERT_TRUE(bodies->release(std::vector{AssignmentId{2}, AssignmentId{99}}).ok());
  EXPECT_EQ(files(".key"), (std::vector<std::string>{"00000002.key"}));
  ASSERT_TRUE(bodies->release(std::vector{AssignmentId{3}, AssignmentId{3}}).ok());
  EXPECT_THAT(files(".key"), testing::IsEmpty());
  EXPECT_EQ(bodies->bytes_held(), 0u);
}

TEST_F(SegmentsTest, ABodyWhoseKeyIsGoneIsGone) {
  ASSERT_TRUE(store(SampleObject(1, 1000, 1)).ok());
  ASSERT_TRUE(disk.remove("/data/bodies/00000001.key").ok());
  reopen();
  EXPECT_THAT(bodies->held(), testing::IsEmpty());
  EXPECT_THAT(files(""), testing::IsEmpty());  // nor is its segment kept
}

TEST_F(SegmentsTest, OneEmptySegmentIsKeptAndReleasedSpaceOfOthersGoesBackWithTheNextRelease) {
  constexpr std::size_t kBody = 900'000;  // two fit in a segment
  for (std::uint64_t id = 1; id <= 8; ++id) ASSERT_TRUE(store(SampleObject(id, kBody, id)).ok());
  EXPECT_THAT(files(".segment"), testing::SizeIs(4));
  ASSERT_TRUE(
      bodies->release(std::vector{AssignmentId{1}, AssignmentId{2}, AssignmentId{3}, AssignmentId{4}, AssignmentId{5}})
          .ok());
  EXPECT_EQ(files(".segment"), (std::vector<std::string>{"00000001.segment", "00000003.segment", "00000004.segment"}));
  const auto is_punched = [&] {
    const std::vector<std::byte> segment = disk.contents("/data/bodies/00000003.segment");
    const std::uint64_t extent = extent_bytes(SampleObject(5, kBody, 5).info());
    return std::all_of(segment.begin(), segment.begin() + static_cast<std::ptrdiff_t>(extent),
                       [](std::byte b) { return b == std::byte{}; });
  };
  EXPECT_FALSE(is_punched()) << "most segments are empty soon, and then it would be for nothing";
  ASSERT_TRUE(bodies->release(std::vector{AssignmentId{99}}).ok());
  EXPECT_TRUE(is_punched());
  EXPECT_TRUE(holds(SampleObject(6, kBody, 6)));
  ASSERT_TRUE(store(SampleObject(9, kBody, 9)).ok());  // in the first one
  EXPECT_THAT(files(".segment"), testing::SizeIs(3));
  crash();
  // Released ones may be found again: the key that they shared is still wanted, and it is for the owner to release
  // orphans.
  for (std::uint64_t id = 6; id <= 9; ++id) EXPECT_TRUE(holds(SampleObject(id, kBody, id)));
}

TEST_F(SegmentsTest, AnEmptySegmentIsWrittenOverAndNothingOldComesBack) {
  for (std::uint64_t round = 0; round < 3; ++round) {
    const SampleObject a(2 * round + 1, 30'000 + 7000 * round, 1), b(2 * round + 2, 9000, 2);
    ASSERT_TRUE(store(a).ok());
    ASSERT_TRUE(store(b).ok());
    crash();
    EXPECT_EQ(bodies->held(), (std::vector{AssignmentId{2 * round + 1}, AssignmentId{2 * round + 2}}));
    EXPECT_TRUE(holds(a));
    EXPECT_TRUE(holds(b));
    ASSERT_TRUE(bodies->release(bodies->held()).ok());
    const SampleObject c(100 + round, 50'000, 3), d(200 + round, 4000, 4);
    ASSERT_TRUE(store(c).ok());
    ASSERT_TRUE(bodies->release(std::vector{AssignmentId{100 + round}}).ok());
    ASSERT_TRUE(store(d).ok());  // where the header and chunks of c were
    crash();
    EXPECT_EQ(bodies->held(), std::vector{AssignmentId{200 + round}});
    EXPECT_TRUE(holds(d));
    ASSERT_TRUE(bodies->release(bodies->held()).ok());
  }
}

TEST_F(SegmentsTest, AManyRoundsOldFolderStaysSmall) {
  for (std::uint64_t round = 0; round < 50; ++round) {
    std::vector<AssignmentId> ids;
    for (std::uint64_t i = 0; i < 3; ++i) {
      const SampleObject object(round * 3 + i + 1, 300'000, round);
      ASSERT_TRUE(store(object).ok());
      ids.push_back(AssignmentId{object.info().id});
    }
    ASSERT_TRUE(bodies->release(ids).ok());
  }
  EXPECT_LE(files("").size(), 2u);
}

TEST_F(SegmentsTest, ABodyLargerThanASegmentGetsOneOfItsOwn) {
  const SampleObject object(1, 2 * kSegmentBytes, 1);
  ASSERT_TRUE(store(object).ok());
  crash();
  EXPECT_TRUE(holds(object));
}

TEST_F(SegmentsTest, AFullDiskRefusesNewBodiesAndRecoversByItself) {
  const SampleObject first(1, 900'000, 1), second(2, 900'000, 2), third(3, 1'000'000, 3);
  disk.set_capacity(2 * kSegmentBytes - 400'000);
  ASSERT_TRUE(store(first).ok());
  ASSERT_TRUE(store(second).ok());
  ASSERT_TRUE(bodies->open(AssignmentId{3}, third.info()).ok());  // the last of the disk
  const Status full = store(SampleObject(4, 900'000, 4));
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code(), ErrorCode::kExhausted);
  EXPECT_TRUE(write(third, 0, third.info().chunks()).ok());  // what was reserved has its room
  EXPECT_TRUE(bodies->sync(AssignmentId{3}).ok());
  ASSERT_TRUE(bodies->release(std::vector{AssignmentId{1}, AssignmentId{2}}).ok());
  EXPECT_TRUE(store(SampleObject(4, 900'000, 4)).ok());
  EXPECT_TRUE(holds(third));
}

TEST_F(SegmentsTest, AFailedSyncIsNotForgottenByTheNextOne) {
  const SampleObject before(1, kChunk, 1), during(2, kChunk, 2);
  ASSERT_TRUE(store(before).ok());
  ASSERT_TRUE(bodies->open(AssignmentId{2}, during.info()).ok());
  ASSERT_TRUE(write(during, 0, 1).ok());
  disk.set_fault([](FileOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation != FileOperation::kSync || !path.ends_with(".segment")) return std::nullopt;
    return Error(ErrorCode::kFailed, "input/output error");
  });
  EXPECT_FALSE(bodies->sync(AssignmentId{2}).ok());
  disk.set_fault(nullptr);
  EXPECT_EQ(bodies->sync(AssignmentId{2}).error().code(), ErrorCode::kNotFound);  // what was lost is not called durable
  EXPECT_EQ(*bodies->open(AssignmentId{2}, during.info()), 0u);                   // and is received once more
  ASSERT_TRUE(write(during, 0, 1).ok());
  ASSERT_TRUE(bodies->sync(AssignmentId{2}).ok());
  crash();
  EXPECT_TRUE(holds(before));
  EXPECT_TRUE(holds(during));
}

TEST_F(SegmentsTest, BodiesThatAreSyncedTogetherShareSyncs) {
  constexpr int kThreads = 8, kBodies = 25;
  std::atomic<int> syncs = 0;
  std::atomic<int> failures = 0;
  disk.set_fault([&](FileOperation operation, const std::string& path) -> std::optional<Error> {
    if (operation == FileOperation::kSync && path.ends_with(".segment")) ++syncs;
    return std::nullopt;
  });
  const auto send = [&](int thread) {
    for (int i = 0; i < kBodies; ++i) {
      const SampleObject object(static_cast<std::uint64_t>(thread * kBodies + i + 1), 3000, 5);
      if (!store(object).ok() || !holds(object)) ++failures;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back(send, thread);
  }
  EXPECT_EQ(failures, 0);
  EXPECT_LE(syncs, kThreads * kBodies);
  EXPECT_EQ(bodies->held().size(), std::size_t{kThreads * kBodies});
}

// 200 times: bodies are opened, written, synced and released until the power fails somewhere; then everything that was
// synced and not released is there, and whatever else is there verifies up to where it ends.
TEST(SegmentsCrash, KeepWhatWasSyncedAtEveryCrashPoint) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    FaultyFiles disk(seed);
    Stream random(seed, "segments crash");
    std::map<std::uint64_t, bool> synced;  // id -> whether it must be there; absent: must not matter
    const auto object_of = [&](std::uint64_t id) {
      return SampleObject(id, derive_seed(seed, "size", id) % (id % 5 == 0 ? 2 * kChunk + 9000 : 30'000), id);
    };
    std::uint64_t next_id = 1;
    for (int life = 0; life < 3; ++life) {
      auto opened = open_segments(disk, {.folder = "/data/bodies", .segment_bytes = 1 << 20, .headroom_bytes = 0});
      ASSERT_TRUE(opened.ok()) << opened.error().to_string();
      BodyStore& bodies = **opened;
      for (const auto& [id, must] : synced) {
        if (!must) continue;
        const SampleObject object = object_of(id);
        ASSERT_TRUE(bodies.info(AssignmentId{id}).ok()) << id;
        ASSERT_EQ(*bodies.open(AssignmentId{id}, object.info()), object.info().chunks()) << id;
      }
      for (AssignmentId id : bodies.held()) {
        const SampleObject object = object_of(id.value);
        const auto held = bodies.open(id, object.info());
        ASSERT_TRUE(held.ok());
        std::vector<std::byte> sealed;
        for (std::uint32_t chunk = 0; chunk < *held; ++chunk) {
          ASSERT_TRUE(bodies.read(id, chunk, sealed).ok());
          ASSERT_EQ(sealed, object.sealed(chunk));
        }
      }
      disk.cut_power_after(5 + random.below(120));
      std::vector<std::uint64_t> open;
      while (!disk.power_is_cut()) {
        const std::uint64_t choice = random.below(10);
        if (choice < 5 || open.empty()) {
          const SampleObject object = object_of(next_id);
          if (!bodies.open(AssignmentId{next_id}, object.info()).ok()) break;
          bool written = true;
          for (std::uint32_t chunk = 0; chunk < object.info().chunks() && written; ++chunk)
            written = bodies.write(AssignmentId{next_id}, chunk, object.sealed(chunk)).ok();
          if (!written) break;
          open.push_back(next_id++);
        } else if (choice < 8) {
          const std::uint64_t id = open[random.below(open.size())];
          if (!bodies.sync(AssignmentId{id}).ok()) break;
          if (!synced.contains(id)) synced[id] = true;
        } else {
          const std::uint64_t id = open[random.below(open.size())];
          synced[id] = false;
          std::erase(open, id);
          if (!bodies.release(std::vector{AssignmentId{id}}).ok()) break;
        }
      }
      disk.crash();
      ++next_id;  // the one during which the power failed may be there or not
    }
  }
}

}  // namespace
}  // namespace shoal::coordinator
