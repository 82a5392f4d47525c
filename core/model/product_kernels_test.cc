#include "core/model/product_kernels.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

namespace amend {
namespace {

using ::testing::ElementsAreArray;

float FromBits(BFloat16Bits number) {
  const uint32_t bits = static_cast<uint32_t>(number.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Cuts the lower half off: exact for what this file makes.
BFloat16Bits ToBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return {static_cast<uint16_t>(bits >> 16)};
}

// Each test runs once for every instruction set that this machine has.
class ProductKernelsTest : public testing::TestWithParam<int64_t> {
 protected:
  ProductKernelsTest()
      : seed_(std::random_device()()),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_),
        random_(seed_) {
    hwy::SetSupportedTargetsForTest(GetParam());
  }
  ~ProductKernelsTest() override { hwy::SetSupportedTargetsForTest(0); }

  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }

  // In (-1, 1), representable in bfloat16.
  std::vector<float> Numbers(int64_t count) {
    std::vector<float> numbers(count);
    std::uniform_real_distribution<float> distribution(-1, 1);
    for (float& number : numbers) number = FromBits(ToBits(distribution(random_)));
    return numbers;
  }

  static std::vector<BFloat16Bits> Bits(const std::vector<float>& numbers) {
    std::vector<BFloat16Bits> bits;
    for (const float number : numbers) bits.push_back(ToBits(number));
    return bits;
  }

  static std::vector<float> Product(const std::vector<float>& weight, int64_t out, int64_t in,
                                    const std::vector<float>& x, int64_t rows) {
    return PackedProduct(weight, out, in, x, rows);
  }
  static std::vector<float> Product(const std::vector<BFloat16Bits>& weight, int64_t out,
                                    int64_t in, const std::vector<float>& x, int64_t rows) {
    return PackedProduct(weight, out, in, Bits(x), rows);
  }
  template <typename Number>
  static std::vector<float> PackedProduct(const std::vector<Number>& weight, int64_t out,
                                          int64_t in, const std::vector<Number>& x, int64_t rows) {
    std::vector<float> packed(PackedRowsSize(rows, in), std::numeric_limits<float>::quiet_NaN());
    // In two parts, as two threads would.
    PackRows(x.data(), rows, in, rows / 3, rows, packed.data());
    PackRows(x.data(), rows, in, 0, rows / 3, packed.data());
    std::vector<float> y(rows * out, std::numeric_limits<float>::quiet_NaN());
    MultiplyRows(WeightRows<Number>{weight.data(), out, in}, packed.data(), rows, 0, out, y.data(),
                 out);
    return y;
  }

  // Each sum of `y` against one in double, within what `in` roundings of float can make.
  static void ExpectProduct(const std::vector<float>& y, const std::vector<float>& weight,
                            int64_t out, int64_t in, const std::vector<float>& x, int64_t rows) {
    for (int64_t t = 0; t < rows; ++t) {
      for (int64_t o = 0; o < out; ++o) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < in; ++i) {
          const double term = static_cast<double>(x[t * in + i]) * weight[o * in + i];
          sum += term;
          size += std::abs(term);
        }
        ASSERT_NEAR(y[t * out + o], sum, 1e-7 * in * size + 1e-30)
            << "row " << t << ", output " << o << " of " << rows << "x" << out << ", in " << in;
      }
    }
  }

  const uint32_t seed_;
  const testing::ScopedTrace trace_;
  std::mt19937 random_;
};

INSTANTIATE_TEST_SUITE_P(Sets, ProductKernelsTest,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return std::string(hwy::TargetName(info.param)); });

TEST_P(ProductKernelsTest, ProductsAreSumsInAnyShape) {
  for (int i = 0; i < 40; ++i) {
    const int64_t rows = 1 + Below(i % 5 == 0 ? 200 : 40), out = 1 + Below(80),
                  in = 1 + Below(i % 4 == 0 ? 2200 : 200);
    const std::vector<float> weight = Numbers(out * in);
    const std::vector<float> x = Numbers(rows * in);
    ExpectProduct(Product(weight, out, in, x, rows), weight, out, in, x, rows);
    ExpectProduct(Product(Bits(weight), out, in, x, rows), weight, out, in, x, rows);
  }
}

