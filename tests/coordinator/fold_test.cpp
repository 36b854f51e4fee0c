#include "coordinator/fold.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/rng.h"
#include "coordinator/memory_store.h"

namespace shoal::coordinator {
namespace {

using aggregation::ServerOptimizerKind;
using aggregation::Weight;

constexpr double kBound = 8, kMaxWeight = 100;
constexpr JobId kJob{1};
// A length, and JSON that the fold must not care about.
constexpr std::string_view kHeader("\x10\0\0\0\0\0\0\0{\"a\":\"any text\"}", 24);

// A job's model and its store. Update i has assignment i + 1.
class World {
 public:
  World(std::uint64_t floats, std::size_t updates, bool sealed, std::uint64_t seed) : floats_(floats) {
    Stream draw(seed, "world");
    options_.floats = floats;
    options_.plans = {protocol::UpdateLayout::whole(floats)};
    options_.scale = aggregation::SumScale::make(kMaxWeight, kBound, std::max<std::size_t>(updates, 1)).value();
    model_.resize(floats);
    for (float& x : model_) x = static_cast<float>(draw.normal());
    auto writer = store_.models.create(kJob, 0, 0).value();
    SHOAL_CHECK(
        writer->write(std::as_bytes(std::span(kHeader))).ok() && writer->write(std::as_bytes(std::span(model_))).ok(),
        "");
    ref_ = std::move(*writer).finish().value();
    fold_.job = kJob;
    fold_.version = 1;
    for (std::size_t i = 0; i < updates; ++i) {
      const AssignmentId id{i + 1};
      std::vector<float>& delta = deltas_.emplace_back(floats);
      for (float& d : delta) d = static_cast<float>(std::clamp(draw.normal(), -kBound, kBound));
      fold_.entries.push_back({id, Weight::nearest(draw.uniform() * kMaxWeight)});
      fold_.scale += fold_.entries.back().weight.value();
      if (sealed) {
        seal(id, delta);
      } else {
        SHOAL_CHECK(store_.bodies.put(id, delta).ok(), "");
      }
    }
    fold_.scale = 1 / fold_.scale;
  }

  Result<FoldResult> run(int workers) {
    options_.workers = workers;
    const auto reader = store_.models.open(ref_).value();
    return fold_updates(
        fold_, options_, store_.bodies, *reader,
        store_.models.create(kJob, fold_.version, aggregation::state_arrays(options_.optimizer.name)).value());
  }
  FoldResult advance(int workers) {
    FoldResult result = run(workers).value();
    ref_ = result.model;
    ++fold_.version;
    return result;
  }
  std::vector<float> model_of(const ModelRef& ref) {
    const auto model = store_.models.find(ref).value();
    EXPECT_EQ(std::memcmp(model->file.data(), kHeader.data(), kHeader.size()), 0) << "the header is the previous one";
    std::vector<float> values((model->file.size() - kHeader.size()) / sizeof(float));
    std::memcpy(values.data(), model->file.data() + kHeader.size(), values.size() * sizeof(float));
    return values;
  }

  void seal(AssignmentId id, std::span<const float> delta) {
    protocol::ObjectInfo object{.id = id.value,
                                .bytes = delta.size_bytes(),
                                .suite = protocol::preferred_suite(),
                                .key = protocol::make_object_key().value()};
    SHOAL_CHECK(store_.bodies.open(id, object).ok(), "");
    protocol::ChunkCipher cipher(object);
    for (std::uint32_t c = 0; c < object.chunks(); ++c) {
      const std::size_t begin = c * protocol::kChunkBytes;
      const auto plain =
          std::as_bytes(delta).subspan(begin, std::min<std::size_t>(protocol::kChunkBytes, delta.size_bytes() - begin));
      std::vector<std::byte> sealed(object.sealed_bytes(c));
      cipher.seal(c, plain, sealed);
      if (c == corrupt_chunk_ && id == corrupt_) sealed[3] ^= std::byte{1};
      SHOAL_CHECK(store_.bodies.write(id, c, sealed).ok(), "");
    }
    SHOAL_CHECK(store_.bodies.sync(id).ok(), "");
  }
  void corrupt(AssignmentId id, std::uint32_t chunk) {
    corrupt_ = id;
    corrupt_chunk_ = chunk;
    SHOAL_CHECK(store_.bodies.release(std::vector{id}).ok(), "");
    seal(id, deltas_[id.value - 1]);
  }

