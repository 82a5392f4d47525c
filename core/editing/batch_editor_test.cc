#include "core/editing/batch_editor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "core/base/testing/status_matchers.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

Edit MakeEdit(const std::string& subject, const std::string& target) {
  Edit edit;
  edit.prompt = "The capital of " + subject + " is";
  edit.subject = subject;
  edit.target_new = target;
  return edit;
}

// A random model of the demo model's vocabulary.
class BatchEditorTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokenizer_ = *Tokenizer::FromDirectory("models/demo");
    shape_.vocabulary = tokenizer_->vocabulary_size();
    model_ = RandomGpt2(shape_, 21);
  }
  static void TearDownTestSuite() { model_.reset(); }

  void SetUp() override {
    settings_.layers = {LayerIndex(0), LayerIndex(2)};
    settings_.lambda = 10;
    settings_.steps = 4;
    settings_.context_templates = {"I saw it. {}", "Because. {}"};
    for (const LayerIndex layer : settings_.layers) {
      covariance_.layers.push_back(
          {layer, ToMatrix(0.1 * at::eye(shape_.intermediate(), at::kFloat))});
    }
    empty_ = HookStack::Empty(*model_, settings_.beta);
  }

  absl::StatusOr<std::unique_ptr<BatchEditor>> Create() const {
    return BatchEditor::Create(model_, tokenizer_, settings_, covariance_);
  }

  static RandomModelShape shape_;
  static std::shared_ptr<const Tokenizer> tokenizer_;
  static std::shared_ptr<const CausalLm> model_;
  EditSettings settings_;
  KeyCovariance covariance_;
  std::shared_ptr<const HookStack> empty_;
  const std::vector<Edit> edits_ = {MakeEdit("Jordan", "Bangui"), MakeEdit("Peru", "Oslo city")};
};

RandomModelShape BatchEditorTest::shape_;
std::shared_ptr<const Tokenizer> BatchEditorTest::tokenizer_;
std::shared_ptr<const CausalLm> BatchEditorTest::model_;

void ExpectSameFactors(const RevisionFactors& a, const RevisionFactors& b) {
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i) {
    EXPECT_EQ(a.layers[i].u, b.layers[i].u);
    EXPECT_EQ(a.layers[i].v, b.layers[i].v);
    EXPECT_EQ(a.layers[i].keys, b.layers[i].keys);
    EXPECT_EQ(a.layers[i].activations, b.layers[i].activations);
  }
}

TEST_F(BatchEditorTest, SolutionHasOneRowPerEditAtEachLayer) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution solution,
                             editor->Solve(*editor->NewLine(), empty_, edits_, {}));
  EXPECT_EQ(solution.targets.size(), 2u);
  ASSERT_EQ(solution.factors.layers.size(), 2u);
  EXPECT_EQ(solution.factors.layers[1].layer, LayerIndex(2));
  for (const LayerFactors& layer : solution.factors.layers) {
    EXPECT_EQ(layer.u.rows, 2);
    EXPECT_EQ(layer.u.cols, shape_.hidden);
    EXPECT_EQ(layer.keys.cols, shape_.intermediate());
    EXPECT_EQ(layer.activations.size(), 2u);
  }
}

TEST_F(BatchEditorTest, SolvingTwiceGivesTheSameBytes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution a, editor->Solve(*line, empty_, edits_, {}));
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution b, editor->Solve(*line, empty_, edits_, {}));
  EXPECT_GT(a.key_seconds, 0);
  ExpectSameFactors(a.factors, b.factors);
}

TEST_F(BatchEditorTest, FactorsSolveTheEquationOfTheLine) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution first, editor->Solve(*line, empty_, edits_, {}));
  ASSERT_THAT(line->Append(first.factors), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto hooks,
                             HookStack::Extend(empty_, Revision(1), first.factors));
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution second,
                             editor->Solve(*line, hooks, {MakeEdit("Chad", "Rome")}, {}));
  // (lambda Cov + K1 K1' + K2 K2') V2' = K2, layer by layer.
  for (size_t i = 0; i < 2; ++i) {
    const at::Tensor k1 = ToTensor(first.factors.layers[i].keys).to(at::kDouble);
    const at::Tensor k2 = ToTensor(second.factors.layers[i].keys).to(at::kDouble);
    const at::Tensor c = settings_.lambda * ToTensor(covariance_.layers[i].moment).to(at::kDouble) +
                         at::matmul(k1.t(), k1) + at::matmul(k2.t(), k2);
    const at::Tensor v = ToTensor(second.factors.layers[i].v).to(at::kDouble);
    EXPECT_LT(RelativeDifference(at::matmul(v, c), k2), 1e-5) << "layer " << i;
  }
}

TEST_F(BatchEditorTest, SolveLeavesTheLineAsItIs) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  ASSERT_THAT(editor->Solve(*line, empty_, {MakeEdit("Chad", "Rome")}, {}), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution used, editor->Solve(*line, empty_, edits_, {}));
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution fresh,
                             editor->Solve(*editor->NewLine(), empty_, edits_, {}));
  ExpectSameFactors(used.factors, fresh.factors);
}

