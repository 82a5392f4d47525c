#include "server/model_decode_backend.h"

#include <algorithm>
#include <utility>

#include "core/base/status_macros.h"

namespace amend {
namespace {

constexpr int64_t kDefaultContexts = 64;
constexpr int64_t kDefaultCacheBytes = int64_t{1} << 30;

class Sequence final : public DecodeSequence {
 public:
  Sequence(std::shared_ptr<const Snapshot> snapshot, std::unique_ptr<DecodeState> state)
      : snapshot_(std::move(snapshot)), state_(std::move(state)) {}

  DecodeState* state() { return state_.get(); }
  int length() const override { return state_->length(); }
  int lower_length() const override { return state_->lower_length(); }
  bool Extend(int64_t tokens) override { return state_->Extend(tokens); }
  std::vector<HookFiring> TakeFirings() override { return state_->TakeFirings(); }

 private:
  const std::shared_ptr<const Snapshot> snapshot_;
  const std::unique_ptr<DecodeState> state_;
};

class Logits final : public DecodeLogits {
 public:
  explicit Logits(StepLogits logits) : logits_(std::move(logits)) {}
  absl::Span<const float> row(int i) const override { return logits_.row(i); }
  HookUse hook_use() const override {
    const StepLogits::HookUse use = logits_.hook_use();
    return {use.tokens, use.fired};
  }

 private:
  const StepLogits logits_;
};

}  // namespace

ModelDecodeBackend::ModelDecodeBackend(std::shared_ptr<const CausalLm> model,
                                       const Decoder::Options& options)
    : model_(model), decoder_(std::move(model), options) {}

int64_t ModelDecodeBackend::DefaultCacheBytes(const CausalLm& model,
                                              LayerIndex first_edited_layer) {
  const int64_t context = Decoder::ContextBytes(model, first_edited_layer);
  return std::max(context, std::min(kDefaultContexts * context, kDefaultCacheBytes));
}

int64_t ModelDecodeBackend::cache_capacity() const { return decoder_.cache_capacity(); }

DecodeBackend::CacheUse ModelDecodeBackend::cache_use() const {
  const Decoder::CacheUse use = decoder_.cache_use();
  return {use.claimed, use.capacity};
}

std::unique_ptr<DecodeSequence> ModelDecodeBackend::NewSequence(
    std::shared_ptr<const Snapshot> snapshot, const SequenceOptions& options) {
  auto state = decoder_.NewSequence(snapshot->hooks, {options.trace_hooks, options.max_tokens,
                                                      options.prompt, options.initial_tokens});
  if (state == nullptr) return nullptr;
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
