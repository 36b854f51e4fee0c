#include "protocol/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/rng.h"
#include "protocol/limits.h"

namespace shoal::protocol {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string with_length(const std::string& json) {
  const std::uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + json;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

Result<SafetensorsHeader> parse_json(const std::string& json, std::uint64_t data_bytes) {
  const std::string file = with_length(json);
  return parse_header(bytes_of(file), file.size() + data_bytes);
}

// The header of `json` before `data_bytes` of data is refused, and the reason says `why`.
void expect_corrupt(const std::string& json, std::uint64_t data_bytes, const char* why) {
  const Result<SafetensorsHeader> header = parse_json(json, data_bytes);
  ASSERT_FALSE(header.ok()) << json;
  EXPECT_EQ(header.error().code(), ErrorCode::kCorrupt);
  EXPECT_THAT(header.error().to_string(), HasSubstr(why)) << json;
}

TensorLayout sample_layout() {
  return *TensorLayout::make({{"fc1.weight", {200, 784}, "backbone"},
                              {"fc1.bias", {200}, "bias"},
                              {"scale", {}, "norm"},
                              {"fc2.weight", {10, 200}, "head"},
                              {"fc2.bias", {10}, "head"}});
}

TEST(SafetensorsTest, ReadsAFileOfThePublicLayout) {
  const Result<SafetensorsHeader> header =
      parse_json(R"({"y":{"dtype":"I64","shape":[3],"data_offsets":[24,48]},"__metadata__":{"format":"pt"},)"
                 R"("x":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}    )",
                 48);
  ASSERT_TRUE(header.ok()) << header.error().to_string();
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors[0].name, "x");  // by offset, not by place in the text
  EXPECT_EQ(header->tensors[0].dtype, Dtype::kF32);
  EXPECT_THAT(header->tensors[0].shape, ElementsAre(3u, 2u));
  EXPECT_EQ(header->tensors[1].name, "y");
  EXPECT_EQ(header->tensors[1].begin, 24u);
  EXPECT_EQ(header->tensors[1].count(), 3u);
  EXPECT_EQ(header->metadata.at("format"), "pt");
  EXPECT_EQ(header->find("y"), &header->tensors[1]);
  EXPECT_EQ(header->find("z"), nullptr);
}

TEST(SafetensorsTest, EveryTypeHasItsSize) {
  const std::pair<const char*, std::uint64_t> types[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"U16", 2}, {"I16", 2},
                                                         {"U32", 4},  {"I32", 4}, {"U64", 8}, {"I64", 8}, {"F16", 2},
                                                         {"BF16", 2}, {"F32", 4}, {"F64", 8}};
  for (const auto& [name, size] : types) {
    const std::string bytes = std::to_string(5 * size);
    const auto header = parse_json(
        R"({"t":{"dtype":")" + std::string(name) + R"(","shape":[5],"data_offsets":[0,)" + bytes + "]}}", 5 * size);
    ASSERT_TRUE(header.ok()) << header.error().to_string();
    EXPECT_EQ(name_of(header->tensors[0].dtype), name);
    EXPECT_EQ(size_of(header->tensors[0].dtype), size);
  }
}

TEST(SafetensorsTest, AModelsHeaderHasTheseBytes) {
  const TensorLayout layout = *TensorLayout::make({{"w", {2, 3}, "backbone"}, {"b", {}, "head"}});
  const std::string json =
      R"({"__metadata__":{"arch":"tiny \"x\"","shoal.groups":"{\"b\":\"head\",\"w\":\"backbone\"}"},)"
      R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[],"data_offsets":[24,28]}})";
  const std::string expected = with_length(json + std::string((8 - json.size() % 8) % 8, ' '));
  EXPECT_EQ(*make_header(layout, {{"arch", "tiny \"x\""}}), expected);
  EXPECT_EQ(expected.size() % 8, 0u);
}

TEST(SafetensorsTest, LayoutsComeBackWithGroupsAndOrder) {
  const TensorLayout layout = sample_layout();
  const std::map<std::string, std::string> metadata{{"shoal.model", "2nn"}, {"note", "ünïcode\n"}};
  const std::string file = *make_header(layout, metadata);
  const std::uint64_t size = file.size() + layout.total() * sizeof(float);
  EXPECT_EQ(*header_bytes(bytes_of(file), size), file.size());
  const Result<SafetensorsHeader> header = parse_header(bytes_of(file), size);
  ASSERT_TRUE(header.ok()) << header.error().to_string();
  EXPECT_EQ(header->data_offset, file.size());
  EXPECT_EQ(*layout_of(*header), layout);
  EXPECT_EQ(header->metadata.at("shoal.model"), "2nn");
  EXPECT_EQ(header->metadata.at("note"), "ünïcode\n");
}

