// Compiled once per instruction set; the one that the machine has is chosen at run time (Highway).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/model/ragged_attention.cc"
#include "core/model/ragged_attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "core/base/parallel.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#ifndef AMEND_CORE_MODEL_RAGGED_ATTENTION_ONCE
#define AMEND_CORE_MODEL_RAGGED_ATTENTION_ONCE
namespace amend {

// Vectors of e numbers for (token, head); consecutive heads lie side by side.
template <typename Float>
struct Heads {
  Float* first = nullptr;
  int64_t token_stride = 0;
  int64_t e = 0;

  Float* At(int64_t token, int64_t head) const { return first + token * token_stride + head * e; }
};
using ConstHeads = Heads<const float>;
using MutableHeads = Heads<float>;

struct RaggedInputs {
  ConstHeads query, key, value, prefix_key, prefix_value;
  int64_t heads = 0;
  // Heads of queries that share one of keys and values.
  int64_t group = 1;

  // Key and value t of a row, for a head of queries: prefix first, then the new tokens.
  const float* Key(const RaggedLayout::Row& row, int64_t t, int64_t head) const {
    return t < row.prefix_length ? prefix_key.At(row.prefix_start + t, head / group)
                                 : key.At(row.new_start + t - row.prefix_length, head / group);
  }
  const float* Value(const RaggedLayout::Row& row, int64_t t, int64_t head) const {
    return t < row.prefix_length ? prefix_value.At(row.prefix_start + t, head / group)
                                 : value.At(row.new_start + t - row.prefix_length, head / group);
  }
};

struct RaggedGradients {
  ConstHeads output;
  MutableHeads query, key, value;
};

// How many keys query j of a row sees.
inline int64_t Visible(const RaggedLayout::Row& row, int64_t j) {
  return row.prefix_length + row.new_length - row.query_length + j + 1;
}

}  // namespace amend
#endif  // AMEND_CORE_MODEL_RAGGED_ATTENTION_ONCE

HWY_BEFORE_NAMESPACE();
namespace amend {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

float Dot(const float* a, const float* b, int64_t e) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= e; i += lanes)
    sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  float result = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < e; ++i) result += a[i] * b[i];
  return result;
}

// y += factor * x.
void AddScaled(float factor, const float* x, float* y, int64_t e) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto f = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + lanes <= e; i += lanes) {
    hn::StoreU(hn::MulAdd(f, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  }
  for (; i < e; ++i) y[i] += factor * x[i];
}

// out = the sum over t < count of weights[t] * rows[t].
void WeightedSum(const float* weights, const float* const* rows, int64_t count, int64_t e,
                 float* out) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + 4 * lanes <= e; i += 4 * lanes) {
    auto a = hn::Zero(d), b = a, c = a, f = a;
    for (int64_t t = 0; t < count; ++t) {
      const auto weight = hn::Set(d, weights[t]);
      const float* row = rows[t] + i;
      a = hn::MulAdd(weight, hn::LoadU(d, row), a);
      b = hn::MulAdd(weight, hn::LoadU(d, row + lanes), b);
      c = hn::MulAdd(weight, hn::LoadU(d, row + 2 * lanes), c);
      f = hn::MulAdd(weight, hn::LoadU(d, row + 3 * lanes), f);
    }
    hn::StoreU(a, d, out + i);
    hn::StoreU(b, d, out + i + lanes);
    hn::StoreU(c, d, out + i + 2 * lanes);
    hn::StoreU(f, d, out + i + 3 * lanes);
  }
  for (; i < e; ++i) {
    float sum = 0;
    for (int64_t t = 0; t < count; ++t) sum += weights[t] * rows[t][i];
    out[i] = sum;
  }
}

