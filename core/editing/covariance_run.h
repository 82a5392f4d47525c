#ifndef AMEND_CORE_EDITING_COVARIANCE_RUN_H_
#define AMEND_CORE_EDITING_COVARIANCE_RUN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/editing/key_covariance.h"
#include "core/editing/settling_step.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

struct CovarianceProgress {
  // Summed so far, and how many of them an earlier run had summed.
  int64_t tokens = 0;
  int64_t resumed_tokens = 0;
  // Of the text file.
  int64_t bytes = 0;
  int64_t total_bytes = 0;
};

struct CovarianceRunOptions {
  KeyCovarianceEstimator::Options estimator;
  // UTF-8, one text per line.
  std::string text_file;
  // sha-256 (hex) of the model.
  std::string model_fingerprint;
  // What an interrupted run leaves behind and the next one goes on from.
  std::string checkpoint_file;
  // Between checkpoints; longer when writing one takes more than a twentieth of it. 0: after every
  // forward.
  double checkpoint_seconds = 30;
  // Begin anew although there is a checkpoint.
  bool restart = false;
  // Seconds that only grow.
  std::function<double()> clock;
  // Called at the start and after each forward; false ends the run with a checkpoint. May be null.
  std::function<bool(const CovarianceProgress&)> progress;
};

struct CovarianceRun {
  KeyCovariance covariance;
  std::vector<SettlingStep> settling;
  // Lines read, empty ones too.
  int64_t lines = 0;
};

// Estimates a key covariance from a text file that may be larger than the memory. The result is the
// same to the byte whether or not the run was interrupted, with the same number of threads.
//
// Errors: CANCELLED when `progress` said so, after the checkpoint is on disk; FAILED_PRECONDITION,
// naming both values, when the checkpoint is of another model, text or settings; those of TextLines
// and of the estimator. A checkpoint stays until RemoveCheckpoint.
absl::StatusOr<CovarianceRun> RunCovariance(const CausalLm& model, const Tokenizer& tokenizer,
                                            const CovarianceRunOptions& options);

// After the result is safe. Does nothing where there is none.
void RemoveCheckpoint(const std::string& checkpoint_file);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_COVARIANCE_RUN_H_
