#include "core/editing/hook_stack.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/fired_memo.h"
#include "core/editing/scoped_factors.h"
#include "core/editing/stacked_factors.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/token_screen.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

constexpr int64_t kMinCapacity = 32;
constexpr int64_t kScreenedEdits = 64;
// Up to so many, one pass over the codes is cheaper than a product and a look into the memo.
constexpr int64_t kFewTokens = 32;
// Of a layer: twice the different tokens of a batch of 40 edits.
constexpr int64_t kMemoTokens = 4096;

// Rows of factors that stacks of one line share. Append only: a stack reads the prefix that it was
// made with, a longer stack's rows lie behind it. Thread-safe under that rule.
class FactorBuffer {
 public:
  FactorBuffer(int64_t d_out, int64_t d_in, at::Device device)
      : options_(at::TensorOptions().dtype(at::kFloat).device(device)),
        u_(at::empty({0, d_out}, options_)),
        v_(at::empty({0, d_in}, options_)),
        threshold_(at::empty({0}, options_)),
        screens_(device.is_cpu()),
        memo_(kMemoTokens) {
    if (!screens_) return;
    screen_ = FactorScreen::Of(v_);
  }

  // The first `rows` rows.
  StackedFactors View(int64_t rows) const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return {u_.narrow(0, 0, rows), v_.narrow(0, 0, rows), threshold_.narrow(0, 0, rows)};
  }
  // Their screen; absent where the factors are not on the CPU.
  std::optional<FactorScreen> ViewScreen(int64_t rows) const ABSL_LOCKS_EXCLUDED(mutex_) {
    if (!screens_) return std::nullopt;
    absl::MutexLock lock(&mutex_);
    return screen_.Rows(0, rows);
  }

  // Of its rows, as screened.
  FiredMemo& memo() { return memo_; }

  // UpdateProduct of the first `rows` rows and `more`. Along a line that grows it reads each row
  // once.
  double ProductWithFirst(int64_t rows, const StackedFactors& more) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    const int64_t d_out = u_.size(1);
    const int64_t d_in = v_.size(1);
    const bool factors_are_less = rows * (d_in + d_out) <= d_in * d_out;
    if (factors_are_less || rows < summed_) {
      return UpdateProduct({u_.narrow(0, 0, rows), v_.narrow(0, 0, rows), {}}, more);
    }
    if (!sum_.defined()) sum_ = at::zeros({d_out, d_in}, options_);
    const int64_t next = rows - summed_;
    sum_.addmm_(u_.narrow(0, summed_, next).t(), v_.narrow(0, summed_, next));
    summed_ = rows;
    return (sum_ * at::matmul(more.u.t(), more.v)).sum(at::kDouble).item<double>();
  }

  // Appends behind row `rows` when that is the end; false when another stack has appended there.
  // `expected`: rows that there will be, 0 where that is not known.
  bool TryAppend(int64_t rows, const StackedFactors& more, int64_t expected)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (rows != used_) return false;
    const int64_t count = more.u.size(0);
    // A quarter more than expected, so that the next batches find room: what is never written to
    // takes no memory.
    if (used_ + count > u_.size(0)) Grow(std::max(used_ + count, expected + expected / 4));
    u_.narrow(0, used_, count).copy_(more.u);
    v_.narrow(0, used_, count).copy_(more.v);
    threshold_.narrow(0, used_, count).copy_(more.threshold);
    if (screens_) screen_.Rows(used_, count).Set(more.v);
    used_ += count;
    return true;
  }

 private:
  void Grow(int64_t rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int64_t capacity = std::max({rows, 2 * u_.size(0), kMinCapacity});
    for (at::Tensor* tensor :
         {&u_, &v_, &threshold_, &screen_.codes, &screen_.scale, &screen_.error, &screen_.norm}) {
      if (!tensor->defined()) continue;
      std::vector<int64_t> shape = tensor->sizes().vec();
      shape[0] = capacity;
      at::Tensor larger = at::empty(shape, tensor->options());
      larger.narrow(0, 0, used_).copy_(tensor->narrow(0, 0, used_));
      *tensor = std::move(larger);
    }
  }

  mutable absl::Mutex mutex_;
  const at::TensorOptions options_;
  at::Tensor u_ ABSL_GUARDED_BY(mutex_);
  at::Tensor v_ ABSL_GUARDED_BY(mutex_);
  at::Tensor threshold_ ABSL_GUARDED_BY(mutex_);
  const bool screens_;
  FactorScreen screen_ ABSL_GUARDED_BY(mutex_);
  int64_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  FiredMemo memo_;
  // u'v of the first `summed_` rows.
  at::Tensor sum_ ABSL_GUARDED_BY(mutex_);
  int64_t summed_ ABSL_GUARDED_BY(mutex_) = 0;
};

