// The client's configuration (configs/client.toml): what is the device's own business. How to train comes with every
// assignment.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/options.h"
#include "base/units.h"
#include "client/data/partition.h"

namespace shoal::client {

enum class TrainerKind : std::uint8_t { kTorch, kEngine, kSynthetic };
inline EnumNames<TrainerKind> enum_names(TrainerKind) {
  static constexpr std::array<std::pair<TrainerKind, std::string_view>, 3> kNames{
      {{TrainerKind::kTorch, "torch"}, {TrainerKind::kEngine, "engine"}, {TrainerKind::kSynthetic, "synthetic"}}};
  return kNames;
}

struct ClientOptions {
  std::string state = "/var/lib/shoal-client";  // folder of keys, models and unsent updates
  std::string name;                             // for people; empty: the host's name
  std::string endpoint;                         // empty: as the invitation said
  std::string data;                             // see client/data/dataset.h
  std::int64_t part = -1;                       // of the partition; -1: all of the data are this device's
  data::PartitionOptions partition{.kind = data::PartitionKind::kNatural, .clients = 0};
  double test_fraction = 0.2;
  std::uint32_t window = 80, window_step = 1;  // of a text
  std::uint64_t split_seed = 1;
  TrainerKind trainer = TrainerKind::kTorch;
  double throttle = 1;
  Bytes memory_limit{0};
  Bytes budget{0};
  Bytes cache_quota{std::uint64_t{1} << 30};
  LogLevel log_level = LogLevel::kInfo;

  template <class Visitor>
  void visit(Visitor& v) {
    v("state", state, any, "Folder of the device's key, cached models and unsent updates; --state overrides it");
    v("name", name, any, "The device's name for people; empty is the host's name");
    v("endpoint", endpoint, any, "The coordinator, tcp://HOST:PORT; empty is what the invitation said");
    v("data", data, any,
      "Local examples: a folder of IDX or CIFAR files, FILE.csv, FILE.safetensors, FILE.txt, "
      "procedural:SEED:WRITERS:EXAMPLES");
    v("part", part, at_least(std::int64_t{-1}),
      "Which part of the partitioned data this device has, from 0; -1 is all of it");
    v("partition", partition, any, "How the data are cut into parts, for experiments on shared data");
    v("test_fraction", test_fraction, between(0.0, 0.9), "Share of the examples that is kept for evaluation");
    v("window", window, between(1u, 65536u), "Text: characters of an example; the one that follows is its class");
    v("window_step", window_step, between(1u, 1000000u), "Text: characters from one example to the next");
    v("split_seed", split_seed, any, "Seed of the partition and of the split into training and test examples");
    v("trainer", trainer, any,
      "torch (LibTorch), engine (compiled, in one block of memory) or synthetic (no learning: for load and crash "
      "tests)");
    v("throttle", throttle, between(1.0, 1e6),
      "Makes every training step so many times longer, to stand in for a slower device");
    v("memory_limit", memory_limit, any, "Work whose model, update and data need more is refused; 0 is no limit");
    v("budget", budget, any,
      "Bytes that the engine may train in: it finds the fastest way that fits, or refuses the work; 0 is no limit");
    v("cache_quota", cache_quota, any, "Most bytes of models on disk");
    v("log_level", log_level, any, "debug, info, warning or error");
  }
};

}  // namespace shoal::client