TEST_P(ProductKernelsTest, ARowsSumsAreTheSameAloneAndAmongOthers) {
  for (int i = 0; i < 10; ++i) {
    const int64_t rows = 2 + Below(i % 2 == 0 ? 250 : 40), out = 1 + Below(150),
                  in = 1 + Below(2200);
    const std::vector<float> weight = Numbers(out * in);
    const std::vector<BFloat16Bits> bits = Bits(weight);
    const std::vector<float> x = Numbers(rows * in);
    const std::vector<float> all = Product(weight, out, in, x, rows);
    const std::vector<float> all_bits = Product(bits, out, in, x, rows);
    for (int64_t t = 0; t < rows; ++t) {
      const std::vector<float> row(x.begin() + t * in, x.begin() + (t + 1) * in);
      const auto of = [&](const std::vector<float>& y) {
        return std::vector<float>(y.begin() + t * out, y.begin() + (t + 1) * out);
      };
      ASSERT_THAT(Product(weight, out, in, row, 1), ElementsAreArray(of(all)));
      ASSERT_THAT(Product(bits, out, in, row, 1), ElementsAreArray(of(all_bits)));
    }
  }
}

TEST_P(ProductKernelsTest, RangesOfOutputsTogetherAreTheWhole) {
  const int64_t rows = 33, out = 2 * kOutputGroup + 7, in = 65;
  const std::vector<float> weight = Numbers(out * in);
  const std::vector<float> x = Numbers(rows * in);
  std::vector<float> packed(PackedRowsSize(rows, in));
  PackRows(x.data(), rows, in, 0, rows, packed.data());
  std::vector<float> y(rows * out);
  const WeightRows<float> numbers{weight.data(), out, in};
  MultiplyRows(numbers, packed.data(), rows, kOutputGroup, 2 * kOutputGroup, y.data(), out);
  MultiplyRows(numbers, packed.data(), rows, 2 * kOutputGroup, out, y.data(), out);
  MultiplyRows(numbers, packed.data(), rows, 0, kOutputGroup, y.data(), out);
  EXPECT_THAT(y, ElementsAreArray(Product(weight, out, in, x, rows)));
}

double GeluOf(Activation activation, double v) {
  if (activation == Activation::kGelu) return v / 2 * std::erfc(-v / std::sqrt(2.0));
  return v / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
}

TEST_P(ProductKernelsTest, FinishingAddsBiasTakesGeluAndAddsWhatIsGiven) {
  const int64_t count = 37;
  for (const Activation activation : {Activation::kGeluNew, Activation::kGelu}) {
    const std::vector<float> sums = Numbers(count), bias = Numbers(count), addend = Numbers(count);
    std::vector<float> y(count);
    FinishRow(Finishing<float>{bias.data(), activation, addend.data()}, sums.data(), count,
              y.data());
    std::vector<BFloat16Bits> rounded(count);
    std::vector<float> mixed(count);
    const std::vector<BFloat16Bits> bias_bits = Bits(bias), addend_bits = Bits(addend);
    const Finishing<BFloat16Bits> finishing{bias_bits.data(), activation, addend_bits.data()};
    FinishRow(finishing, sums.data(), count, rounded.data());
    FinishRow(finishing, sums.data(), count, mixed.data());
    for (int64_t i = 0; i < count; ++i) {
      const double v = static_cast<double>(sums[i]) + bias[i];
      EXPECT_NEAR(y[i], GeluOf(activation, v) + addend[i], 1e-6);
      EXPECT_EQ(mixed[i], y[i]);
      EXPECT_NEAR(FromBits(rounded[i]), y[i], std::abs(y[i]) / 256);
    }
  }
}

TEST_P(ProductKernelsTest, GeluIsExactFarFromZeroToo) {
  const std::vector<float> sums = {-1e9f, -40, -8, -5, -3, -1e-3f, 0, 1e-3f, 3, 5, 8, 40, 1e9f};
  const auto count = static_cast<int64_t>(sums.size());
  std::vector<float> y(sums.size());
  FinishRow(Finishing<float>{nullptr, Activation::kGelu, nullptr}, sums.data(), count, y.data());
  for (size_t i = 0; i < sums.size(); ++i) {
    EXPECT_NEAR(y[i], GeluOf(Activation::kGelu, sums[i]), 5e-7 * std::min(10.0f, std::abs(sums[i])))
        << sums[i];
  }
}

