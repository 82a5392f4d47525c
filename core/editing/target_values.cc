#include "core/editing/target_values.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/parallel.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/model/attention.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;
// Edits are optimised in groups whose activations stay below this.
constexpr int64_t kActivationBytes = int64_t{3} << 30;
// Weights for both directions are packed when they take no more.
constexpr int64_t kPackedBytes = int64_t{4} << 30;
// About what a part's product has.
constexpr int64_t kRowsOfProduct = 512;
// Fewer edits do not fill the products of a thread.
constexpr size_t kMinEditsOfPart = 2;

at::Tensor RowNorms(const at::Tensor& x) { return at::linalg_vector_norm(x, 2, {1}); }

// One row of the packed forward: a prompt with its target, or the essence prompt.
struct Row {
  int edit = 0;        // within the group
  int64_t start = 0;   // packed place of its first token
  int64_t length = 0;  // tokens that matter above l_m
  int64_t lookup = 0;
  int64_t labels = 0;  // target tokens predicted from this row; 0 for the essence row
};

std::vector<Row> MakeRows(absl::Span<const EditRows> edits) {
  std::vector<Row> rows;
  int64_t start = 0;
  for (size_t e = 0; e < edits.size(); ++e) {
    const std::vector<std::vector<TokenId>> tokens = TargetRows(edits[e]);
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool is_prompt = i < edits[e].prompts.size();
      Row row;
      row.edit = static_cast<int>(e);
      row.start = start;
      row.lookup = is_prompt ? edits[e].prompts[i].lookup : edits[e].essence.lookup;
      row.labels = is_prompt ? static_cast<int64_t>(edits[e].target.size()) : 0;
      // The KL term looks at the lookup index only; what follows it does not matter above l_m.
      row.length = is_prompt ? static_cast<int64_t>(tokens[i].size()) : row.lookup + 1;
      start += static_cast<int64_t>(tokens[i].size());
      rows.push_back(row);
    }
  }
  return rows;
}

// Everything a step needs of the edits that are still being optimised. S tokens from the lookup
// index on, in N rows; R of them are read by the loss.
struct ActiveSet {
  std::vector<int> edits;  // of the group, ascending
  at::Tensor hidden;       // [S, d]: output of block l_m
  at::Tensor positions;    // [S]
  at::Tensor delta_rows;   // [N]: the packed place of each row's lookup index
  at::Tensor delta_edits;  // [N]: which of `edits` each row belongs to
  at::Tensor read_rows;    // [R]: the last tokens of each row
  at::Tensor read_edits;   // [R]
  // Of a token that predicts a label; id 0 and weight 0 for the others.
  at::Tensor label_ids;      // [R, 1]
  at::Tensor label_weights;  // [R, 1]: 1 / (prompt rows * target length)
  at::Tensor essence_reads;  // [edits]: places among the R
  std::vector<int64_t> lengths;
  std::vector<int64_t> read_lengths;
  RecordedPrefix prefix;
  // What block l_m + 1 projects where delta = 0; undefined without such a block.
  AttentionInput first_input;
};

// The part of the forward that does not depend on delta, for one group of edits.
class FrozenForward {
 public:
  // `upper` runs the blocks above l_m.
  FrozenForward(const CausalLm& upper, const LowerBlocks& lower_blocks, int last_edited_layer,
                int loss_layer, absl::Span<const EditRows> edits)
      : upper_(upper),
        first_layer_(last_edited_layer + 1),
        loss_layer_(loss_layer),
        edits_(edits),
        rows_(MakeRows(edits)),
        device_(TorchDevice(upper)),
        hidden_(lower_blocks(edits)) {
    if (first_layer_ <= loss_layer_) RecordPrefix();
  }

  // z0 [edits, d], float32: the output of block l_m at the lookup index of the plain rows.
  at::Tensor InitialValues() const {
    std::vector<int64_t> places;
    int edit = -1;
    for (const Row& row : rows_) {
      if (row.edit == edit) continue;
      edit = row.edit;
      places.push_back(row.start + row.lookup);
    }
    return hidden_.index_select(0, IndexTensor(places, device_)).to(at::kFloat);
  }

  ActiveSet Select(std::vector<int> edits) const;

