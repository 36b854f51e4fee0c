#include "client/training/published_memory.h"

#include <gtest/gtest.h>

#include "protocol/update_plan.h"

namespace shoal::client::training {
namespace {

double megabytes(const char* plan, std::uint32_t edge, std::uint32_t batch) {
  const ModelDescription model = make_description("proxyless-mobile-lite", {3, edge, edge}, 102).value();
  const auto trained = protocol::trained_by(plan, layout_of(model).value()).value();
  return static_cast<double>(published_memory(graph_of(model).value(), trained).total(batch)) / 1e6;
}

// Table 4.2 of Cai's thesis (TinyTL), as an independent implementation of its accounting computes it.
TEST(PublishedMemory, IsThatOfEveryRowOfTinyTl) {
  EXPECT_NEAR(megabytes("head", 224, 8), 30.83, 0.2);
  EXPECT_NEAR(megabytes("bias", 224, 8), 31.69, 0.2);
  // The published figure counts masks below the first branch, too, which no gradient passes.
  EXPECT_NEAR(megabytes("lite", 224, 8), 37.08, 1);
  EXPECT_NEAR(megabytes("lite+bias", 224, 8), 37.13, 0.2);
  EXPECT_NEAR(megabytes("lite+bias", 320, 8), 64.70, 0.3);
  EXPECT_NEAR(megabytes("norm", 224, 8), 192.42, 1);
  EXPECT_NEAR(megabytes("full", 224, 8), 390.84, 1);
  EXPECT_NEAR(megabytes("lite+bias", 224, 1), 13.95, 0.1);
}

}  // namespace
}  // namespace shoal::client::training
