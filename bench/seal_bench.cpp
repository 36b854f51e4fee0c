// How fast chunks are sealed and opened, one thread: GB/s of plaintext for each suite.
#include <benchmark/benchmark.h>

#include <vector>

#include "protocol/sealed_object.h"

namespace shoal::protocol {
namespace {

ObjectInfo object_of(benchmark::State& state) {
  return {1, 16 * kChunkBytes, static_cast<CipherSuite>(state.range(0)), make_object_key().value()};
}

void seal(benchmark::State& state) {
  const ObjectInfo object = object_of(state);
  ChunkCipher cipher(object);
  const std::vector<std::byte> plain(kChunkBytes);
  std::vector<std::byte> sealed(kChunkBytes + kTagBytes);
  std::uint32_t chunk = 0;
  for (auto _ : state) {
    cipher.seal(chunk++ % object.chunks(), plain, sealed);
    benchmark::DoNotOptimize(sealed.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kChunkBytes));
}

void open(benchmark::State& state) {
  const ObjectInfo object = object_of(state);
  ChunkCipher cipher(object);
  std::vector<std::byte> plain(kChunkBytes), sealed(kChunkBytes + kTagBytes);
  cipher.seal(3, plain, sealed);
  for (auto _ : state)
    if (!cipher.open(3, sealed, plain).ok()) state.SkipWithError("the chunk does not open");
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kChunkBytes));
}

BENCHMARK(seal)->ArgName("suite")->Arg(1)->Arg(2);
BENCHMARK(open)->ArgName("suite")->Arg(1)->Arg(2);

}  // namespace
}  // namespace shoal::protocol

BENCHMARK_MAIN();
