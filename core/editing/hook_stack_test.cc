#include "core/editing/hook_stack.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/stacked_factors.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/editing_oracle.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Stack = std::shared_ptr<const HookStack>;

constexpr double kBeta = 0.5;
constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

class HookStackTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { model_ = RandomGpt2(RandomModelShape(), 11); }
  static void TearDownTestSuite() { model_.reset(); }

  RevisionFactors Factors(int edits, uint64_t seed) const {
    return RandomFactors(shape_, {0, 2}, edits, seed);
  }
  Stack Empty() const { return HookStack::Empty(*model_, kBeta); }

  // Whether `stack` does at every edited layer what the batches say.
  void ExpectEqualsDense(const Stack& stack, const std::vector<RevisionFactors>& batches) const {
    for (const int layer : {0, 2}) {
      const at::Tensor dense =
          OracleScopedOutput(batches, kBeta, LayerIndex(layer), input_, output_);
      const at::Tensor actual = stack->Apply(LayerIndex(layer), input_, output_);
      EXPECT_LT(RelativeDifference(actual, dense), 1e-5) << "layer " << layer;
      EXPECT_GT(RelativeDifference(actual, output_), 1e-3) << "nothing fired";
    }
  }

  const RandomModelShape shape_;
  const at::Tensor input_ = RandomTensor({40, 64}, 5);
  const at::Tensor output_ = RandomTensor({40, 16}, 6);
  static std::shared_ptr<const CausalLm> model_;
};

std::shared_ptr<const CausalLm> HookStackTest::model_;

TEST_F(HookStackTest, EmptyStackReturnsTheOutputItself) {
  EXPECT_TRUE(Empty()->Apply(LayerIndex(0), input_, output_).is_same(output_));
  EXPECT_EQ(Empty()->edit_count(), 0);
  EXPECT_TRUE(Empty()->UpdateNorms(*model_).empty());
}

TEST_F(HookStackTest, EditAtNamesTheEditsInTheOrderOfTheLine) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack first,
                             HookStack::Extend(Empty(), Revision(3), Factors(2, 1)));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack stack,
                             HookStack::Extend(first, Revision(7), Factors(3, 2)));
  ASSERT_EQ(stack->edit_count(), 5);
  EXPECT_EQ(stack->EditAt(0), (EditId{Revision(3), 0}));
  EXPECT_EQ(stack->EditAt(1), (EditId{Revision(3), 1}));
  EXPECT_EQ(stack->EditAt(2), (EditId{Revision(7), 0}));
  EXPECT_EQ(stack->EditAt(4), (EditId{Revision(7), 2}));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack less, HookStack::Without(stack, {EditId{Revision(3), 1}}));
  EXPECT_EQ(less->EditAt(1), (EditId{Revision(7), 0}));
}

TEST_F(HookStackTest, SaysWhetherItHasEditsBelowALayer) {
  EXPECT_FALSE(Empty()->EditsBelow(LayerIndex(2)));
  AMEND_ASSERT_OK_AND_ASSIGN(
      const Stack stack,
      HookStack::Extend(Empty(), Revision(1), RandomFactors(shape_, {1, 2}, 2, 1)));
  EXPECT_FALSE(stack->EditsBelow(LayerIndex(0)));
  EXPECT_FALSE(stack->EditsBelow(LayerIndex(1)));
  EXPECT_TRUE(stack->EditsBelow(LayerIndex(2)));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack none, HookStack::Without(stack, {EditId{Revision(1), 0},
                                                                          EditId{Revision(1), 1}}));
  EXPECT_FALSE(none->EditsBelow(LayerIndex(2)));
}

