#include "core/editing/key_covariance.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/tensor_matrix.h"
#include "core/model/attention.h"
#include "core/model/checkpoint.h"
#include "core/model/hook_point.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"

namespace amend {
namespace {

// Tokens of one forward: enough to keep the products large, few enough for the cache.
constexpr int64_t kTokensPerForward = 2048;

// Sums k k' of what each layer's down-projection reads.
class MomentHook : public DownProjectionHook {
 public:
  explicit MomentHook(std::map<LayerIndex, at::Tensor>* moments) : moments_(moments) {}

  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    const auto it = moments_->find(layer);
    if (it != moments_->end()) {
      // Products of one forward in float32, the sum over forwards in float64.
      const at::Tensor keys = input.to(at::kFloat);
      it->second += at::matmul(keys.t(), keys);
    }
    return output;
  }

 private:
  std::map<LayerIndex, at::Tensor>* const moments_;
};

void AddTexts(const CausalLm& model, const std::vector<std::vector<TokenId>>& rows, int last_layer,
              const MomentHook& hook) {
  std::vector<absl::Span<const TokenId>> spans(rows.begin(), rows.end());
  const at::Device device = TorchDevice(model);
  const PackedTokens packed = PackTokens(spans, {}, device);
  PackedAttention attention(packed.lengths, device);
  RunBlocks(model, 0, last_layer + 1, model.Embed(packed.ids, packed.positions), packed.positions,
            attention, &hook);
}

std::string TensorName(LayerIndex layer) {
  return absl::StrCat("layer", layer.value(), ".covariance");
}

}  // namespace

absl::StatusOr<KeyCovariance> ComputeKeyCovariance(
    const CausalLm& model, const Tokenizer& tokenizer, absl::Span<const LayerIndex> layers,
    absl::Span<const std::string> texts, int max_tokens_per_text,
    const std::function<void(int64_t texts_done)>& progress) {
  const size_t limit = max_tokens_per_text > 0
                           ? std::min(max_tokens_per_text, model.config().context_length)
                           : model.config().context_length;
  KeyCovariance covariance;
  const absl::Status status = CatchTorch("computing the key covariance", [&]() -> absl::Status {
    const at::NoGradGuard no_grad;
    const int64_t d_in = model.config().intermediate_size;
    std::map<LayerIndex, at::Tensor> moments;
    for (const LayerIndex layer : layers) {
      moments[layer] = at::zeros({d_in, d_in},
                                 at::TensorOptions().dtype(at::kDouble).device(TorchDevice(model)));
    }
    const MomentHook hook(&moments);
    const int last_layer =
        layers.empty() ? -1 : std::max_element(layers.begin(), layers.end())->value();
    std::vector<std::vector<TokenId>> rows;
    int64_t pending = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      std::vector<TokenId> tokens = tokenizer.Encode(texts[i]);
      tokens.resize(std::min(tokens.size(), limit));
      pending += static_cast<int64_t>(tokens.size());
      covariance.tokens += static_cast<int64_t>(tokens.size());
      if (!tokens.empty()) rows.push_back(std::move(tokens));
      if ((pending >= kTokensPerForward || i + 1 == texts.size()) && !rows.empty()) {
        AddTexts(model, rows, last_layer, hook);
        rows.clear();
        pending = 0;
        if (progress) progress(static_cast<int64_t>(i) + 1);
      }
    }
    if (covariance.tokens == 0)
      return absl::InvalidArgumentError("the covariance texts hold no token");
    for (const auto& [layer, moment] : moments) {
      covariance.layers.push_back(
          {layer, ToMatrix(moment / static_cast<double>(covariance.tokens))});
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return covariance;
}

absl::Status SaveKeyCovariance(const KeyCovariance& covariance, const std::string& path) {
  return CatchTorch("saving the key covariance", [&] {
    std::map<std::string, at::Tensor> tensors;
    for (const KeyCovariance::Layer& layer : covariance.layers)
      tensors[TensorName(layer.layer)] = ToTensor(layer.moment);
    return WriteSafetensors(tensors, path);
  });
}

absl::StatusOr<KeyCovariance> LoadKeyCovariance(const std::string& path,
                                                absl::Span<const LayerIndex> layers) {
  KeyCovariance covariance;
  const absl::Status status = CatchTorch("loading the key covariance", [&]() -> absl::Status {
    AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                           SafetensorsFile::Open(path));
    for (const LayerIndex layer : layers) {
      AMEND_ASSIGN_OR_RETURN(const at::Tensor moment, file->Read(TensorName(layer)));
      if (moment.dim() != 2 || moment.size(0) != moment.size(1)) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": tensor ", TensorName(layer), " is not square"));
      }
      covariance.layers.push_back({layer, ToMatrix(moment)});
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return covariance;
}

}  // namespace amend
