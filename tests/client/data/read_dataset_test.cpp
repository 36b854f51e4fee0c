#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "client/data/dataset.h"
#include "protocol/safetensors_file.h"
#include "tests/client/data/temporary_folder.h"

namespace shoal::client::data {
namespace {

using namespace std::string_literals;

ErrorCode code_of(const std::string& source, const std::string& split = "train") {
  const auto result = read_dataset(source, split);
  EXPECT_FALSE(result.ok()) << source;
  return result.ok() ? ErrorCode::kFailed : result.error().code();
}

TEST(ReadDataset, knows_a_source_by_its_name) {
  const TemporaryFolder folder;
  folder.write("train-images-idx3-ubyte", "\0\0\x08\x03\0\0\0\2\0\0\0\1\0\0\0\1ab"s);
  folder.write("train-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\2\0\1"s);
  EXPECT_EQ(read_dataset(folder.path(), "train").value().rows(), 2u);
  EXPECT_EQ(code_of(folder.path(), "test"), ErrorCode::kNotFound);

  folder.write("train.csv", "x,label\n1,0\n2,1\n3,1\n");
  folder.write("test.csv", "x,label\n1,0\n2,1\n");
  EXPECT_EQ(read_dataset(folder.path("train.csv"), "train").value().rows(), 3u);
  EXPECT_EQ(read_dataset(folder.path("{split}.csv"), "test").value().rows(), 2u);
  EXPECT_EQ(code_of(folder.path("train.csv"), "test"), ErrorCode::kNotFound);
  EXPECT_EQ(code_of(folder.path("other.csv")), ErrorCode::kNotFound);
  folder.write("train.txt", "to be or not\n");
  folder.write("test.txt", "that is\n");
  ReadOptions windows;
  windows.window = 3;
  EXPECT_EQ(read_dataset(folder.path("{split}.txt"), "train", windows).value().rows(), 10u);
  EXPECT_EQ(read_dataset(folder.path("{split}.txt"), "test", windows).value().rows(), 5u);
  EXPECT_EQ(code_of(folder.path("train.txt")), ErrorCode::kInvalid) << "shorter than a window";
  EXPECT_EQ(code_of(folder.write("picture.jpg", "?")), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(folder.path("train.csv"), "validation"), ErrorCode::kInvalid);
}

TEST(ReadDataset, makes_procedural_sets_by_name) {
  const Dataset all = read_dataset("procedural:7:3:5", "train").value();
  EXPECT_EQ(all.rows(), 15u);
  const Dataset last = read_dataset("procedural:7:2..2:5", "train").value();
  EXPECT_EQ(last.rows(), 5u);
  EXPECT_TRUE(std::equal(last.bytes.begin(), last.bytes.end(), all.bytes.begin() + 10 * 784));
  EXPECT_NE(read_dataset("procedural:7:3:5", "test").value().bytes, all.bytes);
  for (const char* bad : {"procedural:", "procedural:1:2", "procedural:1:2:3:4", "procedural:1:4..2:3",
                          "procedural:x:2:3", "procedural:1:0:3", "procedural:1:0..4294967295:1"})
    EXPECT_EQ(code_of(bad), ErrorCode::kInvalid) << bad;
  EXPECT_EQ(code_of("procedural:1:100000:100000"), ErrorCode::kExhausted);
}

// A file with the tensors x (bytes), y and groups, as any safetensors library writes it.
std::string safetensors(const std::string& x, const std::string& y_values, const std::string& groups) {
  std::string header = R"({"x":{"dtype":"U8","shape":[3,2],"data_offsets":[0,6]},)"
                       R"("y":{"dtype":"U8","shape":[3],"data_offsets":[6,9]},)"
                       R"("groups":{"dtype":"U8","shape":[3],"data_offsets":[9,12]}})";
  while (header.size() % 8 != 0) header += ' ';
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  return file + header + x + y_values + groups;
}

TEST(ReadDataset, takes_x_y_and_groups_from_safetensors) {
  const TemporaryFolder folder;
  const Dataset data =
      read_dataset(folder.write("d.safetensors", safetensors("abcdef", "\1\0\1"s, "\0\2\1"s)), "train").value();
  EXPECT_EQ(data.shape, (std::vector<std::uint32_t>{2}));
  EXPECT_EQ(data.bytes[5], 'f');
  EXPECT_EQ(data.labels, (std::vector<std::uint32_t>{1, 0, 1}));
  EXPECT_EQ(data.groups, (std::vector<std::uint32_t>{0, 2, 1}));
  EXPECT_EQ(data.group_names.size(), 3u);

  EXPECT_EQ(code_of(folder.write("short.safetensors", safetensors("abcde", "\1\0\1"s, "\0\2\1"s))),
            ErrorCode::kCorrupt);
  EXPECT_EQ(code_of(folder.write("same.safetensors", safetensors("abcdef", "\0\0\0"s, "\0\2\1"s))),
            ErrorCode::kCorrupt);
  const TensorLayout model = TensorLayout::make({{"w", {2}, "head"}}).value();
  protocol::write_model(folder.path("model.safetensors"), model, std::vector<float>{1, 2}, {}).value();
  EXPECT_EQ(code_of(folder.path("model.safetensors")), ErrorCode::kInvalid);
}

std::string real_data(const std::string& name) {
  const char* named = std::getenv("SHOAL_DATA");
  return (named != nullptr ? std::string(named) : std::string(SHOAL_SOURCE_DIR "/../shared/data")) + "/" + name;
}

TEST(ReadDataset, reads_real_mnist) {
  const std::string folder = real_data("mnist");
  if (!std::filesystem::is_directory(folder))
    GTEST_SKIP() << "no MNIST in " << folder << "; set SHOAL_DATA to its parent";
  const Dataset test = read_dataset(folder, "test").value();
  EXPECT_EQ(test.rows(), 10000u);
  EXPECT_EQ(test.shape, (std::vector<std::uint32_t>{1, 28, 28}));
  EXPECT_EQ(test.classes, 10u);
  EXPECT_EQ(std::vector(test.labels.begin(), test.labels.begin() + 5), (std::vector<std::uint32_t>{7, 2, 1, 0, 4}));
  EXPECT_EQ(read_dataset(folder, "train").value().rows(), 60000u);
}

TEST(ReadDataset, reads_real_cifar) {
  const std::string folder = real_data("cifar10");
  const std::string file = folder + "/test_batch.partial.bin.xz";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no CIFAR-10 in " << folder << "; set SHOAL_DATA to its parent";
  const Dataset test = read_dataset(folder, "test").value();
  EXPECT_EQ(test.rows(), 9968u);
  EXPECT_EQ(std::ranges::count(test.labels, 8u), 969);  // ships
}

}  // namespace
}  // namespace shoal::client::data