  MemoryStore store_;
  FoldOptions options_;
  action::Fold fold_;
  ModelRef ref_;
  std::uint64_t floats_;
  std::vector<float> model_;
  std::vector<std::vector<float>> deltas_;
  AssignmentId corrupt_;
  std::uint32_t corrupt_chunk_ = 0;
};

constexpr std::uint64_t kColumn = protocol::kChunkBytes / sizeof(float);

TEST(Fold, IsTheWeightedMeanOfTheUpdates) {
  for (const std::uint64_t floats :
       {std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{5000}, kColumn, 2 * kColumn + 4097}) {
    World world(floats, 5, true, floats);
    const FoldResult result = world.advance(2);
    const std::vector<float> next = world.model_of(result.model);
    ASSERT_EQ(next.size(), floats);
    double squares = 0;
    for (std::size_t i = 0; i < floats; ++i) {
      double update = 0;
      for (std::size_t e = 0; e < 5; ++e) update += world.fold_.entries[e].weight.value() * world.deltas_[e][i];
      update *= world.fold_.scale;
      ASSERT_NEAR(next[i], world.model_[i] + update, 1e-6) << i;
      squares += (static_cast<double>(next[i]) - world.model_[i]) * (static_cast<double>(next[i]) - world.model_[i]);
    }
    EXPECT_NEAR(result.norm, std::sqrt(squares), 1e-9 * (1 + result.norm));
  }
}

TEST(Fold, OrderWorkersAndSealingDoNotChangeABit) {
  constexpr std::uint64_t kFloats = 5 * kColumn + 77;
  World world(kFloats, 6, false, 11);
  const FoldResult expected = world.run(1).value();
  World sealed(kFloats, 6, true, 11);
  Stream draw(11, "orders");
  for (int workers = 1; workers <= 8; ++workers) {
    draw.shuffle(std::span(sealed.fold_.entries));
    const FoldResult result = sealed.run(workers).value();
    EXPECT_EQ(result.model.digest, expected.model.digest) << workers << " workers";
    EXPECT_EQ(result.norm, expected.norm) << workers << " workers";
  }
}

TEST(Fold, OptimizerStateGoesFromVersionToVersion) {
  constexpr std::uint64_t kFloats = kColumn + 100;
  for (ServerOptimizerKind kind : {ServerOptimizerKind::kFedAvgM, ServerOptimizerKind::kFedAdagrad,
                                   ServerOptimizerKind::kFedAdam, ServerOptimizerKind::kFedYogi}) {
    World world(kFloats, 3, false, 12);
    aggregation::ServerOptimizerOptions& optimizer = world.options_.optimizer;
    optimizer = {.name = kind, .learning_rate = 0.1};
    std::vector<float> model = world.model_, update(kFloats);
    std::vector<float> first(kFloats, aggregation::initial_state(optimizer, 0)),
        second(kFloats, aggregation::initial_state(optimizer, 1));
    std::vector<std::int64_t> sum(kFloats);
    for (std::size_t e = 0; e < 3; ++e)
      aggregation::accumulate(world.deltas_[e], world.fold_.entries[e].weight, world.options_.scale, sum);
    aggregation::report(sum, world.options_.scale, world.fold_.scale, update);
    for (int version = 1; version <= 4; ++version) {
      aggregation::server_step(optimizer, update, model, first, second);
      EXPECT_EQ(world.model_of(world.advance(2).model), model) << name_of(kind) << " version " << version;
    }
  }
}

// Three plans over seven tensors whose borders lie anywhere: what the fold packs, cuts and copies is what a plain loop
// over the model's floats says. Tensor 3 is nobody's.
TEST(Fold, AValueIsTheMeanOverThoseWhoTrainedIt) {
  const std::vector<std::uint64_t> counts{100, kColumn + 5, 3, 2 * kColumn, 4096, 70'000, 1};
  std::vector<TensorSpec> tensors;
  for (std::size_t t = 0; t < counts.size(); ++t) tensors.push_back({std::to_string(t), {counts[t]}, ""});
  const TensorLayout layout = TensorLayout::make(tensors).value();
  const std::vector<std::vector<bool>> trained{{1, 1, 1, 0, 1, 1, 1}, {0, 1, 0, 0, 0, 1, 0}, {1, 0, 0, 0, 1, 0, 1}};
  World world(layout.total(), 0, false, 17);
  world.options_.scale = aggregation::SumScale::make(kMaxWeight, kBound, 6).value();
  world.options_.optimizer.name = ServerOptimizerKind::kFedAvgM;
  world.options_.plans.clear();
  for (const auto& plan : trained) world.options_.plans.emplace_back(plan, layout);
  Stream draw(17, "updates");
  std::vector<std::vector<float>> deltas;
  double total = 0;
  for (std::size_t e = 0; e < 6; ++e) {
    const auto plan = static_cast<std::uint8_t>(e % 3);
    std::vector<float>& delta = deltas.emplace_back(world.options_.plans[plan].floats());
    for (float& d : delta) d = static_cast<float>(draw.uniform() - 0.5);
    world.fold_.entries.push_back({AssignmentId{e + 1}, Weight::nearest(1 + draw.uniform()), plan});
    total += world.fold_.entries.back().weight.value();
    world.deltas_.push_back(delta);
    world.seal(AssignmentId{e + 1}, delta);
  }
  world.fold_.scale = 1 / total;

  std::vector<float> model = world.model_, first(model.size()), second;
  for (int version = 1; version <= 2; ++version) {
    for (std::size_t t = 0; t < counts.size(); ++t) {
      double weight = 0;
      std::vector<double> sum(counts[t]);
      for (std::size_t e = 0; e < 6; ++e) {
        if (!trained[e % 3][t]) continue;
        std::uint64_t begin = 0;
        for (std::size_t before = 0; before < t; ++before) begin += trained[e % 3][before] ? counts[before] : 0;
        weight += world.fold_.entries[e].weight.value();
        for (std::size_t i = 0; i < counts[t]; ++i)
          sum[i] += world.fold_.entries[e].weight.value() * deltas[e][begin + i];
      }
      if (weight == 0) continue;
      std::vector<float> update(counts[t]);
      for (std::size_t i = 0; i < counts[t]; ++i) update[i] = static_cast<float>(sum[i] / weight);
      aggregation::server_step(world.options_.optimizer, update, std::span(model).subspan(layout.offset(t), counts[t]),
                               std::span(first).subspan(layout.offset(t), counts[t]), second);
    }
    const FoldResult one = world.run(1).value(), made = world.advance(3);
    EXPECT_EQ(made.model.digest, one.model.digest) << "whatever the workers";
    const std::vector<float> next = world.model_of(made.model);
    for (std::size_t i = 0; i < model.size(); ++i) ASSERT_NEAR(next[i], model[i], 1e-6) << i << " version " << version;
    for (std::uint64_t i = layout.offset(3); i < layout.offset(4); ++i)
      ASSERT_EQ(next[i], world.model_[i]) << "nobody trained it";
    model = next;
  }
}

TEST(Fold, NamesTheUpdateThatDoesNotOpen) {
  for (const std::uint32_t chunk : {0u, 2u}) {
    World world(3 * kColumn, 4, true, 13);
    world.corrupt(AssignmentId{3}, chunk);
    for (int workers : {1, 3}) {
      const Result<FoldResult> result = world.run(workers);
      ASSERT_FALSE(result.ok());
      EXPECT_EQ(result.error().code(), ErrorCode::kCorrupt);
      EXPECT_NE(result.error().to_string().find("assignment 3 "), std::string::npos) << result.error().to_string();
    }
  }
}

TEST(Fold, NamesTheUpdateThatIsMissingOrOfAnotherSize) {
  World world(100, 2, false, 14);
  ASSERT_TRUE(world.store_.bodies.put(AssignmentId{2}, std::vector<float>(99)).ok());
  Result<FoldResult> result = world.run(1);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().to_string().find("assignment 2 "), std::string::npos) << result.error().to_string();
  ASSERT_TRUE(world.store_.bodies.release(std::vector{AssignmentId{2}}).ok());
  result = world.run(1);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kNotFound);
}

TEST(Fold, AFullDiskStopsEveryWorker) {
  World world(6 * kColumn, 2, false, 15);
  int writes = 0;
  world.store_.faults.before = [&](StoreOperation operation) -> Status {
    if (operation == StoreOperation::kModelWrite && ++writes == 4)
      return Error(ErrorCode::kExhausted, "the disk is full");
    return {};
  };
  const Result<FoldResult> result = world.run(4);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kExhausted);
  world.store_.faults = {};
  EXPECT_TRUE(world.run(4).ok());
}

TEST(Fold, AModelThatIsNoLongerFiniteIsRefused) {
  World world(10, 1, false, 16);
  world.options_.optimizer.learning_rate = 1e300;
  const Result<FoldResult> result = world.run(1);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kInvalid) << "trying again would not help";
}

}  // namespace
}  // namespace shoal::coordinator
