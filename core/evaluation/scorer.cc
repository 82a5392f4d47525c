#include "core/evaluation/scorer.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/log_softmax.h>
#include <c10/core/InferenceMode.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/torch_status.h"
#include "core/model/attention.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

// Tokens of one forward of packed rows.
constexpr size_t kTokensPerForward = 2048;

// The tokens of one item that are run.
int64_t RowLength(const ScoreItem& item, ForwardRows rows) {
  const size_t unread = rows == ForwardRows::kPacked ? 1 : 0;
  return static_cast<int64_t>(item.prompt.size() + item.continuation.size() - unread);
}

std::vector<ScoredContinuation> ScoreChunk(const CausalLm& model, const DownProjectionHook& hooks,
                                           absl::Span<const ScoreItem> items,
                                           ForwardRows forward_rows) {
  const at::Device device = TorchDevice(model);
  std::vector<std::vector<TokenId>> rows;
  std::vector<int64_t> read, labels;
  int64_t start = 0;
  for (const ScoreItem& item : items) {
    std::vector<TokenId> row = item.prompt;
    row.insert(row.end(), item.continuation.begin(), item.continuation.end());
    row.resize(RowLength(item, forward_rows));
    for (size_t i = 0; i < item.continuation.size(); ++i) {
      read.push_back(start + static_cast<int64_t>(item.prompt.size() + i) - 1);
      labels.push_back(item.continuation[i]);
    }
    start += static_cast<int64_t>(row.size());
    rows.push_back(std::move(row));
  }
  const std::vector<absl::Span<const TokenId>> spans(rows.begin(), rows.end());
  const PackedTokens packed = PackTokens(spans, {}, device);
  PackedAttention attention(packed.lengths, device);
  const at::Tensor hidden =
      RunBlocks(model, 0, model.config().layers, model.Embed(packed.ids, packed.positions),
                packed.positions, attention, &hooks);
  const at::Tensor log_probs =
      at::log_softmax(model.Head(hidden.index_select(0, IndexTensor(read, device))), -1);
  const at::Tensor chosen = log_probs.gather(1, IndexTensor(labels, device).unsqueeze(1))
                                .squeeze(1)
                                .to(at::kCPU)
                                .contiguous();
  const at::Tensor best = log_probs.argmax(1).to(at::kCPU).contiguous();
  const float* logprob = chosen.const_data_ptr<float>();
  const int64_t* argmax = best.const_data_ptr<int64_t>();
  std::vector<ScoredContinuation> results;
  for (const ScoreItem& item : items) {
    ScoredContinuation result;
    for (size_t i = 0; i < item.continuation.size(); ++i) {
      result.logprobs.push_back(*logprob++);
      result.argmax.push_back(static_cast<TokenId>(*argmax++));
    }
    results.push_back(std::move(result));
  }
  return results;
}

absl::Status CheckItem(const CausalLm& model, size_t index, const ScoreItem& item,
                       ForwardRows rows) {
  if (item.prompt.empty() || item.continuation.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "item ", index, " has a prompt of ", item.prompt.size(), " tokens and a continuation of ",
        item.continuation.size(), "; both need at least one"));
  }
  const int64_t length = RowLength(item, rows);
  if (length > model.config().context_length) {
    return absl::InvalidArgumentError(absl::StrCat("item ", index, " has ", length,
                                                   " tokens, the context is ",
                                                   model.config().context_length));
  }
  const int vocabulary = model.config().vocabulary_size;
  for (const std::vector<TokenId>* part : {&item.prompt, &item.continuation}) {
    for (const TokenId id : *part) {
      if (id >= 0 && id < vocabulary) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "item ", index, " has token ", id, ", which is outside the vocabulary of ", vocabulary));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ScoredContinuation>> ScoreContinuations(
    const CausalLm& model, const DownProjectionHook& hooks, absl::Span<const ScoreItem> items,
    ForwardRows rows) {
  const size_t tokens_per_forward = rows == ForwardRows::kPacked ? kTokensPerForward : 1;
  for (size_t i = 0; i < items.size(); ++i) {
    if (absl::Status status = CheckItem(model, i, items[i], rows); !status.ok()) return status;
  }
  std::vector<ScoredContinuation> results;
  const absl::Status status = CatchTorch("scoring", [&] {
    const c10::InferenceMode inference;
    size_t begin = 0;
    while (begin < items.size()) {
      size_t end = begin;
      size_t tokens = 0;
      while (end < items.size() && (end == begin || tokens < tokens_per_forward)) {
        tokens += items[end].prompt.size() + items[end].continuation.size();
        ++end;
      }
      for (ScoredContinuation& result :
           ScoreChunk(model, hooks, items.subspan(begin, end - begin), rows)) {
        results.push_back(std::move(result));
      }
      begin = end;
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return results;
}

}  // namespace amend