TEST_P(ProductKernelsTest, FinishingWithoutAnythingCopies) {
  const std::vector<float> sums = Numbers(21);
  std::vector<float> y(21);
  FinishRow(Finishing<float>{}, sums.data(), 21, y.data());
  EXPECT_THAT(y, ElementsAreArray(sums));
}

TEST_P(ProductKernelsTest, RoundingGoesToTheNearestAndToEvenBetweenTwo) {
  const auto value = [](uint32_t bits) {
    float number;
    std::memcpy(&number, &bits, sizeof(number));
    return number;
  };
  const std::vector<float> sums = {value(0x3f808000), value(0x3f818000), value(0x3f808001),
                                   value(0x3f807fff), value(0x7f7fffff), value(0x7fc00001),
                                   value(0x80000001), value(0xff800000)};
  const std::vector<uint16_t> expected = {0x3f80, 0x3f82, 0x3f81, 0x3f80,
                                          0x7f80, 0x7fc0, 0x8000, 0xff80};
  // Once as a vector, once one by one.
  for (const size_t copies : {size_t{8}, size_t{1}}) {
    for (size_t i = 0; i < sums.size(); ++i) {
      const std::vector<float> same(copies, sums[i]);
      std::vector<BFloat16Bits> y(copies);
      FinishRow(Finishing<BFloat16Bits>{}, same.data(), static_cast<int64_t>(copies), y.data());
      // Adding no bias makes a negative zero positive.
      if (expected[i] == 0x8000) continue;
      for (const BFloat16Bits number : y) EXPECT_EQ(number.bits, expected[i]) << i;
    }
  }
}

TEST_P(ProductKernelsTest, RmsNormDividesByTheRootOfTheMeanSquare) {
  for (const int64_t count : {1, 5, 64, 259}) {
    const std::vector<float> x = Numbers(count), weight = Numbers(count);
    double square = 0;
    for (const float v : x) square += static_cast<double>(v) * v / count;
    std::vector<float> y(count);
    RmsNormalizeRow(x.data(), weight.data(), count, 0.01, y.data());
    std::vector<BFloat16Bits> rounded(count);
    RmsNormalizeRow(Bits(x).data(), Bits(weight).data(), count, 0.01, rounded.data());
    for (int64_t i = 0; i < count; ++i) {
      const double expected = x[i] / std::sqrt(square + 0.01) * weight[i];
      EXPECT_NEAR(y[i], expected, 2e-6);
      EXPECT_NEAR(FromBits(rounded[i]), expected, 2e-6 + std::abs(expected) / 256);
    }
  }
}

TEST_P(ProductKernelsTest, AGateMultipliesByItsSilu) {
  for (const int64_t count : {1, 5, 64, 259}) {
    const std::vector<float> gate = Numbers(count), up = Numbers(count);
    std::vector<float> y(count);
    SiluGateRow(gate.data(), up.data(), count, y.data());
    std::vector<BFloat16Bits> rounded(count);
    SiluGateRow(Bits(gate).data(), Bits(up).data(), count, rounded.data());
    for (int64_t i = 0; i < count; ++i) {
      const double expected = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      EXPECT_NEAR(y[i], expected, 2e-6);
      EXPECT_NEAR(FromBits(rounded[i]), expected, 2e-6 + std::abs(expected) / 256);
    }
  }
}

TEST_P(ProductKernelsTest, LayerNormHasMeanBiasAndDeviationWeight) {
  for (const int64_t count : {1, 5, 64, 259}) {
    const std::vector<float> x = Numbers(count), weight = Numbers(count), bias = Numbers(count);
    double mean = 0, variance = 0;
    for (const float v : x) mean += v / count;
    for (const float v : x) variance += (v - mean) * (v - mean) / count;
    std::vector<float> y(count);
    NormalizeRow(x.data(), weight.data(), bias.data(), count, 0.01, y.data());
    std::vector<BFloat16Bits> rounded(count);
    NormalizeRow(Bits(x).data(), Bits(weight).data(), Bits(bias).data(), count, 0.01,
                 rounded.data());
    for (int64_t i = 0; i < count; ++i) {
      const double expected = (x[i] - mean) / std::sqrt(variance + 0.01) * weight[i] + bias[i];
      EXPECT_NEAR(y[i], expected, 2e-6);
      EXPECT_NEAR(FromBits(rounded[i]), expected, 2e-6 + std::abs(expected) / 256);
    }
  }
}

}  // namespace
}  // namespace amend