TEST_F(HookStackTest, AStackThatIsThrownAwayLeavesItsParentsBytesAlone) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack parent,
                             HookStack::Extend(Empty(), Revision(1), Factors(3, 1)));
  const auto bytes = [&] {
    std::string all;
    for (const int layer : {0, 2}) {
      const StackedFactors factors = parent->LayerFactorsOf(LayerIndex(layer));
      for (const at::Tensor& part : {factors.u, factors.v, factors.threshold}) {
        all.append(static_cast<const char*>(part.contiguous().const_data_ptr()), part.nbytes());
      }
    }
    return all;
  };
  const std::string before = bytes();
  const at::Tensor output = parent->Apply(LayerIndex(0), input_, output_);
  // The first goes behind the parent in its memory, the second finds the place taken, the third
  // does not fit.
  for (const int edits : {2, 2, 100}) {
    ASSERT_THAT(HookStack::Extend(parent, Revision(2), Factors(edits, 2)), IsOk());
  }
  EXPECT_TRUE(bytes() == before);
  EXPECT_TRUE(at::equal(parent->Apply(LayerIndex(0), input_, output_), output));
  EXPECT_EQ(parent->edit_count(), 3);
}

TEST_F(HookStackTest, LayerWithoutEditsReturnsTheOutputItself) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack stack,
                             HookStack::Extend(Empty(), Revision(1), Factors(3, 1)));
  EXPECT_TRUE(stack->Apply(LayerIndex(1), input_, output_).is_same(output_));
  EXPECT_FALSE(stack->HasEditsAt(LayerIndex(1)));
  EXPECT_TRUE(stack->HasEditsAt(LayerIndex(2)));
}

TEST_F(HookStackTest, OneBatchEqualsTheDenseComputation) {
  const RevisionFactors batch = Factors(6, 1);
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack stack, HookStack::Extend(Empty(), Revision(1), batch));
  ExpectEqualsDense(stack, {batch});
}

TEST_F(HookStackTest, ALongLineEqualsTheDenseComputation) {
  std::vector<RevisionFactors> batches;
  Stack stack = Empty();
  for (int i = 0; i < 8; ++i) {
    batches.push_back(Factors(1 + 3 * i, 100 + i));
    AMEND_ASSERT_OK_AND_ASSIGN(stack, HookStack::Extend(stack, Revision(i + 1), batches.back()));
  }
  EXPECT_EQ(stack->edit_count(), 8 + 3 * 28);
  ExpectEqualsDense(stack, batches);
}

TEST_F(HookStackTest, ParentAnswersAsBeforeAfterAChildIsAppended) {
  const RevisionFactors first = Factors(4, 1);
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack parent, HookStack::Extend(Empty(), Revision(1), first));
  const at::Tensor before = parent->Apply(LayerIndex(0), input_, output_).clone();
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack child,
                             HookStack::Extend(parent, Revision(2), Factors(5, 2)));
  EXPECT_TRUE(parent->Apply(LayerIndex(0), input_, output_).equal(before));
  EXPECT_EQ(parent->edit_count(), 4);
}

TEST_F(HookStackTest, ALineSharesItsMemory) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack parent,
                             HookStack::Extend(Empty(), Revision(1), Factors(4, 1)));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack child,
                             HookStack::Extend(parent, Revision(2), Factors(5, 2)));
  EXPECT_EQ(child->LayerFactorsOf(LayerIndex(0)).v.const_data_ptr(),
            parent->LayerFactorsOf(LayerIndex(0)).v.const_data_ptr());
}

TEST_F(HookStackTest, ALineOfKnownLengthGrowsWithoutMoving) {
  std::vector<RevisionFactors> batches;
  Stack stack = Empty();
  const void* v = nullptr;
  for (int i = 0; i < 12; ++i) {
    batches.push_back(Factors(25, 1 + i));
    AMEND_ASSERT_OK_AND_ASSIGN(stack,
                               HookStack::Extend(stack, Revision(1 + i), batches.back(), 12 * 25));
    const void* now = stack->LayerFactorsOf(LayerIndex(2)).v.const_data_ptr();
    if (v == nullptr) v = now;
    EXPECT_EQ(now, v) << "moved at revision " << 1 + i;
  }
  ExpectEqualsDense(stack, batches);
}

