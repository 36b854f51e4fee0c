// What crosses the border between a program and the LibTorch plugin: one C symbol, checked before anything else is
// shared.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "client/training/trainer.h"

namespace shoal::client::training {

// Raised whenever Trainer, ModelDescription or anything they are made of changes. Program and plugin come from one
// build; this catches a file left over from another.
inline constexpr std::uint32_t kTorchPluginAbi = 4;

struct TorchPlugin {
  std::uint32_t abi = kTorchPluginAbi;
  // Any thread; trainers of several threads share nothing.
  Result<std::unique_ptr<Trainer>> (*make)(const ModelDescription& model) = nullptr;
};

inline constexpr char kTorchPluginFile[] = "libshoal_torch.so";
inline constexpr char kTorchPluginSymbol[] = "shoal_torch_plugin";  // const TorchPlugin

}  // namespace shoal::client::training
