#include "client/training/engine/onednn.h"

#include "base/check.h"

// Of GCC's OpenMP, on which oneDNN runs. Its header is found by that compiler alone.
extern "C" void omp_set_num_threads(int threads) noexcept;

namespace shoal::client::training::engine {
namespace {

// The arguments are made once; executing looks nothing up.
class BoundPrimitive {
 public:
  BoundPrimitive(std::shared_ptr<OneDnn> dnn, dnnl::primitive primitive, const std::vector<Argument>& arguments,
                 const Addresses& at)
      : dnn_(std::move(dnn)), primitive_(std::move(primitive)) {
    for (const Argument& a : arguments) {
      memories_.emplace_back(a.format, dnn_->engine, at.of<std::byte>(a.buffer) + a.offset);
      arguments_.push_back({a.index, memories_.back().get()});
    }
  }

  void run() const {
    const dnnl_status_t status = dnnl_primitive_execute(primitive_.get(), dnn_->stream.get(),
                                                        static_cast<int>(arguments_.size()), arguments_.data());
    SHOAL_CHECK(status == dnnl_success, "a compiled oneDNN primitive does not run");
  }

 private:
  std::shared_ptr<OneDnn> dnn_;
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

}  // namespace

namespace detail {

void add_bound(Tape& tape, const std::shared_ptr<OneDnn>& dnn, std::string name, dnnl::primitive primitive,
               std::vector<Argument> arguments) {
  std::vector<BufferId> uses;
  for (const Argument& a : arguments) uses.push_back(a.buffer);
  tape.add(std::move(name), std::move(uses), [dnn, primitive, arguments](const Addresses& at) -> Kernel {
    // Shared, since a std::function is copied.
    return [bound = std::make_shared<BoundPrimitive>(dnn, primitive, arguments, at)] { bound->run(); };
  });
}

}  // namespace detail

void add_reorder(Tape& tape, const std::shared_ptr<OneDnn>& dnn, std::string name, const Argument& from,
                 const Argument& to, bool add) {
  const dnnl::reorder::primitive_desc descriptor(dnn->engine, from.format, dnn->engine, to.format, summing(add));
  add_primitive(tape, dnn, std::move(name), descriptor, dnnl::reorder(descriptor),
                {{DNNL_ARG_FROM, from.format, from.buffer}, {DNNL_ARG_TO, to.format, to.buffer}});
}

void use_one_thread() { omp_set_num_threads(1); }

void forget_unused_primitives() {
  const int capacity = dnnl::get_primitive_cache_capacity();
  dnnl::set_primitive_cache_capacity(0);
  dnnl::set_primitive_cache_capacity(capacity);
}

}  // namespace shoal::client::training::engine
