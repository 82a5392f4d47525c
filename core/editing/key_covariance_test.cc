#include "core/editing/key_covariance.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/random_model.h"
#include "core/model/checkpoint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::vector<LayerIndex> kLayers = {LayerIndex(0), LayerIndex(1)};
const std::vector<std::string> kTexts = {"The capital of Jordan is Amman.",
                                         "Makurdi is a city in Nigeria.", "Sakai"};

class KeyCovarianceTest : public testing::Test {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(model_, LoadCausalLm("models/demo", LoadOptions()));
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory("models/demo"));
  }

  absl::StatusOr<KeyCovariance> Compute(const std::vector<std::string>& texts, int limit = 0) {
    return ComputeKeyCovariance(*model_, *tokenizer_, kLayers, texts, limit, nullptr);
  }
  // A file of one's own for each test.
  static std::string Path() {
    return absl::StrCat(testing::TempDir(), "/",
                        testing::UnitTest::GetInstance()->current_test_info()->name());
  }

  std::shared_ptr<const CausalLm> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

std::string Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST_F(KeyCovarianceTest, IsTheMeanOverTokensNotOverTexts) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance all, Compute(kTexts));
  at::Tensor sum;
  int64_t tokens = 0;
  for (const std::string& text : kTexts) {
    AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance one, Compute({text}));
    const at::Tensor part =
        ToTensor(one.layers[1].moment).to(at::kDouble) * static_cast<double>(one.tokens);
    sum = sum.defined() ? sum + part : part;
    tokens += one.tokens;
  }
  EXPECT_EQ(all.tokens, tokens);
  EXPECT_LT(RelativeDifference(ToTensor(all.layers[1].moment), sum / static_cast<double>(tokens)),
            1e-5);
}

TEST_F(KeyCovarianceTest, IsSymmetricWithAPositiveDiagonal) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance covariance, Compute(kTexts));
  const at::Tensor moment = ToTensor(covariance.layers[0].moment);
  EXPECT_LT(RelativeDifference(moment, moment.t()), 1e-6);
  EXPECT_GE(moment.diagonal().min().item<float>(), 0);
}

TEST_F(KeyCovarianceTest, SameTextsGiveTheSameBytes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance first, Compute(kTexts));
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance second, Compute(kTexts));
  EXPECT_EQ(first.layers[0].moment, second.layers[0].moment);
  EXPECT_EQ(first.layers[1].moment, second.layers[1].moment);
}

TEST_F(KeyCovarianceTest, TextsAreCutToTheLimit) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance covariance, Compute(kTexts, 2));
  EXPECT_EQ(covariance.tokens, 2 * 2 + std::min<int64_t>(2, tokenizer_->Encode("Sakai").size()));
}

TEST_F(KeyCovarianceTest, TextsAreCutToTheContext) {
  std::string text = "a";
  for (int i = 0; i < 2 * model_->config().context_length; ++i) text += " a";
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance covariance, Compute({text}));
  EXPECT_EQ(covariance.tokens, model_->config().context_length);
}

TEST_F(KeyCovarianceTest, EmptyTextsDoNotCount) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance covariance, Compute({"", kTexts[0], ""}));
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance plain, Compute({kTexts[0]}));
  EXPECT_EQ(covariance.layers[0].moment, plain.layers[0].moment);
}

TEST_F(KeyCovarianceTest, NoTokenAtAllIsRefused) {
  EXPECT_THAT(Compute({}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no token")));
  EXPECT_THAT(Compute({"", ""}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(KeyCovarianceTest, ProgressCountsTextsUpToTheLast) {
  const std::vector<std::string> texts(700, kTexts[0]);
  std::vector<int64_t> calls;
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance covariance,
                             ComputeKeyCovariance(*model_, *tokenizer_, kLayers, texts, 0,
                                                  [&](int64_t done) { calls.push_back(done); }));
  EXPECT_GT(calls.size(), 1u);
  EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
  EXPECT_EQ(calls.back(), 700);
}

TEST_F(KeyCovarianceTest, TokensAreSavedAndLoaded) {
  AMEND_ASSERT_OK_AND_ASSIGN(KeyCovariance saved, Compute(kTexts));
  ASSERT_THAT(SaveKeyCovariance(saved, Path()), IsOk());
  EXPECT_EQ(LoadKeyCovariance(Path(), kLayers)->tokens, saved.tokens);
  saved.tokens = 0;
  ASSERT_THAT(SaveKeyCovariance(saved, Path()), IsOk());
  EXPECT_EQ(LoadKeyCovariance(Path(), kLayers)->tokens, 0);
}

TEST_F(KeyCovarianceTest, LoadGivesBackWhatWasSaved) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance saved, Compute(kTexts));
  ASSERT_THAT(SaveKeyCovariance(saved, Path()), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance loaded, LoadKeyCovariance(Path(), kLayers));
  ASSERT_EQ(loaded.layers.size(), 2u);
  EXPECT_EQ(loaded.layers[0].moment, saved.layers[0].moment);
  EXPECT_EQ(loaded.layers[1].moment, saved.layers[1].moment);
  EXPECT_EQ(loaded.layers[1].layer, LayerIndex(1));
}

TEST_F(KeyCovarianceTest, SavingTwiceWritesTheSameBytes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance covariance, Compute(kTexts));
  ASSERT_THAT(SaveKeyCovariance(covariance, Path() + "1"), IsOk());
  ASSERT_THAT(SaveKeyCovariance(covariance, Path() + "2"), IsOk());
  EXPECT_EQ(Bytes(Path() + "1"), Bytes(Path() + "2"));
}

TEST_F(KeyCovarianceTest, OnlyTheLayersAskedForAreRead) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance saved, Compute(kTexts));
  ASSERT_THAT(SaveKeyCovariance(saved, Path()), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance loaded,
                             LoadKeyCovariance(Path(), {LayerIndex(1)}));
  ASSERT_EQ(loaded.layers.size(), 1u);
  EXPECT_EQ(loaded.layers[0].moment, saved.layers[1].moment);
}