// `probabilities` [q_i, p_i + n_i] begins as zeros.
void AttendHead(const RaggedInputs& in, const RaggedLayout::Row& row, int64_t head,
                float* probabilities, const MutableHeads& output) {
  const int64_t e = in.query.e;
  const float scale = 1.0f / std::sqrt(static_cast<float>(e));
  const int64_t width = row.prefix_length + row.new_length;
  std::vector<const float*> keys(width), values(width);
  for (int64_t t = 0; t < width; ++t) {
    keys[t] = in.Key(row, t, head);
    values[t] = in.Value(row, t, head);
  }
  for (int64_t j = 0; j < row.query_length; ++j) {
    float* p = probabilities + j * width;
    const float* query = in.query.At(row.query_start + j, head);
    const int64_t visible = Visible(row, j);
    for (int64_t t = 0; t < visible; ++t) p[t] = scale * Dot(query, keys[t], e);
    const float largest = *std::max_element(p, p + visible);
    float sum = 0;
    for (int64_t t = 0; t < visible; ++t) sum += (p[t] = std::exp(p[t] - largest));
    for (int64_t t = 0; t < visible; ++t) p[t] /= sum;
    WeightedSum(p, values.data(), visible, e, output.At(row.query_start + j, head));
  }
}

void AttendHeadBackward(const RaggedInputs& in, const RaggedLayout::Row& row, int64_t head,
                        const float* probabilities, const RaggedGradients& gradients) {
  const int64_t e = in.query.e;
  const float scale = 1.0f / std::sqrt(static_cast<float>(e));
  const int64_t width = row.prefix_length + row.new_length;
  std::vector<float> slope(width);
  std::vector<const float*> keys(width), values(width);
  for (int64_t t = 0; t < width; ++t) {
    keys[t] = in.Key(row, t, head);
    values[t] = in.Value(row, t, head);
  }
  for (int64_t j = 0; j < row.query_length; ++j) {
    const float* p = probabilities + j * width;
    const float* query = in.query.At(row.query_start + j, head);
    const float* output = gradients.output.At(row.query_start + j, head);
    const int64_t visible = Visible(row, j);
    float mean = 0;
    for (int64_t t = 0; t < visible; ++t) {
      slope[t] = Dot(output, values[t], e);
      mean += p[t] * slope[t];
    }
    for (int64_t t = 0; t < visible; ++t) slope[t] = scale * p[t] * (slope[t] - mean);
    WeightedSum(slope.data(), keys.data(), visible, e,
                gradients.query.At(row.query_start + j, head));
    for (int64_t t = row.prefix_length; t < visible; ++t) {
      const int64_t token = row.new_start + t - row.prefix_length;
      AddScaled(slope[t], query, gradients.key.At(token, head / in.group), e);
      AddScaled(p[t], output, gradients.value.At(token, head / in.group), e);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace amend
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace amend {
namespace {

HWY_EXPORT(AttendHead);
HWY_EXPORT(AttendHeadBackward);

// Rows of one thread's share.
constexpr int64_t kRowsAtOnce = 8;

// `x` [tokens, h, e] with heads side by side.
at::Tensor WithWholeHeads(const at::Tensor& x) {
  return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
}

ConstHeads View(const at::Tensor& x) { return {x.const_data_ptr<float>(), x.stride(0), x.size(2)}; }

MutableHeads MutableView(const at::Tensor& x) {
  return {x.mutable_data_ptr<float>(), x.stride(0), x.size(2)};
}

template <typename F>
void ForEachHead(const RaggedLayout& layout, int64_t heads, const F& visit) {
  ParallelFor(0, static_cast<int64_t>(layout.rows().size()), kRowsAtOnce,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  const RaggedLayout::Row& row = layout.rows()[i];
                  const int64_t area = row.query_length * (row.prefix_length + row.new_length);
                  for (int64_t head = 0; head < heads; ++head)
                    visit(row, head, row.probability_start * heads + head * area);
                }
              });
}

class RaggedAttention : public torch::autograd::Function<RaggedAttention> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context,
                            const c10::intrusive_ptr<RaggedLayout>& layout, const at::Tensor& query,
                            const at::Tensor& key, const at::Tensor& value,
                            const at::Tensor& prefix_key, const at::Tensor& prefix_value) {
    const std::vector<at::Tensor> inputs = {WithWholeHeads(query), WithWholeHeads(key),
                                            WithWholeHeads(value), WithWholeHeads(prefix_key),
                                            WithWholeHeads(prefix_value)};
    const RaggedInputs in = Inputs(inputs);
    const at::Tensor probabilities = at::zeros({layout->probabilities() * in.heads});
    const at::Tensor output = at::empty({layout->queries(), in.heads, query.size(2)});
    float* const p = probabilities.mutable_data_ptr<float>();
    const MutableHeads out = MutableView(output);
    ForEachHead(*layout, in.heads, [&](const RaggedLayout::Row& row, int64_t head, int64_t at) {
      HWY_DYNAMIC_DISPATCH(AttendHead)(in, row, head, p + at, out);
    });
    {
      context->saved_data["layout"] = c10::IValue::make_capsule(layout);
      context->saved_data["inputs"] = inputs;
      context->saved_data["probabilities"] = probabilities;
    }
    return output.view({layout->queries(), in.heads * query.size(2)});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto layout =
        c10::static_intrusive_pointer_cast<RaggedLayout>(context->saved_data["layout"].toCapsule());
    const std::vector<at::Tensor> inputs = context->saved_data["inputs"].toTensorVector();
    const at::Tensor probabilities = context->saved_data["probabilities"].toTensor();
    const RaggedInputs in = Inputs(inputs);
    const at::Tensor output =
        gradients[0].contiguous().view({layout->queries(), in.heads, inputs[0].size(2)});
    const at::Tensor query = at::empty(inputs[0].sizes());
    const at::Tensor key = at::zeros(inputs[1].sizes());
    const at::Tensor value = at::zeros(inputs[2].sizes());
    const RaggedGradients out{View(output), MutableView(query), MutableView(key),
                              MutableView(value)};
    const float* const p = probabilities.const_data_ptr<float>();
    ForEachHead(*layout, in.heads, [&](const RaggedLayout::Row& row, int64_t head, int64_t at) {
      HWY_DYNAMIC_DISPATCH(AttendHeadBackward)(in, row, head, p + at, out);
    });
    return {at::Tensor(), query, key, value, at::Tensor(), at::Tensor()};
  }

 private:
  // Query, key, value, prefix key, prefix value.
  static RaggedInputs Inputs(const std::vector<at::Tensor>& tensors) {
    const int64_t heads = tensors[0].size(1);
    return {View(tensors[0]),          View(tensors[1]), View(tensors[2]),
            View(tensors[3]),          View(tensors[4]), heads,
            heads / tensors[1].size(1)};
  }
};

}  // namespace

RaggedLayout::RaggedLayout(const std::vector<int64_t>& prefix_lengths,
                           const std::vector<int64_t>& new_lengths,
                           const std::vector<int64_t>& query_lengths) {
  int64_t prefix = 0;
  int64_t fresh = 0;
  for (size_t i = 0; i < new_lengths.size(); ++i) {
    rows_.push_back({prefix, prefix_lengths[i], fresh, new_lengths[i], queries_, query_lengths[i],
                     probabilities_});
    prefix += prefix_lengths[i];
    fresh += new_lengths[i];
    queries_ += query_lengths[i];
    probabilities_ += query_lengths[i] * (prefix_lengths[i] + new_lengths[i]);
  }
}

at::Tensor AttendRagged(const c10::intrusive_ptr<RaggedLayout>& layout, const at::Tensor& query,
                        const at::Tensor& key, const at::Tensor& value,
                        const at::Tensor& prefix_key, const at::Tensor& prefix_value) {
  return RaggedAttention::apply(layout, query, key, value, prefix_key, prefix_value);
}

}  // namespace amend
#endif  // HWY_ONCE
