#include "simulator/tensor_learning.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "aggregation/server_optimizer.h"
#include "coordinator/fold.h"
#include "coordinator/memory_store.h"
#include "protocol/plan_table.h"
#include "protocol/safetensors_file.h"
#include "protocol/sealed_object.h"

namespace shoal::simulator {
namespace {

using coordinator::ModelRef;

constexpr JobId kJob{1};
constexpr std::size_t kTestRows = 1000;  // of one piece of an evaluation; fixed, since losses are summed piecewise
constexpr std::uint64_t kTestKeys = std::uint64_t{1} << 63;  // above all assignments' ids
constexpr unsigned kAheadPerWorker = 4;

// A version that is held while work refers to it. The floats lie in the safetensors file behind its header.
struct Base {
  std::shared_ptr<const coordinator::MemoryModel> model;
  std::size_t data_offset = 0;

  std::span<const float> values() const {
    const auto bytes = std::span(model->file).subspan(data_offset);
    return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
  }
};

// What a worker leaves behind.
struct Product {
  std::vector<float> delta;
  protocol::UpdateFacts facts;
  protocol::EvaluationFacts evaluation;
  float largest = 0;  // |coordinate|
  bool finite = true;
  Status status;
};

// A cheap fingerprint of the bits, in place of the hash of a sealed object: the machine only compares it.
Digest fingerprint(std::span<const float> values) {
  std::array<std::uint64_t, 4> lanes{0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u, values.size()};
  const auto mix = [](std::uint64_t lane, std::uint64_t word) {
    return (std::rotl(lane, 27) ^ word) * 0x9FB21C651E98DF25u;
  };
  std::size_t i = 0;
  for (; i + 8 <= values.size(); i += 8) {
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), values.data() + i, sizeof words);
    for (std::size_t lane = 0; lane < 4; ++lane) lanes[lane] = mix(lanes[lane], words[lane]);
  }
  for (; i < values.size(); ++i) lanes[i % 4] = mix(lanes[i % 4], std::bit_cast<std::uint32_t>(values[i]));
  for (std::size_t round = 0; round < 8; ++round) lanes[round % 4] = mix(lanes[round % 4], lanes[(round + 1) % 4]);
  Digest digest;
  std::memcpy(digest.bytes.data(), lanes.data(), sizeof lanes);
  return digest;
}

// The check before a receipt: finite, bound, norm. Partial sums keep the order fixed and the loop fast.
void inspect(Product& product) {
  std::array<double, 8> squares{};
  std::array<float, 8> largest{};
  const std::span<const float> delta = product.delta;
  for (std::size_t i = 0; i < delta.size(); ++i) {
    const float value = delta[i];
    squares[i % 8] += double{value} * double{value};
    largest[i % 8] = std::max(largest[i % 8], std::fabs(value));
  }
  const double sum = std::accumulate(squares.begin(), squares.end(), 0.0);
  product.largest = *std::max_element(largest.begin(), largest.end());
  product.finite = std::isfinite(sum);
  product.facts.norm = std::sqrt(sum);
  product.facts.digest = fingerprint(delta);
}

class TensorLearning final : public Learning {
 public:
  TensorLearning(const LearningTask& task, aggregation::SumScale scale, unsigned workers)
      : task_(task),
        fold_{.floats = task.layout.total(),
              .plans = {},
              .scale = scale,
              .optimizer = task.job.optimizer,
              .workers = static_cast<int>(workers)} {}

  Status begin_with(unsigned workers, const TrainerFactory& factory);

  std::uint64_t model_bytes() const override { return sealed(newest().file.size()); }
  std::uint64_t update_bytes(std::string_view plan) const override {
    return sealed(update_floats(plan) * sizeof(float));
  }
  std::uint64_t train_samples(DeviceId device) const override { return rows(device).train.size(); }
  std::uint64_t test_samples(DeviceId device) const override { return rows(device).test.size(); }

  void begin(DeviceId device, const protocol::Assignment& assignment, Time due) override;
  Result<Trained> trained(DeviceId device, const protocol::Assignment& assignment, std::uint64_t steps) override;
  Result<protocol::EvaluationFacts> evaluated(DeviceId device, const protocol::Assignment& assignment) override;
  void forget(AssignmentId assignment) override;