 private:
  // Keys and values that blocks above l_m hold for positions before the lookup index.
  void RecordPrefix() {
    std::vector<int64_t> places, positions, lengths;
    for (const Row& row : rows_) {
      lengths.push_back(row.lookup);
      for (int64_t i = 0; i < row.lookup; ++i) {
        places.push_back(row.start + i);
        positions.push_back(i);
      }
    }
    prefix_.lengths = lengths;
    prefix_.first_layer = LayerIndex(first_layer_);
    if (places.empty()) return;
    PackedAttention attention(lengths, device_);
    const at::Tensor at_positions = IndexTensor(positions, device_);
    at::Tensor hidden = hidden_.index_select(0, IndexTensor(places, device_));
    for (int l = first_layer_; l <= loss_layer_; ++l) {
      const LayerIndex layer(l);
      const AttentionInput input = upper_.Project(layer, hidden, at_positions);
      prefix_.keys.push_back(input.key);
      prefix_.values.push_back(input.value);
      if (l == loss_layer_) break;
      hidden = upper_.Finish(layer, hidden,
                             attention.Attend(layer, input.query, input.key, input.value), nullptr);
    }
  }

  const CausalLm& upper_;
  const int first_layer_;
  const int loss_layer_;
  const absl::Span<const EditRows> edits_;
  const std::vector<Row> rows_;
  const at::Device device_;
  const at::Tensor hidden_;  // [T, d]
  RecordedPrefix prefix_;
};

ActiveSet FrozenForward::Select(std::vector<int> edits) const {
  ActiveSet active;
  std::vector<int64_t> rows, places, positions, delta_rows, delta_edits, read_rows, read_edits,
      label_ids, essence_reads;
  std::vector<float> label_weights;
  for (size_t r = 0; r < rows_.size(); ++r) {
    const Row& row = rows_[r];
    const auto found = std::lower_bound(edits.begin(), edits.end(), row.edit);
    if (found == edits.end() || *found != row.edit) continue;
    const int64_t edit = found - edits.begin();
    const EditRows& edit_rows = edits_[row.edit];
    rows.push_back(static_cast<int64_t>(r));
    delta_rows.push_back(static_cast<int64_t>(places.size()));
    delta_edits.push_back(edit);
    const int64_t reads = std::max<int64_t>(row.labels, 1);
    if (row.labels == 0) essence_reads.push_back(static_cast<int64_t>(read_rows.size()));
    for (int64_t i = row.lookup; i < row.length; ++i) {
      if (i >= row.length - reads) {
        read_rows.push_back(static_cast<int64_t>(places.size()));
        read_edits.push_back(edit);
        label_ids.push_back(row.labels == 0 ? 0 : edit_rows.target[i - row.length + reads]);
        label_weights.push_back(
            row.labels == 0
                ? 0
                : 1.0f / static_cast<float>(edit_rows.prompts.size() * edit_rows.target.size()));
      }
      places.push_back(row.start + i);
      positions.push_back(i);
    }
    active.lengths.push_back(row.length - row.lookup);
    active.read_lengths.push_back(reads);
  }
  active.edits = std::move(edits);
  active.hidden = hidden_.index_select(0, IndexTensor(places, device_));
  active.positions = IndexTensor(positions, device_);
  active.delta_rows = IndexTensor(delta_rows, device_);
  active.delta_edits = IndexTensor(delta_edits, device_);
  active.read_rows = IndexTensor(read_rows, device_);
  active.read_edits = IndexTensor(read_edits, device_);
  active.label_ids = IndexTensor(label_ids, device_).unsqueeze(1);
  active.label_weights = at::tensor(at::ArrayRef<float>(label_weights)).to(device_).unsqueeze(1);
  active.essence_reads = IndexTensor(essence_reads, device_);
  if (first_layer_ <= loss_layer_) {
    active.prefix = prefix_.Select(rows);
    active.first_input = upper_.Project(LayerIndex(first_layer_), active.hidden, active.positions);
  }
  return active;
}

