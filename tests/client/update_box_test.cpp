// The unsent update on disk: sealed right, found again, and never half there, wherever the program died.
#include "client/update_box.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "protocol/sha256.h"
#include "tests/support/temporary_folder.h"

namespace shoal::client {
namespace {

using protocol::kChunkBytes;
using protocol::kTagBytes;
namespace fs = std::filesystem;

constexpr AssignmentId kFirst{7}, kSecond{8};
// Two whole chunks and a short one.
constexpr std::size_t kFloats = 2 * kChunkBytes / sizeof(float) + 1000;

std::vector<float> some_delta(float first, std::size_t n = kFloats) {
  std::vector<float> delta(n);
  std::iota(delta.begin(), delta.end(), first);
  return delta;
}

// Keeps the warnings.
class Warnings final : public Log {
 public:
  void write(LogLevel level, std::string_view line) override {
    if (level >= LogLevel::kWarning) lines.emplace_back(line);
  }
  std::vector<std::string> lines;
};

class UpdateBoxTest : public ::testing::Test {
 protected:
  UpdateBox open() {
    log_.lines.clear();
    auto box = UpdateBox::open(folder_.path(), log_);
    EXPECT_TRUE(box.ok()) << box.error().to_string();
    return std::move(*box);
  }

  // Every chunk, opened with the key that is announced.
  std::vector<float> content(const UpdateBox& box) {
    const UnsentUpdate& update = *box.unsent();
    auto source = box.source(update.assignment);
    EXPECT_TRUE(source.ok());
    protocol::ChunkCipher cipher(update.object);
    std::vector<std::byte> plain(update.object.bytes), sealed;
    protocol::Sha256 tags;
    for (std::uint32_t chunk = 0; chunk < update.object.chunks(); ++chunk) {
      EXPECT_TRUE((*source)->read(chunk, sealed).ok());
      const auto out = std::span(plain).subspan(std::size_t{chunk} * kChunkBytes, sealed.size() - kTagBytes);
      EXPECT_TRUE(cipher.open(chunk, sealed, out).ok());
      tags.update(std::span(sealed).last(kTagBytes));
    }
    EXPECT_EQ(tags.finish(), update.facts.digest);
    std::vector<float> delta(plain.size() / sizeof(float));
    std::ranges::copy(plain, std::as_writable_bytes(std::span(delta)).begin());  // of nothing, too
    return delta;
  }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.push_back(entry.path().filename());
    return names;
  }

  // Runs `work` in a child process; its wait status.
  template <class Work>
  int in_child(Work work) {
    const pid_t child = ::fork();
    if (child == 0) {
      work();
      ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }

  // Seals in a child process that the kernel ends at this byte of the file, as kill -9 would.
  bool dies_at(std::uint64_t limit, AssignmentId id, const std::vector<float>& delta) {
    const int status = in_child([&] {
      const rlimit at{limit, limit}, no_core{0, 0};
      ::setrlimit(RLIMIT_CORE, &no_core);
      UpdateBox box = open();
      ::setrlimit(RLIMIT_FSIZE, &at);
      ::signal(SIGXFSZ, SIG_DFL);
      // A write that crosses the limit is cut short there, and the next one ends the process.
      (void)box.seal(id, {}, delta);
    });
    return WIFSIGNALED(status);
  }

  shoal::testing::TemporaryFolder folder_;
  Warnings log_;
};

TEST_F(UpdateBoxTest, KeepsAnUpdateOverRestarts) {
  protocol::UpdateFacts facts;
  facts.samples = 480;
  facts.loss = 0.5;
  auto sealed = open().seal(kFirst, facts, some_delta(1));
  ASSERT_TRUE(sealed.ok()) << sealed.error().to_string();
  EXPECT_EQ(sealed->object.id, kFirst.value);
  EXPECT_EQ(sealed->facts.bytes, kFloats * sizeof(float));

  const UpdateBox box = open();
  ASSERT_TRUE(box.unsent());
  EXPECT_EQ(box.unsent()->object, sealed->object);
  EXPECT_EQ(box.unsent()->facts.samples, 480u);
  EXPECT_EQ(content(box), some_delta(1));
  EXPECT_TRUE(log_.lines.empty());
}

TEST_F(UpdateBoxTest, FilesAreForTheirOwnerOnly) {
  ASSERT_TRUE(open().seal(kFirst, {}, some_delta(1)).ok());
  for (const auto& entry : fs::directory_iterator(folder_.path()))
    EXPECT_EQ(fs::status(entry).permissions(), fs::perms::owner_read | fs::perms::owner_write) << entry.path();
}

TEST_F(UpdateBoxTest, ChangedContentGetsANewKey) {
  UpdateBox box = open();
  const auto first = box.seal(kFirst, {}, some_delta(1));
  const auto again = box.seal(kFirst, {}, some_delta(2));
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_NE(first->object.key, again->object.key);
  EXPECT_NE(first->facts.digest, again->facts.digest);
  EXPECT_EQ(content(box), some_delta(2));
}

TEST_F(UpdateBoxTest, ANewUpdateReplacesTheOldOneAndADroppedOneIsGone) {
  UpdateBox box = open();
  ASSERT_TRUE(box.seal(kFirst, {}, some_delta(1)).ok());
  ASSERT_TRUE(box.seal(kSecond, {}, some_delta(2)).ok());
  EXPECT_EQ(files().size(), 1u);
  EXPECT_FALSE(box.source(kFirst).ok());
  ASSERT_TRUE(box.drop(kFirst).ok()) << "which it does not hold";
  EXPECT_TRUE(box.unsent());
  ASSERT_TRUE(box.drop(kSecond).ok());
  EXPECT_FALSE(box.unsent());
  EXPECT_FALSE(open().unsent());
  EXPECT_TRUE(log_.lines.empty());
  EXPECT_TRUE(files().empty()) << "the next start gives the space back";
}

TEST_F(UpdateBoxTest, AnUpdateOfAnotherLengthMayFollow) {
  UpdateBox box = open();
  for (const std::size_t floats : {kFloats, std::size_t{100}, kFloats, std::size_t{0}, std::size_t{1}}) {
    ASSERT_TRUE(box.seal(kFirst, {}, some_delta(1, floats)).ok());
    const UpdateBox again = open();
    ASSERT_TRUE(again.unsent()) << floats;
    EXPECT_EQ(content(again), some_delta(1, floats));
  }
}

// The next update is written over the old one: dying in between must not leave a mixture of both.
TEST_F(UpdateBoxTest, AnOldUpdateIsNotMixedWithTheNext) {
  Stream random(4, "kill");
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t limit = 4096 + random.below(kFloats * sizeof(float));
    ASSERT_TRUE(open().seal(kFirst, {}, some_delta(1)).ok());
    ASSERT_TRUE(dies_at(limit, kSecond, some_delta(2))) << "the limit was not reached";
    EXPECT_FALSE(open().unsent());
    EXPECT_TRUE(log_.lines.empty());
  }
}

TEST_F(UpdateBoxTest, ASourceOutlivesTheDrop) {
  UpdateBox box = open();
  ASSERT_TRUE(box.seal(kFirst, {}, some_delta(1)).ok());
  const auto source = box.source(kFirst);
  ASSERT_TRUE(source.ok());
  ASSERT_TRUE(box.drop(kFirst).ok());
  std::vector<std::byte> chunk;
  EXPECT_TRUE((*source)->read(0, chunk).ok());
  EXPECT_FALSE((*source)->read(3, chunk).ok());
}

TEST_F(UpdateBoxTest, DropsWhatWasDamagedWithALine) {
  const std::string path = folder_.file("update");
  const auto damage = [&](std::uintmax_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char flipped = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(flipped);
  };
  Stream random(1, "damage");
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(open().seal(kFirst, {}, some_delta(1)).ok());
    const std::uint64_t size = fs::file_size(path);
    if (i % 4 == 0) fs::resize_file(path, 1 + random.below(size - 1));
    if (i % 4 == 1) damage(random.below(size));
    if (i % 4 == 2) damage(random.below(4096));
    if (i % 4 == 3) fs::resize_file(path, size + 1 + random.below(5000));
    const UpdateBox box = open();
    ASSERT_FALSE(box.unsent()) << "case " << i;
    EXPECT_EQ(log_.lines.size(), 1u);
    EXPECT_TRUE(files().empty());
  }
}

