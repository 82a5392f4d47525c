#include "core/model/packed_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <vector>

#include "core/base/testing/tensor_matchers.h"
#include "core/model/testing/full_forward.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAre;

using Rows = std::vector<std::vector<TokenId>>;

PackedTokens Pack(const Rows& rows, const std::vector<int64_t>& first_positions = {}) {
  const std::vector<absl::Span<const TokenId>> spans(rows.begin(), rows.end());
  return PackTokens(spans, first_positions, at::kCPU);
}

TEST(PackTokensTest, RowsStandOneBehindTheOtherWithPositionsOfTheirOwn) {
  const PackedTokens packed = Pack({{7, 8, 9}, {}, {5}});
  EXPECT_THAT(packed.ids, TensorNear(at::tensor({7, 8, 9, 5}), 0));
  EXPECT_THAT(packed.positions, TensorNear(at::tensor({0, 1, 2, 0}), 0));
  EXPECT_THAT(packed.lengths, ElementsAre(3, 0, 1));
  EXPECT_EQ(packed.ids.scalar_type(), at::kLong);
}

TEST(PackTokensTest, RowsMayGoOnFromAPosition) {
  EXPECT_THAT(Pack({{7, 8}, {5}}, {10, 3}).positions, TensorNear(at::tensor({10, 11, 3}), 0));
}

TEST(PackTokensTest, NoRowsGiveEmptyTensors) {
  const PackedTokens packed = Pack({});
  EXPECT_EQ(packed.ids.numel(), 0);
  EXPECT_EQ(packed.ids.scalar_type(), at::kLong);
}

TEST(IndexTensorTest, HoldsTheValuesAsInt64) {
  const at::Tensor index = IndexTensor({3, int64_t{1} << 40}, at::kCPU);
  EXPECT_EQ(index.scalar_type(), at::kLong);
  EXPECT_EQ(index[1].item<int64_t>(), int64_t{1} << 40);
}

class RunBlocksTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { model_ = LoadCausalLm("models/demo", {}).value(); }
  static void TearDownTestSuite() { model_.reset(); }

  // Hidden states after blocks [begin, end), which go on from `hidden` where defined.
  static at::Tensor Run(const PackedTokens& packed, int begin, int end, at::Tensor hidden = {}) {
    PackedAttention attention(packed.lengths, at::kCPU);
    if (!hidden.defined()) hidden = model_->Embed(packed.ids, packed.positions);
    return RunBlocks(*model_, begin, end, hidden, packed.positions, attention, nullptr);
  }

  const c10::InferenceMode inference_;
  static std::shared_ptr<const CausalLm> model_;
};
std::shared_ptr<const CausalLm> RunBlocksTest::model_;

TEST_F(RunBlocksTest, NoBlocksReturnTheInput) {
  const PackedTokens packed = Pack({{1, 2}});
  const at::Tensor hidden = model_->Embed(packed.ids, packed.positions);
  EXPECT_THAT(Run(packed, 3, 3, hidden), TensorNear(hidden, 0));
}

TEST_F(RunBlocksTest, BlocksInTwoPartsAreTheWhole) {
  const PackedTokens packed = Pack({{1, 2, 3}, {4}});
  EXPECT_THAT(Run(packed, 2, 6, Run(packed, 0, 2)), TensorNear(Run(packed, 0, 6), 0));
}

TEST_F(RunBlocksTest, ARowDoesNotDependOnItsNeighbours) {
  const Rows rows = {{10, 20, 30}, {40, 50, 60, 70, 80}, {90}};
  const at::Tensor logits = model_->Head(Run(Pack(rows), 0, 6));
  int64_t start = 0;
  for (const std::vector<TokenId>& row : rows) {
    const int64_t n = static_cast<int64_t>(row.size());
    EXPECT_THAT(logits.narrow(0, start, n),
                TensorRelativelyNear(FullForward(*model_, row, nullptr), 1e-5));
    start += n;
  }
}

}  // namespace
}  // namespace amend