// Adam (Kingma and Ba 2014) on all active deltas, with projection onto the clamp.
class DeltaOptimizer {
 public:
  // `upper` runs the blocks from `first_layer` to `loss_layer` and the head.
  // `first_edit`: the place in the batch of the first of its `edits` edits.
  DeltaOptimizer(const CausalLm& upper, const EditSettings& settings, int first_layer,
                 int loss_layer, const FrozenForward& frozen, int first_edit, int edits)
      : upper_(upper),
        settings_(settings),
        first_layer_(first_layer),
        loss_layer_(loss_layer),
        frozen_(frozen),
        first_edit_(first_edit) {
    z0_ = frozen.InitialValues();
    result_ = at::zeros_like(z0_);
    std::vector<int> all(edits);
    std::iota(all.begin(), all.end(), 0);
    active_ = frozen.Select(std::move(all));
    delta_ = at::zeros_like(z0_);
    first_moment_ = at::zeros_like(z0_);
    second_moment_ = at::zeros_like(z0_);
    z0_norm_ = RowNorms(z0_);
    reports_.resize(edits);
    ResetAttention();
  }

  // Runs one iteration; `last` takes no step. Sets Done() when nothing is left to optimise.
  absl::Status Iterate(int iteration, bool last) {
    const at::Tensor delta = delta_.detach().requires_grad_(!last);
    at::Tensor logits;
    {
      const at::AutoGradMode enable_grad(!last);
      logits = Logits(delta);
    }
    const Loss loss = LossOf(logits.detach(), delta_);
    const at::Tensor values = loss.values.to(at::kCPU).contiguous();
    const float* value = values.const_data_ptr<float>();
    std::vector<int64_t> kept;
    for (size_t i = 0; i < active_.edits.size(); ++i) {
      reports_[active_.edits[i]] = TargetReport{value[i], iteration + 1};
      if (!std::isfinite(value[i])) {
        return absl::AbortedError(absl::StrCat("the loss of edit ", first_edit_ + active_.edits[i],
                                               " is not finite at iteration ", iteration, ": ",
                                               value[i]));
      }
      if (!last && value[i] >= settings_.stop_loss) kept.push_back(static_cast<int64_t>(i));
    }
    if (!kept.empty()) {
      logits.backward(loss.logits_gradient);
      gradient_ = delta.grad() + loss.delta_gradient;
    }
    if (kept.size() < active_.edits.size()) Keep(kept);
    if (!Done()) Step(iteration + 1);
    return absl::OkStatus();
  }

  bool Done() const { return active_.edits.empty(); }
  at::Tensor FinalValues() const { return z0_ + result_; }
  const std::vector<TargetReport>& reports() const { return reports_; }

 private:
  // Of all active edits together: no edit's loss depends on another's delta.
  struct Loss {
    at::Tensor values;           // [active edits]
    at::Tensor logits_gradient;  // [R, vocabulary]
    at::Tensor delta_gradient;   // [active edits, d]: of the weight decay
  };

  // [R, vocabulary], float32. delta [active edits, d].
  at::Tensor Logits(const at::Tensor& delta) {
    const at::ScalarType dtype = active_.hidden.scalar_type();
    const at::Tensor moved = (active_.hidden.index_select(0, active_.delta_rows).to(at::kFloat) +
                              delta.index_select(0, active_.delta_edits))
                                 .to(dtype);
    at::Tensor hidden = active_.hidden.index_copy(0, active_.delta_rows, moved);
    for (int l = first_layer_; l <= loss_layer_; ++l) {
      const LayerIndex layer(l);
      AttentionInput input =
          l == first_layer_ ? FirstInput(moved) : upper_.Project(layer, hidden, active_.positions);
      // Of the last block only what the head reads is wanted.
      PrefixedAttention& attention = l == loss_layer_ ? *read_attention_ : *attention_;
      if (l == loss_layer_) {
        input.query = input.query.index_select(0, active_.read_rows);
        hidden = hidden.index_select(0, active_.read_rows);
      }
      hidden = upper_.Finish(layer, hidden,
                             attention.Attend(layer, input.query, input.key, input.value), nullptr);
    }
    if (first_layer_ > loss_layer_) hidden = hidden.index_select(0, active_.read_rows);
    return upper_.Head(hidden);
  }

  // What block l_m + 1 projects: delta has moved the tokens at the lookup indices alone. moved [N,
  // d].
  AttentionInput FirstInput(const at::Tensor& moved) const {
    const AttentionInput fresh = upper_.Project(
        LayerIndex(first_layer_), moved, active_.positions.index_select(0, active_.delta_rows));
    const AttentionInput& fixed = active_.first_input;
    return {fixed.query.index_copy(0, active_.delta_rows, fresh.query),
            fixed.key.index_copy(0, active_.delta_rows, fresh.key),
            fixed.value.index_copy(0, active_.delta_rows, fresh.value)};
  }

