// A training step as a straight line of kernels over buffers, before anything has an address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace shoal::client::training::engine {

using BufferId = std::uint32_t;

struct Buffer {
  std::string name;
  std::size_t bytes = 0;
  bool kept = false;  // lives from step to step; else from its first use in a step to its last
};

// Where every buffer lies in the arena.
class Addresses {
 public:
  Addresses(std::byte* arena, std::span<const std::size_t> offsets) : arena_(arena), offsets_(offsets) {}

  template <class T>
  T* of(BufferId buffer) const {
    return reinterpret_cast<T*>(arena_ + offsets_[buffer]);
  }
  float* floats(BufferId buffer) const { return of<float>(buffer); }

 private:
  std::byte* arena_;
  std::span<const std::size_t> offsets_;
};

// Runs with nothing left to decide: addresses, shapes and constants are bound.
using Kernel = std::function<void()>;

struct Instruction {
  std::string name;
  std::vector<BufferId> uses;  // read or written
  std::function<Kernel(const Addresses&)> bind;
};

class Tape {
 public:
  BufferId buffer(std::string name, std::size_t bytes, bool kept = false) {
    buffers_.push_back({std::move(name), bytes, kept});
    return static_cast<BufferId>(buffers_.size() - 1);
  }
  BufferId floats(std::string name, std::size_t count, bool kept = false) {
    return buffer(std::move(name), count * sizeof(float), kept);
  }
  void add(std::string name, std::vector<BufferId> uses, std::function<Kernel(const Addresses&)> bind) {
    instructions_.push_back({std::move(name), std::move(uses), std::move(bind)});
  }

  std::span<const Buffer> buffers() const { return buffers_; }
  std::span<const Instruction> instructions() const { return instructions_; }

 private:
  std::vector<Buffer> buffers_;
  std::vector<Instruction> instructions_;
};

}  // namespace shoal::client::training::engine