TEST_F(HookStackTest, ALineMayGrowLongerThanItWasKnownToCome) {
  const RevisionFactors first = Factors(40, 1), second = Factors(70, 2);
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack parent,
                             HookStack::Extend(Empty(), Revision(1), first, 40));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack child, HookStack::Extend(parent, Revision(2), second, 40));
  ExpectEqualsDense(child, {first, second});
  ExpectEqualsDense(parent, {first});
}

TEST_F(HookStackTest, TheFactorsThatItWasMadeOfMayGo) {
  RevisionFactors first = Factors(80, 1);
  const RevisionFactors kept = first;
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack stack, HookStack::Extend(Empty(), Revision(1), first));
  for (LayerFactors& layer : first.layers) {
    std::fill(layer.u.values.begin(), layer.u.values.end(), 99.0f);
    std::fill(layer.v.values.begin(), layer.v.values.end(), 99.0f);
  }
  ExpectEqualsDense(stack, {kept});
}

TEST_F(HookStackTest, TheSecondChildOfAParentGoesItsOwnWay) {
  const RevisionFactors first = Factors(4, 1);
  const RevisionFactors left = Factors(5, 2);
  const RevisionFactors right = Factors(3, 3);
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack parent, HookStack::Extend(Empty(), Revision(1), first));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack a, HookStack::Extend(parent, Revision(2), left));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack b, HookStack::Extend(parent, Revision(3), right));
  ExpectEqualsDense(a, {first, left});
  ExpectEqualsDense(b, {first, right});
  ExpectEqualsDense(parent, {first});
}

TEST_F(HookStackTest, AFailedExtensionLeavesTheParentTheTipOfItsLine) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack parent,
                             HookStack::Extend(Empty(), Revision(1), Factors(4, 1)));
  RevisionFactors bad = Factors(5, 2);
  bad.layers[1].v = Matrix{5, 3, std::vector<float>(15)};
  ASSERT_THAT(HookStack::Extend(parent, Revision(2), bad), StatusIs(kInvalid));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack child,
                             HookStack::Extend(parent, Revision(2), Factors(5, 3)));
  EXPECT_EQ(child->LayerFactorsOf(LayerIndex(0)).v.const_data_ptr(),
            parent->LayerFactorsOf(LayerIndex(0)).v.const_data_ptr());
}

TEST_F(HookStackTest, WrongShapesAreNamed) {
  RevisionFactors bad = Factors(2, 1);
  bad.layers[1].u = Matrix{2, 9, std::vector<float>(18)};
  EXPECT_THAT(
      HookStack::Extend(Empty(), Revision(1), bad),
      StatusIs(kInvalid, AllOf(HasSubstr("layer 2"), HasSubstr("[2, 9]"), HasSubstr("[2, 16]"))));
}

TEST_F(HookStackTest, ALayerThatTheModelLacksIsNamed) {
  RevisionFactors bad = Factors(2, 1);
  bad.layers[1].layer = LayerIndex(4);
  EXPECT_THAT(HookStack::Extend(Empty(), Revision(1), bad),
              StatusIs(kInvalid, AllOf(HasSubstr("layer 4"), HasSubstr("the model has 4"))));
}

TEST_F(HookStackTest, LayersWithDifferentNumbersOfEditsAreRefused) {
  RevisionFactors bad = Factors(2, 1);
  bad.layers[1] = Factors(3, 1).layers[1];
  EXPECT_THAT(HookStack::Extend(Empty(), Revision(1), bad),
              StatusIs(kInvalid, AllOf(HasSubstr("3 edits"), HasSubstr("has 2"))));
}

TEST_F(HookStackTest, FactorsOfNoLayerAreRefused) {
  EXPECT_THAT(HookStack::Extend(Empty(), Revision(1), RevisionFactors()), StatusIs(kInvalid));
}

