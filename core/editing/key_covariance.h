#ifndef AMEND_CORE_EDITING_KEY_COVARIANCE_H_
#define AMEND_CORE_EDITING_KEY_COVARIANCE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/matrix.h"
#include "core/base/types.h"
#include "core/editing/settling_step.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {

// The background second moment of the keys, E[k k'], uncentred, per token (MEMIT, arXiv 2210.07229,
// section 4.2). Plain data.
struct KeyCovariance {
  struct Layer {
    LayerIndex layer;
    Matrix moment;  // [d_in, d_in]
  };
  std::vector<Layer> layers;
  // How many tokens it was estimated from; 0 when not known.
  int64_t tokens = 0;
};

// Estimates a key covariance from texts that are added one by one. Texts wait until there are
// enough of them for one forward of the unedited model. What comes out depends on the texts and
// their order alone: not on when it was saved and restored. Not thread-safe; model and tokenizer
// must outlive it.
class KeyCovarianceEstimator {
 public:
  struct Options {
    std::vector<LayerIndex> layers;
    // Tokens used of each text; 0: the context length.
    int max_tokens_per_text = 0;
    // Tokens used in all; 0: no end.
    int64_t max_tokens = 0;
    // Compare the estimate with an earlier one whenever the tokens have doubled.
    bool watch_settling = false;
  };

  // INVALID_ARGUMENT, naming the layers there are, for one that the model does not have.
  static absl::StatusOr<std::unique_ptr<KeyCovarianceEstimator>> Create(const CausalLm* model,
                                                                        const Tokenizer* tokenizer,
                                                                        Options options);
  ~KeyCovarianceEstimator();

  // Takes a text, and runs a forward when enough tokens wait. Does nothing once it is full().
  absl::Status Add(absl::string_view text);
  // Runs what waits and records the last step of settling. Call once, after the last text.
  absl::Status Finish();

  // `max_tokens` are reached.
  bool full() const;
  // Texts wait for their forward: not the time to save.
  bool waiting() const { return waiting_tokens_ > 0; }
  // Tokens of the forwards that were run.
  int64_t tokens() const { return tokens_; }
  // The mean so far. INVALID_ARGUMENT when there is no token at all, INTERNAL naming the layer when
  // something is not finite.
  absl::StatusOr<KeyCovariance> Estimate() const;
  // By tokens, then by layer. Empty without `watch_settling`.
  std::vector<SettlingStep> Settling() const;

  // Writes what has been summed, with `metadata`, atomically; "tokens", "observed_tokens" and
  // "settling_steps" are names of its own. FAILED_PRECONDITION while texts wait.
  absl::Status Save(const std::string& path,
                    const std::map<std::string, std::string>& metadata) const;
  // Goes on from what Save wrote for the same model, tokenizer and options (`max_tokens` may be
  // larger). INVALID_ARGUMENT, naming the file and what is wrong; the estimator is of no use then.
  absl::Status Restore(const std::string& path);

 private:
  struct Layer;

  KeyCovarianceEstimator(const CausalLm* model, const Tokenizer* tokenizer, Options options);
  void RunForward();
  void ObserveSettling();
  absl::Status RestoreFrom(const std::string& path);

  const CausalLm* const model_;
  const Tokenizer* const tokenizer_;
  const Options options_;
  const size_t tokens_per_text_;
  std::map<LayerIndex, std::unique_ptr<Layer>> layers_;
  std::vector<std::vector<TokenId>> rows_;
  int64_t waiting_tokens_ = 0;
  int64_t tokens_ = 0;
  // Where the last step of settling ended.
  int64_t observed_tokens_ = 0;
};

// Runs the unedited model over `texts`, each cut to `max_tokens_per_text` (0: the context length).
// `progress` may be null. INVALID_ARGUMENT when there is no token at all.
absl::StatusOr<KeyCovariance> ComputeKeyCovariance(
    const CausalLm& model, const Tokenizer& tokenizer, absl::Span<const LayerIndex> layers,
    absl::Span<const std::string> texts, int max_tokens_per_text,
    const std::function<void(int64_t texts_done)>& progress);

// A safetensors file with float32 tensors "layer{l}.covariance" [d_in, d_in], and "tokens" in its
// metadata when they are known. Save writes to a temporary name, syncs and renames.
absl::Status SaveKeyCovariance(const KeyCovariance& covariance, const std::string& path);
// Only `layers` are read. NOT_FOUND, naming file and tensor, for a missing one.
absl::StatusOr<KeyCovariance> LoadKeyCovariance(const std::string& path,
                                                absl::Span<const LayerIndex> layers);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_KEY_COVARIANCE_H_
