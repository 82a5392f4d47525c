// Runs EditScope::kReference over three consecutive batches and compares updates, thresholds and
// scores after each with the run of the paper's published code.
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/reference_editor.h"
#include "core/editing/reference_scope.h"
#include "core/editing/testing/golden_run.h"
#include "core/evaluation/edit_evaluation.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

class ReferenceRunGoldenTest : public testing::TestWithParam<GoldenModel> {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(run_, GoldenRun::Load(GetParam()));
    AMEND_ASSERT_OK_AND_ASSIGN(
        editor_, ReferenceEditor::Create(run_->model(), run_->tokenizer(), run_->settings(),
                                         run_->Covariance()));
  }

  // Calls `solve` for each batch and `check` with the line that it made.
  void Run(const std::function<absl::StatusOr<ReferenceSolution>(const ReferenceLine&, int)>& solve,
           const std::function<void(int, const ReferenceLayers&)>& check) const {
    ReferenceLine line = editor_->NewLine();
    for (int batch = 0; batch < static_cast<int>(run_->batches().size()); ++batch) {
      AMEND_ASSERT_OK_AND_ASSIGN(ReferenceSolution solution, solve(line, batch));
      line = std::move(solution.line);
      check(batch, line.layers);
    }
  }

  void ExpectGoldenLayers(int batch, const ReferenceLayers& layers) const {
    for (const auto& [layer, of_layer] : layers) {
      const std::string name = absl::StrCat("batch", batch, ".layer", layer.value());
      ExpectGolden(name + ".update", of_layer.update, run_->Update(batch, layer), 1e-2);
      RecordProperty(name + ".alpha", absl::StrCat(of_layer.alpha));
      EXPECT_NEAR(of_layer.alpha, run_->Alpha(batch, layer), 1e-2) << name;
    }
  }

  // The means may differ by one record.
  void ExpectGoldenScores(int batch, const ReferenceLayers& layers) const {
    std::vector<Edit> so_far;
    for (int b = 0; b <= batch; ++b) {
      const std::vector<Edit>& edits = run_->batches()[b].edits;
      so_far.insert(so_far.end(), edits.begin(), edits.end());
    }
    AMEND_ASSERT_OK_AND_ASSIGN(
        const auto scores, EvaluateEdits(*run_->model(), *run_->tokenizer(), ReferenceHooks({}),
                                         ReferenceHooks(layers), so_far, ForwardRows::kWholeRow));
    const EditScores mean = MeanScores(scores);
    const EditScores& golden = run_->batches()[batch].scores;
    const double one_record = 1.0 / static_cast<double>(so_far.size()) + 1e-9;
    RecordProperty(absl::StrCat("batch", batch, ".scores"),
                   absl::StrCat(*mean.reliability, " ", *mean.generality, " ", *mean.locality));
    EXPECT_NEAR(*mean.reliability, *golden.reliability, one_record) << "batch " << batch;
    EXPECT_NEAR(*mean.generality, *golden.generality, one_record) << "batch " << batch;
    EXPECT_NEAR(*mean.locality, *golden.locality, one_record) << "batch " << batch;
  }

  std::unique_ptr<const GoldenRun> run_;
  std::unique_ptr<const ReferenceEditor> editor_;
};

TEST_P(ReferenceRunGoldenTest, FromScratch) {
  Run([&](const ReferenceLine& line,
          int batch) { return editor_->Solve(line, run_->batches()[batch].edits); },
      [&](int batch, const ReferenceLayers& layers) {
        if (GetParam().values_are_determined) ExpectGoldenLayers(batch, layers);
        ExpectGoldenScores(batch, layers);
      });
}

TEST_P(ReferenceRunGoldenTest, FromTheGoldenTargetValues) {
  Run(
      [&](const ReferenceLine& line, int batch) {
        return editor_->SolveGiven(line, run_->batches()[batch].edits, run_->TargetValues(batch));
      },
      [&](int batch, const ReferenceLayers& layers) {
        ExpectGoldenLayers(batch, layers);
        ExpectGoldenScores(batch, layers);
      });
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceRunGoldenTest, testing::ValuesIn(kGoldenModels));

}  // namespace
}  // namespace amend
