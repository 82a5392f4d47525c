#ifndef AMEND_CORE_EDITING_KEY_COVARIANCE_H_
#define AMEND_CORE_EDITING_KEY_COVARIANCE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/matrix.h"
#include "core/base/types.h"
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

// Runs the unedited model over `texts`, one by one, each cut to `max_tokens_per_text` (0: the
// context length). `progress` may be null. INVALID_ARGUMENT when there is no token at all.
absl::StatusOr<KeyCovariance> ComputeKeyCovariance(
    const CausalLm& model, const Tokenizer& tokenizer, absl::Span<const LayerIndex> layers,
    absl::Span<const std::string> texts, int max_tokens_per_text,
    const std::function<void(int64_t texts_done)>& progress);

// A safetensors file with float32 tensors "layer{l}.covariance" [d_in, d_in]. Save writes to a
// temporary name, syncs and renames.
absl::Status SaveKeyCovariance(const KeyCovariance& covariance, const std::string& path);
// Only `layers` are read. NOT_FOUND, naming file and tensor, for a missing one.
absl::StatusOr<KeyCovariance> LoadKeyCovariance(const std::string& path,
                                                absl::Span<const LayerIndex> layers);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_KEY_COVARIANCE_H_
