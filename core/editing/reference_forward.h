#ifndef AMEND_CORE_EDITING_REFERENCE_FORWARD_H_
#define AMEND_CORE_EDITING_REFERENCE_FORWARD_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/edit_rows.h"
#include "core/editing/padded_forward.h"
#include "core/editing/reference_scope.h"
#include "core/editing/target_values.h"
#include "core/model/causal_lm.h"

// The forward passes of a batch under EditScope::kReference: which rows run under which hooks, and
// which of them are padded together, as in the paper's published code. Letters: B edits, d =
// hidden_size.

namespace amend {

using ReferenceLayers = std::map<LayerIndex, ReferenceLayer>;

// What OptimizeTargetValues reads: blocks up to `last_edited` under the validated hooks of
// `parent`; the rows of one edit are padded together. `model` must outlive the result.
LowerBlocks ReferenceLowerBlocks(const CausalLm& model, int last_edited, ReferenceLayers parent);

// The layer loop's view of a batch: keys and current values, layer by layer. Every layer starts
// with its temporary hook (the parent's update at every token) and gets its validated hook when it
// has been solved. Template rows are padded together in chunks of 128, and so are plain rows.
// Thread-compatible. The model must outlive it.
class ReferenceLayerWalk {
 public:
  // All edits have the same number of templates, at least one. `parent` holds every edited layer.
  ReferenceLayerWalk(const CausalLm& model, ReferenceLayers parent,
                     absl::Span<const EditRows> edits);

  // [B, d_in], float32: what the projection of `layer` reads at the lookup index, half of it from
  // the plain template, half the mean of the prefixed ones. Layers come in ascending order.
  at::Tensor Keys(LayerIndex layer);
  // [B, d], float32: what the last edited block puts out now at the lookup index of the plain rows.
  at::Tensor CurrentValues() const;
  // From now on the layer that Keys was asked for last uses `solved`, where its scope says so.
  void Validate(ReferenceLayer solved);

 private:
  at::Tensor Apply(LayerIndex layer, const at::Tensor& input, const at::Tensor& output,
                   absl::Span<const int64_t> row_lengths) const;

  ReferenceLayers layers_;
  LayerIndex next_;  // this layer and those above have their temporary hooks
  PaddedForward templates_;
  PaddedForward plain_;
  std::vector<int64_t> template_lookups_;  // among the tokens of all template rows
  std::vector<int64_t> plain_lookups_;     // among the tokens of all plain rows
  int64_t edits_;
};

// Per layer the largest score that each edit's plain prompt reaches: [B], float32. The forward has
// no hooks; all prompts are padded together.
std::map<LayerIndex, at::Tensor> LargestScores(const CausalLm& model, const ReferenceLayers& layers,
                                               absl::Span<const EditRows> edits);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_REFERENCE_FORWARD_H_
