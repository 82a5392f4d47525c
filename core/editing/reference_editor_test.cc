#include "core/editing/reference_editor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>

#include <limits>
#include <utility>

#include "core/base/testing/status_matchers.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/editing/solver_input.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(UpdateIncrementTest, SolvesTheEquationOfTheLayer) {
  const at::Tensor a = RandomTensor({6, 6}, 1).to(at::kDouble);
  const at::Tensor covariance = at::matmul(a, a.t()) + at::eye(6, at::kDouble);
  const at::Tensor keys = RandomTensor({2, 6}, 2);
  const at::Tensor z = RandomTensor({2, 4}, 3);
  const at::Tensor current = RandomTensor({2, 4}, 4);
  KeySolver solver(*CholeskyFactor::Of(covariance));
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor increment,
                             UpdateIncrement(&solver, keys, z, current, 3));
  const at::Tensor k = keys.to(at::kDouble).t();
  const at::Tensor x = at::linalg_solve(covariance + at::matmul(k, k.t()), k);
  const at::Tensor r = (z - current).to(at::kDouble).t() / 3;
  // The residuals are float32.
  EXPECT_THAT(increment, TensorRelativelyNear(at::matmul(r, x.t()), 1e-6));
}

TEST(LoweredAlphaTest, IsTheSmallestOfAlphaAndTheScores) {
  EXPECT_EQ(LoweredAlpha(2.2, at::tensor({3.f, 2.5f})), 2.2);
  EXPECT_EQ(LoweredAlpha(2.2, at::tensor({3.f, 1.5f, 2.f})), 1.5);
}

TEST(LoweredAlphaTest, AScoreThatIsNotANumberDoesNotCount) {
  EXPECT_EQ(LoweredAlpha(2.2, at::tensor({kNan})), 2.2);
  EXPECT_EQ(LoweredAlpha(2.2, at::tensor({kNan, 1.5f, kNan})), 1.5);
}

// A random model of the demo model's vocabulary.
class ReferenceEditorTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokenizer_ = *Tokenizer::FromDirectory("models/demo");
    shape_.vocabulary = tokenizer_->vocabulary_size();
    model_ = RandomGpt2(shape_, 21);
  }
  static void TearDownTestSuite() {
    model_.reset();
    tokenizer_.reset();
  }

  void SetUp() override {
    settings_.layers = {LayerIndex(0), LayerIndex(2)};
    settings_.lambda = 10;
    settings_.steps = 4;
    settings_.context_templates = {"I saw it. {}", "Because. {}"};
    for (const LayerIndex layer : settings_.layers) {
      covariance_.layers.push_back(
          {layer, ToMatrix(0.1 * at::eye(shape_.intermediate(), at::kFloat))});
    }
    AMEND_ASSERT_OK_AND_ASSIGN(editor_,
                               ReferenceEditor::Create(model_, tokenizer_, settings_, covariance_));
  }

  static Edit MakeEdit(const std::string& subject, const std::string& target) {
    Edit edit;
    edit.prompt = "The capital of " + subject + " is";
    edit.subject = subject;
    edit.target_new = target;
    return edit;
  }

  static RandomModelShape shape_;
  static std::shared_ptr<const Tokenizer> tokenizer_;
  static std::shared_ptr<const CausalLm> model_;
  EditSettings settings_;
  KeyCovariance covariance_;
  std::unique_ptr<const ReferenceEditor> editor_;
  const std::vector<Edit> edits_ = {MakeEdit("Jordan", "Bangui"), MakeEdit("Peru", "Oslo city")};
};

RandomModelShape ReferenceEditorTest::shape_;
std::shared_ptr<const Tokenizer> ReferenceEditorTest::tokenizer_;
std::shared_ptr<const CausalLm> ReferenceEditorTest::model_;

TEST_F(ReferenceEditorTest, ABatchIsAddedToEveryEditedLayer) {
  const ReferenceLine base = editor_->NewLine();
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution solution, editor_->Solve(base, edits_));
  EXPECT_EQ(solution.targets.size(), 2u);
  EXPECT_EQ(solution.target_values.size(0), 2);
  ASSERT_EQ(solution.line.layers.size(), 2u);
  for (const LayerIndex layer : settings_.layers) {
    EXPECT_GT(solution.line.layers.at(layer).update.norm().item<double>(), 0);
    EXPECT_LE(solution.line.layers.at(layer).alpha, settings_.alpha);
  }
}

TEST_F(ReferenceEditorTest, SolveLeavesTheParentAsItIs) {
  const ReferenceLine base = editor_->NewLine();
  ASSERT_THAT(editor_->Solve(base, edits_), IsOk());
  for (const LayerIndex layer : settings_.layers) {
    EXPECT_EQ(base.layers.at(layer).update.norm().item<double>(), 0);
    EXPECT_EQ(base.layers.at(layer).alpha, settings_.alpha);
  }
}