  // The loss and its gradients, written out: softmax and logarithm cancel to a few passes over the
  // logits.
  Loss LossOf(const at::Tensor& logits, const at::Tensor& delta) {
    at::Tensor log_probs = at::log_softmax(logits, -1);
    const at::Tensor label_losses = -log_probs.gather(1, active_.label_ids) * active_.label_weights;
    const at::Tensor essence = log_probs.index_select(0, active_.essence_reads);
    if (!initial_essence_.defined()) initial_essence_ = essence;
    const at::Tensor drift = essence - initial_essence_;
    const at::Tensor essence_probs = essence.exp();
    const at::Tensor kl = (essence_probs * drift).sum(-1);
    const at::Tensor norm = RowNorms(delta);
    const at::Tensor decay = settings_.weight_decay / z0_norm_.square();
    Loss loss;
    loss.values = at::zeros_like(kl).index_add(0, active_.read_edits, label_losses.squeeze(1)) +
                  settings_.kl_factor * kl + decay * norm;
    loss.logits_gradient = log_probs.exp_().mul_(active_.label_weights);
    loss.logits_gradient.scatter_add_(1, active_.label_ids, -active_.label_weights);
    loss.logits_gradient.index_copy_(
        0, active_.essence_reads, settings_.kl_factor * essence_probs * (drift - kl.unsqueeze(1)));
    // |delta| has no slope at 0.
    const at::Tensor inverse = at::where(norm > 0, decay / norm, at::zeros_like(norm));
    loss.delta_gradient = delta * inverse.unsqueeze(1);
    return loss;
  }

  // Goes on with the active edits at these places; the others keep the delta that they have.
  void Keep(const std::vector<int64_t>& places) {
    std::vector<int64_t> of_group(active_.edits.begin(), active_.edits.end());
    result_.index_copy_(0, IndexTensor(of_group, result_.device()), delta_);
    std::vector<int> edits;
    for (const int64_t place : places) edits.push_back(active_.edits[place]);
    if (edits.empty()) {
      active_ = ActiveSet();
      return;
    }
    const at::Tensor index = IndexTensor(places, delta_.device());
    for (at::Tensor* tensor :
         {&delta_, &first_moment_, &second_moment_, &gradient_, &z0_norm_, &initial_essence_}) {
      *tensor = tensor->index_select(0, index);
    }
    active_ = frozen_.Select(std::move(edits));
    ResetAttention();
  }

  void Step(int t) {
    first_moment_ = kBeta1 * first_moment_ + (1 - kBeta1) * gradient_;
    second_moment_ = kBeta2 * second_moment_ + (1 - kBeta2) * gradient_.square();
    const at::Tensor denominator =
        second_moment_.sqrt() / std::sqrt(1 - std::pow(kBeta2, t)) + kEpsilon;
    delta_ =
        delta_ - settings_.learning_rate / (1 - std::pow(kBeta1, t)) * first_moment_ / denominator;
    const at::Tensor norm = RowNorms(delta_);
    const at::Tensor bound = settings_.clamp * z0_norm_;
    const at::Tensor scale = at::where(norm > bound, bound / norm, at::ones_like(norm));
    delta_ = delta_ * scale.unsqueeze(1);
  }

  void ResetAttention() {
    if (first_layer_ > loss_layer_) return;
    const at::Device device = active_.hidden.device();
    const at::ScalarType dtype = active_.hidden.scalar_type();
    attention_.emplace(&active_.prefix, active_.lengths, device, dtype);
    read_attention_.emplace(&active_.prefix, active_.lengths, active_.read_lengths, device, dtype);
  }

  const CausalLm& upper_;
  const EditSettings& settings_;
  const int first_layer_;
  const int loss_layer_;
  const FrozenForward& frozen_;
  const int first_edit_;
  at::Tensor z0_;      // [group, d]
  at::Tensor result_;  // [group, d]: final deltas
  ActiveSet active_;
  std::optional<PrefixedAttention> attention_;
  std::optional<PrefixedAttention> read_attention_;
  at::Tensor delta_;  // [active, d], and so the following
  at::Tensor first_moment_;
  at::Tensor second_moment_;
  at::Tensor gradient_;
  at::Tensor z0_norm_;          // [active]
  at::Tensor initial_essence_;  // [active, vocabulary]: log probabilities at delta = 0
  std::vector<TargetReport> reports_;
};

