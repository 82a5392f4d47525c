#include "server/profile.h"

#include <fstream>
#include <optional>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

ModelConfig Config(const std::string& architecture, int layers, int hidden, int vocabulary) {
  ModelConfig config;
  config.architecture = architecture;
  config.layers = layers;
  config.hidden_size = hidden;
  config.vocabulary_size = vocabulary;
  return config;
}

ModelConfig Small() { return Config("gpt2", 6, 256, 6144); }

constexpr char kMinimal[] = R"pb(layers: 1
                                 lambda: 10
                                 covariance { text_file: "t.txt" })pb";

absl::StatusOr<EditProfile> Parse(const std::string& extra) {
  return ParseProfile("my.profile", std::string(kMinimal) + " " + extra, Small());
}

TEST(ProfileTest, TheDemoModelHasABuiltInProfile) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile profile, BuiltInProfile(Small()));
  EXPECT_EQ(profile.proto.name(), "demo");
  EXPECT_THAT(profile.settings.layers, ElementsAre(LayerIndex(0), LayerIndex(1)));
  EXPECT_EQ(profile.settings.lambda, 25);
  EXPECT_EQ(profile.settings.clamp, 4);
  EXPECT_EQ(profile.settings.steps, 30);
  EXPECT_THAT(profile.settings.context_templates, SizeIs(5));
  EXPECT_EQ(profile.covariance_text_file, "covariance_texts.txt");
  EXPECT_TRUE(profile.gate_enforced);
  EXPECT_EQ(profile.gate_thresholds.background, 0.9);
  EXPECT_EQ(profile.gate_thresholds.retention, 0.9);
  EXPECT_EQ(profile.gate_thresholds.max_perplexity_change, 0.1);
  EXPECT_EQ(profile.background_text_file, "covariance_texts.txt");
  EXPECT_EQ(profile.max_background_texts, 64);
  EXPECT_EQ(profile.max_tokens_per_background_text, 64);
}

TEST(ProfileTest, WithoutBackgroundTextsNothingIsAskedOfThem) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile profile, Parse("gate { reliability: 0.5 }"));
  EXPECT_THAT(profile.background_texts, IsEmpty());
  EXPECT_EQ(profile.max_background_texts, 0);
  EXPECT_EQ(profile.gate_thresholds.max_perplexity_change, std::nullopt);
  EXPECT_EQ(profile.gate_thresholds.retention, 0);
}

TEST(ProfileTest, ThePapersModelsHaveTheirSettings) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile xl, BuiltInProfile(Config("gpt2", 48, 1600, 50257)));
  EXPECT_THAT(xl.settings.layers, SizeIs(5));
  EXPECT_EQ(xl.settings.layers.front(), LayerIndex(13));
  EXPECT_EQ(xl.settings.lambda, 15000);
  EXPECT_EQ(xl.settings.clamp, 0.75);
  EXPECT_EQ(xl.settings.steps, 20);
  EXPECT_THAT(xl.settings.context_templates, IsEmpty());
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile j, BuiltInProfile(Config("gptj", 28, 4096, 50400)));
  EXPECT_THAT(j.settings.layers, SizeIs(6));
  EXPECT_EQ(j.settings.steps, 25);
}

TEST(ProfileTest, AModelWithoutABuiltInProfileIsNamed) {
  EXPECT_THAT(
      BuiltInProfile(Config("gpt2", 12, 768, 50257)),
      StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("gpt2, 12 layers, hidden size 768"),
                                                  HasSubstr("demo"), HasSubstr("--profile"))));
}

TEST(ProfileTest, UnsetFieldsGetTheirDefaults) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile profile, Parse(""));
  EXPECT_EQ(profile.settings.beta, 0.5);
  EXPECT_EQ(profile.settings.learning_rate, 0.5);
  EXPECT_EQ(profile.settings.steps, 20);
  EXPECT_EQ(profile.settings.kl_factor, 0.0625);
  EXPECT_EQ(profile.settings.loss_layer, -1);
  EXPECT_EQ(profile.proto.scope().mode(), v1::ScopeSettings::LEVERAGE);
}

