#ifndef AMEND_SERVER_MODEL_DECODE_BACKEND_H_
#define AMEND_SERVER_MODEL_DECODE_BACKEND_H_

#include <memory>
#include <vector>

#include "core/generation/decoder.h"
#include "core/model/causal_lm.h"
#include "server/decode_backend.h"

namespace amend {

// The DecodeBackend over a real model. Not thread-safe; used by the scheduler thread alone.
class ModelDecodeBackend : public DecodeBackend {
 public:
  explicit ModelDecodeBackend(std::shared_ptr<const CausalLm> model,
                              const Decoder::Options& options = Decoder::Options());

  // The default for a server whose flags say nothing: room for 64 whole contexts where a GiB is
  // enough for that, else a GiB, but never less than one context.
  static int64_t DefaultCacheBytes(const CausalLm& model, LayerIndex first_edited_layer);

  std::unique_ptr<DecodeSequence> NewSequence(std::shared_ptr<const Snapshot> snapshot,
                                              const SequenceOptions& options) override;
  int64_t cache_capacity() const override;
  CacheUse cache_use() const override;
  absl::StatusOr<std::unique_ptr<DecodeLogits>> Step(absl::Span<const Row> rows) override;
  absl::StatusOr<std::vector<ScoredContinuation>> Score(const Snapshot& snapshot,
                                                        absl::Span<const ScoreItem> items) override;

 private:
  const std::shared_ptr<const CausalLm> model_;
  Decoder decoder_;
};

}  // namespace amend

#endif  // AMEND_SERVER_MODEL_DECODE_BACKEND_H_
