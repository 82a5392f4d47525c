#include "server/model_decode_backend.h"

#include <utility>

#include "core/base/status_macros.h"

namespace amend {
namespace {

class Sequence final : public DecodeSequence {
 public:
  Sequence(std::shared_ptr<const Snapshot> snapshot, std::unique_ptr<DecodeState> state)
      : snapshot_(std::move(snapshot)), state_(std::move(state)) {}

  DecodeState* state() { return state_.get(); }
  std::vector<HookFiring> TakeFirings() override { return state_->TakeFirings(); }

 private:
  const std::shared_ptr<const Snapshot> snapshot_;
  const std::unique_ptr<DecodeState> state_;
};

class Logits final : public DecodeLogits {
 public:
  explicit Logits(StepLogits logits) : logits_(std::move(logits)) {}
  absl::Span<const float> row(int i) const override { return logits_.row(i); }

 private:
  const StepLogits logits_;
};

}  // namespace

ModelDecodeBackend::ModelDecodeBackend(std::shared_ptr<const CausalLm> model)
    : model_(model), decoder_(std::move(model)) {}

std::unique_ptr<DecodeSequence> ModelDecodeBackend::NewSequence(
    std::shared_ptr<const Snapshot> snapshot, bool trace_hooks) {
  auto state = decoder_.NewSequence(snapshot->hooks, trace_hooks);
  return std::make_unique<Sequence>(std::move(snapshot), std::move(state));
}

absl::StatusOr<std::unique_ptr<DecodeLogits>> ModelDecodeBackend::Step(absl::Span<const Row> rows) {
  std::vector<Decoder::Row> decoder_rows;
  decoder_rows.reserve(rows.size());
  for (const Row& row : rows) {
    decoder_rows.push_back({row.tokens, static_cast<Sequence*>(row.sequence)->state()});
  }
  AMEND_ASSIGN_OR_RETURN(StepLogits logits, decoder_.Step(decoder_rows));
  return std::make_unique<Logits>(std::move(logits));
}

absl::StatusOr<std::vector<ScoredContinuation>> ModelDecodeBackend::Score(
    const Snapshot& snapshot, absl::Span<const ScoreItem> items) {
  return ScoreContinuations(*model_, *snapshot.hooks, items);
}

}  // namespace amend