TEST(ProfileTest, ReferenceScopeHasAnAlpha) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile given,
                             Parse("scope { mode: REFERENCE alpha: 1.5 }"));
  EXPECT_EQ(given.settings.scope, EditScope::kReference);
  EXPECT_EQ(given.settings.alpha, 1.5);
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile unset, Parse("scope { mode: REFERENCE }"));
  EXPECT_EQ(unset.settings.alpha, 2.2);
}

TEST(ProfileTest, ScopeIsLeverageUnlessTheProfileSaysOtherwise) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile profile, Parse("scope { beta: 0.4 }"));
  EXPECT_EQ(profile.settings.scope, EditScope::kLeverage);
  EXPECT_EQ(profile.settings.beta, 0.4);
}

TEST(ProfileTest, ASyntaxErrorNamesFileAndLine) {
  EXPECT_THAT(ParseProfile("my.profile", "layers: 1\nlamda: 3\n", Small()),
              StatusIs(kInvalid, AllOf(HasSubstr("my.profile: line 2"), HasSubstr("lamda"))));
}

TEST(ProfileTest, AFileThatIsNotThereIsNamed) {
  EXPECT_THAT(LoadProfile("/nonexistent/x.profile", Small()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nonexistent/x.profile")));
}

TEST(ProfileTest, AProfileIsReadFromAFile) {
  const std::string path = ::testing::TempDir() + "/my.profile";
  std::ofstream(path) << kMinimal;
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile profile, LoadProfile(path, Small()));
  EXPECT_EQ(profile.settings.lambda, 10);
}

TEST(ProfileTest, AProfileOfAnotherModelIsRefusedWithBothValues) {
  EXPECT_THAT(
      Parse("match { layers: 48 }"),
      StatusIs(kInvalid, AllOf(HasSubstr("match.layers is 48"), HasSubstr("the model's is 6"))));
  EXPECT_THAT(Parse("match { architecture: \"gptj\" }"),
              StatusIs(kInvalid, HasSubstr("match.architecture is gptj, the model's is gpt2")));
}

TEST(ProfileTest, EachFieldOutsideItsRangeIsNamedWithItsValue) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"layers: 6", "layers[1] is 6, the model has layers 0 to 5"},
      {"layers: 0", "layers[1] is 0, not above"},
      {"scope { beta: 1.5 }", "scope.beta is 1.5"},
      {"scope { mode: REFERENCE alpha: -1 }", "scope.alpha is -1"},
      {"scope { mode: REFERENCE alpha: nan }", "scope.alpha is nan"},
      {"scope { mode: 7 }", "scope.mode is 7"},
      {"target { learning_rate: -1 }", "target.learning_rate is -1"},
      {"target { learning_rate: nan }", "target.learning_rate is nan"},
      {"target { steps: -2 }", "target.steps is -2"},
      {"target { clamp: inf }", "target.clamp is inf"},
      {"target { kl_factor: -1 }", "target.kl_factor is -1"},
      {"target { weight_decay: -1 }", "target.weight_decay is -1"},
      {"target { stop_loss: -1 }", "target.stop_loss is -1"},
      {"target { loss_layer: 1 }", "target.loss_layer is 1"},
      {"target { loss_layer: 6 }", "target.loss_layer is 6"},
      {"context_templates { templates: \"no place\" }", "templates[0] is \"no place\""},
      {"gate { locality: 1.5 }", "gate.locality is 1.5"},
      {"gate { reliability: -0.5 }", "gate.reliability is -0.5"},
      {"gate { retention: 1.5 }", "gate.retention is 1.5"},
      {"gate { background: 2 background_texts { texts: \"a b\" } }", "gate.background is 2"},
      {"gate { background: 0.5 }", "gate.background is 0.5, but there are no"},
      {"gate { max_perplexity_change: -1 }", "gate.max_perplexity_change is -1"},
      {"gate { max_perplexity_change: 0.1 }", "gate.max_perplexity_change is 0.1, but there are"},
      {"gate { background_texts { } }", "gate.background_texts is empty"},
      {"gate { background_texts { texts: \"a b\" max_texts: 1001 } }", "max_texts is 1001"},
      {"gate { background_texts { texts: \"a b\" max_texts: -1 } }", "max_texts is -1"},
      {"gate { background_texts { texts: \"a b\" max_tokens_per_text: 1 } }",
       "max_tokens_per_text is 1"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(Parse(c.text), StatusIs(kInvalid, HasSubstr(c.message))) << c.text;
  }
}

