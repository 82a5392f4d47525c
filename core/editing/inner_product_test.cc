#include "core/editing/inner_product.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "hwy/targets.h"

namespace amend {
namespace {

class InnerProductTest : public testing::TestWithParam<int64_t> {
 protected:
  InnerProductTest() { hwy::SetSupportedTargetsForTest(GetParam()); }
  ~InnerProductTest() override { hwy::SetSupportedTargetsForTest(0); }
};

INSTANTIATE_TEST_SUITE_P(Sets, InnerProductTest,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return std::string(hwy::TargetName(info.param)); });

TEST_P(InnerProductTest, IsTheSumOfProductsForAnyCount) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> distribution(-1, 1);
  for (int64_t count = 0; count < 300; ++count) {
    std::vector<float> a(count), b(count);
    double sum = 0, size = 0;
    for (int64_t i = 0; i < count; ++i) {
      a[i] = distribution(random);
      b[i] = distribution(random);
      sum += static_cast<double>(a[i]) * b[i];
      size += std::abs(static_cast<double>(a[i]) * b[i]);
    }
    ASSERT_NEAR(InnerProduct(a.data(), b.data(), count), sum, 1e-7 * count * size + 1e-30) << count;
  }
}

}  // namespace
}  // namespace amend
