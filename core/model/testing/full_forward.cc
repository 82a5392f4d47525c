#include "core/model/testing/full_forward.h"

#include <c10/core/InferenceMode.h>

#include "core/model/attention.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"

namespace amend {

at::Tensor FullForward(const CausalLm& model, absl::Span<const TokenId> tokens,
                       const DownProjectionHook* hook) {
  const c10::InferenceMode inference;
  const PackedTokens packed = PackTokens({tokens}, {}, TorchDevice(model));
  PackedAttention attention(packed.lengths, TorchDevice(model));
  return model
      .Head(RunBlocks(model, 0, model.config().layers, model.Embed(packed.ids, packed.positions),
                      packed.positions, attention, hook))
      .to(at::kCPU);
}

}  // namespace amend