TEST_F(HookStackTest, ALayerThatMissedABatchIsRefused) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const Stack stack, HookStack::Extend(Empty(), Revision(1), RandomFactors(shape_, {0}, 2, 1)));
  EXPECT_THAT(HookStack::Extend(stack, Revision(2), Factors(2, 2)), StatusIs(kInvalid));
}

TEST_F(HookStackTest, TracedFiringsNameTheEditAndItsRelativeActivation) {
  const std::vector<RevisionFactors> batches = {Factors(3, 1), Factors(4, 2)};
  AMEND_ASSERT_OK_AND_ASSIGN(Stack stack, HookStack::Extend(Empty(), Revision(7), batches[0]));
  AMEND_ASSERT_OK_AND_ASSIGN(stack, HookStack::Extend(stack, Revision(9), batches[1]));
  std::vector<HookFiring> firings;
  stack->ApplyTraced(LayerIndex(2), input_, output_, &firings);
  std::map<std::pair<int64_t, EditId>, float> traced;
  for (const HookFiring& firing : firings) {
    EXPECT_EQ(firing.layer, LayerIndex(2));
    traced[{firing.packed_row, firing.edit}] = firing.relative_activation;
  }
  std::map<std::pair<int64_t, EditId>, float> expected;
  for (int batch = 0; batch < 2; ++batch) {
    const LayerFactors& factors = batches[batch].layers[1];
    const at::Tensor c = at::matmul(input_, ToTensor(factors.v).t());
    for (int64_t t = 0; t < c.size(0); ++t) {
      for (int b = 0; b < c.size(1); ++b) {
        const float relative = c[t][b].item<float>() / factors.activations[b];
        if (relative >= kBeta) expected[{t, EditId{Revision(7 + 2 * batch), b}}] = relative;
      }
    }
  }
  ASSERT_EQ(traced.size(), expected.size());
  for (const auto& [key, relative] : expected)
    EXPECT_NEAR(traced[key], relative, 1e-4 * std::max(1.0f, relative)) << key.second.ToString();
}

TEST_F(HookStackTest, TracedOutputIsThatOfApply) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack stack,
                             HookStack::Extend(Empty(), Revision(1), Factors(6, 1)));
  std::vector<HookFiring> firings;
  EXPECT_TRUE(stack->ApplyTraced(LayerIndex(0), input_, output_, &firings)
                  .equal(stack->Apply(LayerIndex(0), input_, output_)));
}

TEST_F(HookStackTest, NormsAreThoseOfTheDenseUpdates) {
  const std::vector<RevisionFactors> batches = {Factors(3, 1), Factors(4, 2)};
  AMEND_ASSERT_OK_AND_ASSIGN(Stack stack, HookStack::Extend(Empty(), Revision(1), batches[0]));
  AMEND_ASSERT_OK_AND_ASSIGN(stack, HookStack::Extend(stack, Revision(2), batches[1]));
  const std::vector<LayerNorm> norms = stack->UpdateNorms(*model_);
  ASSERT_EQ(norms.size(), 2u);
  for (size_t i = 0; i < norms.size(); ++i) {
    at::Tensor update;
    for (const RevisionFactors& batch : batches) {
      const at::Tensor one =
          at::matmul(ToTensor(batch.layers[i].u).t(), ToTensor(batch.layers[i].v));
      update = update.defined() ? update + one : one;
    }
    const double expected =
        update.norm().item<double>() / model_->DownProjection(norms[i].layer).norm().item<double>();
    EXPECT_EQ(norms[i].layer, LayerIndex(i == 0 ? 0 : 2));
    EXPECT_NEAR(norms[i].update_norm_ratio, expected, 1e-5 * expected);
  }
}