  Result<Folded> fold(const coordinator::action::Fold& fold) override;
  void drop(std::span<const Version> versions) override;

  void begin_test() override;
  Result<std::optional<protocol::EvaluationFacts>> test_result() override;
  Digest newest_digest() const override { return newest().ref.digest; }
  Status write_newest(const std::string& path) const override;

  void save(Encoder& encoder) const override;
  Status load(Decoder& decoder) override;

 private:
  static std::uint64_t sealed(std::uint64_t bytes) { return protocol::ObjectInfo{.bytes = bytes}.sealed_bytes(); }
  std::uint64_t update_floats(std::string_view plan) const {
    return fold_
        .plans[static_cast<std::size_t>(std::ranges::find(plans_, plan, &protocol::PlanRow::plan) - plans_.begin())]
        .floats();
  }
  std::uint64_t budget(DeviceId device) const { return task_.budgets.empty() ? 0 : task_.budgets[device.value - 1]; }
  const client::data::RowSplit& rows(DeviceId device) const { return task_.devices[device.value - 1]; }
  const coordinator::MemoryModel& newest() const { return *models_.rbegin()->second; }
  Base base(Version version) const;
  Status add_model(std::span<const std::byte> head, std::span<const std::byte> data, Version version,
                   const std::vector<std::vector<float>>& state);
  Result<std::shared_ptr<Product>> take(AssignmentId assignment);

  const LearningTask& task_;
  std::vector<protocol::PlanRow> plans_;
  coordinator::FoldOptions fold_;
  std::size_t data_offset_ = 0;  // of the floats in every version's file
  coordinator::MemoryStore store_;
  std::map<Version, std::shared_ptr<const coordinator::MemoryModel>> models_;
  std::map<AssignmentId, std::shared_ptr<Product>> products_;  // begun
  std::vector<std::shared_ptr<Product>> test_;                 // pieces of the evaluation that was begun
  std::unique_ptr<WorkerPool> pool_;                           // last: its threads use what stands above
};

Status TensorLearning::begin_with(unsigned workers, const TrainerFactory& factory) {
  SHOAL_TRY_ASSIGN(plans_, protocol::parse_plan_table(task_.job.training.plan));
  SHOAL_TRY_ASSIGN(fold_.plans, protocol::update_layouts(task_.job.training.plan, task_.layout));
  SHOAL_TRY_ASSIGN(const std::string head, protocol::make_header(task_.layout, task_.metadata));
  data_offset_ = head.size();
  SHOAL_TRY(add_model(std::as_bytes(std::span(head)), std::as_bytes(std::span(task_.initial)), 0, {}));
  SHOAL_TRY_ASSIGN(pool_, WorkerPool::make(workers, kAheadPerWorker * workers, factory));
  return {};
}

Base TensorLearning::base(Version version) const {
  const auto found = models_.find(version);
  SHOAL_CHECK(found != models_.end(), "work refers to a model version that was dropped");
  return {found->second, data_offset_};
}

Status TensorLearning::add_model(std::span<const std::byte> head, std::span<const std::byte> data, Version version,
                                 const std::vector<std::vector<float>>& state) {
  SHOAL_TRY_ASSIGN(auto writer, store_.models.create(kJob, version, static_cast<int>(state.size())));
  SHOAL_TRY(writer->write(head));
  SHOAL_TRY(writer->write(data));
  for (std::size_t array = 0; array < state.size(); ++array)
    SHOAL_TRY(writer->write_state(static_cast<int>(array), state[array]));
  SHOAL_TRY_ASSIGN(const ModelRef ref, std::move(*writer).finish());
  SHOAL_TRY_ASSIGN(models_[version], store_.models.find(ref));
  return {};
}

// ---- devices' work ----