// Tokens of an edit that a step runs.
int64_t StepTokens(const EditRows& edit) {
  int64_t tokens = 1;
  for (const PromptRow& prompt : edit.prompts)
    tokens += static_cast<int64_t>(prompt.tokens.size() + edit.target.size()) - prompt.lookup;
  return tokens;
}

// How many of `edits` are optimised at the same time: as many as fit the memory for activations, at
// least one.
size_t GroupSize(const CausalLm& model, absl::Span<const EditRows> edits, int blocks) {
  // Saved for the backward pass per token and block: about 12 hidden-sized and 4 intermediate-sized
  // tensors.
  const int64_t bytes_per_token =
      4 * (blocks + 1) *
      (12 * int64_t{model.config().hidden_size} + 4 * int64_t{model.config().intermediate_size});
  int64_t tokens = 0;
  size_t count = 0;
  for (const EditRows& edit : edits) {
    tokens += StepTokens(edit);
    if (count > 0 && tokens * bytes_per_token > kActivationBytes) break;
    ++count;
  }
  return count;
}

// The optimisation of some edits of a batch.
struct Part {
  std::unique_ptr<const FrozenForward> frozen;
  std::unique_ptr<DeltaOptimizer> optimizer;
};

// Cuts a group into parts that run side by side, each on one thread: no operation of a small model
// is long enough to be shared well.
std::vector<absl::Span<const EditRows>> Parts(const CausalLm& model,
                                              absl::Span<const EditRows> group) {
  const size_t threads = model.load_options().device == Device::kCpu ? ComputeThreads() : 1;
  const size_t count = std::max<size_t>(1, std::min(threads, group.size() / kMinEditsOfPart));
  int64_t total = 0;
  for (const EditRows& edit : group) total += StepTokens(edit);
  // Of about equal numbers of tokens.
  std::vector<absl::Span<const EditRows>> parts;
  size_t begin = 0;
  int64_t tokens = 0;
  for (size_t end = 1; end <= group.size(); ++end) {
    tokens += StepTokens(group[end - 1]);
    const int64_t wanted = total * static_cast<int64_t>(parts.size() + 1);
    if (tokens * static_cast<int64_t>(count) < wanted && end < group.size()) continue;
    parts.push_back(group.subspan(begin, end - begin));
    begin = end;
  }
  return parts;
}

// visit(0) ... visit(count - 1), side by side, without gradients.
void ForEachPart(size_t count, const std::function<void(int64_t)>& visit) {
  if (count == 1) return visit(0);
  ParallelFor(0, static_cast<int64_t>(count), 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    for (int64_t i = begin; i < end; ++i) visit(i);
  });
}