// Norms of `stack` against those of its own factors, whatever was kept before.
void ExpectNormsOfFactors(const Stack& stack, const CausalLm& model) {
  for (const LayerNorm& norm : stack->UpdateNorms(model)) {
    const double base = model.DownProjection(norm.layer).to(at::kDouble).norm().item<double>();
    const double expected = UpdateNorm(stack->LayerFactorsOf(norm.layer)) / base;
    EXPECT_NEAR(norm.update_norm_ratio, expected, 1e-6 * expected);
  }
}

TEST_F(HookStackTest, NormsAreRightAlongALineAfterARollbackAndOnANewBranch) {
  std::vector<Stack> line = {Empty()};
  for (int i = 1; i <= 6; ++i) {
    AMEND_ASSERT_OK_AND_ASSIGN(Stack next,
                               HookStack::Extend(line.back(), Revision(i), Factors(5 + i, i)));
    line.push_back(next);
    // Some are asked for, some are not.
    if (i % 3 != 0) ExpectNormsOfFactors(next, *model_);
  }
  ExpectNormsOfFactors(line[6], *model_);
  ExpectNormsOfFactors(line[3], *model_);
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack branch,
                             HookStack::Extend(line[2], Revision(7), Factors(9, 70)));
  ExpectNormsOfFactors(branch, *model_);
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack further,
                             HookStack::Extend(branch, Revision(8), Factors(300, 71)));
  ExpectNormsOfFactors(further, *model_);
  ExpectNormsOfFactors(line[6], *model_);
}

TEST_F(HookStackTest, ManyEditsAreScreenedAndDoTheSame) {
  std::vector<RevisionFactors> batches;
  Stack stack = Empty();
  for (int i = 0; i < 9; ++i) {
    batches.push_back(Factors(40, 200 + i));
    // Most of them silent, as in a real line.
    for (LayerFactors& layer : batches.back().layers) {
      for (size_t b = 0; b < layer.activations.size(); ++b) {
        if (b % 4 != 0) layer.activations[b] *= 4;
      }
    }
    AMEND_ASSERT_OK_AND_ASSIGN(stack, HookStack::Extend(stack, Revision(i + 1), batches.back()));
  }
  ExpectEqualsDense(stack, batches);
  // Few tokens take the plain way.
  const at::Tensor all = stack->Apply(LayerIndex(0), input_, output_);
  const at::Tensor few =
      stack->Apply(LayerIndex(0), input_.narrow(0, 4, 3), output_.narrow(0, 4, 3));
  EXPECT_LT(RelativeDifference(all.narrow(0, 4, 3), few), 1e-6);
}

// Runs of random lengths and stacks of one line, short and long enough to be screened.
TEST_F(HookStackTest, RunsOfOneLineGetEachTheEditsOfTheirOwnStack) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    std::vector<Stack> line = {Empty()};
    for (int i = 1; i <= 4; ++i) {
      const int edits = 1 + static_cast<int>(random() % 40);
      AMEND_ASSERT_OK_AND_ASSIGN(
          Stack next, HookStack::Extend(line.back(), Revision(i), Factors(edits, random())));
      line.push_back(std::move(next));
    }
    std::vector<HookStack::Run> runs;
    std::vector<at::Tensor> expected;
    const LayerIndex layer(random() % 2 == 0 ? 0 : 2);
    int64_t start = 0;
    while (start < 40) {
      const auto tokens = std::min<int64_t>(1 + random() % 6, 40 - start);
      const Stack& stack = line[1 + random() % 4];
      runs.push_back({stack.get(), tokens});
      expected.push_back(
          stack->Apply(layer, input_.narrow(0, start, tokens), output_.narrow(0, start, tokens)));
      start += tokens;
    }
    EXPECT_LT(
        RelativeDifference(HookStack::ApplyRuns(layer, runs, input_, output_), at::cat(expected)),
        1e-5);
  }
}