TEST_F(BatchEditorTest, LinesDoNotShareTheirKeys) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution first, editor->Solve(*line, empty_, edits_, {}));
  ASSERT_THAT(editor->NewLine()->Append(first.factors), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution again, editor->Solve(*line, empty_, edits_, {}));
  ExpectSameFactors(first.factors, again.factors);
}

TEST_F(BatchEditorTest, EditsThatShareAKeyAreNamed) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution first, editor->Solve(*line, empty_, edits_, {}));
  EXPECT_THAT(first.overlaps, testing::IsEmpty());
  ASSERT_THAT(line->Append(first.factors), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto hooks,
                             HookStack::Extend(empty_, Revision(4), first.factors));
  // The second and the third have the key of the line's second edit: the same text up to the
  // subject's end.
  Edit longer = MakeEdit("Peru", "Bonn");
  longer.subject = "capital of Peru";
  AMEND_ASSERT_OK_AND_ASSIGN(
      const BatchSolution second,
      editor->Solve(*line, hooks, {MakeEdit("Chad", "Rome"), MakeEdit("Peru", "Rome"), longer},
                    {}));
  ASSERT_EQ(second.overlaps.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const KeyOverlap& overlap = second.overlaps[i];
    EXPECT_EQ(overlap.edit, i < 2 ? 1 : 2);
    EXPECT_NEAR(overlap.activation, 1, 1e-3);
    if (i % 2 == 0) {
      EXPECT_EQ(overlap.other, i < 2 ? 2 : 1);
      EXPECT_FALSE(overlap.earlier.has_value());
    } else {
      EXPECT_EQ(overlap.earlier, (EditId{Revision(4), 1}));
    }
  }
}

TEST_F(BatchEditorTest, OfManyEditsThatShareAKeyTheLatestAreNamed) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  auto hooks = empty_;
  for (int revision = 1; revision <= kMaxOverlaps + 3; ++revision) {
    AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution solution,
                               editor->Solve(*line, hooks, {MakeEdit("Chad", "Rome")}, {}));
    ASSERT_EQ(solution.overlaps.size(), static_cast<size_t>(std::min(revision - 1, kMaxOverlaps)));
    if (revision > 1) {
      EXPECT_EQ(solution.overlaps[0].earlier->revision, Revision(revision - 1));
    }
    ASSERT_THAT(line->Append(solution.factors), IsOk());
    AMEND_ASSERT_OK_AND_ASSIGN(hooks,
                               HookStack::Extend(hooks, Revision(revision), solution.factors));
  }
}

TEST_F(BatchEditorTest, ProgressRunsThroughBothPhases) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  std::vector<std::pair<SolvePhase, int>> calls;
  BatchEditor::Callbacks callbacks;
  callbacks.progress = [&](SolvePhase phase, int done, int) { calls.emplace_back(phase, done); };
  ASSERT_THAT(editor->Solve(*editor->NewLine(), empty_, edits_, callbacks), IsOk());
  EXPECT_THAT(
      calls, ElementsAre(
                 std::pair(SolvePhase::kTargetValues, 2), std::pair(SolvePhase::kTargetValues, 4),
                 std::pair(SolvePhase::kTargetValues, 6), std::pair(SolvePhase::kTargetValues, 8),
                 std::pair(SolvePhase::kLayerUpdates, 1), std::pair(SolvePhase::kLayerUpdates, 2)));
}

TEST_F(BatchEditorTest, CancellationInEitherPhaseChangesNothing) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution before, editor->Solve(*line, empty_, edits_, {}));
  for (const int stop_at : {1, 3, 5}) {
    int calls = 0;
    BatchEditor::Callbacks callbacks;
    callbacks.cancelled = [&] { return ++calls == stop_at; };
    EXPECT_THAT(editor->Solve(*line, empty_, edits_, callbacks),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(calls, stop_at);
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution after, editor->Solve(*line, empty_, edits_, {}));
  ExpectSameFactors(before.factors, after.factors);
  EXPECT_EQ(empty_->edit_count(), 0);
}

TEST_F(BatchEditorTest, AWeightThatIsNotFiniteAborts) {
  const auto broken = RandomGpt2(shape_, 21, [](auto* weights) {
    weights->at("transformer.h.1.mlp.c_proj.weight")[0][0] = std::numeric_limits<float>::infinity();
  });
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor,
                             BatchEditor::Create(broken, tokenizer_, settings_, covariance_));
  EXPECT_THAT(editor->Solve(*editor->NewLine(), empty_, edits_, {}),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("not finite")));
}

TEST_F(BatchEditorTest, ASingularCovarianceIsRefusedBeforeAnyEdit) {
  covariance_.layers[1].moment.values.assign(covariance_.layers[1].moment.values.size(), 0.0f);
  EXPECT_THAT(Create(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("layer 2 is singular"), HasSubstr("minor of order 1 of 64"),
                             HasSubstr("more text"))));
}

