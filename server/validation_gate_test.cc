#include "server/validation_gate.h"

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "core/base/testing/status_matchers.h"
#include "core/generation/testing/random_revisions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

// The demo model knows that Makurdi is a city in Nigeria.
class ValidationGateTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = *LoadCausalLm("models/demo", LoadOptions());
    tokenizer_ = *Tokenizer::FromDirectory("models/demo");
    base_ = HookStack::Empty(*model_, 0.5);
  }
  static void TearDownTestSuite() {
    base_.reset();
    tokenizer_.reset();
    model_.reset();
  }

  static Edit EditTo(const std::string& target) {
    Edit edit;
    edit.prompt = "Makurdi is a city in";
    edit.subject = "Makurdi";
    edit.target_new = target;
    edit.probes = {{"Kano is a city in", "Nigeria"}};
    return edit;
  }
  // Revision 1 changes what follows the prompt of EditTo.
  static std::shared_ptr<const HookStack> Changed() {
    std::mt19937 random(5);
    return RevisionThatFiresOn(*model_, base_, Revision(1), {LayerIndex(5)},
                               {tokenizer_->Encode("Makurdi is a city in")}, /*size=*/50, random);
  }
  static std::unique_ptr<ValidationGate> MakeGate(const ValidationGate::Options& options) {
    return std::make_unique<ValidationGate>(model_, tokenizer_, options);
  }
  static GateRequest Request(absl::Span<const Edit> edits) {
    GateRequest request;
    request.before = request.after = base_;
    request.edits = edits;
    static const TargetReport target{0.1, 3};
    request.targets = absl::MakeConstSpan(&target, 1);
    request.thresholds.reliability = 0.9;
    request.thresholds.generality = 0.9;
    request.thresholds.locality = 0.9;
    return request;
  }
  static absl::StatusOr<GateResult> Gate(const Edit& edit, bool enforced) {
    ValidationGate::Options options;
    options.enforced = enforced;
    return MakeGate(options)->Judge(Request({edit}));
  }

  static std::shared_ptr<const CausalLm> model_;
  static std::shared_ptr<const Tokenizer> tokenizer_;
  static std::shared_ptr<const HookStack> base_;
};

std::shared_ptr<const CausalLm> ValidationGateTest::model_;
std::shared_ptr<const Tokenizer> ValidationGateTest::tokenizer_;
std::shared_ptr<const HookStack> ValidationGateTest::base_;

TEST_F(ValidationGateTest, WhatTheCandidateSaysPasses) {
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult result, Gate(EditTo("Nigeria"), true));
  EXPECT_TRUE(result.accepted);
  EXPECT_EQ(result.verdict.scores.reliability, 1);
  EXPECT_EQ(result.verdict.scores.generality, std::nullopt);
  EXPECT_EQ(result.verdict.scores.locality, 1);
  ASSERT_EQ(result.edits.size(), 1u);
  EXPECT_EQ(result.edits[0].target.steps, 3);
}

TEST_F(ValidationGateTest, WhatTheCandidateDoesNotSayIsRejected) {
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult result, Gate(EditTo("Vietnam"), true));
  EXPECT_FALSE(result.accepted);
  EXPECT_THAT(result.verdict.failures, ElementsAre("reliability 0.00 is below 0.90"));
}

TEST_F(ValidationGateTest, WithoutEnforcementItIsOnlyRecorded) {
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult result, Gate(EditTo("Vietnam"), false));
  EXPECT_TRUE(result.accepted);
  EXPECT_FALSE(result.verdict.passed);
}

TEST_F(ValidationGateTest, ContextTemplatesStandInForParaphrasesThatAreNotThere) {
  ValidationGate::Options options;
  // After the second one the model says something else.
  options.context_templates = {"Kano is a city in Nigeria. {}", "{}"};
  const std::unique_ptr<ValidationGate> gate = MakeGate(options);
  const Edit without = EditTo("Nigeria");
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult result, gate->Judge(Request({without})));
  EXPECT_EQ(result.verdict.scores.generality, 1);
  EXPECT_EQ(result.edits[0].generality_source, GeneralitySource::kTemplates);

  Edit with = EditTo("Nigeria");
  with.paraphrases = {"The price of a soundbox is"};
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult own, gate->Judge(Request({with})));
  EXPECT_EQ(own.verdict.scores.generality, 0);
  EXPECT_EQ(own.edits[0].generality_source, GeneralitySource::kParaphrases);
}

