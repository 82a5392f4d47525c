#include "server/validation_gate.h"

#include <memory>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::ElementsAre;

// The demo model knows that Makurdi is a city in Nigeria.
class ValidationGateTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = *LoadCausalLm("models/demo", LoadOptions());
    tokenizer_ = *Tokenizer::FromDirectory("models/demo");
    hooks_ = HookStack::Empty(*model_, 0.5);
  }
  static void TearDownTestSuite() {
    hooks_.reset();
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
  static absl::StatusOr<GateResult> Gate(const Edit& edit, bool enforced) {
    return RunGate(*model_, *tokenizer_, *hooks_, *hooks_, {edit}, {TargetReport{0.1, 3}},
                   {0.9, 0.9, 0.9}, enforced);
  }

  static std::shared_ptr<const CausalLm> model_;
  static std::unique_ptr<Tokenizer> tokenizer_;
  static std::shared_ptr<const HookStack> hooks_;
};

std::shared_ptr<const CausalLm> ValidationGateTest::model_;
std::unique_ptr<Tokenizer> ValidationGateTest::tokenizer_;
std::shared_ptr<const HookStack> ValidationGateTest::hooks_;

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

}  // namespace
}  // namespace amend
