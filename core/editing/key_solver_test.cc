#include "core/editing/key_solver.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::HasSubstr;

// [n, n], float64, with eigenvalues from 1 / condition to 1, evenly in the exponent.
at::Tensor Covariance(int64_t n, double condition, uint64_t seed) {
  const at::Tensor basis = std::get<0>(at::linalg_qr(RandomTensor({n, n}, seed).to(at::kDouble)));
  const at::Tensor values = at::pow(condition, -at::linspace(0, 1, n, at::kDouble));
  const at::Tensor matrix = at::matmul(basis * values, basis.t());
  return 0.5 * (matrix + matrix.t());
}

std::shared_ptr<const CholeskyFactor> FactorOf(const at::Tensor& covariance) {
  return *CholeskyFactor::Of(covariance);
}

at::Tensor SumOf(const at::Tensor& keys) {
  const at::Tensor k = keys.to(at::kDouble);
  return at::matmul(k.t(), k);
}

// One line: its solver and the dense matrix that it stands for.
struct Line {
  at::Tensor dense;
  KeySolver solver;
};

// Residual of (C + K K') X = K over what rounding alone explains: |C + K K'| |X|.
double BackwardError(const Line& line, const at::Tensor& keys, const at::Tensor& x) {
  const at::Tensor sum = line.dense + SumOf(keys);
  const at::Tensor residual = at::matmul(x, sum) - keys.to(at::kDouble);
  return residual.norm().item<double>() / (sum.norm() * x.norm()).item<double>();
}

// Batches of 1 to 40 keys along a line; every third one repeats keys from before, within itself or
// from an earlier batch.
void ExpectExactAlongALine(uint64_t seed, int64_t d, double condition, int batches) {
  SCOPED_TRACE(absl::StrCat("seed ", seed, ", d_in ", d, ", condition ", condition));
  std::mt19937_64 random(seed);
  const at::Tensor covariance = Covariance(d, condition, seed);
  Line line{covariance, KeySolver(FactorOf(covariance), 0.5)};
  at::Tensor earlier = RandomTensor({3, d}, seed + 1);
  double worst = 0, worst_backward = 0;
  for (int i = 0; i < batches; ++i) {
    const int64_t count = 1 + static_cast<int64_t>(random() % 40);
    at::Tensor keys = RandomTensor({count, d}, seed + 100 + i) * (0.1 + 0.3 * (i % 4));
    if (i % 3 == 2) keys = at::cat({keys, earlier, keys.narrow(0, 0, 1)}, 0);
    AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor x, line.solver.Solve(keys));
    AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor dense, SolveForKeys(line.dense, keys));
    worst = std::max(worst, RelativeDifference(x, dense));
    worst_backward = std::max(worst_backward, BackwardError(line, keys, x));
    ASSERT_THAT(line.solver.Append(keys), IsOk());
    line.dense = line.dense + SumOf(keys);
    earlier = keys.narrow(0, 0, std::min<int64_t>(3, keys.size(0))).clone();
  }
  EXPECT_GE(line.solver.refactorizations(), 2);
  EXPECT_LT(worst_backward, 1e-14);
  // Two exact solvers differ by the condition of the whole sum.
  EXPECT_LT(worst, 1e-15 * condition * line.dense.norm().item<double>());
}

class KeySolverLineTest : public testing::TestWithParam<int> {};

TEST_P(KeySolverLineTest, EqualsTheDenseSolveOverManyBatches) {
  const int64_t shapes[] = {24, 65, 130, 260};
  const double conditions[] = {10, 1e5, 1e8};
  const int i = GetParam();
  const int64_t d = shapes[i % 4];
  ExpectExactAlongALine(7000 + i, d, conditions[i % 3],
                        static_cast<int>(std::max<int64_t>(12, d / 8)));
}

INSTANTIATE_TEST_SUITE_P(Seeds, KeySolverLineTest, testing::Range(0, 24));

TEST(KeySolverTest, EqualsTheDenseSolveOverSeveralBlocks) {
  ExpectExactAlongALine(1, 1100, 1e5, 60);
}

TEST(KeySolverTest, OneKeyOverAndOverIsSolvedExactly) {
  const at::Tensor covariance = Covariance(60, 1e5, 1);
  Line line{covariance, KeySolver(FactorOf(covariance), 10)};
  const at::Tensor key = RandomTensor({1, 60}, 2);
  for (int i = 0; i < 200; ++i) {
    AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor x, line.solver.Solve(key));
    ASSERT_LT(BackwardError(line, key, x), 1e-14) << "after " << i;
    ASSERT_THAT(line.solver.Append(key), IsOk());
    line.dense = line.dense + SumOf(key);
  }
  EXPECT_EQ(line.solver.refactorizations(), 0);
}

