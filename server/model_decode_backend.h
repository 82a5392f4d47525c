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
  explicit ModelDecodeBackend(std::shared_ptr<const CausalLm> model);

  std::unique_ptr<DecodeSequence> NewSequence(std::shared_ptr<const Snapshot> snapshot,
                                              bool trace_hooks) override;
  absl::StatusOr<std::unique_ptr<DecodeLogits>> Step(absl::Span<const Row> rows) override;
  absl::StatusOr<std::vector<ScoredContinuation>> Score(const Snapshot& snapshot,
                                                        absl::Span<const ScoreItem> items) override;

 private:
  const std::shared_ptr<const CausalLm> model_;
  const Decoder decoder_;
};

}  // namespace amend

#endif  // AMEND_SERVER_MODEL_DECODE_BACKEND_H_
