#ifndef AMEND_CORE_MODEL_CAUSAL_LM_H_
#define AMEND_CORE_MODEL_CAUSAL_LM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "core/base/types.h"
#include "core/model/model_config.h"
#include "core/model/stored_projection.h"

namespace at {
class Tensor;
}  // namespace at

namespace amend {

class AttentionContext;
struct AttentionInput;
class DownProjectionHook;

enum class Dtype { kFloat32, kBFloat16 };
enum class Device { kCpu, kCuda };

struct LoadOptions {
  // Dtype of the weights and of the forward pass in serving.
  Dtype dtype = Dtype::kFloat32;
  Device device = Device::kCpu;
};

// A decoder-only transformer whose weights never change. The pieces of its forward pass are exposed
// one by one, so that generation, editing and evaluation compose them over any attention storage.
// Letters: T packed tokens of all rows, d = hidden_size. Thread-safe: const methods keep no state.
// Nothing here sets the gradient mode: Block and Head are differentiable in `hidden`. LibTorch
// exceptions pass through; public entry points above turn them into Status (CatchTorch).
class CausalLm {
 public:
  virtual ~CausalLm() = default;

  const ModelConfig& config() const { return config_; }
  const LoadOptions& load_options() const { return load_options_; }

  // ids, positions: [T], int64. Returns [T, d].
  virtual at::Tensor Embed(const at::Tensor& ids, const at::Tensor& positions) const = 0;
  // The first part of a block: queries, keys and values of its tokens. hidden [T, d]; positions
  // [T], int64.
  virtual AttentionInput Project(LayerIndex layer, const at::Tensor& hidden,
                                 const at::Tensor& positions) const = 0;
  // The rest of a block, from what its attention put out. hidden [T, d]: the block's input; mixed
  // [T, heads * head_dim]. `hook` may be null. Returns [T, d].
  virtual at::Tensor Finish(LayerIndex layer, const at::Tensor& hidden, const at::Tensor& mixed,
                            const DownProjectionHook* hook) const = 0;
  // One transformer block: Project, attention, Finish.
  at::Tensor Block(LayerIndex layer, const at::Tensor& hidden, const at::Tensor& positions,
                   AttentionContext& attention, const DownProjectionHook* hook) const;
  // What the block's down-projection reads, [T, d_in]: as much of Block as that takes.
  virtual at::Tensor DownProjectionInput(LayerIndex layer, const at::Tensor& hidden,
                                         const at::Tensor& positions,
                                         AttentionContext& attention) const = 0;
  // Final norm and output head. hidden [R, d] -> logits [R, vocabulary], float32.
  virtual at::Tensor Head(const at::Tensor& hidden) const = 0;
  // The MLP's down-projection that hooks stand beside: a view [d_out, d_in] whatever the
  // checkpoint's own layout.
  virtual at::Tensor DownProjection(LayerIndex layer) const = 0;
  // The same matrix in the checkpoint.
  virtual StoredProjection StoredDownProjection(LayerIndex layer) const = 0;
  virtual int64_t ParameterCount() const = 0;
  // The same model, weights shared, that runs the blocks from `first` on and the head with packed
  // weights (see PackedWeight): for many forward and backward passes over about `rows` rows. Only
  // for a model in float32 on the CPU.
  virtual std::shared_ptr<const CausalLm> WithPackedWeights(LayerIndex first, Dtype dtype,
                                                            int64_t rows) const = 0;

 protected:
  CausalLm(ModelConfig config, LoadOptions options)
      : config_(std::move(config)), load_options_(options) {}

 private:
  const ModelConfig config_;
  const LoadOptions load_options_;
};

// Reads a Hugging Face directory: config.json, then model.safetensors or the shards that
// model.safetensors.index.json names, with fp32, fp16 or bf16 weights. Errors name the file and,
// where it is one, the tensor with both shapes.
absl::StatusOr<std::shared_ptr<const CausalLm>> LoadCausalLm(const std::string& directory,
                                                             const LoadOptions& options);

// sha-256 (hex) over config.json and the weight files, each with its name, in order of name.
absl::StatusOr<std::string> ModelFingerprint(const std::string& directory);

// The same from the sha-256 (hex) of each of these files, by name.
std::string FingerprintOf(const std::map<std::string, std::string>& digests);

// Whether LibTorch sees a CUDA device in this process.
bool CudaIsAvailable();

// Threads that one LibTorch operation may use when this thread calls it. A thread that never set a
// number takes the one that was set last anywhere: set it in each thread that computes.
void SetComputeThreads(int threads);
int ComputeThreads();

}  // namespace amend

#endif  // AMEND_CORE_MODEL_CAUSAL_LM_H_
