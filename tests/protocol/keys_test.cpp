#include "protocol/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zmq.h>

#include <filesystem>

#include "base/rng.h"
#include "protocol/durable_file.h"
#include "protocol/limits.h"
#include "tests/support/temporary_folder.h"

namespace shoal::protocol {
namespace {

using ::testing::HasSubstr;

TEST(Z85Test, TheVectorOfTheSpecification) {
  const std::vector<std::uint8_t> bytes{0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B};
  EXPECT_EQ(z85_encode(bytes), "HelloWorld");
  EXPECT_EQ(*z85_decode("HelloWorld"), bytes);
}

TEST(Z85Test, RandomBytesComeBackAndAgreeWithZeroMQ) {
  Stream stream(2, "z85");
  for (int i = 0; i < 500; ++i) {
    std::vector<std::uint8_t> bytes(4 * (1 + stream.below(20)));
    for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(stream.next32());
    const std::string text = z85_encode(bytes);
    ASSERT_EQ(*z85_decode(text), bytes);
    std::string theirs(text.size() + 1, '\0');
    ASSERT_NE(zmq_z85_encode(theirs.data(), bytes.data(), bytes.size()), nullptr);
    ASSERT_EQ(text, theirs.c_str());
  }
}

TEST(Z85Test, WhatIsNotZ85IsRefused) {
  for (const char* bad : {"Hello World", "Hell", "Hello\"orld", "Hell\xC3\xA9", "#####", "%nSc1"})
    EXPECT_FALSE(z85_decode(bad).ok()) << bad;
  EXPECT_EQ(*z85_decode("%nSc0"), std::vector<std::uint8_t>(4, 0xFF));  // 2^32 - 1 is the last that fits
}

TEST(KeysTest, AKeyIsFortyCharacters) {
  PublicKey key;
  key.fill(7);
  const std::string text = z85_encode(key);
  ASSERT_EQ(text.size(), 40u);
  EXPECT_EQ(*parse_key(text), key);
  EXPECT_FALSE(parse_key(text.substr(5)).ok());
  EXPECT_FALSE(parse_key(text + "00000").ok());
  EXPECT_FALSE(parse_key("").ok());
}

TEST(KeysTest, ThePublicKeyOfTheScalarNine) {  // RFC 7748, 5.2: one iteration
  SecretKey nine{9};
  const std::vector<std::uint8_t> expected{0x42, 0x2c, 0x8e, 0x7a, 0x62, 0x27, 0xd7, 0xbc, 0xa1, 0x35, 0x0b,
                                           0x3e, 0x2b, 0xb7, 0x27, 0x9f, 0x78, 0x97, 0xb8, 0x7b, 0xb6, 0x85,
                                           0x4b, 0x78, 0x3c, 0x60, 0xe8, 0x03, 0x11, 0xae, 0x30, 0x79};
  EXPECT_THAT(*public_key_of(nine), ::testing::ElementsAreArray(expected));
}

TEST(KeysTest, PairsAreThoseThatZeroMQWouldDerive) {
  for (int i = 0; i < 10; ++i) {
    const Result<KeyPair> keys = make_key_pair();
    ASSERT_TRUE(keys.ok()) << keys.error().to_string();
    char theirs[41];
    ASSERT_EQ(zmq_curve_public(theirs, z85_encode(keys->secret_key).c_str()), 0);
    EXPECT_EQ(z85_encode(keys->public_key), theirs);
  }
}

TEST(KeysTest, NoTwoPairsAreAlike) { EXPECT_NE(make_key_pair()->secret_key, make_key_pair()->secret_key); }

class KeyFileTest : public ::testing::Test {
 protected:
  Error load_error() {
    const Result<KeyPair> loaded = load_key_pair(path_);
    return loaded.ok() ? Error(ErrorCode::kFailed, "it was loaded") : loaded.error();
  }
  void write(const std::string& text) {
    std::filesystem::remove(path_);
    ASSERT_TRUE(write_file(path_, text, 0600, IfExists::kRefuse).ok());
  }

  testing::TemporaryFolder folder_;
  const std::string path_ = folder_.file("device.key");
  const KeyPair keys_ = *make_key_pair();
};

TEST_F(KeyFileTest, ASavedPairIsLoadedAgain) {
  ASSERT_TRUE(save_key_pair(path_, keys_).ok());
  const Result<KeyPair> loaded = load_key_pair(path_);
  ASSERT_TRUE(loaded.ok()) << loaded.error().to_string();
  EXPECT_EQ(*loaded, keys_);
}

TEST_F(KeyFileTest, OnlyTheOwnerMayReadIt) {
  const mode_t old_mask = ::umask(0);
  ASSERT_TRUE(save_key_pair(path_, keys_).ok());
  ::umask(old_mask);
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(KeyFileTest, AKeyIsNeverOverwritten) {
  ASSERT_TRUE(save_key_pair(path_, keys_).ok());
  const Status again = save_key_pair(path_, *make_key_pair());
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(*load_key_pair(path_), keys_);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);  // no temporary file stays
}

TEST_F(KeyFileTest, AFileThatOthersMayReadIsRefusedWithWhatToDo) {
  ASSERT_TRUE(save_key_pair(path_, keys_).ok());
  for (mode_t mode : {0640u, 0604u, 0620u}) {
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
    EXPECT_EQ(load_error().code(), ErrorCode::kDenied);
    EXPECT_THAT(load_error().message(), HasSubstr("chmod 600 " + path_));
  }
}

TEST_F(KeyFileTest, AMissingFileIsNotFound) { EXPECT_EQ(load_error().code(), ErrorCode::kNotFound); }

TEST_F(KeyFileTest, DamagedFilesAreCorrupt) {
  const std::string pub = "public-key = " + z85_encode(keys_.public_key) + "\n";
  const std::string sec = "secret-key = " + z85_encode(keys_.secret_key) + "\n";
  const std::string other = "public-key = " + z85_encode(make_key_pair()->public_key) + "\n";
  for (const std::string& text : {std::string(), pub, sec, pub + sec + sec, other + sec, pub + sec.substr(0, 30) + "\n",
                                  pub + sec + "more = 1\n", pub + sec + std::string(kMaxKeyFileBytes, '\n')}) {
    write(text);
    EXPECT_EQ(load_error().code(), ErrorCode::kCorrupt) << text;
    EXPECT_THAT(load_error().to_string(), HasSubstr(path_));
  }
  write(pub + sec);
  EXPECT_EQ(*load_key_pair(path_), keys_);
}

}  // namespace
}  // namespace shoal::protocol
