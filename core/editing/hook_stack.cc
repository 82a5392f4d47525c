#include "core/editing/hook_stack.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/stacked_factors.h"
#include "core/editing/tensor_matrix.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

constexpr int64_t kMinCapacity = 32;

// Rows of factors that stacks of one line share. Append only: a stack reads the prefix that it was
// made with, a longer stack's rows lie behind it. Thread-safe under that rule.
class FactorBuffer {
 public:
  FactorBuffer(int64_t d_out, int64_t d_in, at::Device device)
      : options_(at::TensorOptions().dtype(at::kFloat).device(device)),
        u_(at::empty({0, d_out}, options_)),
        v_(at::empty({0, d_in}, options_)),
        threshold_(at::empty({0}, options_)) {}

  // The first `rows` rows.
  StackedFactors View(int64_t rows) const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return {u_.narrow(0, 0, rows), v_.narrow(0, 0, rows), threshold_.narrow(0, 0, rows)};
  }

  // Appends behind row `rows` when that is the end; false when another stack has appended there.
  bool TryAppend(int64_t rows, const StackedFactors& more) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (rows != used_) return false;
    const int64_t count = more.u.size(0);
    if (used_ + count > u_.size(0)) Grow(used_ + count);
    u_.narrow(0, used_, count).copy_(more.u);
    v_.narrow(0, used_, count).copy_(more.v);
    threshold_.narrow(0, used_, count).copy_(more.threshold);
    used_ += count;
    return true;
  }

 private:
  void Grow(int64_t rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int64_t capacity = std::max({rows, 2 * u_.size(0), kMinCapacity});
    for (at::Tensor* tensor : {&u_, &v_, &threshold_}) {
      std::vector<int64_t> shape = tensor->sizes().vec();
      shape[0] = capacity;
      at::Tensor larger = at::empty(shape, options_);
      larger.narrow(0, 0, used_).copy_(tensor->narrow(0, 0, used_));
      *tensor = std::move(larger);
    }
  }

  mutable absl::Mutex mutex_;
  const at::TensorOptions options_;
  at::Tensor u_ ABSL_GUARDED_BY(mutex_);
  at::Tensor v_ ABSL_GUARDED_BY(mutex_);
  at::Tensor threshold_ ABSL_GUARDED_BY(mutex_);
  int64_t used_ ABSL_GUARDED_BY(mutex_) = 0;
};

struct StackedLayer {
  std::shared_ptr<FactorBuffer> buffer;
  // What this stack sees: views of the buffer.
  StackedFactors factors;
};

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

StackedFactors ScopedFactors(const LayerFactors& factors, double beta) {
  StackedFactors result;
  result.u = ToTensor(factors.u);
  result.v = ToTensor(factors.v);
  result.threshold = at::tensor(at::ArrayRef<float>(factors.activations)) * beta;
  return result;
}

}  // namespace

struct HookStack::State {
  ModelConfig config;
  at::Device device = at::kCPU;
  double beta = 0.5;
  std::map<LayerIndex, StackedLayer> layers;
  // Edit of each row, the same for every layer: the first row of each batch, ascending.
  std::vector<std::pair<int64_t, Revision>> batches;
  int64_t edit_count = 0;

  EditId EditOfRow(int64_t row) const {
    auto next =
        std::upper_bound(batches.begin(), batches.end(), row,
                         [](int64_t value, const auto& batch) { return value < batch.first; });
    const auto& [first_row, revision] = *std::prev(next);
    return EditId{revision, static_cast<int32_t>(row - first_row)};
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
    const RevisionFactors& factors) {
  auto state = std::make_unique<State>(*parent->state_);
  const int64_t first_row = state->edit_count;
  state->batches.emplace_back(first_row, revision);
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
      if (layer.buffer == nullptr || !layer.buffer->TryAppend(first_row, fresh)) {
        // Another line already grows behind the parent: this one goes on in memory of its own.
        const StackedFactors shared = layer.factors;
        layer.buffer = std::make_shared<FactorBuffer>(
            state->config.hidden_size, state->config.intermediate_size, state->device);
        if (!shared.empty()) layer.buffer->TryAppend(0, shared);
        if (!layer.buffer->TryAppend(first_row, fresh)) {
          return absl::InvalidArgumentError(absl::StrCat(
              "layer ", layer_factors.layer.value(), " holds ",
              shared.empty() ? 0 : shared.u.size(0), " edits, its line has ", first_row));
        }
      }
      layer.factors = layer.buffer->View(state->edit_count);
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return std::shared_ptr<const HookStack>(new HookStack(std::move(state)));
}

at::Tensor HookStack::Apply(LayerIndex layer, const at::Tensor& input,
                            const at::Tensor& output) const {
  const auto it = state_->layers.find(layer);
  if (it == state_->layers.end()) return output;
  return ApplyFactors(it->second.factors, input, output).output;
}

at::Tensor HookStack::ApplyTraced(LayerIndex layer, const at::Tensor& input,
                                  const at::Tensor& output,
                                  std::vector<HookFiring>* firings) const {
  const auto it = state_->layers.find(layer);
  if (it == state_->layers.end()) return output;
  const StackedFactors& factors = it->second.factors;
  const AppliedFactors applied = ApplyFactors(factors, input, output);
  if (!applied.fired.defined()) return applied.output;
  const at::Tensor where = applied.fired.nonzero().to(at::kCPU);
  const at::Tensor relative =
      (applied.activation / (factors.threshold / state_->beta)).to(at::kCPU).contiguous();
  const auto places = where.accessor<int64_t, 2>();
  const auto values = relative.accessor<float, 2>();
  for (int64_t i = 0; i < where.size(0); ++i) {
    firings->push_back(HookFiring{places[i][0], layer, state_->EditOfRow(places[i][1]),
                                  values[places[i][0]][places[i][1]]});
  }
  return applied.output;
}

StackedFactors HookStack::LayerFactorsOf(LayerIndex layer) const {
  const auto it = state_->layers.find(layer);
  return it == state_->layers.end() ? StackedFactors() : it->second.factors;
}

int64_t HookStack::edit_count() const { return state_->edit_count; }

std::vector<LayerNorm> HookStack::UpdateNorms(const CausalLm& model) const {
  std::vector<LayerNorm> norms;
  for (const auto& [layer, stacked] : state_->layers) {
    const double base = model.DownProjection(layer).to(at::kDouble).norm().item<double>();
    norms.push_back(LayerNorm{layer, UpdateNorm(stacked.factors) / base});
  }
  return norms;
}

}  // namespace amend