TEST_F(HookStackTest, OnlyStacksOfOneLineShareRows) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack first,
                             HookStack::Extend(Empty(), Revision(1), Factors(3, 1)));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack second,
                             HookStack::Extend(first, Revision(2), Factors(3, 2)));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack branch,
                             HookStack::Extend(first, Revision(3), Factors(3, 3)));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack less,
                             HookStack::Without(second, {EditId{Revision(1), 0}}));
  const LayerIndex edited(0), other(1);
  EXPECT_TRUE(HookStack::ShareRows(*first, *second, edited));
  EXPECT_FALSE(HookStack::ShareRows(*first, *second, other));
  EXPECT_FALSE(HookStack::ShareRows(*second, *branch, edited));
  EXPECT_FALSE(HookStack::ShareRows(*second, *less, edited));
  EXPECT_FALSE(HookStack::ShareRows(*Empty(), *second, edited));
}

TEST_F(HookStackTest, AKeyMatchesTheEditsThatShareIt) {
  std::vector<RevisionFactors> batches = {Factors(3, 1), Factors(4, 2)};
  // v = k, so that a = |k|^2; an edit of the second batch has the key of one of the first.
  std::copy_n(batches[0].layers[1].v.values.begin(), 64, batches[1].layers[1].v.values.begin());
  for (RevisionFactors& batch : batches) {
    LayerFactors& layer = batch.layers[1];
    layer.keys = layer.v;
    const at::Tensor keys = ToTensor(layer.keys);
    layer.activations = ToMatrix((keys * keys).sum(1).unsqueeze(0)).values;
  }
  AMEND_ASSERT_OK_AND_ASSIGN(Stack stack, HookStack::Extend(Empty(), Revision(7), batches[0]));
  AMEND_ASSERT_OK_AND_ASSIGN(stack, HookStack::Extend(stack, Revision(9), batches[1]));
  const at::Tensor keys = ToTensor(batches[0].layers[1].keys).narrow(0, 0, 2);
  std::vector<std::pair<int64_t, EditId>> found;
  for (const KeyMatch& match : stack->MatchKeys(LayerIndex(2), keys, 0.999)) {
    found.emplace_back(match.row, match.edit);
    EXPECT_NEAR(match.relative_activation, 1, 1e-5);
  }
  EXPECT_THAT(found, testing::ElementsAre(testing::Pair(0, EditId{Revision(7), 0}),
                                          testing::Pair(0, EditId{Revision(9), 0}),
                                          testing::Pair(1, EditId{Revision(7), 1})));
  EXPECT_TRUE(stack->MatchKeys(LayerIndex(1), keys, 0.5).empty());
  EXPECT_TRUE(Empty()->MatchKeys(LayerIndex(0), keys, 0.5).empty());
}

// A line of batches and, of each, the edits that are left out.
struct LineWithHoles {
  std::vector<RevisionFactors> batches;
  std::vector<std::set<int32_t>> holes;

  std::vector<EditId> left_out() const {
    std::vector<EditId> edits;
    for (size_t i = 0; i < holes.size(); ++i) {
      for (const int32_t index : holes[i])
        edits.push_back({Revision(static_cast<int64_t>(i) + 1), index});
    }
    return edits;
  }
  Stack Whole(Stack stack) const {
    for (size_t i = 0; i < batches.size(); ++i)
      stack = *HookStack::Extend(stack, Revision(static_cast<int64_t>(i) + 1), batches[i]);
    return stack;
  }
  // As if the edits had never been. Their numbers within a batch are others.
  Stack NeverAdded(Stack stack) const {
    for (size_t i = 0; i < batches.size(); ++i) {
      const RevisionFactors rest = WithoutEdits(batches[i], holes[i]);
      if (rest.layers[0].activations.empty()) continue;
      stack = *HookStack::Extend(stack, Revision(static_cast<int64_t>(i) + 1), rest);
    }
    return stack;
  }
};

using WithoutTest = HookStackTest;