TEST_F(ValidationGateTest, APromptWithBracesIsFilledInOnce) {
  ValidationGate::Options options;
  options.context_templates = {"{}"};
  Edit edit = EditTo("Nigeria");
  edit.prompt = "{} Makurdi is a city in";
  Edit same = edit;
  same.paraphrases = {edit.prompt};
  const std::unique_ptr<ValidationGate> gate = MakeGate(options);
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult filled, gate->Judge(Request({edit})));
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult given, gate->Judge(Request({same})));
  EXPECT_EQ(filled.verdict.scores.generality, given.verdict.scores.generality);
}

TEST_F(ValidationGateTest, BackgroundIsComparedBetweenParentAndCandidate) {
  ValidationGate::Options options;
  options.background_texts = {"Makurdi is a city in Nigeria.", "Nobody wanted to embargo again."};
  const std::unique_ptr<ValidationGate> gate = MakeGate(options);
  const Edit edit = EditTo("Nigeria");
  GateRequest request = Request(absl::MakeConstSpan(&edit, 1));
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult same, gate->Judge(request));
  EXPECT_EQ(same.verdict.background, 1);
  EXPECT_NEAR(same.verdict.perplexity_change.value(), 0, 1e-6);
  EXPECT_TRUE(same.accepted);

  request.after = Changed();
  request.thresholds = {};
  request.thresholds.background = 1;
  request.thresholds.max_perplexity_change = 0;
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult changed, gate->Judge(request));
  EXPECT_LT(changed.verdict.background.value(), 1);
  EXPECT_GT(changed.verdict.perplexity_change.value(), 0);
  EXPECT_FALSE(changed.accepted);
  ASSERT_EQ(changed.verdict.failures.size(), 2u);
  EXPECT_THAT(changed.verdict.failures[0], StartsWith("background"));
  EXPECT_THAT(changed.verdict.failures[1], StartsWith("perplexity change"));

  // What it knows of a model from the last time is what it would measure anew.
  std::swap(request.before, request.after);
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult known, gate->Judge(request));
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult anew, MakeGate(options)->Judge(request));
  EXPECT_EQ(known.verdict.background, anew.verdict.background);
  EXPECT_NEAR(*known.verdict.perplexity_change, *anew.verdict.perplexity_change, 1e-6);
  EXPECT_LT(*known.verdict.perplexity_change, 0);
}

TEST_F(ValidationGateTest, WithoutBackgroundTextsNothingIsSaidOfThem) {
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult result, Gate(EditTo("Nigeria"), true));
  EXPECT_EQ(result.verdict.background, std::nullopt);
  EXPECT_EQ(result.verdict.perplexity_change, std::nullopt);
}

TEST_F(ValidationGateTest, AWithdrawnEditThatIsStillGivenIsRejected) {
  const std::unique_ptr<ValidationGate> gate = MakeGate({});
  GateRequest request = Request(absl::Span<const Edit>());
  request.targets = {};
  request.unedited = Changed();
  request.withdrawn = {{EditId{Revision(3), 1}, EditTo("Nigeria"), nullptr}};
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult stays, gate->Judge(request));
  EXPECT_FALSE(stays.accepted);
  EXPECT_EQ(stays.verdict.reverted, 0);
  request.after = request.unedited;
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult gone, gate->Judge(request));
  EXPECT_TRUE(gone.accepted);
  EXPECT_EQ(gone.verdict.reverted, 1);
}

TEST_F(ValidationGateTest, AnEarlierEditThatHoldsNoMoreIsNamed) {
  const std::unique_ptr<ValidationGate> gate = MakeGate({});
  GateRequest request = Request(absl::Span<const Edit>());
  request.targets = {};
  // The first one holds before, the second never did, the third holds before and after.
  Edit other = EditTo("Nigeria");
  other.prompt = "Kano is a city in";
  request.retained = {{EditId{Revision(3), 1}, EditTo("Nigeria")},
                      {EditId{Revision(4), 0}, EditTo("Vietnam")},
                      {EditId{Revision(5), 2}, other}};
  request.thresholds.retention = 0.9;
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult same, gate->Judge(request));
  EXPECT_EQ(same.verdict.retained_edits, 2);
  EXPECT_EQ(same.verdict.retention, 1);
  EXPECT_TRUE(same.accepted);

  request.after = Changed();
  AMEND_ASSERT_OK_AND_ASSIGN(const GateResult changed, gate->Judge(request));
  EXPECT_EQ(changed.verdict.retained_edits, 2);
  EXPECT_THAT(changed.verdict.broken_edits, ElementsAre(EditId{Revision(3), 1}));
  EXPECT_EQ(changed.verdict.retention, 0.5);
  EXPECT_FALSE(changed.accepted);
}

}  // namespace
}  // namespace amend
