// Edits are taken back one by one on the demo model: the withdrawn one gives its old answer again,
// the others hold and their neighbours answer as before.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/editing/batch_editor.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/evaluation/scorer.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/quality/demo_model.h"

namespace amend {
namespace {

constexpr size_t kEdits = 20;
constexpr size_t kBatch = 10;
using Stack = std::shared_ptr<const HookStack>;

// What the model would choose at each place of a continuation.
class Answers {
 public:
  Answers(const CausalLm& model, const Tokenizer& tokenizer, const std::vector<Edit>& edits)
      : model_(model) {
    for (const Edit& edit : edits) {
      Add(tokenizer, edit.prompt, edit.target_new, &prompts_);
      Add(tokenizer, edit.paraphrases[0], edit.target_new, &paraphrases_);
      Add(tokenizer, edit.probes[0].prompt, edit.probes[0].answer, &probes_);
    }
  }
  using Chosen = std::vector<std::vector<TokenId>>;
  Chosen Prompts(const Stack& hooks) const { return Choose(hooks, prompts_); }
  Chosen Paraphrases(const Stack& hooks) const { return Choose(hooks, paraphrases_); }
  Chosen Probes(const Stack& hooks) const { return Choose(hooks, probes_); }

 private:
  static void Add(const Tokenizer& tokenizer, const std::string& prompt, const std::string& answer,
                  std::vector<ScoreItem>* items) {
    items->push_back({tokenizer.Encode(prompt), tokenizer.Encode(" " + answer)});
  }
  Chosen Choose(const Stack& hooks, const std::vector<ScoreItem>& items) const {
    Chosen chosen;
    const auto scored = ScoreContinuations(model_, *hooks, items);
    EXPECT_THAT(scored.status(), IsOk());
    for (const ScoredContinuation& one : *scored) chosen.push_back(one.argmax);
    return chosen;
  }

  const CausalLm& model_;
  std::vector<ScoreItem> prompts_, paraphrases_, probes_;
};

class WithdrawalTest : public testing::Test {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(model_, LoadCausalLm(kModel, LoadOptions()));
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory(kModel));
    const EditSettings settings = DemoSettings();
    AMEND_ASSERT_OK_AND_ASSIGN(
        KeyCovariance covariance,
        ComputeKeyCovariance(*model_, *tokenizer_, settings.layers, CovarianceTexts(), 0, nullptr));
    AMEND_ASSERT_OK_AND_ASSIGN(
        editor_, BatchEditor::Create(model_, tokenizer_, settings, std::move(covariance)));
    base_ = HookStack::Empty(*model_, settings.beta);
  }

  // Solves a batch on `hooks` and the keys of `solved_`; its factors are appended there.
  Stack Solve(const Stack& hooks, absl::Span<const Edit> batch) {
    const std::unique_ptr<EditLine> line = editor_->NewLine();
    for (const RevisionFactors& factors : solved_) EXPECT_THAT(line->Append(factors), IsOk());
    auto solution = editor_->Solve(*line, hooks, batch, {});
    EXPECT_THAT(solution.status(), IsOk());
    const Revision revision(static_cast<int64_t>(solved_.size()) + 1);
    solved_.push_back(solution->factors);
    return *HookStack::Extend(hooks, revision, solution->factors);
  }

  std::shared_ptr<const CausalLm> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<BatchEditor> editor_;
  Stack base_;
  std::vector<RevisionFactors> solved_;
};

TEST_F(WithdrawalTest, OneOfTwentyGoesAndTheOtherNineteenHold) {
  const std::vector<Edit> edits = FirstFacts(kEdits);
  ASSERT_EQ(edits.size(), kEdits);
  Stack hooks = base_;
  for (size_t begin = 0; begin < kEdits; begin += kBatch)
    hooks = Solve(hooks, absl::MakeConstSpan(edits).subspan(begin, kBatch));
  const Answers answers(*model_, *tokenizer_, edits);
  const Answers::Chosen unedited = answers.Prompts(base_);
  const Answers::Chosen edited = answers.Prompts(hooks);
  const Answers::Chosen edited_elsewhere = answers.Paraphrases(hooks);
  const Answers::Chosen neighbours = answers.Probes(hooks);
  int taken_back = 0;
  for (size_t i = 0; i < kEdits; ++i) {
    SCOPED_TRACE(edits[i].prompt);
    const EditId id{Revision(static_cast<int64_t>(1 + i / kBatch)),
                    static_cast<int32_t>(i % kBatch)};
    AMEND_ASSERT_OK_AND_ASSIGN(const Stack without, HookStack::Without(hooks, {id}));
    const Answers::Chosen now = answers.Prompts(without);
    const Answers::Chosen now_elsewhere = answers.Paraphrases(without);
    EXPECT_EQ(now[i], unedited[i]);
    taken_back += now[i] != edited[i];
    for (size_t j = 0; j < kEdits; ++j) {
      if (j == i) continue;
      EXPECT_EQ(now[j], edited[j]) << edits[j].prompt;
      EXPECT_EQ(now_elsewhere[j], edited_elsewhere[j]) << edits[j].paraphrases[0];
    }
    EXPECT_EQ(answers.Probes(without), neighbours);
  }
  // Nearly all had changed the answer.
  EXPECT_GE(taken_back, 18);
}

TEST_F(WithdrawalTest, AnEditThatSupersedesAnotherIsLostWhenOnlyTheEarlierOneGoes) {
  std::vector<Edit> edits = FirstFacts(kEdits);
  edits.resize(4);
  const Stack first = Solve(base_, edits);
  std::vector<Edit> corrected = edits;
  std::rotate(corrected.begin(), corrected.begin() + 1, corrected.end());
  for (size_t i = 0; i < edits.size(); ++i) {
    corrected[i].prompt = edits[i].prompt;
    corrected[i].subject = edits[i].subject;
    corrected[i].paraphrases = edits[i].paraphrases;
  }
  const Stack second = Solve(first, corrected);
  const Answers answers(*model_, *tokenizer_, corrected);
  // The later one alone: back to the earlier one, exactly.
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack without_later,
                             HookStack::Without(second, {EditId{Revision(2), 0}}));
  EXPECT_EQ(answers.Prompts(without_later)[0], answers.Prompts(first)[0]);
  // The earlier one alone: this is what the gate has to see.
  int lost = 0;
  for (int32_t i = 0; i < 4; ++i) {
    AMEND_ASSERT_OK_AND_ASSIGN(const Stack without_earlier,
                               HookStack::Without(second, {EditId{Revision(1), i}}));
    lost += answers.Prompts(without_earlier)[static_cast<size_t>(i)] !=
            answers.Prompts(second)[static_cast<size_t>(i)];
  }
  EXPECT_GE(lost, 1);
}

}  // namespace
}  // namespace amend
