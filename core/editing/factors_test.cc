#include "core/editing/factors.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

RevisionFactors ThreeEdits() {
  RevisionFactors factors;
  for (const int layer : {0, 2}) {
    factors.layers.push_back({LayerIndex(layer),
                              {3, 1, {1, 2, 3}},
                              {3, 2, {1, 1, 2, 2, 3, 3}},
                              {3, 2, {4, 4, 5, 5, 6, 6}},
                              {7, 8, 9}});
  }
  return factors;
}

TEST(WithoutEditsTest, RowsOfTheEditsGoAtEveryLayerAndTheOthersStay) {
  const RevisionFactors rest = WithoutEdits(ThreeEdits(), {1});
  ASSERT_EQ(rest.layers.size(), 2u);
  for (const LayerFactors& layer : rest.layers) {
    EXPECT_EQ(layer.u.rows, 2);
    EXPECT_EQ(layer.v.rows, 2);
    EXPECT_EQ(layer.keys.rows, 2);
    EXPECT_THAT(layer.u.values, ElementsAre(1, 3));
    EXPECT_THAT(layer.v.values, ElementsAre(1, 1, 3, 3));
    EXPECT_THAT(layer.keys.values, ElementsAre(4, 4, 6, 6));
    EXPECT_THAT(layer.activations, ElementsAre(7, 9));
  }
  EXPECT_EQ(rest.layers[1].layer, LayerIndex(2));
}

TEST(WithoutEditsTest, WithoutAllOfThemTheShapesStay) {
  const RevisionFactors rest = WithoutEdits(ThreeEdits(), {0, 1, 2});
  EXPECT_EQ(rest.layers[0].keys.rows, 0);
  EXPECT_EQ(rest.layers[0].keys.cols, 2);
  EXPECT_THAT(rest.layers[0].activations, IsEmpty());
}

}  // namespace
}  // namespace amend