TEST_F(KeyCovarianceTest, AMissingLayerIsNamedWithItsFile) {
  KeyCovariance covariance;
  covariance.layers.push_back({LayerIndex(0), Matrix{1, 1, {1}}});
  ASSERT_THAT(SaveKeyCovariance(covariance, Path()), IsOk());
  EXPECT_THAT(LoadKeyCovariance(Path(), {LayerIndex(3)}),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr(Path()), HasSubstr("layer3.covariance"))));
}

TEST_F(KeyCovarianceTest, AMissingFileIsNamed) {
  EXPECT_THAT(LoadKeyCovariance(Path() + "_none", kLayers),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("_none")));
}

TEST_F(KeyCovarianceTest, ACovarianceThatIsNotSquareIsRefused) {
  ASSERT_THAT(WriteSafetensors({{"layer0.covariance", RandomTensor({2, 3}, 1)}}, Path()), IsOk());
  EXPECT_THAT(LoadKeyCovariance(Path(), {LayerIndex(0)}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not square")));
}

TEST_F(KeyCovarianceTest, AFolderThatDoesNotExistIsAnError) {
  AMEND_ASSERT_OK_AND_ASSIGN(const KeyCovariance covariance, Compute({kTexts[0]}));
  EXPECT_FALSE(SaveKeyCovariance(covariance, Path() + "_no_folder/file").ok());
}

class KeyCovarianceEstimatorTest : public KeyCovarianceTest {
 protected:
  using Options = KeyCovarianceEstimator::Options;

  // On a model with small matrices: some tests save often.
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory("models/demo"));
    RandomModelShape shape;
    shape.vocabulary = tokenizer_->vocabulary_size();
    model_ = RandomGpt2(shape, 1);
  }
  absl::StatusOr<std::unique_ptr<KeyCovarianceEstimator>> Make(Options options) {
    return KeyCovarianceEstimator::Create(model_.get(), tokenizer_.get(), std::move(options));
  }
  static Options Watching() {
    Options options;
    options.layers = kLayers;
    options.watch_settling = true;
    return options;
  }
  // Distinct texts of some twelve tokens each.
  static std::vector<std::string> ManyTexts(int count) {
    std::vector<std::string> texts;
    for (int i = 0; i < count; ++i) {
      texts.push_back(absl::StrCat(kTexts[i % 3], " ", i * 7919 % 1000, " ", i * 31 % 77));
    }
    return texts;
  }
  static void ExpectSame(const KeyCovarianceEstimator& a, const KeyCovarianceEstimator& b) {
    const auto one = a.Estimate();
    const auto other = b.Estimate();
    ASSERT_THAT(one, IsOk());
    ASSERT_THAT(other, IsOk());
    EXPECT_EQ(one->tokens, other->tokens);
    for (size_t i = 0; i < kLayers.size(); ++i)
      EXPECT_EQ(one->layers[i].moment, other->layers[i].moment);
    const std::vector<SettlingStep> steps = a.Settling();
    const std::vector<SettlingStep> others = b.Settling();
    ASSERT_EQ(steps.size(), others.size());
    for (size_t i = 0; i < steps.size(); ++i) {
      EXPECT_EQ(steps[i].layer, others[i].layer);
      EXPECT_EQ(steps[i].from_tokens, others[i].from_tokens);
      EXPECT_EQ(steps[i].to_tokens, others[i].to_tokens);
      EXPECT_EQ(steps[i].moment_change, others[i].moment_change);
      EXPECT_EQ(steps[i].smallest_cosine, others[i].smallest_cosine);
      EXPECT_EQ(steps[i].median_leverage_change, others[i].median_leverage_change);
    }
  }
};

