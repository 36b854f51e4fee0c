#include "simulator/no_learning.h"

#include <cstring>

#include "base/rng.h"

namespace shoal::simulator {
namespace {

Digest digest_of(std::uint64_t a, std::uint64_t b) {
  Digest digest;
  for (std::uint64_t word = 0; word < 4; ++word) {
    const std::uint64_t value = derive_seed(a, "digest", b, word);
    std::memcpy(digest.bytes.data() + 8 * word, &value, sizeof value);
  }
  return digest;
}

std::uint64_t first_word(const Digest& digest) {
  std::uint64_t word = 0;
  std::memcpy(&word, digest.bytes.data(), sizeof word);
  return word;
}

class NoLearning final : public Learning {
 public:
  NoLearning(const Population& population, std::uint64_t bytes) : population_(population), bytes_(bytes) {}

  std::uint64_t model_bytes() const override { return bytes_; }
  std::uint64_t update_bytes(std::string_view) const override { return bytes_; }
  std::uint64_t train_samples(DeviceId device) const override { return population_.samples(device); }
  std::uint64_t test_samples(DeviceId device) const override { return population_.samples(device); }

  void begin(DeviceId, const protocol::Assignment&, Time) override {}
  Result<Trained> trained(DeviceId device, const protocol::Assignment& assignment, std::uint64_t steps) override {
    Trained result;
    result.facts.digest = digest_of(assignment.seed, assignment.id.value);
    result.facts.samples = population_.samples(device);
    result.facts.steps = steps;
    return result;
  }
  Result<protocol::EvaluationFacts> evaluated(DeviceId device, const protocol::Assignment&) override {
    return protocol::EvaluationFacts{.samples = population_.samples(device), .correct = 0, .loss_sum = 0};
  }
  void forget(AssignmentId) override {}

  // The chained digest names the whole history of folds: who was folded, in which version, with which weight.
  Result<Folded> fold(const coordinator::action::Fold& fold) override {
    std::uint64_t history = derive_seed(first_word(digest_), "fold", fold.version);
    for (const auto& entry : fold.entries)
      history = derive_seed(history, "entry", entry.assignment.value, static_cast<std::uint64_t>(entry.weight.q16));
    digest_ = digest_of(history, fold.version);
    return Folded{digest_, 0};
  }
  void drop(std::span<const Version>) override {}
  void begin_test() override {}
  Result<std::optional<protocol::EvaluationFacts>> test_result() override {
    return std::optional<protocol::EvaluationFacts>{};
  }
  Digest newest_digest() const override { return digest_; }
  Status write_newest(const std::string&) const override { return {}; }

  void save(Encoder& encoder) const override { encoder(digest_); }
  Status load(Decoder& decoder) override {
    decoder(digest_);
    return {};
  }

 private:
  const Population& population_;
  std::uint64_t bytes_;
  Digest digest_;
};

}  // namespace

std::unique_ptr<Learning> make_no_learning(const Population& population, std::uint64_t bytes) {
  return std::make_unique<NoLearning>(population, bytes);
}

}  // namespace shoal::simulator
