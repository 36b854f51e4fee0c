// The parameters that update plans (protocol/update_plan.h) find in the models of the catalogue.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "client/training/model_description.h"
#include "protocol/update_plan.h"

namespace shoal::client::training {
namespace {

TensorLayout layout(std::string_view model) {
  return layout_of(make_description(model, {3, 64, 64}, 102).value()).value();
}

std::uint64_t count(std::string_view plan, const TensorLayout& of) {
  const std::vector<bool> trained = protocol::trained_by(plan, of).value();
  std::uint64_t n = 0;
  for (std::size_t t = 0; t < trained.size(); ++t) n += trained[t] ? of.count(t) : 0;
  return n;
}

// Of the digest of TinyTL: parameters that each of its modes trains on ProxylessNAS-Mobile.
TEST(UpdatePlan, TrainsAsManyParametersAsTinyTl) {
  const TensorLayout proxyless = layout("proxyless-mobile-lite");
  EXPECT_EQ(count("full", proxyless), 4746590u);
  EXPECT_EQ(count("head", proxyless), 102u * 1280 + 102);
  EXPECT_EQ(count("bias", proxyless), 151638u);
  EXPECT_EQ(count("lite+bias", proxyless), 1962310u);
  EXPECT_LT(count("lite", proxyless), count("lite+bias", proxyless));
}

TEST(UpdatePlan, TrainsTheClassifierWhateverElse) {
  for (const std::string_view plan : protocol::plan_names()) {
    const bool lite = plan.starts_with("lite");
    const TensorLayout of = layout(lite ? "mobilenetv2-0.35-lite" : "vit-micro-lora8-adapter16");
    const std::vector<bool> trained = protocol::trained_by(plan, of).value();
    for (std::size_t t = 0; t < trained.size(); ++t) {
      if (of.tensors()[t].group == "head") {
        EXPECT_TRUE(trained[t]) << plan;
      }
    }
  }
}

TEST(UpdatePlan, TrainsBranchesAdaptersNormsAndBiasesOfTransformers) {
  const TensorLayout of = layout("vit-micro-lora8-adapter16");
  const std::uint64_t head = 102 * 64 + 102, blocks = 6, width = 64, norms = blocks * 4 * width + 2 * width;
  const std::uint64_t inputs = 3 * width + 4 * width, outputs = 3 * width + width + 4 * width + width;  // of 4 layers
  EXPECT_EQ(count("full", of), of.total());
  EXPECT_EQ(count("head", of), head);
  EXPECT_EQ(count("norm", of), head + norms);
  EXPECT_EQ(count("lora", of), head + blocks * 8 * (inputs + outputs));
  EXPECT_EQ(count("lora-b", of), head + blocks * 8 * outputs);
  EXPECT_EQ(count("adapter", of), head + norms + blocks * 2 * (2 * 16 * width + 16 + width));
  EXPECT_EQ(count("bias", of), head + width + norms / 2 + blocks * (outputs + 2 * (16 + width)));
}

TEST(UpdatePlan, RefusesWhatTheModelDoesNotHave) {
  for (const auto& [plan, model] :
       {std::pair("lite", "mobilenetv2"), std::pair("lite+bias", "cnn"), std::pair("norm", "cnn"),
        std::pair("lora", "vit-micro-adapter16"), std::pair("lora-b", "cnn"), std::pair("adapter", "vit-micro-lora8"),
        std::pair("everything", "cnn"), std::pair("", "cnn")}) {
    const auto refused = protocol::trained_by(plan, layout(model));
    ASSERT_FALSE(refused.ok()) << plan;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid);
  }
  EXPECT_NE(protocol::trained_by("everything", layout("cnn")).error().message().find("lite+bias"), std::string::npos);
}

}  // namespace
}  // namespace shoal::client::training
