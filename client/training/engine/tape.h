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

enum class Life : std::uint8_t {
  kTransient,  // from its first use in a step to its last
  kInput,      // written before the step, until its last use
  kKept,       // from step to step
};

struct Buffer {
  std::string name;
  std::size_t bytes = 0;
  Life life = Life::kTransient;
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
  BufferId buffer(std::string name, std::size_t bytes, Life life = Life::kTransient) {
    buffers_.push_back({std::move(name), bytes, life});
    return static_cast<BufferId>(buffers_.size() - 1);
  }
  BufferId floats(std::string name, std::size_t count, Life life = Life::kTransient) {
    return buffer(std::move(name), count * sizeof(float), life);
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