// One iteration of all parts.
absl::Status IterateAll(std::vector<Part>& parts, int iteration, bool last) {
  std::vector<absl::Status> statuses(parts.size());
  ForEachPart(parts.size(), [&](int64_t i) {
    if (!parts[i].optimizer->Done()) statuses[i] = parts[i].optimizer->Iterate(iteration, last);
  });
  for (const absl::Status& status : statuses) AMEND_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CausalLm>> PrepareForTargets(
    std::shared_ptr<const CausalLm> model, const EditSettings& settings) {
  const LoadOptions& options = model->load_options();
  const ModelConfig& config = model->config();
  const int64_t d = config.hidden_size;
  const int64_t embeddings = (config.tied_head ? 1 : 2) * d * config.vocabulary_size;
  const int64_t block = (model->ParameterCount() - embeddings) / config.layers;
  const bool bfloat16 = settings.target_precision == TargetPrecision::kBFloat16;
  const auto fits = [&](int first) {
    const int64_t weights = (config.layers - first) * block + d * config.vocabulary_size;
    return 2 * weights * (bfloat16 ? 2 : 4) <= kPackedBytes;
  };
  int first = settings.layers.back().value() + 1;
  if (options.device != Device::kCpu || options.dtype != Dtype::kFloat32 || !fits(first)) {
    return model;
  }
  // Keys are read below: those blocks stay exact.
  if (!bfloat16 && fits(0)) first = 0;
  std::shared_ptr<const CausalLm> packed;
  const absl::Status status = CatchTorch("packing weights", [&] {
    packed = model->WithPackedWeights(
        LayerIndex(first), bfloat16 ? Dtype::kBFloat16 : Dtype::kFloat32, kRowsOfProduct);
    // One product, to see that the machine has it.
    packed->Head(at::zeros({1, d}));
    return absl::OkStatus();
  });
  if (!status.ok()) return absl::InvalidArgumentError(status.message());
  return packed;
}

std::vector<std::vector<TokenId>> TargetRows(const EditRows& edit) {
  std::vector<std::vector<TokenId>> rows;
  for (const PromptRow& prompt : edit.prompts) {
    rows.push_back(prompt.tokens);
    rows.back().insert(rows.back().end(), edit.target.begin(), edit.target.end() - 1);
  }
  rows.push_back(edit.essence.tokens);
  return rows;
}

absl::StatusOr<TargetValues> OptimizeTargetValues(
    const CausalLm& model, const LowerBlocks& lower_blocks, const EditSettings& settings,
    absl::Span<const EditRows> edits, const std::function<bool(int done, int total)>& after_step) {
  const at::NoGradGuard no_grad;
  const int last_edited_layer = settings.layers.back().value();
  const int loss_layer = settings.loss_layer < 0 ? model.config().layers - 1 : settings.loss_layer;
  const int first_layer = last_edited_layer + 1;
  TargetValues result;
  std::vector<at::Tensor> values;
  size_t begin = 0;
  while (begin < edits.size()) {
    const size_t count = GroupSize(model, edits.subspan(begin), loss_layer - last_edited_layer);
    const std::vector<absl::Span<const EditRows>> spans = Parts(model, edits.subspan(begin, count));
    std::vector<Part> parts(spans.size());
    ForEachPart(parts.size(), [&](int64_t i) {
      parts[i].frozen = std::make_unique<const FrozenForward>(
          model, lower_blocks, last_edited_layer, loss_layer, spans[i]);
      parts[i].optimizer = std::make_unique<DeltaOptimizer>(
          model, settings, first_layer, loss_layer, *parts[i].frozen,
          static_cast<int>(spans[i].data() - edits.data()), static_cast<int>(spans[i].size()));
    });
    const auto done = [](const Part& part) { return part.optimizer->Done(); };
    for (int i = 0; i < settings.steps && !std::all_of(parts.begin(), parts.end(), done); ++i) {
      AMEND_RETURN_IF_ERROR(IterateAll(parts, i, i + 1 == settings.steps));
      const int steps_done = static_cast<int>(begin * settings.steps + count * (i + 1));
      if (!after_step(steps_done, static_cast<int>(edits.size()) * settings.steps)) {
        return absl::CancelledError("solving was cancelled");
      }
    }
    for (const Part& part : parts) {
      values.push_back(part.optimizer->FinalValues());
      const std::vector<TargetReport>& reports = part.optimizer->reports();
      result.reports.insert(result.reports.end(), reports.begin(), reports.end());
    }
    begin += count;
  }
  result.z = at::cat(values, 0);
  return result;
}

absl::StatusOr<TargetValues> OptimizeTargetValues(
    const CausalLm& model, const DownProjectionHook& hooks, const EditSettings& settings,
    absl::Span<const EditRows> edits, const std::function<bool(int done, int total)>& after_step) {
  const auto lower_blocks = [&](absl::Span<const EditRows> group) {
    std::vector<std::vector<TokenId>> rows;
    for (const EditRows& edit : group) {
      for (std::vector<TokenId>& row : TargetRows(edit)) rows.push_back(std::move(row));
    }
    const std::vector<absl::Span<const TokenId>> spans(rows.begin(), rows.end());
    const PackedTokens packed = PackTokens(spans, {}, TorchDevice(model));
    PackedAttention attention(packed.lengths, TorchDevice(model));
    return RunBlocks(model, 0, settings.layers.back().value() + 1,
                     model.Embed(packed.ids, packed.positions), packed.positions, attention,
                     &hooks);
  };
  return OptimizeTargetValues(model, lower_blocks, settings, edits, after_step);
}

}  // namespace amend
