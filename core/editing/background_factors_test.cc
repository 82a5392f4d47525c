#include "core/editing/background_factors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/base/testing/status_matchers.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;

KeyCovariance::Layer Covariance(int64_t n, int64_t samples) {
  const at::Tensor a = RandomTensor({n, samples}, 1);
  return {LayerIndex(3), ToMatrix(at::matmul(a, a.t()))};
}

class BackgroundFactorsTest : public testing::Test {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(factor_, FactorBackground(Covariance(600, 900), 25));
    path_ = testing::TempDir() + "/" +
            testing::UnitTest::GetInstance()->current_test_info()->name() + ".factor";
    std::filesystem::remove(path_);
    ASSERT_THAT(SaveCholeskyFactor(*factor_, "cov1 25", path_), IsOk());
  }

  std::string Content() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void Write(const std::string& content) const {
    std::ofstream(path_, std::ios::binary) << content;
  }

  std::shared_ptr<const CholeskyFactor> factor_;
  std::string path_;
};

TEST_F(BackgroundFactorsTest, TheFactorIsThatOfLambdaTimesTheCovariance) {
  const at::Tensor rows = at::eye(600, at::kDouble);
  const at::Tensor lower = factor_->Multiply(rows).t();
  const at::Tensor matrix = 25 * ToTensor(Covariance(600, 900).moment).to(at::kDouble);
  EXPECT_LT(RelativeDifference(at::matmul(lower, lower.t()), matrix), 1e-7);
}

TEST_F(BackgroundFactorsTest, ASingularCovarianceNamesLayerAndMinorAndAsksForText) {
  EXPECT_THAT(FactorBackground(Covariance(50, 10), 25),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("covariance of layer 3 is singular"),
                             HasSubstr("leading minor of order 1"), HasSubstr("of 50"),
                             HasSubstr("more text"))));
}

TEST_F(BackgroundFactorsTest, WhatWasSavedIsLoaded) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto loaded, LoadCholeskyFactor("cov1 25", path_));
  ASSERT_EQ(loaded->block_columns().size(), factor_->block_columns().size());
  for (size_t i = 0; i < loaded->block_columns().size(); ++i)
    EXPECT_TRUE(loaded->block_columns()[i].equal(factor_->block_columns()[i]));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".tmp"));
}

TEST_F(BackgroundFactorsTest, AMissingFileIsNotFound) {
  EXPECT_THAT(LoadCholeskyFactor("cov1 25", path_ + "x"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(path_)));
}

TEST_F(BackgroundFactorsTest, AnotherOriginIsRefusedWithBoth) {
  EXPECT_THAT(LoadCholeskyFactor("cov2 25", path_),
              StatusIs(kDataLoss, AllOf(HasSubstr("cov1 25"), HasSubstr("cov2 25"))));
}

TEST_F(BackgroundFactorsTest, AFlippedByteAnywhereIsFound) {
  const std::string good = Content();
  for (const size_t at : {size_t{0}, size_t{24}, size_t{40}, good.size() / 2, good.size() - 1}) {
    std::string bad = good;
    bad[at] ^= 1;
    Write(bad);
    EXPECT_THAT(LoadCholeskyFactor("cov1 25", path_), StatusIs(kDataLoss, HasSubstr(path_)))
        << "byte " << at;
  }
}

TEST_F(BackgroundFactorsTest, AFileThatWasCutOrPaddedIsFound) {
  const std::string good = Content();
  Write(good.substr(0, good.size() - 8));
  EXPECT_THAT(LoadCholeskyFactor("cov1 25", path_), StatusIs(kDataLoss, HasSubstr("length")));
  Write(good + "x");
  EXPECT_THAT(LoadCholeskyFactor("cov1 25", path_), StatusIs(kDataLoss, HasSubstr("length")));
  Write("");
  EXPECT_THAT(LoadCholeskyFactor("cov1 25", path_), StatusIs(kDataLoss));
  Write(std::string(100000, 'x'));
  EXPECT_THAT(LoadCholeskyFactor("cov1 25", path_), StatusIs(kDataLoss));
}

TEST_F(BackgroundFactorsTest, AFolderThatIsMissingIsNamed) {
  EXPECT_THAT(SaveCholeskyFactor(*factor_, "x", path_ + "/none/f"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("none/f")));
}

}  // namespace
}  // namespace amend