TEST(KeySolverTest, AppendingInOneBlockOrOneByOneIsTheSame) {
  const auto factor = FactorOf(Covariance(80, 1e3, 1));
  const at::Tensor history = RandomTensor({35, 80}, 2);
  const at::Tensor keys = RandomTensor({5, 80}, 3);
  KeySolver one_by_one(factor, 1), block(factor, 1);
  ASSERT_THAT(block.Append(history), IsOk());
  for (int64_t i = 0; i < 35; ++i) {
    ASSERT_THAT(one_by_one.Append(history.narrow(0, i, 1)), IsOk());
    ASSERT_THAT(one_by_one.Solve(keys), IsOk());
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor a, one_by_one.Solve(keys));
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor b, block.Solve(keys));
  EXPECT_LT(RelativeDifference(a, b), 1e-12);
}

TEST(KeySolverTest, ManyWaitingKeysGoStraightIntoAFactor) {
  KeySolver solver(FactorOf(Covariance(64, 100, 1)));
  for (int i = 0; i < 1000; ++i) ASSERT_THAT(solver.Append(RandomTensor({1, 64}, i)), IsOk());
  EXPECT_EQ(solver.refactorizations(), 1000 / 64);
}

TEST(KeySolverTest, SolvingLeavesTheLineAsItIs) {
  KeySolver solver(FactorOf(Covariance(40, 100, 1)));
  ASSERT_THAT(solver.Append(RandomTensor({4, 40}, 2)), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor first, solver.Solve(RandomTensor({3, 40}, 3)));
  ASSERT_THAT(solver.Solve(RandomTensor({30, 40}, 4)), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor again, solver.Solve(RandomTensor({3, 40}, 3)));
  EXPECT_TRUE(first.equal(again));
}

TEST(KeySolverTest, ACopyGoesItsOwnWay) {
  KeySolver solver(FactorOf(Covariance(90, 100, 1)), 1);
  const at::Tensor keys = RandomTensor({3, 90}, 3);
  ASSERT_THAT(solver.Append(RandomTensor({4, 90}, 2)), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor before, solver.Solve(keys));
  KeySolver copy = solver;
  ASSERT_THAT(copy.Append(RandomTensor({6, 90}, 5)), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor other, copy.Solve(keys));
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor after, solver.Solve(keys));
  EXPECT_TRUE(before.equal(after));
  EXPECT_FALSE(before.equal(other));
  ASSERT_THAT(solver.Append(RandomTensor({6, 90}, 6)), IsOk());
  ASSERT_THAT(solver.Solve(keys), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor other_after, copy.Solve(keys));
  EXPECT_TRUE(other.equal(other_after));
}

TEST(KeySolverTest, ANewSolverOwnsNothingAndAnOldOneIsBounded) {
  const auto factor = FactorOf(Covariance(200, 100, 1));
  KeySolver solver(factor);
  EXPECT_EQ(solver.own_bytes(), 0);
  for (int i = 0; i < 300; ++i) {
    ASSERT_THAT(solver.Append(RandomTensor({5, 200}, i)), IsOk());
    ASSERT_THAT(solver.Solve(RandomTensor({2, 200}, i)), IsOk());
    EXPECT_LE(solver.own_bytes(), factor->bytes() + 8 * 64 * (200 + 64));
  }
}

TEST(KeySolverTest, KeysOfAnotherSizeNameBoth) {
  KeySolver solver(FactorOf(Covariance(40, 100, 1)));
  EXPECT_THAT(
      solver.Append(RandomTensor({4, 3}, 2)),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("3 dimensions, the covariance 40")));
}

TEST(SolveForKeysTest, EqualsTheDenseSolve) {
  const at::Tensor covariance = Covariance(30, 100, 1);
  const at::Tensor keys = RandomTensor({8, 30}, 2);
  AMEND_ASSERT_OK_AND_ASSIGN(const at::Tensor x, SolveForKeys(covariance, keys));
  const at::Tensor k = keys.to(at::kDouble).t();
  const at::Tensor dense = at::linalg_solve(covariance + at::matmul(k, k.t()), k).t();
  EXPECT_EQ(x.scalar_type(), at::kDouble);
  EXPECT_LT(RelativeDifference(x, dense), 1e-12);
}

TEST(SolveForKeysTest, TheCovarianceStaysAsItIs) {
  const at::Tensor covariance = Covariance(30, 100, 1);
  const at::Tensor before = covariance.clone();
  ASSERT_THAT(SolveForKeys(covariance, RandomTensor({8, 30}, 2)), IsOk());
  EXPECT_TRUE(covariance.equal(before));
}

TEST(SolveForKeysTest, ASingularCovarianceIsAborted) {
  EXPECT_THAT(SolveForKeys(at::zeros({30, 30}, at::kDouble), RandomTensor({8, 30}, 2)),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("not positive definite")));
}

}  // namespace
}  // namespace amend
