#include "jobs/import_covariance.h"

#include <cmath>
#include <limits>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "jobs/testing/npz_writer.h"

namespace amend::jobs {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(ImportMomentTest, TheMomentIsTheSumOverTheCount) {
  const std::string path = WriteMomentNpz("sum.npz", {8, 2, 2, 4}, 2, 4);
  AMEND_ASSERT_OK_AND_ASSIGN(const ImportedMoment moment, ImportMoment(path, 2));
  EXPECT_THAT(moment.moment.values, ElementsAre(2, 0.5, 0.5, 1));
  EXPECT_EQ(moment.moment.rows, 2);
  EXPECT_EQ(moment.moment.cols, 2);
  EXPECT_EQ(moment.tokens, 4);
}

TEST(ImportMomentTest, FloatsOfOtherSizesAndCompressionAreRead) {
  const std::map<std::string, std::string> arrays = {
      {"mom2.count", NpyBytes("<i4", "()", BytesOf<int32_t>({2}))},
      {"mom2.mom2", NpyBytes("<f8", "(1, 1)", BytesOf<double>({5}))}};
  AMEND_ASSERT_OK_AND_ASSIGN(const ImportedMoment moment,
                             ImportMoment(WriteNpz("f8.npz", arrays, true), 1));
  EXPECT_THAT(moment.moment.values, ElementsAre(2.5));
}

TEST(ImportMomentTest, RoundingBetweenMirrorImagesIsEvenedOut) {
  const std::string path = WriteMomentNpz("rounded.npz", {8, 2.001f, 2, 4}, 2, 1);
  AMEND_ASSERT_OK_AND_ASSIGN(const ImportedMoment moment, ImportMoment(path, 2));
  EXPECT_EQ(moment.moment.values[1], moment.moment.values[2]);
  EXPECT_NEAR(moment.moment.values[1], 2.0005, 1e-6);
}

TEST(ImportMomentTest, AMatrixThatIsNotSymmetricIsRefusedWithBothElements) {
  const std::string path = WriteMomentNpz("asymmetric.npz", {8, 2, 3, 4}, 2, 1);
  EXPECT_THAT(ImportMoment(path, 2),
              StatusIs(kInvalid, AllOf(HasSubstr(path), HasSubstr("mom2.mom2"),
                                       HasSubstr("[1, 0] is 3"), HasSubstr("mirror image 2"))));
}

TEST(ImportMomentTest, ShapesThatDoNotFitAreRefusedWithBoth) {
  EXPECT_THAT(ImportMoment(WriteMomentNpz("size.npz", {8, 2, 2, 4}, 2, 1), 3),
              StatusIs(kInvalid, AllOf(HasSubstr("[2, 2]"), HasSubstr("[3, 3]"))));
  const std::map<std::string, std::string> oblong = {
      {"mom2.count", NpyBytes("<i8", "()", BytesOf<int64_t>({1}))},
      {"mom2.mom2", NpyBytes("<f4", "(2, 3)", BytesOf<float>({1, 2, 3, 4, 5, 6}))}};
  EXPECT_THAT(ImportMoment(WriteNpz("oblong.npz", oblong), 2),
              StatusIs(kInvalid, HasSubstr("[2, 3]")));
}

TEST(ImportMomentTest, NumbersThatAreNotFiniteAreRefusedByPlace) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::string path = WriteMomentNpz("nan.npz", {8, bad, bad, 4}, 2, 1);
    EXPECT_THAT(ImportMoment(path, 2), StatusIs(kInvalid, HasSubstr("element [0, 1] is")));
  }
}

TEST(ImportMomentTest, ANegativeDiagonalIsNoSecondMoment) {
  const std::string path = WriteMomentNpz("negative.npz", {8, 0, 0, -4}, 2, 1);
  EXPECT_THAT(ImportMoment(path, 2), StatusIs(kInvalid, HasSubstr("[1, 1] is -4")));
}

TEST(ImportMomentTest, ACountBelowOneIsRefused) {
  EXPECT_THAT(ImportMoment(WriteMomentNpz("none.npz", {1}, 1, 0), 1),
              StatusIs(kInvalid, AllOf(HasSubstr("mom2.count"), HasSubstr("0, below 1"))));
}

TEST(ImportMomentTest, BrokenArraysAreNamedByFileAndKey) {
  const std::map<std::string, std::string> big_endian = {
      {"mom2.count", NpyBytes(">i8", "()", std::string(8, '\1'))},
      {"mom2.mom2", NpyBytes("<f4", "(1, 1)", BytesOf<float>({1}))}};
  const std::string path = WriteNpz("endian.npz", big_endian);
  EXPECT_THAT(
      ImportMoment(path, 1),
      StatusIs(kInvalid, AllOf(HasSubstr(path), HasSubstr("mom2.count"), HasSubstr("big-endian"))));
}

TEST(ParseLayerFileTest, TheLayerIsGivenOrInTheName) {
  const auto named = ParseLayerFile("stats.d/transformer.h.13.mlp.c_proj_float32_mom2_100000.npz");
  ASSERT_THAT(named, IsOk());
  EXPECT_EQ(named->layer, LayerIndex(13));
  EXPECT_EQ(named->path, "stats.d/transformer.h.13.mlp.c_proj_float32_mom2_100000.npz");
  EXPECT_EQ(ParseLayerFile("model.layers.4.mlp.down_proj_float32_mom2_100000.npz")->layer,
            LayerIndex(4));
  const auto given = ParseLayerFile("7=some=name.npz");
  ASSERT_THAT(given, IsOk());
  EXPECT_EQ(given->layer, LayerIndex(7));
  EXPECT_EQ(given->path, "some=name.npz");
}

TEST(ParseLayerFileTest, ANameWithoutLayerIsRefusedWithWhatToWrite) {
  EXPECT_THAT(ParseLayerFile("x.h.1.d/stats.npz"),
              StatusIs(kInvalid, HasSubstr("LAYER=x.h.1.d/stats.npz")));
  EXPECT_THAT(ParseLayerFile("transformer.h.x.npz"), StatusIs(kInvalid));
  EXPECT_THAT(ParseLayerFile("model.layers.npz"), StatusIs(kInvalid));
}

}  // namespace
}  // namespace amend::jobs
