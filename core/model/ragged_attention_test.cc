#include "core/model/ragged_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <numeric>
#include <random>

#include "core/base/testing/tensor_matchers.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using Lengths = std::vector<int64_t>;

int64_t Total(const Lengths& lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
}

struct Case {
  Lengths prefix, fresh, queries;
  at::Tensor query, key, value, prefix_key, prefix_value;
};

// Each head of keys and values serves `group` heads of queries.
Case MakeCase(Lengths prefix, Lengths fresh, Lengths queries, int64_t heads, int64_t e,
              int64_t group = 1) {
  Case made{std::move(prefix), std::move(fresh), std::move(queries), {}, {}, {}, {}, {}};
  made.query = at::randn({Total(made.queries), heads * group, e});
  made.key = at::randn({Total(made.fresh), heads, e});
  made.value = at::randn({Total(made.fresh), heads, e});
  made.prefix_key = at::randn({Total(made.prefix), heads, e});
  made.prefix_value = at::randn({Total(made.prefix), heads, e});
  return made;
}

at::Tensor Attend(const Case& c) {
  return AttendRagged(c10::make_intrusive<RaggedLayout>(c.prefix, c.fresh, c.queries), c.query,
                      c.key, c.value, c.prefix_key, c.prefix_value);
}

// The same, one query at a time.
at::Tensor AttendSlowly(const Case& c) {
  std::vector<at::Tensor> outputs;
  const auto shared = [&c](const at::Tensor& x) {
    return x.repeat_interleave(c.query.size(1) / x.size(1), 1);
  };
  int64_t p = 0, n = 0, q = 0;
  for (size_t i = 0; i < c.fresh.size(); ++i) {
    for (int64_t j = 0; j < c.queries[i]; ++j) {
      const int64_t visible = c.fresh[i] - c.queries[i] + j + 1;
      const at::Tensor keys =
          shared(at::cat({c.prefix_key.narrow(0, p, c.prefix[i]), c.key.narrow(0, n, visible)}));
      const at::Tensor values = shared(
          at::cat({c.prefix_value.narrow(0, p, c.prefix[i]), c.value.narrow(0, n, visible)}));
      const at::Tensor scores = at::einsum("he,the->ht", {c.query[q + j], keys}) /
                                std::sqrt(static_cast<double>(c.query.size(2)));
      outputs.push_back(
          at::einsum("ht,the->he", {at::softmax(scores, -1), values}).reshape({1, -1}));
    }
    p += c.prefix[i];
    n += c.fresh[i];
    q += c.queries[i];
  }
  return at::cat(outputs);
}

void ExpectSameOutputAndGradients(const Case& c) {
  const at::AutoGradMode enable_grad(true);
  Case ours = c, slow = c;
  for (Case* one : {&ours, &slow}) {
    for (at::Tensor* tensor : {&one->query, &one->key, &one->value})
      *tensor = tensor->detach().clone().requires_grad_(true);
  }
  const at::Tensor output = Attend(ours);
  const at::Tensor expected = AttendSlowly(slow);
  EXPECT_THAT(output.detach(), TensorRelativelyNear(expected.detach(), 1e-5));
  const at::Tensor slope = at::randn(expected.sizes());
  output.backward(slope);
  expected.backward(slope);
  EXPECT_THAT(ours.query.grad(), TensorRelativelyNear(slow.query.grad(), 1e-5));
  EXPECT_THAT(ours.key.grad(), TensorRelativelyNear(slow.key.grad(), 1e-5));
  EXPECT_THAT(ours.value.grad(), TensorRelativelyNear(slow.value.grad(), 1e-5));
}

TEST(RaggedAttentionTest, RandomRowsAreTheSlowComputation) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  at::manual_seed(seed);
  for (int i = 0; i < 30; ++i) {
    Lengths prefix, fresh, queries;
    for (int rows = 1 + static_cast<int>(random() % 20); rows > 0; --rows) {
      prefix.push_back(random() % 9);
      fresh.push_back(1 + random() % 6);
      queries.push_back(1 + random() % fresh.back());
    }
    ExpectSameOutputAndGradients(MakeCase(prefix, fresh, queries, 1 + random() % 4,
                                          std::vector<int64_t>{3, 8, 20, 64}[random() % 4],
                                          /*group=*/1 + random() % 3));
  }
}

TEST(RaggedAttentionTest, RowsMayHaveNoQuery) {
  ExpectSameOutputAndGradients(MakeCase({2, 0, 3}, {1, 2, 0}, {0, 2, 0}, 2, 8));
}

TEST(RaggedAttentionTest, LargeScoresStayFinite) {
  Case c = MakeCase({4}, {3}, {3}, 2, 8);
  c.query = c.query * 1e4;
  ExpectSameOutputAndGradients(c);
}

TEST(RaggedAttentionTest, InputsMayBePartsOfOneTensor) {
  const at::Tensor qkv = at::randn({7, 3, 2, 8});
  Case c = MakeCase({2, 1}, {3, 4}, {3, 4}, 2, 8);
  c.query = qkv.select(1, 0);
  c.key = qkv.select(1, 1);
  c.value = qkv.select(1, 2);
  EXPECT_THAT(Attend(c), TensorRelativelyNear(AttendSlowly(c), 1e-5));
}

TEST(RaggedAttentionTest, TheGradientOutlivesTheCallersLayout) {
  const at::AutoGradMode enable_grad(true);
  Case c = MakeCase({2}, {3}, {3}, 2, 8);
  c.key = c.key.requires_grad_(true);
  at::Tensor output = Attend(c);
  output.sum().backward();
  EXPECT_TRUE(c.key.grad().defined());
}

}  // namespace
}  // namespace amend
