#include "core/editing/row_codes.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace amend {
namespace {

struct Coded {
  RowCode code;
  std::vector<int8_t> codes;
};

Coded Code(const std::vector<float>& row) {
  Coded coded;
  coded.codes.resize(row.size());
  coded.code = CodeRow(row.data(), static_cast<int64_t>(row.size()), coded.codes.data());
  return coded;
}

std::vector<float> RandomRow(size_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<float> row(count);
  for (float& number : row) number = normal(random);
  return row;
}

// By the definition, in double.
std::vector<double> Turned(const std::vector<float>& row) {
  size_t n = 1;
  while (n < kMaxRotated && row.size() % (2 * n) == 0) n *= 2;
  std::vector<double> turned(row.size());
  for (size_t j = 0; j < row.size(); ++j) {
    for (size_t i = 0; i < n; ++i) {
      const double sign = __builtin_parityll(i & (j % n)) ? -1 : 1;
      turned[j] += sign * row[j / n * n + i] / std::sqrt(static_cast<double>(n));
    }
  }
  return turned;
}

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Lengths that hold no power of two, small ones and whole blocks of the largest.
class RowCodesTest : public testing::TestWithParam<size_t> {};

TEST_P(RowCodesTest, CodesAreTheTurnedRowToHalfAStep) {
  std::mt19937_64 random(GetParam());
  const std::vector<float> row = RandomRow(GetParam(), random);
  const Coded coded = Code(row);
  const std::vector<double> turned = Turned(row);
  for (size_t i = 0; i < row.size(); ++i) {
    ASSERT_NEAR(coded.codes[i] * static_cast<double>(coded.code.scale), turned[i],
                0.501 * coded.code.scale)
        << i;
  }
}

TEST_P(RowCodesTest, NormsAreRoundedUpAndByLittle) {
  std::mt19937_64 random(GetParam() + 1);
  const std::vector<float> row = RandomRow(GetParam(), random);
  const Coded coded = Code(row);
  const std::vector<double> turned = Turned(row);
  std::vector<double> back(row.size()), off(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    back[i] = coded.codes[i] * static_cast<double>(coded.code.scale);
    off[i] = turned[i] - back[i];
  }
  const double rounding = 1e-6 * coded.code.norm;
  const auto expect_above = [rounding](double rounded, double exact) {
    EXPECT_GE(rounded, exact - rounding);
    EXPECT_LE(rounded, exact * 1.0002 + rounding);
  };
  expect_above(coded.code.norm, std::sqrt(Dot(turned, turned)));
  expect_above(coded.code.coded_norm, std::sqrt(Dot(back, back)));
  expect_above(coded.code.error, std::sqrt(Dot(off, off)));
}

TEST_P(RowCodesTest, InnerProductsOfCodesAreOffByNoMoreThanTheErrorsSay) {
  std::mt19937_64 random(GetParam() + 2);
  const std::vector<float> a = RandomRow(GetParam(), random), b = RandomRow(GetParam(), random);
  const Coded coded_a = Code(a), coded_b = Code(b);
  double exact = 0, coarse = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    exact += static_cast<double>(a[i]) * b[i];
    coarse += static_cast<double>(coded_a.codes[i]) * coded_b.codes[i];
  }
  coarse *= static_cast<double>(coded_a.code.scale) * coded_b.code.scale;
  EXPECT_LE(std::abs(exact - coarse), coded_a.code.error * coded_b.code.norm +
                                          coded_a.code.coded_norm * coded_b.code.error + 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Lengths, RowCodesTest,
                         testing::Values(1, 2, 3, 4, 6, 8, 15, 16, 24, 33, 48, 64, 96, 128, 299,
                                         1024, 6400));

TEST(RowCodesValueTest, ARowOfZerosHasCodesOfZeroAndNoError) {
  const Coded coded = Code(std::vector<float>(96, 0.0f));
  EXPECT_EQ(coded.codes, std::vector<int8_t>(96, 0));
  EXPECT_EQ(coded.code.scale, 1);
  EXPECT_EQ(coded.code.error, 0);
  EXPECT_EQ(coded.code.norm, 0);
}

TEST(RowCodesValueTest, WhatIsNotFiniteHasAnErrorThatIsNotFinite) {
  std::mt19937_64 random(5);
  for (const size_t place : {0, 40, 98}) {
    for (const float value :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<float> row = RandomRow(99, random);
      row[place] = value;
      EXPECT_FALSE(std::isfinite(Code(row).code.error)) << place << ": " << value;
    }
  }
}

TEST(RowCodesValueTest, AShorterRowAfterALongerOneIsCodedForItself) {
  std::mt19937_64 random(6);
  const std::vector<float> shorter = RandomRow(64, random);
  const Coded alone = Code(shorter);
  Code(RandomRow(1024, random));
  EXPECT_EQ(Code(shorter).codes, alone.codes);
}

}  // namespace
}  // namespace amend
