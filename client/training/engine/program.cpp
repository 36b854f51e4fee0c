#include "client/training/engine/program.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/units.h"
#include "client/training/engine/compiler.h"

namespace shoal::client::training::engine {
namespace {

// State of this size that nobody has used yet shall take no memory; below, writing zeros is cheaper.
constexpr std::size_t kManyPages = 64 << 10;

}  // namespace

// Its own mapping, so that every page of it is given back.
struct Program::ArenaMemory {
  explicit ArenaMemory(std::size_t size) : bytes(size) {
    void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped != MAP_FAILED) begin = static_cast<std::byte*>(mapped);
  }
  ~ArenaMemory() {
    if (begin != nullptr) ::munmap(begin, bytes);
  }
  ArenaMemory(const ArenaMemory&) = delete;
  ArenaMemory& operator=(const ArenaMemory&) = delete;

  // Makes a part zeros by giving its pages back: it takes memory again when it is used.
  void let_go(std::size_t offset, std::size_t size) const {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t end = offset + size, first = (offset + page - 1) / page * page, last = end / page * page;
    if (first >= last || ::madvise(begin + first, last - first, MADV_DONTNEED) != 0) {
      std::memset(begin + offset, 0, size);
    } else {
      std::memset(begin + offset, 0, first - offset);
      std::memset(begin + last, 0, end - last);
    }
  }

  std::byte* begin = nullptr;  // null: there was no room
  std::size_t bytes;
};

Program::Program(std::size_t parameters) : parameters_(parameters), pass_(std::make_unique<Pass>()) {}
Program::~Program() = default;

Result<std::unique_ptr<Program>> Program::compile(const Graph& graph, const std::vector<bool>& trained,
                                                  const ProgramOptions& options) {
  SHOAL_CHECK(trained.size() == graph.parameters.size() && options.examples > 0, "a program of another graph");
  try {
    std::unique_ptr<Program> program(new Program(graph.parameters.size()));
    Compiler(graph, trained, options, *program).run();
    program->plan_ = plan_arena(program->tape_);
    return program;
  } catch (const dnnl::error& e) {
    return Error(ErrorCode::kFailed, std::string("oneDNN cannot compile the model: ") + e.what());
  }
}

Status Program::bind() {
  auto arena = std::make_unique<ArenaMemory>(std::max<std::size_t>(plan_.bytes, 1));
  if (arena->begin == nullptr)
    return Error(ErrorCode::kExhausted, "there are no " + human_bytes(plan_.bytes) + " for training");
  arena_ = std::move(arena);
  const Addresses at(arena_->begin, plan_.offsets);
  for (const Instruction& instruction : tape_.instructions()) kernels_.push_back(instruction.bind(at));
  return {};
}

Status Program::load(std::span<const float> model) {
  if (!arena_) SHOAL_TRY(bind());
  const Addresses at(arena_->begin, plan_.offsets);
  for (const Stored& p : parameters_) {
    const float* const from = model.data() + p.offset;
    if (p.scales)
      kernels::quantize_rows(from, p.rows, p.count / p.rows, at.of<std::int8_t>(p.values), at.floats(*p.scales));
    else
      std::copy_n(from, p.count, at.floats(p.values));
  }
  for (const BufferId buffer : zeroed_) {
    const std::size_t size = tape_.buffers()[buffer].bytes;
    if (size < kManyPages) {
      std::memset(at.of<void>(buffer), 0, size);
    } else {
      arena_->let_go(plan_.offsets[buffer], size);
    }
  }
  pass_->model = model.data();
  pass_->step = 1;
  return {};
}

std::span<const float> Program::parameter(ParameterId parameter) const {
  const Stored& p = parameters_[parameter];
  SHOAL_CHECK(!p.scales, "a quantized parameter is not to be read");
  return {Addresses(arena_->begin, plan_.offsets).floats(p.values), p.count};
}

std::span<float> Program::example(std::size_t place) {
  return {Addresses(arena_->begin, plan_.offsets).floats(input_) + place * example_size_, example_size_};
}

std::span<std::uint32_t> Program::labels() {
  return {Addresses(arena_->begin, plan_.offsets).of<std::uint32_t>(labels_), examples_};
}

kernels::Scores Program::pass(std::size_t examples, float share) {
  SHOAL_CHECK(examples > 0 && examples <= examples_, "a pass over more examples than the program has room for");
  // The arena has used the places that stay empty for something else, and what is there may be no number.
  for (std::size_t place = examples; place < examples_; ++place) std::ranges::fill(example(place), 0.0f);
  pass_->examples = examples;
  pass_->share = share;
  for (std::size_t i = 0; i < pass_end_; ++i) kernels_[i]();
  return pass_->scores;
}

void Program::finish() {
  for (std::size_t i = pass_end_; i < kernels_.size(); ++i) kernels_[i]();
  ++pass_->step;
}

void Program::rest() {
  if (!arena_) return;
  arena_->let_go(plan_.kept_bytes, arena_->bytes - plan_.kept_bytes);
  for (const BufferId buffer : zeroed_) arena_->let_go(plan_.offsets[buffer], tape_.buffers()[buffer].bytes);
}

std::vector<double> Program::time_step(const Clock& clock) {
  for (std::size_t place = 0; place < examples_; ++place) std::ranges::fill(example(place), 0.0f);
  std::ranges::fill(labels(), 0u);
  pass_->examples = examples_;
  pass_->share = 1 / static_cast<float>(examples_);
  std::vector<double> seconds;
  Time begin = clock.now();
  for (const Kernel& kernel : kernels_) {
    kernel();
    const Time end = clock.now();
    seconds.push_back(to_seconds(end - begin));
    begin = end;
  }
  ++pass_->step;
  return seconds;
}

}  // namespace shoal::client::training::engine