struct StackedLayer {
  std::shared_ptr<FactorBuffer> buffer;
  // What this stack sees: views of the buffer.
  StackedFactors factors;
  std::optional<FactorScreen> screen;

  // Below this the screen costs more than it saves (docs/performance.md).
  const FactorScreen* ScreenFor(const at::Tensor& input) const {
    const bool pays = factors.v.size(0) >= kScreenedEdits && input.size(1) >= kMinTokenScreen;
    return pays && screen.has_value() && input.is_cpu() ? &*screen : nullptr;
  }
  std::vector<FiredEdit> Fired(const at::Tensor& input) const {
    const FactorScreen* used = ScreenFor(input);
    if (used == nullptr) return FindFired(factors, nullptr, input);
    if (input.size(0) <= kFewTokens) return FindFiredAtTokens(factors, *used, input);
    return buffer->memo().Find(factors, *used, input);
  }
};

// Which edit each row of the factors is, the same for every layer: runs of rows, each of edits that
// follow each other in one batch. Append only and shared like a FactorBuffer. Thread-safe under
// that rule.
class RowRuns {
 public:
  // Appends a run behind the first `runs`; false when another stack has appended there.
  bool TryAppend(size_t runs, int64_t first_row, const EditId& first_edit)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (runs != runs_.size()) return false;
    runs_.push_back({first_row, first_edit});
    return true;
  }
  // A copy of the first `runs` ones.
  std::shared_ptr<RowRuns> Prefix(size_t runs) const ABSL_LOCKS_EXCLUDED(mutex_) {
    auto prefix = std::make_shared<RowRuns>();
    absl::MutexLock lock(&mutex_);
    absl::MutexLock prefix_lock(&prefix->mutex_);
    prefix->runs_.assign(runs_.begin(), runs_.begin() + static_cast<int64_t>(runs));
    return prefix;
  }
  EditId EditOfRow(size_t runs, int64_t row) const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    const auto end = runs_.begin() + static_cast<int64_t>(runs);
    const auto next = std::upper_bound(runs_.begin(), end, row, [](int64_t value, const Run& run) {
      return value < run.first_row;
    });
    const Run& run = *std::prev(next);
    return EditId{run.first_edit.revision,
                  run.first_edit.index + static_cast<int32_t>(row - run.first_row)};
  }

 private:
  struct Run {
    int64_t first_row;
    EditId first_edit;
  };
  mutable absl::Mutex mutex_;
  // By first row, ascending.
  std::vector<Run> runs_ ABSL_GUARDED_BY(mutex_);
};

// Numbers of one stack, kept once they were asked for. Thread-safe.
class KeptNumbers {
 public:
  std::optional<double> Get(LayerIndex layer) const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    const auto found = numbers_.find(layer);
    if (found == numbers_.end()) return std::nullopt;
    return found->second;
  }
  void Set(LayerIndex layer, double number) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    numbers_[layer] = number;
  }

 private:
  mutable absl::Mutex mutex_;
  std::map<LayerIndex, double> numbers_ ABSL_GUARDED_BY(mutex_);
};

StackedFactors Rows(const StackedFactors& factors, int64_t begin, int64_t end) {
  StackedFactors rows;
  rows.u = factors.u.narrow(0, begin, end - begin);
  rows.v = factors.v.narrow(0, begin, end - begin);
  return rows;
}

StackedFactors Rows(const StackedFactors& factors, const std::vector<int64_t>& rows) {
  const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(rows)).to(factors.v.device());
  return {factors.u.index_select(0, index), factors.v.index_select(0, index),
          factors.threshold.index_select(0, index)};
}

absl::Status CheckFits(const LayerFactors& factors, int64_t b, const ModelConfig& config) {
  const int64_t d_out = config.hidden_size;
  const int64_t d_in = config.intermediate_size;
  if (factors.layer.value() < 0 || factors.layer.value() >= config.layers) {
    return absl::InvalidArgumentError(absl::StrCat("factors of layer ", factors.layer.value(),
                                                   ": the model has ", config.layers, " layers"));
  }
  if (static_cast<int64_t>(factors.activations.size()) != b) {
    return absl::InvalidArgumentError(absl::StrCat("layer ", factors.layer.value(), " has ",
                                                   factors.activations.size(),
                                                   " edits, another has ", b));
  }
  if (factors.u.rows != b || factors.v.rows != b || factors.u.cols != d_out ||
      factors.v.cols != d_in) {
    return absl::InvalidArgumentError(
        absl::StrCat("factors of layer ", factors.layer.value(), ": u is [", factors.u.rows, ", ",
                     factors.u.cols, "], v is [", factors.v.rows, ", ", factors.v.cols,
                     "]; expected [", b, ", ", d_out, "] and [", b, ", ", d_in, "]"));
  }
  return absl::OkStatus();
}

