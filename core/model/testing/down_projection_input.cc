#include "core/model/testing/down_projection_input.h"

#include <ATen/core/Tensor.h>

#include "core/base/testing/tensor_matchers.h"
#include "core/model/attention.h"
#include "core/model/hook_point.h"
#include "core/model/packed_forward.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// Keeps what the down-projection reads.
class InputHook : public DownProjectionHook {
 public:
  at::Tensor Apply(LayerIndex, const at::Tensor& input, const at::Tensor& output) const override {
    input_ = input;
    return output;
  }
  const at::Tensor& input() const { return input_; }

 private:
  mutable at::Tensor input_;
};

}  // namespace

void ExpectDownProjectionInputIsWhatTheHookSees(const CausalLm& model, LayerIndex layer,
                                                const std::vector<TokenId>& tokens) {
  const PackedTokens packed = PackTokens({tokens}, {}, at::kCPU);
  const InputHook hook;
  PackedAttention attention(packed.lengths, at::kCPU);
  const at::Tensor hidden = model.Embed(packed.ids, packed.positions);
  model.Block(layer, hidden, packed.positions, attention, &hook);
  ASSERT_TRUE(hook.input().defined());
  EXPECT_EQ(hook.input().size(1), model.config().intermediate_size);
  EXPECT_THAT(model.DownProjectionInput(layer, hidden, packed.positions, attention),
              TensorNear(hook.input(), 0));
}

}  // namespace amend
