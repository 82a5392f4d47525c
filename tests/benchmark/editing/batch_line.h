#ifndef AMEND_TESTS_BENCHMARK_EDITING_BATCH_LINE_H_
#define AMEND_TESTS_BENCHMARK_EDITING_BATCH_LINE_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/editing/edit.h"
#include "core/editing/edit_settings.h"
#include "core/editing/key_covariance.h"
#include "core/evaluation/scorer.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// Consecutive batches of edits under one scope.
class BatchLine {
 public:
  virtual ~BatchLine() = default;

  // Solves a batch and puts it on the line.
  virtual absl::Status Add(absl::Span<const Edit> edits) = 0;

  // Seconds of the last Add that went into target values; absent where that is not measured.
  virtual std::optional<double> target_seconds() const { return std::nullopt; }

  // How the edited model runs.
  virtual const DownProjectionHook& hooks() const = 0;
  virtual ForwardRows rows() const = 0;

  // What the last batch made: "layer{l}.update" [d_out, d_in], the sum over all batches, float32;
  // with REFERENCE also "target_z" [B, d], "loss" [B] and "layer{l}.alpha" [].
  virtual std::map<std::string, at::Tensor> Results() const = 0;
};

// The line of `settings.scope` that begins at the unedited model.
absl::StatusOr<std::unique_ptr<BatchLine>> MakeBatchLine(std::shared_ptr<const CausalLm> model,
                                                         std::shared_ptr<const Tokenizer> tokenizer,
                                                         const EditSettings& settings,
                                                         KeyCovariance covariance);

}  // namespace amend

#endif  // AMEND_TESTS_BENCHMARK_EDITING_BATCH_LINE_H_