void TensorLearning::begin(DeviceId device, const protocol::Assignment& assignment, Time due) {
  auto product = std::make_shared<Product>();
  products_[assignment.id] = product;
  WorkerPool::Task task;
  if (assignment.kind == protocol::TaskKind::kTrain) {
    task = [product, base = base(assignment.version), &world = task_, &rows = rows(device).train, assignment,
            budget = budget(device), floats = update_floats(assignment.training.plan)](
               client::training::Trainer& trainer, const std::function<bool()>& go_on) {
      product->delta.resize(floats);
      trainer.set_budget(budget);
      auto outcome = trainer.train(base.values(), world.train, rows, assignment.training, assignment.steps,
                                   assignment.seed, product->delta, go_on);
      if (!outcome.ok()) {
        product->status = std::move(outcome).error();
        return;
      }
      product->facts.steps = outcome->steps;
      product->facts.loss = outcome->loss;
      inspect(*product);
    };
  } else {
    task = [product, base = base(assignment.version), &world = task_, &rows = rows(device).test,
            budget = budget(device)](client::training::Trainer& trainer, const std::function<bool()>&) {
      trainer.set_budget(budget);
      auto facts = trainer.evaluate(base.values(), world.train, rows);
      if (facts.ok()) {
        product->evaluation = *facts;
      } else {
        product->status = std::move(facts).error();
      }
    };
  }
  pool_->submit(assignment.id.value, due, std::move(task));
}

Result<std::shared_ptr<Product>> TensorLearning::take(AssignmentId assignment) {
  pool_->wait(assignment.value);
  const auto found = products_.find(assignment);
  std::shared_ptr<Product> product = std::move(found->second);
  products_.erase(found);
  return product;
}

Result<Trained> TensorLearning::trained(DeviceId device, const protocol::Assignment& assignment, std::uint64_t) {
  SHOAL_TRY_ASSIGN(const std::shared_ptr<Product> product, take(assignment.id));
  Trained result;
  // A diverged model is the device's misfortune, anything else the simulation's.
  if (!product->status.ok() && product->status.error().code() != ErrorCode::kFailed)
    return Error(product->status.error())
        .because_of_this("device " + std::to_string(device.value) + " could not train");
  result.facts = product->facts;
  result.facts.samples = train_samples(device);
  if (!product->status.ok() || !product->finite) {
    result.refusal = protocol::Refusal::kNotFinite;
  } else if (double{product->largest} > assignment.bound) {
    result.refusal = protocol::Refusal::kOutOfBound;
  } else {
    SHOAL_TRY(store_.bodies.put(assignment.id, std::move(product->delta)));
  }
  return result;
}

Result<protocol::EvaluationFacts> TensorLearning::evaluated(DeviceId device, const protocol::Assignment& assignment) {
  SHOAL_TRY_ASSIGN(const std::shared_ptr<Product> product, take(assignment.id));
  if (!product->status.ok())
    return Error(product->status.error())
        .because_of_this("device " + std::to_string(device.value) + " could not evaluate");
  return product->evaluation;
}

void TensorLearning::forget(AssignmentId assignment) {
  pool_->forget(assignment.value);
  products_.erase(assignment);
  (void)store_.bodies.release({&assignment, 1});  // unknown ids are fine, and memory does not fail
}

// ---- models ----

Result<Folded> TensorLearning::fold(const coordinator::action::Fold& fold) {
  SHOAL_TRY_ASSIGN(const auto previous, store_.models.open(newest().ref));
  const int arrays = aggregation::state_arrays(fold_.optimizer.name);
  SHOAL_TRY_ASSIGN(auto writer, store_.models.create(kJob, fold.version, arrays));
  SHOAL_TRY_ASSIGN(const coordinator::FoldResult made,
                   coordinator::fold_updates(fold, fold_, store_.bodies, *previous, std::move(writer)));
  SHOAL_TRY_ASSIGN(models_[fold.version], store_.models.find(made.model));
  std::vector<AssignmentId> folded;
  for (const auto& entry : fold.entries) folded.push_back(entry.assignment);
  SHOAL_TRY(store_.bodies.release(folded));
  return Folded{made.model.digest, made.norm};
}

void TensorLearning::drop(std::span<const Version> versions) {
  for (Version version : versions) models_.erase(version);
  std::vector<ModelRef> refs;
  for (const auto& [version, model] : models_) refs.push_back(model->ref);
  (void)store_.models.keep_only(refs);  // memory does not fail
}