TEST_F(ReferenceEditorTest, SolvingTwiceFromOneParentGivesTheSameBytes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution first,
                             editor_->Solve(editor_->NewLine(), {MakeEdit("Chad", "Rome")}));
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution a, editor_->Solve(first.line, edits_));
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution b, editor_->Solve(first.line, edits_));
  for (const LayerIndex layer : settings_.layers) {
    EXPECT_TRUE(a.line.layers.at(layer).update.equal(b.line.layers.at(layer).update));
    EXPECT_EQ(a.line.layers.at(layer).alpha, b.line.layers.at(layer).alpha);
  }
}

// (lambda Cov + K1 K1' + K2 K2') X = K2, with the keys that the hooks of the first batch give.
TEST_F(ReferenceEditorTest, ASecondBatchSolvesWithTheKeysOfTheFirst) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution first,
                             editor_->Solve(editor_->NewLine(), edits_));
  const std::vector<Edit> more = {MakeEdit("Chad", "Rome")};
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution second, editor_->Solve(first.line, more));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto first_rows,
                             CheckedRows(*tokenizer_, settings_, 48, edits_));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto more_rows, CheckedRows(*tokenizer_, settings_, 48, more));
  const LayerIndex layer = settings_.layers.front();
  ReferenceLayerWalk first_walk(*model_, editor_->NewLine().layers, first_rows);
  ReferenceLayerWalk walk(*model_, first.line.layers, more_rows);
  const at::Tensor k1 = first_walk.Keys(layer).to(at::kDouble);
  const at::Tensor k2 = walk.Keys(layer).to(at::kDouble);
  const at::Tensor c =
      at::eye(shape_.intermediate(), at::kDouble) + at::matmul(k1.t(), k1) + at::matmul(k2.t(), k2);
  const at::Tensor r = (second.target_values - walk.CurrentValues()).to(at::kDouble) / 2;
  const at::Tensor added = second.line.layers.at(layer).update - first.line.layers.at(layer).update;
  EXPECT_THAT(at::matmul(added.to(at::kDouble), c),
              TensorRelativelyNear(at::matmul(r.t(), k2), 1e-4));
}

TEST_F(ReferenceEditorTest, ASecondBatchBuildsOnTheFirst) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution first,
                             editor_->Solve(editor_->NewLine(), edits_));
  const std::vector<Edit> more = {MakeEdit("Chad", "Rome")};
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution second, editor_->Solve(first.line, more));
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution alone,
                             editor_->Solve(editor_->NewLine(), more));
  const LayerIndex layer = settings_.layers.front();
  // Of the same edit on the unedited model.
  const at::Tensor own = alone.line.layers.at(layer).update;
  const at::Tensor added = second.line.layers.at(layer).update - first.line.layers.at(layer).update;
  EXPECT_GT(added.norm().item<double>(), 0);
  EXPECT_GT(RelativeDifference(added, own), 1e-3);
  EXPECT_LE(second.line.layers.at(layer).alpha, first.line.layers.at(layer).alpha);
}

TEST_F(ReferenceEditorTest, GivenItsOwnTargetValuesASolutionIsTheSame) {
  const ReferenceLine base = editor_->NewLine();
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution found, editor_->Solve(base, edits_));
  AMEND_ASSERT_OK_AND_ASSIGN(const ReferenceSolution given,
                             editor_->SolveGiven(base, edits_, found.target_values));
  for (const LayerIndex layer : settings_.layers) {
    EXPECT_TRUE(given.line.layers.at(layer).update.equal(found.line.layers.at(layer).update));
  }
}

TEST_F(ReferenceEditorTest, EditsThatCannotBeSolvedAreTurnedDown) {
  const ReferenceLine base = editor_->NewLine();
  EXPECT_THAT(editor_->Solve(base, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at least one")));
  EXPECT_THAT(editor_->Solve(base, {edits_[0], edits_[0]}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("edits[1].subject")));
}

TEST_F(ReferenceEditorTest, ASolutionThatIsNotFiniteIsAborted) {
  at::Tensor z = RandomTensor({2, shape_.hidden}, 5);
  z[1][3] = kNan;
  EXPECT_THAT(editor_->SolveGiven(editor_->NewLine(), edits_, z),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("not finite")));
}

TEST_F(ReferenceEditorTest, SettingsThatDoNotFitAreTurnedDown) {
  settings_.layers = {LayerIndex(9)};
  EXPECT_THAT(ReferenceEditor::Create(model_, tokenizer_, settings_, covariance_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("edited layer 9")));
}

}  // namespace
}  // namespace amend