// U and V where `factors` has them.
StackedFactors ScopedFactors(const LayerFactors& factors, double beta) {
  StackedFactors result;
  result.u = ViewOf(factors.u);
  result.v = ViewOf(factors.v);
  result.threshold = at::tensor(at::ArrayRef<float>(factors.activations)) * beta;
  return result;
}

}  // namespace

struct HookStack::State {
  ModelConfig config;
  at::Device device = at::kCPU;
  double beta = 0.5;
  std::map<LayerIndex, StackedLayer> layers;
  std::shared_ptr<RowRuns> runs = std::make_shared<RowRuns>();
  size_t run_count = 0;
  int64_t edit_count = 0;
  // Squares of the norms of the updates: of this stack, and of the one it extends, whose edits are
  // the first `parent_edits`.
  std::shared_ptr<KeptNumbers> squares = std::make_shared<KeptNumbers>();
  std::shared_ptr<const KeptNumbers> parent_squares;
  int64_t parent_edits = 0;
  // Norms of the base weights: the same for all stacks of a model.
  std::shared_ptr<KeptNumbers> base_norms = std::make_shared<KeptNumbers>();

  EditId EditOfRow(int64_t row) const { return runs->EditOfRow(run_count, row); }

  // Behind all rows so far.
  void AppendRun(int64_t first_row, const EditId& first_edit) {
    if (!runs->TryAppend(run_count, first_row, first_edit)) {
      runs = runs->Prefix(run_count);
      runs->TryAppend(run_count, first_row, first_edit);
    }
    ++run_count;
  }

  void KeepRows(const State& parent, const std::vector<int64_t>& kept,
                const std::vector<int64_t>& left_out);

  double SquareOf(LayerIndex layer, const StackedLayer& stacked) const {
    if (const std::optional<double> known = squares->Get(layer)) return *known;
    const std::optional<double> parent =
        parent_squares == nullptr ? std::nullopt : parent_squares->Get(layer);
    double square = 0;
    if (parent.has_value()) {
      const StackedFactors more = Rows(stacked.factors, parent_edits, edit_count);
      square = *parent + UpdateProduct(more, more);
      if (parent_edits > 0) square += 2 * stacked.buffer->ProductWithFirst(parent_edits, more);
    } else {
      square = UpdateProduct(stacked.factors, stacked.factors);
    }
    squares->Set(layer, square);
    return square;
  }
};

HookStack::HookStack(std::unique_ptr<const State> state) : state_(std::move(state)) {}
HookStack::~HookStack() = default;

std::shared_ptr<const HookStack> HookStack::Empty(const CausalLm& model, double beta) {
  auto state = std::make_unique<State>();
  state->config = model.config();
  state->device = TorchDevice(model);
  state->beta = beta;
  return std::shared_ptr<const HookStack>(new HookStack(std::move(state)));
}

