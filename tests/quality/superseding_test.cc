// A later edit of the same prompt wins over the earlier ones, on the demo model with its own
// settings.
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/batch_editor.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/evaluation/edit_evaluation.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/quality/demo_model.h"

namespace amend {
namespace {

// The first facts of the world whose relation is `relation`, with `target` for each.
std::vector<Edit> FactsWithTarget(const std::string& relation, size_t count,
                                  const std::string& target) {
  std::ifstream file("tests/testdata/world_facts.json");
  std::vector<Edit> edits;
  for (const auto& record : nlohmann::json::parse(file)) {
    if (edits.size() == count) break;
    if (record.at("relation") != relation) continue;
    Edit edit;
    edit.prompt = record.at("prompt");
    edit.subject = record.at("subject");
    edit.target_new = target;
    edits.push_back(std::move(edit));
  }
  return edits;
}

TEST(SupersedingTest, TheLastOfFiveEditsOfAPromptIsWhatTheModelSays) {
  AMEND_ASSERT_OK_AND_ASSIGN(const std::shared_ptr<const CausalLm> model,
                             LoadCausalLm(kModel, LoadOptions()));
  AMEND_ASSERT_OK_AND_ASSIGN(const std::shared_ptr<const Tokenizer> tokenizer,
                             Tokenizer::FromDirectory(kModel));
  const EditSettings settings = DemoSettings();
  AMEND_ASSERT_OK_AND_ASSIGN(
      KeyCovariance covariance,
      ComputeKeyCovariance(*model, *tokenizer, settings.layers, CovarianceTexts(), 0, nullptr));
  AMEND_ASSERT_OK_AND_ASSIGN(
      const auto editor, BatchEditor::Create(model, tokenizer, settings, std::move(covariance)));
  const std::unique_ptr<EditLine> line = editor->NewLine();
  const std::shared_ptr<const HookStack> base = HookStack::Empty(*model, settings.beta);
  std::shared_ptr<const HookStack> hooks = base;
  int64_t revision = 0;
  for (const char* target : {"Vietnam", "Portugal", "Kenya", "Brazil", "Japan"}) {
    ++revision;
    SCOPED_TRACE(absl::StrCat("revision ", revision, ", target ", target));
    const std::vector<Edit> edits = FactsWithTarget("country", 6, target);
    ASSERT_EQ(edits.size(), 6u);
    AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution solution,
                               editor->Solve(*line, hooks, edits, {}));
    // Each names all the earlier edits of its prompt.
    EXPECT_EQ(solution.overlaps.size(), static_cast<size_t>(6 * (revision - 1)));
    ASSERT_THAT(line->Append(solution.factors), IsOk());
    AMEND_ASSERT_OK_AND_ASSIGN(hooks,
                               HookStack::Extend(hooks, Revision(revision), solution.factors));
    AMEND_ASSERT_OK_AND_ASSIGN(const auto scores,
                               EvaluateEdits(*model, *tokenizer, *base, *hooks, edits));
    // Whether a first edit takes is another test's question.
    if (revision == 1) continue;
    for (size_t i = 0; i < edits.size(); ++i)
      EXPECT_EQ(scores[i].reliability.value_or(0), 1) << edits[i].prompt;
  }
}

}  // namespace
}  // namespace amend
