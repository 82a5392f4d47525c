#ifndef AMEND_CORE_EDITING_TESTING_GOLDEN_RUN_H_
#define AMEND_CORE_EDITING_TESTING_GOLDEN_RUN_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/types.h"
#include "core/editing/edit.h"
#include "core/editing/edit_rows.h"
#include "core/editing/edit_settings.h"
#include "core/editing/key_covariance.h"
#include "core/editing/reference_forward.h"
#include "core/model/causal_lm.h"
#include "core/model/checkpoint.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// A model and the folder of its golden run.
struct GoldenModel {
  std::string model;
  std::string golden;
  // Whether the target values follow from the loss. Not where the last edited layer is the last
  // layer: labels behind the lookup index do not feel delta there, and in the published code
  // rounding errors decide.
  bool values_are_determined = true;
};

void PrintTo(const GoldenModel& model, std::ostream* os);

inline const GoldenModel kGoldenModels[] = {
    {"models/demo", "tests/testdata/golden_world_gpt2_mini", true},
    {"tests/testdata/random-gptj-tiny", "tests/testdata/golden_random_gptj_tiny", false},
};

// Every intermediate of one run of the paper's published code over three batches, and the model it
// was made with: tests/testdata/golden_*. Batches count from 0; batch -1 is the unedited model.
class GoldenRun {
 public:
  struct Batch {
    std::vector<Edit> edits;  // with the paraphrase and the probe that its scores were made with
    std::vector<EditRows> rows;
    EditScores scores;  // of all edits so far
  };

  static absl::StatusOr<std::unique_ptr<GoldenRun>> Load(const GoldenModel& golden_model);

  const std::shared_ptr<const CausalLm>& model() const { return model_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  const EditSettings& settings() const { return settings_; }
  const std::vector<Batch>& batches() const { return batches_; }
  int64_t covariance_tokens() const { return covariance_tokens_; }
  KeyCovariance Covariance() const;

  // Of one batch: keys [B, d_in], current values [B, d], target values [B, d], scores [B].
  at::Tensor TargetValues(int batch) const;
  at::Tensor Keys(int batch, LayerIndex layer) const;
  at::Tensor CurrentValues(int batch, LayerIndex layer) const;
  at::Tensor LargestScores(int batch, LayerIndex layer) const;
  // [d_out, d_in], float32: all batches up to this one.
  at::Tensor Update(int batch, LayerIndex layer) const;
  double Alpha(int batch, LayerIndex layer) const;
  // Every edited layer as it was after `batch`.
  ReferenceLayers LayersAfter(int batch) const;

 private:
  GoldenRun() = default;
  at::Tensor Read(const std::string& name) const;
  at::Tensor Read(int batch, LayerIndex layer, const std::string& name) const;

  std::shared_ptr<const CausalLm> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<SafetensorsFile> file_;
  EditSettings settings_;
  std::vector<Batch> batches_;
  int64_t covariance_tokens_ = 0;
};

// Expects `actual` within `tolerance` of `expected`, relative to its largest magnitude; the test's
// XML says how far it is.
void ExpectGolden(const std::string& what, const at::Tensor& actual, const at::Tensor& expected,
                  double tolerance);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_TESTING_GOLDEN_RUN_H_
