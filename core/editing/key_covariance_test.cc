#include "core/editing/key_covariance.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <fstream>
#include <iterator>
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

}  // namespace
}  // namespace amend