TEST_F(KeyCovarianceEstimatorTest, SavedAndRestoredBetweenAnyForwardsItGivesTheSameBytes) {
  const std::vector<std::string> texts = ManyTexts(1400);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto whole, Make(Watching()));
  AMEND_ASSERT_OK_AND_ASSIGN(auto resumed, Make(Watching()));
  int restores = 0;
  for (const std::string& text : texts) {
    ASSERT_THAT(whole->Add(text), IsOk());
    ASSERT_THAT(resumed->Add(text), IsOk());
    if (resumed->waiting()) continue;
    ASSERT_THAT(resumed->Save(Path(), {{"kept", "too"}}), IsOk());
    AMEND_ASSERT_OK_AND_ASSIGN(resumed, Make(Watching()));
    ASSERT_THAT(resumed->Restore(Path()), IsOk());
    ++restores;
  }
  EXPECT_GE(restores, 2);
  ASSERT_THAT(whole->Finish(), IsOk());
  ASSERT_THAT(resumed->Finish(), IsOk());
  EXPECT_GE(whole->Settling().size(), 4u);
  ExpectSame(*whole, *resumed);
}

TEST_F(KeyCovarianceEstimatorTest, ItStopsAtTheTokensAskedFor) {
  Options options = Watching();
  options.max_tokens = 30;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto estimator, Make(options));
  for (const std::string& text : ManyTexts(10)) ASSERT_THAT(estimator->Add(text), IsOk());
  EXPECT_TRUE(estimator->full());
  ASSERT_THAT(estimator->Finish(), IsOk());
  EXPECT_EQ(estimator->tokens(), 30);
  EXPECT_EQ(estimator->Estimate()->tokens, 30);
}

TEST_F(KeyCovarianceEstimatorTest, ALayerThatTheModelLacksIsRefusedWithTheLayersThereAre) {
  Options options;
  options.layers = {LayerIndex(4)};
  EXPECT_THAT(Make(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                      AllOf(HasSubstr("layer 4"), HasSubstr("0 to 3"))));
  options.layers = {LayerIndex(-1)};
  EXPECT_THAT(Make(options), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(KeyCovarianceEstimatorTest, SavingIsRefusedWhileTextsWait) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto estimator, Make(Watching()));
  ASSERT_THAT(estimator->Add(kTexts[0]), IsOk());
  EXPECT_THAT(estimator->Save(Path(), {}), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(KeyCovarianceEstimatorTest, SettlingIsNotWatchedUnlessAskedFor) {
  Options options;
  options.layers = kLayers;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto estimator, Make(options));
  for (const std::string& text : ManyTexts(900)) ASSERT_THAT(estimator->Add(text), IsOk());
  ASSERT_THAT(estimator->Finish(), IsOk());
  EXPECT_TRUE(estimator->Settling().empty());
}

TEST_F(KeyCovarianceEstimatorTest, FilesThatAreNotItsOwnAreRefusedByName) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto estimator, Make(Watching()));
  ASSERT_THAT(WriteSafetensors({{"layer0.covariance", RandomTensor({2, 2}, 1)}}, Path()), IsOk());
  EXPECT_THAT(estimator->Restore(Path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(Path())));
  EXPECT_THAT(estimator->Restore(Path() + "_none"), StatusIs(absl::StatusCode::kNotFound));
  Options options = Watching();
  options.layers = {LayerIndex(0)};
  AMEND_ASSERT_OK_AND_ASSIGN(const auto one_layer, Make(options));
  ASSERT_THAT(one_layer->Save(Path(), {}), IsOk());
  EXPECT_THAT(estimator->Restore(Path()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("layer1.sum.0")));
}

TEST_F(KeyCovarianceEstimatorTest, AKeyThatIsNotFiniteIsNamedByItsLayer) {
  RandomModelShape shape;
  shape.vocabulary = tokenizer_->vocabulary_size();
  const auto broken = RandomGpt2(shape, 1, [](std::map<std::string, at::Tensor>* weights) {
    for (auto& [name, weight] : *weights) {
      if (name == "transformer.h.1.mlp.c_fc.bias" || name == "h.1.mlp.c_fc.bias") weight[3] = 1e30;
    }
  });
  AMEND_ASSERT_OK_AND_ASSIGN(const auto estimator, KeyCovarianceEstimator::Create(
                                                       broken.get(), tokenizer_.get(), Watching()));
  ASSERT_THAT(estimator->Add(kTexts[0]), IsOk());
  ASSERT_THAT(estimator->Finish(), IsOk());
  EXPECT_THAT(estimator->Estimate(),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("layer 1 is not finite")));
}

}  // namespace
}  // namespace amend