// Long enough that keys move into a new factor.
TEST_F(BatchEditorTest, FactorsSolveTheEquationAlsoAfterALongLine) {
  settings_.steps = 2;
  settings_.layers = {LayerIndex(0), LayerIndex(2)};
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  auto hooks = empty_;
  at::Tensor sums[2];
  for (int i = 0; i < 2; ++i) {
    sums[i] = settings_.lambda * ToTensor(covariance_.layers[i].moment).to(at::kDouble);
  }
  for (int revision = 1; revision <= 12; ++revision) {
    const RevisionFactors batch = RandomFactors(shape_, {0, 2}, 40, revision);
    ASSERT_THAT(line->Append(batch), IsOk());
    AMEND_ASSERT_OK_AND_ASSIGN(hooks, HookStack::Extend(hooks, Revision(revision), batch));
    for (int i = 0; i < 2; ++i) {
      const at::Tensor k = ToTensor(batch.layers[i].keys).to(at::kDouble);
      sums[i] += at::matmul(k.t(), k);
    }
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution solution,
                             editor->Solve(*line, hooks, {MakeEdit("Chad", "Rome")}, {}));
  for (int i = 0; i < 2; ++i) {
    const at::Tensor k = ToTensor(solution.factors.layers[i].keys).to(at::kDouble);
    const at::Tensor v = ToTensor(solution.factors.layers[i].v).to(at::kDouble);
    EXPECT_LT(RelativeDifference(at::matmul(v, sums[i] + at::matmul(k.t(), k)), k), 1e-5);
  }
}

TEST_F(BatchEditorTest, NoEditsAreRefused) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  EXPECT_THAT(editor->Solve(*editor->NewLine(), empty_, {}, {}),
              StatusIs(kInvalid, HasSubstr("at least one edit")));
}

TEST_F(BatchEditorTest, AnInvalidEditIsNamedWithItsField) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  std::vector<Edit> edits = edits_;
  edits[1].subject = "Chad";
  EXPECT_THAT(editor->Solve(*editor->NewLine(), empty_, edits, {}),
              StatusIs(kInvalid, AllOf(HasSubstr("edits[1].subject"), HasSubstr("\"Chad\""))));
}

TEST_F(BatchEditorTest, KeysOfAnotherSizeAreNotAppended) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto editor, Create());
  const auto line = editor->NewLine();
  AMEND_ASSERT_OK_AND_ASSIGN(BatchSolution solution, editor->Solve(*line, empty_, edits_, {}));
  RevisionFactors bad = solution.factors;
  bad.layers[1].keys = Matrix{2, 3, std::vector<float>(6)};
  EXPECT_THAT(line->Append(bad), StatusIs(kInvalid, AllOf(HasSubstr("3"), HasSubstr("64"))));
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution after, editor->Solve(*line, empty_, edits_, {}));
  ExpectSameFactors(solution.factors, after.factors);
}

TEST_F(BatchEditorTest, ALayerThatTheModelLacksIsNamed) {
  settings_.layers.push_back(LayerIndex(4));
  EXPECT_THAT(Create(),
              StatusIs(kInvalid, AllOf(HasSubstr("layer 4"), HasSubstr("the model has 4"))));
}

TEST_F(BatchEditorTest, LayersMustAscend) {
  settings_.layers = {LayerIndex(2), LayerIndex(0)};
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("0 follows 2")));
}

TEST_F(BatchEditorTest, NoLayersAreRefused) {
  settings_.layers.clear();
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("no edited layers")));
}

TEST_F(BatchEditorTest, LossLayerBelowTheLastEditedLayerIsRefused) {
  settings_.loss_layer = 1;
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("loss layer 1")));
}

TEST_F(BatchEditorTest, BetaOutsideZeroToOneIsRefused) {
  settings_.beta = 1;
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("beta 1")));
}

TEST_F(BatchEditorTest, LambdaThatIsNotANumberIsRefused) {
  settings_.lambda = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("lambda nan")));
}

TEST_F(BatchEditorTest, ClampAndLearningRateMustBePositive) {
  settings_.clamp = 0;
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("clamp 0")));
  settings_.clamp = 1;
  settings_.learning_rate = -0.5;
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("learning rate -0.5")));
}

TEST_F(BatchEditorTest, ATemplateWithoutItsPlaceHolderIsNamed) {
  settings_.context_templates.push_back("No place at all.");
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("\"No place at all.\"")));
}

TEST_F(BatchEditorTest, CovarianceWithoutAnEditedLayerIsNamed) {
  covariance_.layers.pop_back();
  EXPECT_THAT(Create(), StatusIs(kInvalid, HasSubstr("lacks edited layer 2")));
}

TEST_F(BatchEditorTest, CovarianceOfAnotherSizeNamesBoth) {
  covariance_.layers[0].moment = Matrix{3, 3, std::vector<float>(9)};
  EXPECT_THAT(Create(), StatusIs(kInvalid, AllOf(HasSubstr("[3, 3]"), HasSubstr("64"))));
}

}  // namespace
}  // namespace amend
