#include "cli/model_source.h"

#include <gtest/gtest.h>

#include "protocol/safetensors_file.h"
#include "tests/support/temporary_folder.h"

namespace shoal::cli {
namespace {

using client::training::Shape;

TEST(ModelSource, ReadsShapesAsPeopleWriteThem) {
  EXPECT_EQ(parse_shape("1x28x28").value(), (Shape{1, 28, 28}));
  EXPECT_EQ(parse_shape("30").value(), Shape{30});
  for (const char* text : {"", "x", "1x", "1x0x3", "1x-2", "1xx2", "28 28", "99999999999"})
    EXPECT_EQ(parse_shape(text).ok(), std::string_view(text) == "1x") << text << ": only a last x is passed over";
}

TEST(ModelSource, IsAnArchitectureOrAFileThatDescribesOne) {
  ModelSource source{.architecture = "cnn", .input = "1x28x28", .classes = 10};
  const auto made = describe(source).value();
  EXPECT_EQ(made.name, "cnn");

  const testing::TemporaryFolder folder;
  const TensorLayout layout = TensorLayout::make({{"w", {2}, "head"}}).value();
  const std::string file = folder.file("m.safetensors"), plain = folder.file("plain.safetensors");
  protocol::write_model(file, layout, std::vector<float>(2), {{"shoal.model", client::training::to_text(made)}})
      .value();
  protocol::write_model(plain, layout, std::vector<float>(2), {}).value();
  EXPECT_EQ(describe({.file = file}).value(), made);
  EXPECT_EQ(describe({.file = plain}).error().code(), ErrorCode::kInvalid);
  EXPECT_FALSE(describe({.file = folder.file("none")}).ok());

  source.classes = 0;
  EXPECT_EQ(describe(source).error().code(), ErrorCode::kInvalid);
  source.classes = 10;
  source.architecture = "vgg";
  EXPECT_EQ(describe(source).error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace shoal::cli
