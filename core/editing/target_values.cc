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
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
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

// Everything a step needs of the edits that are still being optimised.
struct ActiveSet {
  std::vector<int> edits;  // of the group, ascending
  at::Tensor hidden;  // [S, d]: output of block l_m at the rows' positions from the lookup index on
  at::Tensor positions;      // [S]
  at::Tensor delta_rows;     // [N]: the packed place of each row's lookup index
  at::Tensor delta_edits;    // [N]: which of `edits` each row belongs to
  at::Tensor read_rows;      // [labels + edits]: where the head is read, labels first
  at::Tensor label_ids;      // [labels, 1]
  at::Tensor label_edits;    // [labels]
  at::Tensor label_weights;  // [labels]: 1 / (prompt rows * target length)
  std::vector<int64_t> lengths;
  RecordedPrefix prefix;
};

// The part of the forward that does not depend on delta, for one group of edits.
class FrozenForward {
 public:
  FrozenForward(const CausalLm& model, const LowerBlocks& lower_blocks, int last_edited_layer,
                int loss_layer, absl::Span<const EditRows> edits)
      : edits_(edits),
        rows_(MakeRows(edits)),
        device_(TorchDevice(model)),
        hidden_(lower_blocks(edits)) {
    RecordPrefix(model, last_edited_layer, loss_layer);
  }

  // z0 [edits, d], float32: the output of block l_m at the lookup index of the plain rows.
  at::Tensor InitialValues() const {
    std::vector<int64_t> places;
    int edit = -1;
    for (size_t r = 0; r < rows_.size(); ++r) {
      if (rows_[r].edit == edit) continue;
      edit = rows_[r].edit;
      places.push_back(rows_[r].start + rows_[r].lookup);
    }
    return hidden_.index_select(0, IndexTensor(places, device_)).to(at::kFloat);
  }

  ActiveSet Select(std::vector<int> edits) const;

 private:
  // Keys and values that blocks above l_m hold for positions before the lookup index.
  void RecordPrefix(const CausalLm& model, int last_edited_layer, int loss_layer) {
    std::vector<int64_t> places;
    std::vector<int64_t> positions;
    std::vector<int64_t> lengths;
    for (size_t r = 0; r < rows_.size(); ++r) {
      lengths.push_back(rows_[r].lookup);
      for (int64_t i = 0; i < rows_[r].lookup; ++i) {
        places.push_back(rows_[r].start + i);
        positions.push_back(i);
      }
    }
    prefix_.lengths = lengths;
    if (places.empty() || last_edited_layer >= loss_layer) return;
    PackedAttention attention(lengths, device_);
    attention.RecordInto(&prefix_, LayerIndex(last_edited_layer + 1));
    RunBlocks(model, last_edited_layer + 1, loss_layer + 1,
              hidden_.index_select(0, IndexTensor(places, device_)),
              IndexTensor(positions, device_), attention, nullptr);
  }

  const absl::Span<const EditRows> edits_;
  const std::vector<Row> rows_;
  const at::Device device_;
  const at::Tensor hidden_;  // [T, d]
  RecordedPrefix prefix_;
};

ActiveSet FrozenForward::Select(std::vector<int> edits) const {
  ActiveSet active;
  std::vector<int64_t> rows, places, positions, delta_rows, delta_edits, label_rows, essence_rows,
      label_ids, label_edits;
  std::vector<float> label_weights;
  int64_t packed = 0;
  for (size_t r = 0; r < rows_.size(); ++r) {
    const Row& row = rows_[r];
    const auto found = std::lower_bound(edits.begin(), edits.end(), row.edit);
    if (found == edits.end() || *found != row.edit) continue;
    const int64_t edit = found - edits.begin();
    rows.push_back(static_cast<int64_t>(r));
    delta_rows.push_back(packed);
    delta_edits.push_back(edit);
    if (row.labels == 0) essence_rows.push_back(packed);
    for (int64_t i = 0; i < row.labels; ++i) {
      label_rows.push_back(packed + row.length - row.labels - row.lookup + i);
      label_ids.push_back(edits_[row.edit].target[i]);
      label_edits.push_back(edit);
      label_weights.push_back(1.0f / (edits_[row.edit].prompts.size() * row.labels));
    }
    for (int64_t i = row.lookup; i < row.length; ++i) {
      places.push_back(row.start + i);
      positions.push_back(i);
    }
    active.lengths.push_back(row.length - row.lookup);
    packed += row.length - row.lookup;
  }
  active.edits = std::move(edits);
  active.hidden = hidden_.index_select(0, IndexTensor(places, device_));
  active.positions = IndexTensor(positions, device_);
  active.delta_rows = IndexTensor(delta_rows, device_);
  active.delta_edits = IndexTensor(delta_edits, device_);
  active.read_rows =
      at::cat({IndexTensor(label_rows, device_), IndexTensor(essence_rows, device_)}, 0);
  active.label_ids = IndexTensor(label_ids, device_).unsqueeze(1);
  active.label_edits = IndexTensor(label_edits, device_);
  active.label_weights = at::tensor(at::ArrayRef<float>(label_weights)).to(device_);
  active.prefix = prefix_.Select(rows);
  return active;
}