void ExpectSameTensors(const Stack& a, const Stack& b) {
  ASSERT_EQ(a->edit_count(), b->edit_count());
  for (const int layer : {0, 2}) {
    const StackedFactors x = a->LayerFactorsOf(LayerIndex(layer));
    const StackedFactors y = b->LayerFactorsOf(LayerIndex(layer));
    ASSERT_EQ(x.empty(), y.empty());
    if (x.empty()) continue;
    EXPECT_TRUE(x.u.equal(y.u) && x.v.equal(y.v) && x.threshold.equal(y.threshold));
  }
}

TEST_F(WithoutTest, IsTensorForTensorWhatNeverHadTheEdits) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 12; ++round) {
    LineWithHoles line;
    // From a few edits to more than enough for the screen.
    const int batches = 1 + static_cast<int>(random() % 6);
    for (int i = 0; i < batches; ++i) {
      const int edits = 1 + static_cast<int>(random() % 40);
      line.batches.push_back(Factors(edits, random()));
      line.holes.emplace_back();
      for (int32_t index = 0; index < edits; ++index) {
        if (random() % 5 == 0) line.holes.back().insert(index);
      }
    }
    const Stack whole = line.Whole(Empty());
    // Numbers that were asked for before, and those that were not.
    if (round % 2 == 0) ExpectNormsOfFactors(whole, *model_);
    AMEND_ASSERT_OK_AND_ASSIGN(Stack without, HookStack::Without(whole, line.left_out()));
    Stack never = line.NeverAdded(Empty());
    ExpectSameTensors(without, never);
    // And so for all that is built on it.
    const RevisionFactors further = Factors(7, random());
    AMEND_ASSERT_OK_AND_ASSIGN(const Stack more, HookStack::Extend(without, Revision(50), further));
    AMEND_ASSERT_OK_AND_ASSIGN(const Stack never_more,
                               HookStack::Extend(never, Revision(50), further));
    ExpectSameTensors(more, never_more);
    for (const auto& [a, b] : {std::pair(without, never), std::pair(more, never_more)}) {
      for (const int layer : {0, 2}) {
        EXPECT_TRUE(a->Apply(LayerIndex(layer), input_, output_)
                        .equal(b->Apply(LayerIndex(layer), input_, output_)));
      }
      ExpectNormsOfFactors(a, *model_);
    }
  }
}

TEST_F(WithoutTest, TheEditsThatStayKeepTheirNamesAndTheOthersNeverFire) {
  LineWithHoles line{{Factors(3, 1), Factors(5, 2), Factors(4, 3)}, {{0, 2}, {1, 2}, {3}}};
  const Stack whole = line.Whole(Empty());
  AMEND_ASSERT_OK_AND_ASSIGN(Stack without, HookStack::Without(whole, line.left_out()));
  const RevisionFactors further = Factors(3, 4);
  AMEND_ASSERT_OK_AND_ASSIGN(without, HookStack::Extend(without, Revision(9), further));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack whole_too, HookStack::Extend(whole, Revision(9), further));
  const auto fired = [&](const Stack& stack) {
    std::vector<HookFiring> firings;
    stack->ApplyTraced(LayerIndex(2), input_, output_, &firings);
    std::set<std::pair<int64_t, EditId>> names;
    for (const HookFiring& firing : firings) names.emplace(firing.packed_row, firing.edit);
    return names;
  };
  std::set<std::pair<int64_t, EditId>> expected;
  const std::vector<EditId> left_out = line.left_out();
  for (const auto& [row, edit] : fired(whole_too)) {
    if (std::count(left_out.begin(), left_out.end(), edit) == 0) expected.emplace(row, edit);
  }
  EXPECT_LT(expected.size(), fired(whole_too).size()) << "none of those left out ever fired";
  EXPECT_THAT(fired(without), testing::ContainerEq(expected));
}

