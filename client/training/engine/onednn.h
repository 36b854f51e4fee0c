// oneDNN's primitives as kernels: one thread, scratch memory from the arena.
#pragma once

#include <dnnl.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "client/training/engine/tape.h"

namespace shoal::client::training::engine {

// Shared by the kernels of one program; used by one thread at a time.
struct OneDnn {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};

// Every primitive takes its scratch memory from the caller.
inline dnnl::primitive_attr with_own_scratch() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

// The same, for a primitive that adds its result to what is there.
inline dnnl::primitive_attr summing(bool add) {
  dnnl::primitive_attr attributes = with_own_scratch();
  if (!add) return attributes;
  dnnl::post_ops sum;
  sum.append_sum();
  attributes.set_post_ops(sum);
  return attributes;
}

// An argument of a primitive: DNNL_ARG_..., its format, its buffer.
struct Argument {
  int index;
  dnnl::memory::desc format;
  BufferId buffer;
  std::size_t offset = 0;  // bytes
};

// Adds `primitive` to the tape, with a scratch buffer when it wants one.
template <class Descriptor>
void add_primitive(Tape& tape, const std::shared_ptr<OneDnn>& dnn, std::string name, const Descriptor& descriptor,
                   dnnl::primitive primitive, std::vector<Argument> arguments);

// Adds a reorder of `from` to `to`, or its sum with what is there.
void add_reorder(Tape& tape, const std::shared_ptr<OneDnn>& dnn, std::string name, const Argument& from,
                 const Argument& to, bool add = false);

// One thread for oneDNN's kernels on the calling thread; to be called by every thread before it compiles or steps.
void use_one_thread();

// Gives back the code of primitives that no program uses any more, which oneDNN would keep for others like them.
void forget_unused_primitives();

namespace detail {
void add_bound(Tape& tape, const std::shared_ptr<OneDnn>& dnn, std::string name, dnnl::primitive primitive,
               std::vector<Argument> arguments);
}

template <class Descriptor>
void add_primitive(Tape& tape, const std::shared_ptr<OneDnn>& dnn, std::string name, const Descriptor& descriptor,
                   dnnl::primitive primitive, std::vector<Argument> arguments) {
  if (const dnnl::memory::desc scratch = descriptor.scratchpad_desc(); scratch.get_size() > 0)
    arguments.push_back({DNNL_ARG_SCRATCHPAD, scratch, tape.buffer(name + " scratch", scratch.get_size())});
  detail::add_bound(tape, dnn, std::move(name), std::move(primitive), std::move(arguments));
}

}  // namespace shoal::client::training::engine