absl::StatusOr<std::shared_ptr<const HookStack>> HookStack::Extend(
    const std::shared_ptr<const HookStack>& parent, Revision revision,
    const RevisionFactors& factors, int64_t line_edits) {
  auto state = std::make_unique<State>(*parent->state_);
  const int64_t first_row = state->edit_count;
  state->squares = std::make_shared<KeptNumbers>();
  state->parent_squares = parent->state_->squares;
  state->parent_edits = first_row;
  if (factors.layers.empty()) return absl::InvalidArgumentError("factors of no layer at all");
  const int64_t b = static_cast<int64_t>(factors.layers[0].activations.size());
  state->edit_count += b;
  const absl::Status status = CatchTorch("extending a hook stack", [&]() -> absl::Status {
    // All of them first: what does not fit must not grow the parent's buffers.
    for (const LayerFactors& layer_factors : factors.layers)
      AMEND_RETURN_IF_ERROR(CheckFits(layer_factors, b, state->config));
    for (const LayerFactors& layer_factors : factors.layers) {
      StackedLayer& layer = state->layers[layer_factors.layer];
      const StackedFactors fresh = ScopedFactors(layer_factors, state->beta);
      if (layer.buffer == nullptr || !layer.buffer->TryAppend(first_row, fresh, line_edits)) {
        // Another line already grows behind the parent: this one goes on in memory of its own.
        const StackedFactors shared = layer.factors;
        layer.buffer = std::make_shared<FactorBuffer>(
            state->config.hidden_size, state->config.intermediate_size, state->device);
        if (!shared.empty()) layer.buffer->TryAppend(0, shared, line_edits);
        if (!layer.buffer->TryAppend(first_row, fresh, line_edits)) {
          return absl::InvalidArgumentError(absl::StrCat(
              "layer ", layer_factors.layer.value(), " holds ",
              shared.empty() ? 0 : shared.u.size(0), " edits, its line has ", first_row));
        }
      }
      layer.factors = layer.buffer->View(state->edit_count);
      layer.screen = layer.buffer->ViewScreen(state->edit_count);
    }
    state->AppendRun(first_row, EditId{revision, 0});
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return std::shared_ptr<const HookStack>(new HookStack(std::move(state)));
}

// Becomes `parent` with the rows `kept` only; `left_out` are all others.
void HookStack::State::KeepRows(const State& parent, const std::vector<int64_t>& kept,
                                const std::vector<int64_t>& left_out) {
  edit_count = static_cast<int64_t>(kept.size());
  runs = std::make_shared<RowRuns>();
  run_count = 0;
  EditId next;
  for (size_t row = 0; row < kept.size(); ++row) {
    const EditId edit = parent.EditOfRow(kept[row]);
    if (row == 0 || edit != next) AppendRun(static_cast<int64_t>(row), edit);
    next = {edit.revision, edit.index + 1};
  }
  squares = std::make_shared<KeptNumbers>();
  parent_squares = nullptr;
  parent_edits = 0;
  layers.clear();
  if (kept.empty()) return;
  for (const auto& [index, from] : parent.layers) {
    StackedLayer& layer = layers[index];
    layer.buffer =
        std::make_shared<FactorBuffer>(config.hidden_size, config.intermediate_size, device);
    layer.buffer->TryAppend(0, Rows(from.factors, kept), 0);
    layer.factors = layer.buffer->View(edit_count);
    layer.screen = layer.buffer->ViewScreen(edit_count);
    // |A - B|^2 of few rows B costs less than that of all the others anew.
    const std::optional<double> known = parent.squares->Get(index);
    if (!known.has_value() || left_out.size() > kept.size()) continue;
    const StackedFactors gone = Rows(from.factors, left_out);
    squares->Set(index, *known - 2 * UpdateProduct(from.factors, gone) + UpdateProduct(gone, gone));
  }
}

absl::StatusOr<std::shared_ptr<const HookStack>> HookStack::Without(
    const std::shared_ptr<const HookStack>& parent, absl::Span<const EditId> edits) {
  const State& from = *parent->state_;
  std::set<EditId> missing(edits.begin(), edits.end());
  std::vector<int64_t> kept, left_out;
  for (int64_t row = 0; row < from.edit_count; ++row) {
    (missing.erase(from.EditOfRow(row)) > 0 ? left_out : kept).push_back(row);
  }
  if (!missing.empty()) {
    return absl::NotFoundError(absl::StrCat("the hooks hold no edit ", missing.begin()->ToString(),
                                            ", so it cannot be left out"));
  }
  auto state = std::make_unique<State>(from);
  AMEND_RETURN_IF_ERROR(CatchTorch("leaving edits out of a hook stack", [&] {
    state->KeepRows(from, kept, left_out);
    return absl::OkStatus();
  }));
  return std::shared_ptr<const HookStack>(new HookStack(std::move(state)));
}

at::Tensor HookStack::Apply(LayerIndex layer, const at::Tensor& input,
                            const at::Tensor& output) const {
  const auto it = state_->layers.find(layer);
  if (it == state_->layers.end()) return output;
  const StackedLayer& stacked = it->second;
  if (!input.is_cpu()) return ApplyFactors(stacked.factors, input, output).output;
  return AddFired(stacked.Fired(input), stacked.factors.u, output);
}

bool HookStack::ShareRows(const HookStack& a, const HookStack& b, LayerIndex layer) {
  const auto of_a = a.state_->layers.find(layer);
  const auto of_b = b.state_->layers.find(layer);
  return of_a != a.state_->layers.end() && of_b != b.state_->layers.end() &&
         of_a->second.buffer == of_b->second.buffer;
}

at::Tensor HookStack::ApplyRuns(LayerIndex layer, absl::Span<const Run> runs,
                                const at::Tensor& input, const at::Tensor& output) {
  const HookStack* longest = runs[0].stack;
  for (const Run& run : runs) {
    if (run.stack->edit_count() > longest->edit_count()) longest = run.stack;
  }
  const StackedLayer& stacked = longest->state_->layers.at(layer);
  if (!input.is_cpu()) {
    std::vector<at::Tensor> outputs;
    int64_t start = 0;
    for (const Run& run : runs) {
      outputs.push_back(run.stack->Apply(layer, input.narrow(0, start, run.tokens),
                                         output.narrow(0, start, run.tokens)));
      start += run.tokens;
    }
    return at::cat(outputs, 0);
  }
  // By token: rows of its own stack.
  std::vector<int64_t> rows;
  for (const Run& run : runs) rows.insert(rows.end(), run.tokens, run.stack->edit_count());
  std::vector<FiredEdit> fired = stacked.Fired(input);
  fired.erase(
      std::remove_if(fired.begin(), fired.end(),
                     [&rows](const FiredEdit& edit) { return edit.row >= rows[edit.token]; }),
      fired.end());
  return AddFired(fired, stacked.factors.u, output);
}

at::Tensor HookStack::ApplyTraced(LayerIndex layer, const at::Tensor& input,
                                  const at::Tensor& output,
                                  std::vector<HookFiring>* firings) const {
  const auto it = state_->layers.find(layer);
  if (it == state_->layers.end()) return output;
  const StackedLayer& stacked = it->second;
  const at::Tensor thresholds = stacked.factors.threshold.to(at::kCPU);
  const auto threshold = thresholds.accessor<float, 1>();
  for (const FiredEdit& fired : stacked.Fired(input)) {
    const double own = threshold[fired.row] / state_->beta;
    firings->push_back(HookFiring{fired.token, layer, state_->EditOfRow(fired.row),
                                  static_cast<float>(fired.activation / own)});
  }
  return Apply(layer, input, output);
}

std::vector<KeyMatch> HookStack::MatchKeys(LayerIndex layer, const at::Tensor& keys,
                                           double at_least) const {
  const auto it = state_->layers.find(layer);
  if (it == state_->layers.end()) return {};
  StackedFactors factors = it->second.factors;
  const at::Tensor own = (factors.threshold / state_->beta).to(at::kCPU);
  factors.threshold = factors.threshold * (at_least / state_->beta);
  std::vector<KeyMatch> matches;
  for (const FiredEdit& fired : FindFired(factors, it->second.ScreenFor(keys), keys)) {
    matches.push_back({fired.token, state_->EditOfRow(fired.row),
                       fired.activation / own.accessor<float, 1>()[fired.row]});
  }
  return matches;
}

std::vector<EditId> HookStack::FiringAt(const RevisionFactors& factors) const {
  std::set<EditId> firing;
  for (const LayerFactors& layer : factors.layers) {
    const at::Tensor keys = ToTensor(layer.keys).to(state_->device);
    for (const KeyMatch& match : MatchKeys(layer.layer, keys, state_->beta))
      firing.insert(match.edit);
  }
  return {firing.begin(), firing.end()};
}

bool HookStack::HasEditsAt(LayerIndex layer) const { return state_->layers.count(layer) > 0; }

StackedFactors HookStack::LayerFactorsOf(LayerIndex layer) const {
  const auto it = state_->layers.find(layer);
  return it == state_->layers.end() ? StackedFactors() : it->second.factors;
}

bool HookStack::EditsBelow(LayerIndex layer) const {
  return !state_->layers.empty() && state_->layers.begin()->first < layer;
}

int64_t HookStack::edit_count() const { return state_->edit_count; }

EditId HookStack::EditAt(int64_t place) const { return state_->EditOfRow(place); }

std::vector<LayerNorm> HookStack::UpdateNorms(const CausalLm& model) const {
  std::vector<LayerNorm> norms;
  for (const auto& [layer, stacked] : state_->layers) {
    std::optional<double> base = state_->base_norms->Get(layer);
    if (!base.has_value()) {
      base = model.DownProjection(layer).to(at::kDouble).norm().item<double>();
      state_->base_norms->Set(layer, *base);
    }
    const double square = state_->SquareOf(layer, stacked);
    norms.push_back(LayerNorm{layer, std::sqrt(std::max(square, 0.0)) / *base});
  }
  return norms;
}

}  // namespace amend