TEST_F(WithoutTest, TheParentStaysWhatItIsAndTheTipOfItsLine) {
  LineWithHoles line{{Factors(4, 1)}, {{1}}};
  const Stack parent = line.Whole(Empty());
  const at::Tensor before = parent->Apply(LayerIndex(0), input_, output_).clone();
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack without, HookStack::Without(parent, line.left_out()));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack further,
                             HookStack::Extend(without, Revision(2), Factors(4, 2)));
  EXPECT_TRUE(parent->Apply(LayerIndex(0), input_, output_).equal(before));
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack child,
                             HookStack::Extend(parent, Revision(3), Factors(4, 3)));
  EXPECT_EQ(child->LayerFactorsOf(LayerIndex(0)).v.const_data_ptr(),
            parent->LayerFactorsOf(LayerIndex(0)).v.const_data_ptr());
  EXPECT_NE(without->LayerFactorsOf(LayerIndex(0)).v.const_data_ptr(),
            parent->LayerFactorsOf(LayerIndex(0)).v.const_data_ptr());
}

TEST_F(WithoutTest, WithoutAllItsEditsAStackIsTheUneditedModel) {
  LineWithHoles line{{Factors(3, 1)}, {{0, 1, 2}}};
  AMEND_ASSERT_OK_AND_ASSIGN(Stack without,
                             HookStack::Without(line.Whole(Empty()), line.left_out()));
  EXPECT_EQ(without->edit_count(), 0);
  EXPECT_TRUE(without->Apply(LayerIndex(0), input_, output_).is_same(output_));
  EXPECT_TRUE(without->UpdateNorms(*model_).empty());
  const RevisionFactors batch = Factors(6, 2);
  AMEND_ASSERT_OK_AND_ASSIGN(without, HookStack::Extend(without, Revision(2), batch));
  ExpectEqualsDense(without, {batch});
}

TEST_F(WithoutTest, WhatIsNotThereIsNamed) {
  LineWithHoles line{{Factors(3, 1)}, {{1}}};
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack without,
                             HookStack::Without(line.Whole(Empty()), line.left_out()));
  for (const EditId edit :
       {EditId{Revision(1), 1}, EditId{Revision(1), 3}, EditId{Revision(2), 0}}) {
    EXPECT_THAT(HookStack::Without(without, {edit}),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr(edit.ToString())));
  }
}

TEST_F(HookStackTest, TheEditsThatFireAtKeysAreNamedOnce) {
  std::vector<RevisionFactors> batches = {Factors(3, 1), Factors(4, 2)};
  AMEND_ASSERT_OK_AND_ASSIGN(Stack stack, HookStack::Extend(Empty(), Revision(7), batches[0]));
  AMEND_ASSERT_OK_AND_ASSIGN(stack, HookStack::Extend(stack, Revision(9), batches[1]));
  // Tokens in the place of keys.
  RevisionFactors asked;
  std::set<EditId> expected;
  for (const int layer : {0, 2}) {
    asked.layers.push_back({LayerIndex(layer), {}, {}, ToMatrix(input_.narrow(0, 0, 3)), {}});
    std::vector<HookFiring> firings;
    stack->ApplyTraced(LayerIndex(layer), input_.narrow(0, 0, 3), output_.narrow(0, 0, 3),
                       &firings);
    for (const HookFiring& firing : firings) expected.insert(firing.edit);
  }
  EXPECT_FALSE(expected.empty());
  EXPECT_THAT(stack->FiringAt(asked), testing::ElementsAreArray(expected));
}

// A token's decision depends on that token alone.
TEST_F(HookStackTest, TokensOneByOneEqualAllTokensAtOnce) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Stack stack,
                             HookStack::Extend(Empty(), Revision(1), Factors(6, 1)));
  std::vector<at::Tensor> tokens;
  for (int64_t t = 0; t < input_.size(0); ++t) {
    tokens.push_back(stack->Apply(LayerIndex(0), input_.narrow(0, t, 1), output_.narrow(0, t, 1)));
  }
  EXPECT_LT(RelativeDifference(at::cat(tokens, 0), stack->Apply(LayerIndex(0), input_, output_)),
            1e-6);
}

}  // namespace
}  // namespace amend
