// How fast updates become a model: the fold and its kernels, against plain copies of the same bytes in the same run.
//
// bytes_per_second counts the float32 bytes of the updates. A fold also reads and writes the model, hashes it, and
// opens sealed bodies, so its bound is a copy's rate on one side and AES-GCM's and SHA-256's on the other.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "aggregation/exact_sum.h"
#include "aggregation/server_optimizer.h"
#include "base/check.h"
#include "base/rng.h"
#include "compression/f32.h"
#include "coordinator/fold.h"
#include "coordinator/memory_store.h"

namespace shoal::coordinator {
namespace {

constexpr std::size_t kColumn = protocol::kChunkBytes / sizeof(float);
constexpr std::size_t kUpdates = 10;

std::vector<float> draw_values(std::size_t count, std::uint64_t seed) {
  Stream draw(seed, "values");
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(draw.uniform() - 0.5);
  return values;
}

aggregation::SumScale scale() { return aggregation::SumScale::make(1000, 16, kUpdates).value(); }

// All updates of a fold, from memory into one buffer of a column: what a fold would cost without arithmetic.
void copy_updates(benchmark::State& state) {
  const auto floats = static_cast<std::size_t>(state.range(0));
  const std::vector<float> updates = draw_values(floats * kUpdates, 1);
  std::vector<float> column(kColumn);
  for (auto _ : state) {
    for (std::size_t at = 0; at < updates.size(); at += kColumn) {
      std::memcpy(column.data(), &updates[at], std::min(kColumn, updates.size() - at) * sizeof(float));
      benchmark::DoNotOptimize(column.data());
      benchmark::ClobberMemory();
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(updates.size() * sizeof(float)));
}
BENCHMARK(copy_updates)->Arg(100'000)->Arg(1'000'000)->UseRealTime();

void fold(benchmark::State& state, bool sealed) {
  const auto floats = static_cast<std::size_t>(state.range(0));
  MemoryStore store;
  auto first = store.models.create(JobId{1}, 0, 0).value();
  const std::vector<float> model = draw_values(floats, 2);
  SHOAL_CHECK(first->write(std::as_bytes(std::span(model))).ok(), "the model was not written");
  const ModelRef ref = std::move(*first).finish().value();
  const auto previous = store.models.open(ref).value();
  action::Fold fold;
  fold.job = JobId{1};
  fold.version = 1;
  fold.scale = 1.0 / kUpdates;
  for (std::size_t i = 1; i <= kUpdates; ++i) {
    const AssignmentId id{i};
    const std::vector<float> deltas = draw_values(floats, i);
    fold.entries.push_back({id, aggregation::Weight::nearest(1)});
    if (!sealed) {
      SHOAL_CHECK(store.bodies.put(id, deltas).ok(), "an update was not stored");
      continue;
    }
    const protocol::ObjectInfo object{.id = i,
                                      .bytes = floats * sizeof(float),
                                      .suite = protocol::preferred_suite(),
                                      .key = protocol::make_object_key().value()};
    SHOAL_CHECK(store.bodies.open(id, object).ok(), "an update was not stored");
    protocol::ChunkCipher cipher(object);
    for (std::uint32_t c = 0; c < object.chunks(); ++c) {
      std::vector<std::byte> chunk(object.sealed_bytes(c));
      cipher.seal(
          c, std::as_bytes(std::span(deltas)).subspan(c * protocol::kChunkBytes, chunk.size() - protocol::kTagBytes),
          chunk);
      SHOAL_CHECK(store.bodies.write(id, c, chunk).ok(), "an update was not stored");
    }
  }
  const FoldOptions options{
      floats, {protocol::UpdateLayout::whole(floats)}, scale(), {}, static_cast<int>(state.range(1))};
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        fold_updates(fold, options, store.bodies, *previous, store.models.create(JobId{1}, 1, 0).value()).value());
    state.PauseTiming();
    SHOAL_CHECK(store.models.keep_only(std::span(&ref, 1)).ok(), "the new version was not dropped");
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(floats * kUpdates * sizeof(float)));
}
void fold_plain(benchmark::State& state) { fold(state, false); }
void fold_sealed(benchmark::State& state) { fold(state, true); }
BENCHMARK(fold_plain)->ArgsProduct({{100'000, 1'000'000}, {1, 2}})->ArgNames({"floats", "workers"})->UseRealTime();
BENCHMARK(fold_sealed)->ArgsProduct({{100'000, 1'000'000}, {1, 2}})->ArgNames({"floats", "workers"})->UseRealTime();

// The kernels on one column, and a copy of it.
void copy_column(benchmark::State& state) {
  const std::vector<float> from = draw_values(kColumn, 3);
  std::vector<float> to(kColumn);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), kColumn * sizeof(float));
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(protocol::kChunkBytes));
}
BENCHMARK(copy_column);

void accumulate_column(benchmark::State& state) {
  const std::vector<float> delta = draw_values(kColumn, 4);
  std::vector<std::int64_t> sum(kColumn);
  const aggregation::Weight weight = aggregation::Weight::nearest(1.5);
  for (auto _ : state) {
    aggregation::accumulate(delta, weight, scale(), sum);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(protocol::kChunkBytes));
}
BENCHMARK(accumulate_column);

void report_column(benchmark::State& state) {
  const std::vector<std::int64_t> sum(kColumn, 123456789);
  std::vector<float> update(kColumn);
  for (auto _ : state) {
    aggregation::report(sum, scale(), 0.1, update);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(protocol::kChunkBytes));
}
BENCHMARK(report_column);

void check_column(benchmark::State& state) {
  const std::vector<float> values = draw_values(kColumn, 5);
  compression::F32Check check(1);
  for (auto _ : state) {
    check.add(std::as_bytes(std::span(values)));
    benchmark::DoNotOptimize(check.verdict());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(protocol::kChunkBytes));
}
BENCHMARK(check_column);

void optimizer_step(benchmark::State& state) {
  aggregation::ServerOptimizerOptions options;
  options.name = static_cast<aggregation::ServerOptimizerKind>(state.range(0));
  state.SetLabel(std::string(name_of(options.name)));
  const std::vector<float> update = draw_values(kColumn, 6);
  std::vector<float> model = draw_values(kColumn, 7), first(kColumn), second(kColumn, 1e-6f);
  for (auto _ : state) {
    aggregation::server_step(options, update, model, first, second);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(protocol::kChunkBytes));
}
BENCHMARK(optimizer_step)->DenseRange(0, 4);

}  // namespace
}  // namespace shoal::coordinator

BENCHMARK_MAIN();