// The kernel ends the child at a chosen byte of the body, as kill -9 would.
TEST_F(UpdateBoxTest, SurvivesBeingKilledAnywhereInTheBody) {
  Stream random(2, "kill");
  const std::uint64_t whole = kFloats * sizeof(float) + 3 * kTagBytes;
  for (int i = 0; i < 40; ++i) {
    const std::uint64_t limit = 4096 + random.below(whole - 4096);
    ASSERT_TRUE(dies_at(limit, kFirst, some_delta(1))) << "the limit was not reached";
    const UpdateBox box = open();
    EXPECT_FALSE(box.unsent());
    EXPECT_TRUE(files().empty()) << "leftovers go";
  }
}

TEST_F(UpdateBoxTest, AFullDiskIsAnErrorAndLeavesNothing) {
  const int status = in_child([&] {
    UpdateBox box = open();
    const rlimit at{kChunkBytes, kChunkBytes};
    ::setrlimit(RLIMIT_FSIZE, &at);
    ::signal(SIGXFSZ, SIG_IGN);
    if (box.seal(kFirst, {}, some_delta(1)).ok() || box.unsent() || !files().empty()) ::_exit(1);
  });
  EXPECT_EQ(status, 0);
}

// A child seals one update after the other and tells each; it is killed somewhere in the next one.
TEST_F(UpdateBoxTest, SurvivesKillsBetweenTheSteps) {
  Stream random(3, "kill");
  for (int i = 0; i < 40; ++i) {
    int told[2];
    ASSERT_EQ(::pipe(told), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      UpdateBox box = open();
      for (std::uint64_t id = 1;; ++id) {
        if (!box.seal(AssignmentId{id}, {}, some_delta(static_cast<float>(id), 5000)).ok()) ::_exit(1);
        const std::uint8_t number = static_cast<std::uint8_t>(id);
        if (::write(told[1], &number, 1) != 1) ::_exit(1);
      }
    }
    ::close(told[1]);
    std::uint8_t last = 0;
    for (std::uint64_t n = 1 + random.below(5); n > 0; --n) ASSERT_EQ(::read(told[0], &last, 1), 1);
    for (std::uint64_t turns = random.below(2000); turns > 0; --turns) ::sched_yield();  // a little further, by chance
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    ::close(told[0]);
    const UpdateBox box = open();
    EXPECT_TRUE(log_.lines.empty()) << log_.lines[0];
    if (box.unsent()) {
      EXPECT_GE(box.unsent()->assignment.value, last);
      EXPECT_EQ(content(box), some_delta(static_cast<float>(box.unsent()->assignment.value), 5000));
    }
  }
}

TEST_F(UpdateBoxTest, WhatWasSealedIsThereAfterAKill) {
  const int status = in_child([&] {
    UpdateBox box = open();
    if (box.seal(kFirst, {}, some_delta(1)).ok()) ::raise(SIGKILL);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  const UpdateBox box = open();
  ASSERT_TRUE(box.unsent());
  EXPECT_EQ(content(box), some_delta(1));
}

}  // namespace
}  // namespace shoal::client
