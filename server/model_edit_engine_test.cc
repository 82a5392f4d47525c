#include "server/model_edit_engine.h"

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/editing/key_covariance.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

constexpr int kCovarianceTexts = 200;

Edit EditOf(const std::string& subject, const std::string& target) {
  Edit edit;
  edit.prompt = subject + " is a city in";
  edit.subject = subject;
  edit.target_new = target;
  edit.probes = {{"Kano is a city in", "Nigeria"}};
  return edit;
}

// Over the demo model, with the settings of its profile.
class ModelEditEngineTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = *LoadCausalLm("models/demo", LoadOptions());
    tokenizer_ = *Tokenizer::FromDirectory("models/demo");
    std::ifstream file("models/demo/covariance_texts.txt");
    std::vector<std::string> texts(kCovarianceTexts);
    for (std::string& text : texts) std::getline(file, text);
    covariance_ = std::make_unique<KeyCovariance>(
        *ComputeKeyCovariance(*model_, *tokenizer_, Settings().layers, texts, 0, nullptr));
  }
  static void TearDownTestSuite() {
    covariance_.reset();
    tokenizer_.reset();
    model_.reset();
  }

  static EditSettings Settings() {
    EditSettings settings;
    settings.layers = {LayerIndex(0), LayerIndex(1)};
    settings.lambda = 25;
    settings.steps = 30;
    settings.clamp = 4;
    settings.context_templates = {"The people who live in Tolyatti. {}"};
    return settings;
  }
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(auto editor,
                               BatchEditor::Create(model_, tokenizer_, Settings(), *covariance_));
    ValidationGate::Options options;
    options.context_templates = Settings().context_templates;
    engine_ = std::make_unique<ModelEditEngine>(
        model_, std::move(editor), std::make_unique<ValidationGate>(model_, tokenizer_, options));
  }
  absl::StatusOr<BatchSolution> Solve(const std::shared_ptr<const HookStack>& parent,
                                      int64_t number, const Edit& edit) {
    return engine_->Solve(parent, Revision(number), {edit}, {});
  }

  static std::shared_ptr<const CausalLm> model_;
  static std::shared_ptr<const Tokenizer> tokenizer_;
  static std::unique_ptr<KeyCovariance> covariance_;
  std::unique_ptr<ModelEditEngine> engine_;
  std::shared_ptr<const HookStack> base_ = HookStack::Empty(*model_, Settings().beta);
};

std::shared_ptr<const CausalLm> ModelEditEngineTest::model_;
std::shared_ptr<const Tokenizer> ModelEditEngineTest::tokenizer_;
std::unique_ptr<KeyCovariance> ModelEditEngineTest::covariance_;

TEST_F(ModelEditEngineTest, ASolvedEditPassesTheGateAndLeavesItsNeighbourAlone) {
  const Edit edit = EditOf("Makurdi", "Vietnam");
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution solution, Solve(base_, 1, edit));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto after,
                             engine_->Extend(base_, Revision(1), solution.factors, 0));
  GateRequest request;
  request.before = base_;
  request.after = after;
  request.edits = absl::MakeConstSpan(&edit, 1);
  request.targets = solution.targets;
  request.thresholds.reliability = 1;
  request.thresholds.generality = 1;
  request.thresholds.locality = 1;
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult gate, engine_->Gate(request));
  EXPECT_TRUE(gate.accepted) << testing::PrintToString(gate.verdict.failures);
  EXPECT_EQ(engine_->UpdateNorms(after).size(), 2u);
  EXPECT_GT(engine_->UpdateNorms(after)[0].update_norm_ratio, 0);
}

TEST_F(ModelEditEngineTest, TheLineIsWhatItsRevisionsMadeItHoweverItCameAbout) {
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution first,
                             Solve(base_, 1, EditOf("Makurdi", "Vietnam")));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto hooks,
                             engine_->Extend(base_, Revision(1), first.factors, 0));
  ASSERT_THAT(engine_->AppendToLine(Revision(1), first.factors), IsOk());
  EXPECT_EQ(engine_->line_head(), Revision(1));
  const Edit next = EditOf("Katsushika", "Canada");
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution once, Solve(hooks, 2, next));
  engine_->ResetLine();
  EXPECT_EQ(engine_->line_head(), kBaseRevision);
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution without, Solve(hooks, 2, next));
  ASSERT_THAT(engine_->AppendToLine(Revision(1), first.factors), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const BatchSolution again, Solve(hooks, 2, next));
  EXPECT_TRUE(once.factors == again.factors);
  EXPECT_FALSE(once.factors == without.factors);
}

TEST_F(ModelEditEngineTest, ASampleOfTheLineIsTheSameForTheSameSeedAndNamesEachEditOnce) {
  std::shared_ptr<const HookStack> hooks = base_;
  EXPECT_THAT(engine_->SampleEdits(hooks, 4, 1), testing::IsEmpty());
  const ModelConfig& config = model_->config();
  for (int revision = 1; revision <= 20; ++revision) {
    RevisionFactors factors;
    factors.layers.resize(1);
    LayerFactors& layer = factors.layers[0];
    layer.u = {2, config.hidden_size, std::vector<float>(2 * config.hidden_size)};
    layer.v = {2, config.intermediate_size, std::vector<float>(2 * config.intermediate_size)};
    layer.activations = {1, 1};
    AMEND_ASSERT_OK_AND_ASSIGN(hooks, engine_->Extend(hooks, Revision(revision), factors, 0));
  }
  const std::vector<EditId> sample = engine_->SampleEdits(hooks, 8, 7);
  EXPECT_EQ(std::set<EditId>(sample.begin(), sample.end()).size(), 8u);
  EXPECT_EQ(sample, engine_->SampleEdits(hooks, 8, 7));
  EXPECT_NE(sample, engine_->SampleEdits(hooks, 8, 8));
  EXPECT_EQ(engine_->SampleEdits(hooks, 1000, 7).size(), 40u);
  // Every edit is chosen by some seed.
  std::set<EditId> seen;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (const EditId& id : engine_->SampleEdits(hooks, 8, seed)) seen.insert(id);
  }
  EXPECT_EQ(seen.size(), 40u);
}

TEST_F(ModelEditEngineTest, FactorsThatDoNotFitAreNamedAndResetTheLine) {
  RevisionFactors factors;
  factors.layers.resize(1);
  factors.layers[0].keys = {1, 2, {1, 2}};
  EXPECT_FALSE(engine_->AppendToLine(Revision(1), factors).ok());
  EXPECT_EQ(engine_->line_head(), kBaseRevision);
}

}  // namespace
}  // namespace amend