// Adam (Kingma and Ba 2014) on all active deltas, with projection onto the clamp.
class DeltaOptimizer {
 public:
  DeltaOptimizer(const CausalLm& model, const EditSettings& settings, int loss_layer,
                 const FrozenForward& frozen, int edits)
      : model_(model), settings_(settings), loss_layer_(loss_layer), frozen_(frozen) {
    z0_ = frozen.InitialValues();
    result_ = at::zeros_like(z0_);
    std::vector<int> all(edits);
    for (int i = 0; i < edits; ++i) all[i] = i;
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
    at::Tensor delta = delta_.detach().requires_grad_(true);
    at::Tensor losses;
    {
      const at::AutoGradMode enable_grad(true);
      losses = Losses(delta);
      if (!last) losses.sum().backward();
    }
    const at::Tensor values = losses.detach().to(at::kCPU).contiguous();
    const float* loss = values.const_data_ptr<float>();
    std::vector<int64_t> kept;
    for (size_t i = 0; i < active_.edits.size(); ++i) {
      reports_[active_.edits[i]] = TargetReport{loss[i], iteration + 1};
      if (!std::isfinite(loss[i])) {
        return absl::AbortedError(absl::StrCat("the loss of edit ", active_.edits[i],
                                               " is not finite at iteration ", iteration, ": ",
                                               loss[i]));
      }
      if (!last && loss[i] >= settings_.stop_loss) kept.push_back(static_cast<int64_t>(i));
    }
    if (!last) gradient_ = delta.grad();
    if (kept.size() < active_.edits.size()) Keep(kept);
    if (!Done()) Step(iteration + 1);
    return absl::OkStatus();
  }

  bool Done() const { return active_.edits.empty(); }
  at::Tensor FinalValues() const { return z0_ + result_; }
  const std::vector<TargetReport>& reports() const { return reports_; }

 private:
  // [active edits], float32. delta [active edits, d].
  at::Tensor Losses(const at::Tensor& delta) {
    const int64_t count = delta.size(0);
    const at::Tensor moved =
        active_.hidden.to(at::kFloat)
            .index_add(0, active_.delta_rows, delta.index_select(0, active_.delta_edits))
            .to(active_.hidden.scalar_type());
    const at::Tensor out = RunBlocks(model_, settings_.layers.back().value() + 1, loss_layer_ + 1,
                                     moved, active_.positions, *attention_, nullptr);
    const at::Tensor log_probs =
        at::log_softmax(model_.Head(out.index_select(0, active_.read_rows)), -1);
    const int64_t labels = active_.label_ids.size(0);
    const at::Tensor label_losses =
        -log_probs.narrow(0, 0, labels).gather(1, active_.label_ids).squeeze(1) *
        active_.label_weights;
    const at::Tensor nll = at::zeros({count}, delta.options().requires_grad(false))
                               .index_add(0, active_.label_edits, label_losses);
    const at::Tensor essence = log_probs.narrow(0, labels, count);
    if (!initial_essence_.defined()) initial_essence_ = essence.detach();
    const at::Tensor kl = (essence.exp() * (essence - initial_essence_)).sum(-1);
    return nll + settings_.kl_factor * kl +
           settings_.weight_decay * RowNorms(delta) / z0_norm_.square();
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
    attention_.emplace(&active_.prefix, active_.lengths, active_.hidden.device(),
                       active_.hidden.scalar_type());
  }

  const CausalLm& model_;
  const EditSettings& settings_;
  const int loss_layer_;
  const FrozenForward& frozen_;
  at::Tensor z0_;      // [group, d]
  at::Tensor result_;  // [group, d]: final deltas
  ActiveSet active_;
  std::optional<PrefixedAttention> attention_;
  at::Tensor delta_;  // [active, d], and so the following
  at::Tensor first_moment_;
  at::Tensor second_moment_;
  at::Tensor gradient_;
  at::Tensor z0_norm_;          // [active]
  at::Tensor initial_essence_;  // [active, vocabulary]: log probabilities at delta = 0
  std::vector<TargetReport> reports_;
};

// Edits of one group: as many as fit the memory for activations, at least one.
size_t GroupSize(const CausalLm& model, absl::Span<const EditRows> edits, int blocks) {
  // Saved for the backward pass per token and block: about 12 hidden-sized and 4 intermediate-sized
  // tensors.
  const int64_t bytes_per_token =
      4 * (blocks + 1) *
      (12 * int64_t{model.config().hidden_size} + 4 * int64_t{model.config().intermediate_size});
  int64_t tokens = 0;
  size_t count = 0;
  for (const EditRows& edit : edits) {
    for (const PromptRow& prompt : edit.prompts) {
      tokens += static_cast<int64_t>(prompt.tokens.size() + edit.target.size()) - prompt.lookup;
    }
    if (count > 0 && tokens * bytes_per_token > kActivationBytes) break;
    ++count;
  }
  return count;
}

}  // namespace

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
  TargetValues result;
  std::vector<at::Tensor> values;
  size_t begin = 0;
  while (begin < edits.size()) {
    const size_t count = GroupSize(model, edits.subspan(begin), loss_layer - last_edited_layer);
    const absl::Span<const EditRows> group = edits.subspan(begin, count);
    const FrozenForward frozen(model, lower_blocks, last_edited_layer, loss_layer, group);
    DeltaOptimizer optimizer(model, settings, loss_layer, frozen, static_cast<int>(count));
    for (int i = 0; i < settings.steps && !optimizer.Done(); ++i) {
      AMEND_RETURN_IF_ERROR(optimizer.Iterate(i, i + 1 == settings.steps));
      const int done = static_cast<int>(begin * settings.steps + count * (i + 1));
      if (!after_step(done, static_cast<int>(edits.size()) * settings.steps)) {
        return absl::CancelledError("solving was cancelled");
      }
    }
    values.push_back(optimizer.FinalValues());
    result.reports.insert(result.reports.end(), optimizer.reports().begin(),
                          optimizer.reports().end());
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
