#include "core/editing/reference_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <utility>

#include "core/model/packed_forward.h"

namespace amend {
namespace {

// Rows that the published code runs, and so pads, at once while it reads keys and values.
constexpr size_t kRowsTogether = 128;

std::vector<TokenRows> Chunks(const TokenRows& rows) {
  std::vector<TokenRows> chunks;
  for (size_t begin = 0; begin < rows.size(); begin += kRowsTogether) {
    const size_t end = std::min(rows.size(), begin + kRowsTogether);
    chunks.emplace_back(rows.begin() + begin, rows.begin() + end);
  }
  return chunks;
}

TokenRows TemplateRows(absl::Span<const EditRows> edits) {
  TokenRows rows;
  for (const EditRows& edit : edits) {
    for (const PromptRow& prompt : edit.prompts) rows.push_back(prompt.tokens);
  }
  return rows;
}

TokenRows PlainRows(absl::Span<const EditRows> edits) {
  TokenRows rows;
  for (const EditRows& edit : edits) rows.push_back(edit.prompts.front().tokens);
  return rows;
}

// Places of the lookup indices among the tokens of the first `templates` prompts of every edit.
std::vector<int64_t> LookupPlaces(absl::Span<const EditRows> edits, size_t templates) {
  std::vector<int64_t> places;
  int64_t start = 0;
  for (const EditRows& edit : edits) {
    for (size_t t = 0; t < templates; ++t) {
      places.push_back(start + edit.prompts[t].lookup);
      start += static_cast<int64_t>(edit.prompts[t].tokens.size());
    }
  }
  return places;
}

// [B * templates, d_in] -> [B, d_in].
at::Tensor MixTemplates(const at::Tensor& keys, int64_t edits) {
  const at::Tensor grouped = keys.view({edits, keys.size(0) / edits, keys.size(1)});
  const at::Tensor plain = grouped.select(1, 0);
  const int64_t prefixed = grouped.size(1) - 1;
  return prefixed == 0 ? plain : 0.5 * plain + 0.5 * grouped.narrow(1, 1, prefixed).mean({1});
}

}  // namespace

LowerBlocks ReferenceLowerBlocks(const CausalLm& model, int last_edited, ReferenceLayers parent) {
  const ReferenceHooks hooks(std::move(parent));
  return [&model, last_edited, hooks](absl::Span<const EditRows> edits) {
    std::vector<TokenRows> groups;
    for (const EditRows& edit : edits) groups.push_back(TargetRows(edit));
    PaddedForward forward(model, groups);
    forward.AdvanceTo(last_edited + 1,
                      [&hooks](auto&&... of_rows) { return hooks.ApplyToRows(of_rows...); });
    return forward.Hidden();
  };
}

ReferenceLayerWalk::ReferenceLayerWalk(const CausalLm& model, ReferenceLayers parent,
                                       absl::Span<const EditRows> edits)
    : layers_(std::move(parent)),
      next_(layers_.begin()->first),
      templates_(model, Chunks(TemplateRows(edits))),
      plain_(model, Chunks(PlainRows(edits))),
      template_lookups_(LookupPlaces(edits, edits.front().prompts.size())),
      plain_lookups_(LookupPlaces(edits, 1)),
      edits_(static_cast<int64_t>(edits.size())) {}

at::Tensor ReferenceLayerWalk::Keys(LayerIndex layer) {
  const RowHook hook = [this](auto&&... of_rows) { return Apply(of_rows...); };
  templates_.AdvanceTo(layer.value(), hook);
  plain_.AdvanceTo(layer.value(), hook);
  next_ = layer;
  const at::Tensor inputs = templates_.NextProjectionInput();
  const at::Tensor keys =
      inputs.index_select(0, IndexTensor(template_lookups_, inputs.device())).to(at::kFloat);
  return MixTemplates(keys, edits_);
}

at::Tensor ReferenceLayerWalk::CurrentValues() const {
  PaddedForward rest = plain_;
  rest.AdvanceTo(layers_.rbegin()->first.value() + 1,
                 [this](auto&&... of_rows) { return Apply(of_rows...); });
  const at::Tensor hidden = rest.Hidden();
  return hidden.index_select(0, IndexTensor(plain_lookups_, hidden.device())).to(at::kFloat);
}

void ReferenceLayerWalk::Validate(ReferenceLayer solved) {
  layers_[next_] = std::move(solved);
  next_ = LayerIndex(next_.value() + 1);
}

at::Tensor ReferenceLayerWalk::Apply(LayerIndex layer, const at::Tensor& input,
                                     const at::Tensor& output,
                                     absl::Span<const int64_t> row_lengths) const {
  const auto it = layers_.find(layer);
  if (it == layers_.end()) return output;
  if (layer < next_) return ApplyWhereValidated(it->second, input, output, row_lengths);
  return ApplyEverywhere(it->second.update, input, output);
}

std::map<LayerIndex, at::Tensor> LargestScores(const CausalLm& model, const ReferenceLayers& layers,
                                               absl::Span<const EditRows> edits) {
  std::map<LayerIndex, at::Tensor> largest;
  PaddedForward forward(model, {PlainRows(edits)});
  forward.AdvanceTo(layers.rbegin()->first.value() + 1,
                    [&](LayerIndex layer, const at::Tensor& input, const at::Tensor& output,
                        absl::Span<const int64_t> row_lengths) {
                      const auto it = layers.find(layer);
                      if (it == layers.end()) return output;
                      const at::Tensor scores = RowScores(it->second.update, input, row_lengths);
                      std::vector<at::Tensor> of_rows;
                      int64_t start = 0;
                      for (const int64_t length : row_lengths) {
                        of_rows.push_back(scores.narrow(0, start, length).max());
                        start += length;
                      }
                      largest[layer] = at::stack(of_rows);
                      return output;
                    });
  return largest;
}

}  // namespace amend