TEST(SafetensorsTest, RandomLayoutsComeBack) {
  Stream stream(3, "layouts");
  const char* const kGroups[] = {"backbone", "norm", "bias", "lite", "adapter", "head"};
  for (int i = 0; i < 200; ++i) {
    std::vector<TensorSpec> tensors(stream.below(30));
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      tensors[t].name = "läyer." + std::to_string(t) + "\"\\";
      for (std::uint64_t d = stream.below(4); d > 0; --d)
        tensors[t].shape.push_back(stream.below(5));  // empty ones too
      tensors[t].group = kGroups[stream.below(6)];
    }
    const TensorLayout layout = *TensorLayout::make(tensors);
    const std::string file = *make_header(layout, {});
    const Result<SafetensorsHeader> header = parse_header(bytes_of(file), file.size() + layout.total() * sizeof(float));
    ASSERT_TRUE(header.ok()) << header.error().to_string();
    ASSERT_EQ(*layout_of(*header), layout);
  }
}

TEST(SafetensorsTest, EmptyTensorsKeepTheirOrderInTheText) {
  const auto header = parse_json(R"({"b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
                                 R"("a":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},)"
                                 R"("c":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                                 4);
  ASSERT_TRUE(header.ok()) << header.error().to_string();
  EXPECT_EQ(header->tensors[0].name, "b");
  EXPECT_EQ(header->tensors[1].name, "a");
  EXPECT_EQ(header->tensors[2].name, "c");
}

TEST(SafetensorsTest, WithoutGroupsTheLastMatrixIsTheHead) {
  const auto header = parse_json(R"({"conv.weight":{"dtype":"F32","shape":[1,1,1,1],"data_offsets":[0,4]},)"
                                 R"("fc1.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]},)"
                                 R"("fc2.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},)"
                                 R"("fc2.bias":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},)"
                                 R"("norm.weight":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}})",
                                 20);
  const TensorLayout layout = *layout_of(*header);
  std::vector<std::string> groups;
  for (const TensorSpec& tensor : layout.tensors()) groups.push_back(tensor.group);
  EXPECT_THAT(groups, ElementsAre("backbone", "backbone", "head", "head", "backbone"));
}

TEST(SafetensorsTest, AModelOfOtherTypesOrGroupsIsInvalid) {
  const auto half = parse_json(R"({"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", 2);
  EXPECT_EQ(layout_of(*half).error().code(), ErrorCode::kInvalid);
  EXPECT_THAT(layout_of(*half).error().message(), HasSubstr("is F16"));
  const std::string tensor = R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  for (const char* groups : {R"(\"w\")", R"([1])", R"({\"w\":1})", R"({\"w\":\"tail\"})", R"({)"}) {
    const auto header = parse_json(R"({"__metadata__":{"shoal.groups":")" + std::string(groups) + "\"}," + tensor, 4);
    ASSERT_TRUE(header.ok()) << header.error().to_string();
    EXPECT_FALSE(layout_of(*header).ok()) << groups;
  }
}

TEST(SafetensorsTest, JsonThatIsNotAHeaderIsCorrupt) {
  expect_corrupt("", 0, "does not begin with {");
  expect_corrupt("[]", 0, "does not begin with {");
  expect_corrupt(" {}", 0, "does not begin with {");
  expect_corrupt("{", 0, "not JSON");
  expect_corrupt("{}x", 0, "not JSON");
  expect_corrupt("{\"\xFF\":1}", 0, "not JSON");
  expect_corrupt(R"({"t":1})", 0, "a number has no meaning");
  expect_corrupt(R"({"t":"F32"})", 0, "text has no meaning");
  expect_corrupt(R"({"t":null})", 0, "null");
  expect_corrupt(R"({"t":true})", 0, "true");
  expect_corrupt(R"({"t":[]})", 0, "an array has no meaning");
  expect_corrupt(R"({"__metadata__":{"a":1}})", 0, "a number has no meaning");
  expect_corrupt(R"({"__metadata__":{"a":{}}})", 0, "an object has no meaning");
  expect_corrupt(R"({"__metadata__":{"a":"1","a":"2"}})", 0, "repeats");
  expect_corrupt(R"({"__metadata__":{},"__metadata__":{}})", 0, "twice");
}