TEST(ProfileTest, MissingFieldsAreNamed) {
  EXPECT_THAT(ParseProfile("p", "lambda: 1 covariance { text_file: \"t\" }", Small()),
              StatusIs(kInvalid, HasSubstr("layers is empty")));
  EXPECT_THAT(ParseProfile("p", "layers: 1 covariance { text_file: \"t\" }", Small()),
              StatusIs(kInvalid, HasSubstr("lambda is 0")));
  EXPECT_THAT(ParseProfile("p", "layers: 1 lambda: 1", Small()),
              StatusIs(kInvalid, HasSubstr("covariance is unset")));
}

TEST(ProfileTest, PrecisionOfTargetValuesIsFloat32UnlessSaid) {
  EXPECT_EQ(Parse("")->settings.target_precision, TargetPrecision::kFloat32);
  EXPECT_EQ(Parse("target { precision: BFLOAT16 }")->settings.target_precision,
            TargetPrecision::kBFloat16);
}

TEST(ProfileTest, ReportModeDoesNotEnforce) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditProfile profile, Parse("gate { mode: REPORT }"));
  EXPECT_FALSE(profile.gate_enforced);
}

TEST(ProfileTest, HyperparametersTextChangesWithEachSetting) {
  const EditSettings base = Parse("")->settings;
  const std::string text = HyperparametersText(base);
  EXPECT_THAT(text, AllOf(HasSubstr("layers: 1\n"), HasSubstr("lambda: 10\n")));
  EditSettings changed = base;
  changed.stop_loss += 1e-9;
  EXPECT_NE(HyperparametersText(changed), text);
  changed = base;
  changed.target_precision = TargetPrecision::kBFloat16;
  EXPECT_NE(HyperparametersText(changed), text);
  changed = base;
  changed.layers.push_back(LayerIndex(2));
  EXPECT_NE(HyperparametersText(changed), text);
}

// Existing stores hold these bytes and are compared with them.
TEST(ProfileTest, HyperparametersTextOfLeverageStaysAsItIs) {
  EXPECT_EQ(HyperparametersText(Parse("scope { mode: LEVERAGE alpha: 3 }")->settings),
            "layers: 1\nlambda: 10\nbeta: 0.5\nlearning_rate: 0.5\nsteps: 20\nclamp: 0.75\n"
            "kl_factor: 0.0625\nweight_decay: 0.5\nstop_loss: 0.050000000000000003\n"
            "loss_layer: -1\n");
}

TEST(ProfileTest, HyperparametersTextOfReferenceHoldsScopeAndAlpha) {
  EXPECT_THAT(HyperparametersText(Parse("scope { mode: REFERENCE alpha: 1.5 }")->settings),
              HasSubstr("scope: REFERENCE\nalpha: 1.5\n"));
}

TEST(ProfileTest, HyperparametersTextLeavesTemplatesOut) {
  EditSettings settings = Parse("")->settings;
  const std::string text = HyperparametersText(settings);
  settings.context_templates.push_back("x {}");
  EXPECT_EQ(HyperparametersText(settings), text);
}

}  // namespace
}  // namespace amend
