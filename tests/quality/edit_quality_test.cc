// What editing achieves on the demo model: 100 facts in consecutive batches of 20, then all of them
// scored.
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/editing/batch_editor.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/evaluation/edit_evaluation.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

constexpr size_t kEdits = 100;
constexpr size_t kBatch = 20;
constexpr char kModel[] = "models/demo";

std::vector<Edit> ReadEdits() {
  std::ifstream file("tests/testdata/world_facts.json");
  std::vector<Edit> edits;
  for (const auto& record : nlohmann::json::parse(file)) {
    if (edits.size() == kEdits) break;
    Edit edit;
    edit.prompt = record.at("prompt");
    edit.subject = record.at("subject");
    edit.target_new = record.at("target_new");
    edit.paraphrases.push_back(record.at("rephrase_prompt"));
    edit.probes.push_back({record.at("locality_prompt"), record.at("locality_ground_truth")});
    edits.push_back(std::move(edit));
  }
  return edits;
}

EditSettings DemoSettings() {
  EditSettings settings;
  settings.layers = {LayerIndex(0), LayerIndex(1)};
  settings.lambda = 25;
  settings.clamp = 4;
  settings.steps = 30;
  std::ifstream file(std::string(kModel) + "/context_templates.json");
  settings.context_templates = nlohmann::json::parse(file).at(1).get<std::vector<std::string>>();
  return settings;
}

std::vector<std::string> CovarianceTexts() {
  std::vector<std::string> texts;
  std::ifstream file(std::string(kModel) + "/covariance_texts.txt");
  for (std::string line; std::getline(file, line);) texts.push_back(line);
  return texts;
}

TEST(EditQualityTest, HundredFactsInFiveBatches) {
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
  const std::vector<Edit> edits = ReadEdits();
  ASSERT_EQ(edits.size(), kEdits);
  const std::unique_ptr<EditLine> line = editor->NewLine();
  const std::shared_ptr<const HookStack> base = HookStack::Empty(*model, settings.beta);
  std::shared_ptr<const HookStack> hooks = base;
  for (size_t begin = 0; begin < kEdits; begin += kBatch) {
    const auto batch = absl::MakeConstSpan(edits).subspan(begin, kBatch);
    AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution solution,
                               editor->Solve(*line, hooks, batch, {}));
    ASSERT_THAT(line->Append(solution.factors), IsOk());
    AMEND_ASSERT_OK_AND_ASSIGN(
        hooks, HookStack::Extend(hooks, Revision(1 + begin / kBatch), solution.factors));
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const auto scores,
                             EvaluateEdits(*model, *tokenizer, *base, *hooks, edits));
  const EditScores mean = MeanScores(scores);
  EXPECT_GE(mean.reliability.value_or(0), 0.90);
  EXPECT_GE(mean.generality.value_or(0), 0.85);
  EXPECT_GE(mean.locality.value_or(0), 0.96);
}

}  // namespace
}  // namespace amend
