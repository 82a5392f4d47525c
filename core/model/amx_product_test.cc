#include "core/model/amx_product.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAreArray;

class AmxProductTest : public testing::Test {
 protected:
  AmxProductTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_) {}

  void SetUp() override {
    if (!HasAmx()) GTEST_SKIP() << "this machine has no AMX";
  }

  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }

  // In (-2, 2).
  std::vector<BFloat16Bits> Numbers(int64_t count) {
    std::vector<BFloat16Bits> numbers(count);
    std::uniform_real_distribution<float> distribution(-2, 2);
    for (BFloat16Bits& number : numbers) {
      const float value = distribution(random_);
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      number.bits = static_cast<uint16_t>(bits >> 16);
    }
    return numbers;
  }

  static std::vector<float> ByAmx(const std::vector<BFloat16Bits>& weight, int64_t out, int64_t in,
                                  const std::vector<BFloat16Bits>& x, int64_t rows) {
    std::vector<BFloat16Bits> packed(AmxPackedSize(rows, in));
    PackRowsForAmx(x.data(), rows, in, 0, rows, packed.data());
    std::vector<float> y(rows * out, std::numeric_limits<float>::quiet_NaN());
    MultiplyRowsByAmx({weight.data(), out, in}, packed.data(), rows, 0, out, y.data(), out);
    return y;
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
};

TEST_F(AmxProductTest, ItIsThePortableProductInAnyShape) {
  for (int i = 0; i < 60; ++i) {
    const int64_t rows = 1 + Below(i % 5 == 0 ? 100 : 34), out = 1 + Below(150);
    const int64_t in = kAmxInputs * (1 + Below(40));
    const std::vector<BFloat16Bits> weight = Numbers(out * in);
    const std::vector<BFloat16Bits> x = Numbers(rows * in);
    std::vector<float> packed(PackedRowsSize(rows, in));
    PackRows(x.data(), rows, in, 0, rows, packed.data());
    std::vector<float> expected(rows * out);
    MultiplyRows(WeightRows<BFloat16Bits>{weight.data(), out, in}, packed.data(), rows, 0, out,
                 expected.data(), out);
    const std::vector<float> y = ByAmx(weight, out, in, x, rows);
    for (int64_t j = 0; j < rows * out; ++j) {
      // Terms are below 4, and each sum rounds `in` times.
      ASSERT_NEAR(y[j], expected[j], 4e-7 * in) << "row " << j / out << ", output " << j % out
                                                << " of " << rows << "x" << out << ", in " << in;
    }
  }
}

TEST_F(AmxProductTest, ARowsSumsAreTheSameAloneAndAmongOthers) {
  for (int i = 0; i < 20; ++i) {
    const int64_t rows = 2 + Below(50), out = 1 + Below(80), in = kAmxInputs * (1 + Below(40));
    const std::vector<BFloat16Bits> weight = Numbers(out * in);
    const std::vector<BFloat16Bits> x = Numbers(rows * in);
    const std::vector<float> all = ByAmx(weight, out, in, x, rows);
    for (int64_t t = 0; t < rows; ++t) {
      const std::vector<BFloat16Bits> row(x.begin() + t * in, x.begin() + (t + 1) * in);
      ASSERT_THAT(
          ByAmx(weight, out, in, row, 1),
          ElementsAreArray(std::vector<float>(all.begin() + t * out, all.begin() + (t + 1) * out)));
    }
  }
}

TEST_F(AmxProductTest, RangesOfOutputsTogetherAreTheWhole) {
  const int64_t rows = 19, out = 2 * kOutputGroup + 7, in = 2 * kAmxInputs;
  const std::vector<BFloat16Bits> weight = Numbers(out * in);
  const std::vector<BFloat16Bits> x = Numbers(rows * in);
  std::vector<BFloat16Bits> packed(AmxPackedSize(rows, in));
  PackRowsForAmx(x.data(), rows, in, 0, rows, packed.data());
  std::vector<float> y(rows * out);
  const WeightRows<BFloat16Bits> numbers{weight.data(), out, in};
  for (const int64_t begin : {kOutputGroup, int64_t{0}, 2 * kOutputGroup}) {
    MultiplyRowsByAmx(numbers, packed.data(), rows, begin, std::min(begin + kOutputGroup, out),
                      y.data(), out);
  }
  EXPECT_THAT(y, ElementsAreArray(ByAmx(weight, out, in, x, rows)));
}

}  // namespace
}  // namespace amend
