#ifndef AMEND_CORE_MODEL_LAYERS_H_
#define AMEND_CORE_MODEL_LAYERS_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/activation.h"
#include "core/model/causal_lm.h"
#include "core/model/checkpoint.h"
#include "core/model/packed_weight.h"
#include "core/model/stored_projection.h"
#include "core/model/weight_memory.h"

// Building blocks that architectures share. Letters: T packed tokens.

namespace amend {

// y = W x + b with W kept [out, in], the layout that the matrix product reads fastest. Without
// gradients it goes through kernels of our own on the CPU (rowwise.h), otherwise through LibTorch.
struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]; may be undefined
  // The weight once more, where products are to run on it; may be null.
  std::shared_ptr<const PackedWeight> packed = nullptr;

  // See PackedWeight::Pack.
  void Pack(Dtype dtype, int64_t rows) { packed = PackedWeight::Pack(weight, dtype, rows); }

  // x [T, in] -> [T, out].
  at::Tensor operator()(const at::Tensor& x) const;
  // The activation of it.
  at::Tensor Then(Activation activation, const at::Tensor& x) const;
  // The product on top of `addend` [T, out].
  at::Tensor AddedTo(const at::Tensor& addend, const at::Tensor& x) const;
  // In float32.
  at::Tensor Float32(const at::Tensor& x) const;

 private:
  bool TakesRowwise(const at::Tensor& x) const;
};

struct LayerNorm1d {
  at::Tensor weight;  // [d]
  at::Tensor bias;    // [d]
  double epsilon = 1e-5;

  at::Tensor operator()(const at::Tensor& x) const;
};

struct RmsNorm1d {
  at::Tensor weight;  // [d]
  double epsilon = 1e-6;

  at::Tensor operator()(const at::Tensor& x) const;
};

// x [T, 2 m]: gates, then what they gate. Returns silu(gate) * up, [T, m].
at::Tensor SiluGate(const at::Tensor& x);

// Numbers in the weight and, where there is one, the bias.
int64_t CountOf(const Linear& linear);
int64_t CountOf(const LayerNorm1d& norm);
int64_t CountOf(const RmsNorm1d& norm);

// Reads weights of one checkpoint to one device and dtype.
class WeightReader {
 public:
  WeightReader(const Checkpoint& checkpoint, const LoadOptions& options)
      : checkpoint_(checkpoint), options_(options), memory_(std::make_unique<WeightMemory>()) {}

  absl::StatusOr<at::Tensor> Read(const std::string& name, absl::Span<const int64_t> shape) const;
  // `prefix`.weight and, where `with_bias`, `prefix`.bias.
  absl::StatusOr<Linear> ReadLinear(const std::string& prefix, int64_t in, int64_t out,
                                    ProjectionLayout layout, bool with_bias = true) const;
  // Products of the same input as one, their outputs side by side.
  struct Part {
    std::string prefix;
    int64_t out = 0;
  };
  absl::StatusOr<Linear> ReadFused(const std::vector<Part>& parts, int64_t in,
                                   ProjectionLayout layout, bool with_bias) const;
  // The output head: `prefix`.weight [vocabulary, d] or, where the configuration ties them,
  // `embedding`.
  absl::StatusOr<Linear> ReadHead(const std::string& prefix, const ModelConfig& config,
                                  const at::Tensor& embedding) const;
  absl::StatusOr<LayerNorm1d> ReadLayerNorm(const std::string& prefix, int64_t size,
                                            double epsilon) const;
  absl::StatusOr<RmsNorm1d> ReadRmsNorm(const std::string& prefix, int64_t size,
                                        double epsilon) const;

 private:
  // As the checkpoint has it, on the CPU.
  absl::StatusOr<at::Tensor> ReadStored(const std::string& name,
                                        absl::Span<const int64_t> shape) const;
  // [out, in]; a view where it is stored otherwise.
  absl::StatusOr<at::Tensor> ReadWeight(const std::string& prefix, int64_t in, int64_t out,
                                        ProjectionLayout layout) const;
  // Where the model is to have it.
  at::Tensor Keep(const at::Tensor& tensor) const;

  const Checkpoint& checkpoint_;
  const LoadOptions options_;
  const std::unique_ptr<WeightMemory> memory_;
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_LAYERS_H_