void TensorLearning::begin_test() {
  const std::size_t count = task_.test.rows();
  const Base base{models_.rbegin()->second, data_offset_};
  for (std::size_t first = 0; first < count; first += kTestRows) {
    auto product = std::make_shared<Product>();
    const auto task = [product, base, first, last = std::min(count, first + kTestRows), &world = task_](
                          client::training::Trainer& trainer, const std::function<bool()>&) {
      std::vector<std::uint32_t> rows(last - first);
      std::iota(rows.begin(), rows.end(), static_cast<std::uint32_t>(first));
      trainer.set_budget(0);
      auto facts = trainer.evaluate(base.values(), world.test, rows);
      if (facts.ok()) {
        product->evaluation = *facts;
      } else {
        product->status = std::move(facts).error();
      }
    };
    pool_->submit(kTestKeys + test_.size(), Time::min(), task);
    test_.push_back(product);
  }
}

Result<std::optional<protocol::EvaluationFacts>> TensorLearning::test_result() {
  if (test_.empty()) return std::optional<protocol::EvaluationFacts>{};
  protocol::EvaluationFacts sum;
  Status status;
  for (std::size_t piece = 0; piece < test_.size(); ++piece) {
    pool_->wait(kTestKeys + piece);
    const Product& product = *test_[piece];
    if (!product.status.ok()) status = product.status;
    sum.samples += product.evaluation.samples;
    sum.correct += product.evaluation.correct;
    sum.loss_sum += product.evaluation.loss_sum;
  }
  test_.clear();
  if (!status.ok()) return Error(status.error()).because_of_this("cannot evaluate the model on the test set");
  return std::optional(sum);
}

Status TensorLearning::write_newest(const std::string& path) const {
  const Base newest{models_.rbegin()->second, data_offset_};
  return protocol::write_model(path, task_.layout, newest.values(), task_.metadata);
}

// ---- checkpoints ----

void TensorLearning::save(Encoder& encoder) const {
  std::map<Version, std::pair<std::vector<float>, std::vector<std::vector<float>>>> models;
  for (const auto& [version, model] : models_) {
    const auto values = Base{model, data_offset_}.values();
    models[version] = {{values.begin(), values.end()}, model->state};
  }
  std::map<AssignmentId, std::vector<float>> updates;
  coordinator::ChunkScratch scratch;
  for (AssignmentId id : store_.bodies.held()) {
    const protocol::ObjectInfo whole{.bytes = store_.bodies.bytes(id).value()};
    for (std::uint32_t chunk = 0; chunk < whole.chunks(); ++chunk) {
      const auto bytes = store_.bodies.read(id, chunk, scratch).value();
      const auto* floats = reinterpret_cast<const float*>(bytes.data());
      updates[id].insert(updates[id].end(), floats, floats + bytes.size() / sizeof(float));
    }
  }
  encoder(models, updates);
}

Status TensorLearning::load(Decoder& decoder) {
  const auto corrupt = [] {
    return Error(ErrorCode::kCorrupt, "the checkpoint's models do not have the experiment's layout");
  };
  std::map<Version, std::pair<std::vector<float>, std::vector<std::vector<float>>>> models;
  std::map<AssignmentId, std::vector<float>> updates;
  decoder(models, updates);
  if (!decoder.ok() || models.empty()) return corrupt();
  const std::vector<std::byte> head(newest().file.begin(),
                                    newest().file.begin() + static_cast<std::ptrdiff_t>(data_offset_));
  models_.clear();
  for (const auto& [version, model] : models) {
    if (model.first.size() != task_.layout.total()) return corrupt();
    SHOAL_TRY(add_model(head, std::as_bytes(std::span(model.first)), version, model.second));
  }
  for (auto& [id, delta] : updates) {
    if (std::ranges::none_of(fold_.plans, [&](const auto& plan) { return plan.floats() == delta.size(); }))
      return corrupt();
    SHOAL_TRY(store_.bodies.put(id, std::move(delta)));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Learning>> make_tensor_learning(const LearningTask& task, unsigned workers,
                                                       const TrainerFactory& factory) {
  SHOAL_CHECK(task.initial.size() == task.layout.total(), "the initial model does not have the layout");
  SHOAL_TRY_ASSIGN(const aggregation::SumScale scale,
                   aggregation::SumScale::make(coordinator::max_weight(task.job), task.job.limits.update_bound,
                                               coordinator::max_updates(task.job)));
  auto learning = std::make_unique<TensorLearning>(task, scale, workers);
  SHOAL_TRY(learning->begin_with(workers, factory));
  return Result<std::unique_ptr<Learning>>(std::move(learning));
}

}  // namespace shoal::simulator