TEST(SafetensorsTest, TensorsThatAreNotWellFormedAreCorrupt) {
  const auto tensor = [](const std::string& members) { return R"({"t":{)" + members + "}}"; };
  expect_corrupt(tensor(R"("dtype":"F32","shape":[1])"), 4, "lacks one of");
  expect_corrupt(tensor(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4])"), 4, "repeats a member");
  expect_corrupt(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"device":"cpu")"), 4, "besides");
  expect_corrupt(tensor(R"("dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1])"), 1, "not supported");
  expect_corrupt(tensor(R"("dtype":4,"shape":[1],"data_offsets":[0,4])"), 4, "a number has no meaning");
  expect_corrupt(tensor(R"("dtype":"F32","shape":"1","data_offsets":[0,4])"), 4, "text has no meaning");
  expect_corrupt(tensor(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4, "negative");
  expect_corrupt(tensor(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), 4, "not an integer");
  expect_corrupt(tensor(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), 4, "an array has no meaning");
  expect_corrupt(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), 4, "fewer than two");
  expect_corrupt(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,8])"), 8, "more than two");
  expect_corrupt(tensor(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])"), 4,
                 "too many dimensions");
  expect_corrupt(R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "empty or too long");
}

TEST(SafetensorsTest, OffsetsMustCoverTheDataExactly) {
  const auto two = [](const char* first, const char* second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + std::string(first) +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  EXPECT_TRUE(parse_json(two("[0,4]", "[4,8]"), 8).ok());
  EXPECT_TRUE(parse_json(two("[4,8]", "[0,4]"), 8).ok());
  expect_corrupt(two("[0,4]", "[3,7]"), 8, "overlaps");
  expect_corrupt(two("[0,4]", "[0,4]"), 4, "overlaps");
  expect_corrupt(two("[0,4]", "[5,9]"), 9, "hole");
  expect_corrupt(two("[1,5]", "[5,9]"), 9, "hole");
  expect_corrupt(two("[0,4]", "[4,8]"), 7, "cut short");
  expect_corrupt(two("[0,4]", "[4,8]"), 9, "follow the last tensor");
  expect_corrupt(two("[0,4]", "[8,4]"), 8, "ends before it begins");
  expect_corrupt(two("[0,4]", "[4,9]"), 9, "contradict");
  expect_corrupt(R"({"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "more elements");
  expect_corrupt(R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0, "more elements");
  expect_corrupt(
      R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0,
      "twice");
}

TEST(SafetensorsTest, TheLengthIsHeldAgainstTheFileAndTheLimit) {
  const std::string file = with_length("{}      ");
  EXPECT_TRUE(parse_header(bytes_of(file), file.size()).ok());
  EXPECT_FALSE(header_bytes(bytes_of(file), file.size() - 1).ok());
  EXPECT_FALSE(header_bytes(bytes_of(file).first(7), 100).ok());
  EXPECT_FALSE(parse_header(bytes_of(file).first(12), file.size()).ok());
  for (std::uint64_t length : {std::uint64_t{kMaxSafetensorsHeaderBytes} + 1, ~std::uint64_t{0}}) {
    const std::string claim(reinterpret_cast<const char*>(&length), sizeof length);
    const auto refused = header_bytes(bytes_of(claim), ~std::uint64_t{0});
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message(), HasSubstr("is this a safetensors file?"));
  }
}

TEST(SafetensorsTest, DeepNestingIsRefusedWithoutRecursion) {
  expect_corrupt("{\"t\":" + std::string(1'000'000, '['), 0, "an array has no meaning");
}

TEST(SafetensorsTest, AHeaderThatCannotBeReadAgainIsNotMade) {
  EXPECT_FALSE(make_header(*TensorLayout::make({{"\xFF", {1}, "head"}}), {}).ok());
  EXPECT_FALSE(make_header(*TensorLayout::make({{"__metadata__", {1}, "head"}}), {}).ok());
  EXPECT_FALSE(make_header(*TensorLayout::make({{std::string(kMaxTensorNameBytes + 1, 'n'), {1}, "head"}}), {}).ok());
  EXPECT_FALSE(make_header(sample_layout(), {{"note", "\xC3"}}).ok());
  EXPECT_FALSE(make_header(sample_layout(), {{"note", std::string(kMaxSafetensorsHeaderBytes, 'x')}}).ok());
}

}  // namespace
}  // namespace shoal::protocol
