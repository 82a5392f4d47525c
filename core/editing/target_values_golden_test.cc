// Compares target values, found from scratch under the golden hooks of the batch before, with those
// that the paper's published code found.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/reference_forward.h"
#include "core/editing/target_values.h"
#include "core/editing/testing/golden_run.h"
#include "core/model/attention.h"
#include "core/model/packed_forward.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

// The loss of one edit as a function of its target value, written down as it reads.
class TargetLoss {
 public:
  TargetLoss(const GoldenRun& run, const LowerBlocks& lower_blocks, const EditRows& edit)
      : run_(run), edit_(edit), hidden_(lower_blocks({&edit, 1})) {
    for (const std::vector<TokenId>& row : TargetRows(edit)) {
      starts_.push_back(starts_.empty() ? 0 : starts_.back() + lengths_.back());
      lengths_.push_back(static_cast<int64_t>(row.size()));
      for (int64_t i = 0; i < lengths_.back(); ++i) positions_.push_back(i);
    }
    initial_essence_ = EssenceOf(LogProbs(z0()));
  }

  // Without the target value: what block l_m puts out.
  at::Tensor z0() const { return hidden_[edit_.prompts[0].lookup]; }

  double operator()(const at::Tensor& z) const {
    const at::Tensor log_probs = LogProbs(z);
    const EditSettings& settings = run_.settings();
    const size_t labels = edit_.target.size();
    double loss = 0;
    for (size_t r = 0; r < edit_.prompts.size(); ++r) {
      for (size_t i = 0; i < labels; ++i) {
        const int64_t place = starts_[r] + static_cast<int64_t>(edit_.prompts[r].tokens.size() + i);
        loss -= log_probs[place - 1][edit_.target[i]].item<double>() /
                static_cast<double>(edit_.prompts.size() * labels);
      }
    }
    const at::Tensor essence = EssenceOf(log_probs);
    loss +=
        settings.kl_factor * (essence.exp() * (essence - initial_essence_)).sum().item<double>();
    const double z0_norm = z0().norm().item<double>();
    return loss + settings.weight_decay * (z - z0()).norm().item<double>() / (z0_norm * z0_norm);
  }

 private:
  // [T, vocabulary], with z - z0 added at every row's lookup index.
  at::Tensor LogProbs(const at::Tensor& z) const {
    const int last = run_.settings().layers.back().value();
    at::Tensor moved = hidden_.clone();
    for (size_t r = 0; r < starts_.size(); ++r) {
      const bool is_prompt = r < edit_.prompts.size();
      const int64_t lookup = is_prompt ? edit_.prompts[r].lookup : edit_.essence.lookup;
      moved[starts_[r] + lookup] += z - z0();
    }
    PackedAttention attention(lengths_, at::kCPU);
    return at::log_softmax(
        run_.model()->Head(RunBlocks(*run_.model(), last + 1, run_.model()->config().layers, moved,
                                     IndexTensor(positions_, at::kCPU), attention, nullptr)),
        -1);
  }
  at::Tensor EssenceOf(const at::Tensor& log_probs) const {
    return log_probs[starts_.back() + edit_.essence.lookup];
  }

  const GoldenRun& run_;
  const EditRows& edit_;
  const at::Tensor hidden_;  // [T, d]: what block l_m puts out for the rows, one behind the other
  std::vector<int64_t> starts_;
  std::vector<int64_t> lengths_;
  std::vector<int64_t> positions_;
  at::Tensor initial_essence_;
};

class TargetValuesGoldenTest : public testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override { AMEND_ASSERT_OK_AND_ASSIGN(run_, GoldenRun::Load(GetParam())); }

  std::unique_ptr<const GoldenRun> run_;
};

TEST_P(TargetValuesGoldenTest, FromScratchUnderTheGoldenHooks) {
  const at::NoGradGuard no_grad;
  const EditSettings& settings = run_->settings();
  for (int batch = 0; batch < static_cast<int>(run_->batches().size()); ++batch) {
    const LowerBlocks lower_blocks = ReferenceLowerBlocks(
        *run_->model(), settings.layers.back().value(), run_->LayersAfter(batch - 1));
    const std::vector<EditRows>& edits = run_->batches()[batch].rows;
    AMEND_ASSERT_OK_AND_ASSIGN(const TargetValues found,
                               OptimizeTargetValues(*run_->model(), lower_blocks, settings, edits,
                                                    [](int, int) { return true; }));
    for (size_t i = 0; i < edits.size(); ++i) {
      const std::string name = absl::StrCat("batch", batch, ".target_z", i);
      const at::Tensor golden = run_->TargetValues(batch)[static_cast<int64_t>(i)];
      const at::Tensor z = found.z[static_cast<int64_t>(i)];
      const TargetLoss loss(*run_, lower_blocks, edits[i]);
      const double moved = (golden - loss.z0()).norm().item<double>();
      const double bound = settings.clamp * loss.z0().norm().item<double>();
      const bool clamped = moved > 0.999 * bound;
      RecordProperty(name + ".moved", absl::StrCat(moved / bound));
      RecordProperty(name + ".loss", absl::StrCat(loss(z), " golden ", loss(golden), " reported ",
                                                  found.reports[i].loss));
      if (GetParam().values_are_determined && !clamped) ExpectGolden(name, z, golden, 1e-3);
      EXPECT_NEAR(loss(z), loss(golden), 1e-2 * loss(golden)) << name;
      EXPECT_NEAR(found.reports[i].loss, loss(z), 1e-3 * loss(z)) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TargetValuesGoldenTest, testing::ValuesIn(kGoldenModels));

}  // namespace
}  // namespace amend
