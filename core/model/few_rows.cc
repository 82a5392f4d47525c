#include "core/model/few_rows.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "core/base/parallel.h"
#include "core/model/amx_product.h"
#include "core/model/product_kernels.h"

namespace amend {
namespace {

// Bytes of a weight that are worth a thread of their own.
constexpr int64_t kBytesOfThread = 128 << 10;

template <typename Number>
const Number* Numbers(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const Number*>(tensor.const_data_ptr()) : nullptr;
}

// Calls body(begin, end) for ranges of outputs.
template <typename Number>
void ForOutputs(const WeightRows<Number>& weight, absl::FunctionRef<void(int64_t, int64_t)> body) {
  const int64_t group_bytes = kOutputGroup * weight.in * static_cast<int64_t>(sizeof(Number));
  const int64_t groups = (weight.out + kOutputGroup - 1) / kOutputGroup;
  ParallelFor(0, groups, std::max<int64_t>(1, kBytesOfThread / group_bytes),
              [&](int64_t begin, int64_t end) {
                body(begin * kOutputGroup, std::min(end * kOutputGroup, weight.out));
              });
}

// The end of the outputs [begin, end) of every row.
template <typename Number, typename Out>
void FinishRows(const ProductEnd& end_of_product, const float* sums, int64_t rows, int64_t out,
                int64_t begin, int64_t end, Out* y) {
  const Number* const bias = Numbers<Number>(end_of_product.bias);
  const Number* const addend = Numbers<Number>(end_of_product.addend);
  for (int64_t t = 0; t < rows; ++t) {
    const int64_t at = t * out + begin;
    FinishRow({bias == nullptr ? nullptr : bias + begin, end_of_product.activation,
               addend == nullptr ? nullptr : addend + at},
              sums + at, end - begin, y + at);
  }
}

at::Tensor Float32Product(const at::Tensor& x, const at::Tensor& weight, const ProductEnd& end) {
  const int64_t rows = x.size(0);
  const WeightRows<float> numbers{Numbers<float>(weight), weight.size(0), weight.size(1)};
  const at::Tensor y = at::empty({rows, numbers.out}, x.options());
  const float* const in = Numbers<float>(x);
  float* const out = y.mutable_data_ptr<float>();
  const bool plain =
      !end.bias.defined() && end.activation == Activation::kNone && !end.addend.defined();
  ForOutputs(numbers, [&](int64_t first, int64_t last) {
    MultiplyRows(numbers, in, rows, first, last, out, numbers.out);
    if (!plain) FinishRows<float>(end, out, rows, numbers.out, first, last, out);
  });
  return y;
}

// Multiplies by AMX or without, into [T, out], float32.
class BFloat16Rows {
 public:
  BFloat16Rows(const at::Tensor& x, int64_t in)
      : rows_(x.size(0)), amx_(in % kAmxInputs == 0 && HasAmx()) {
    const auto* const numbers = Numbers<BFloat16Bits>(x);
    if (amx_) {
      packed_ = at::empty({AmxPackedSize(rows_, in)}, x.options());
      PackRowsForAmx(numbers, rows_, in, static_cast<BFloat16Bits*>(packed_.mutable_data_ptr()));
    } else {
      packed_ = at::empty({rows_, in}, x.options().dtype(at::kFloat));
      SpreadRows(numbers, rows_, in, packed_.mutable_data_ptr<float>());
    }
  }

  void Multiply(const WeightRows<BFloat16Bits>& weight, int64_t begin, int64_t end,
                float* sums) const {
    if (amx_) {
      MultiplyRowsByAmx(weight, Numbers<BFloat16Bits>(packed_), rows_, begin, end, sums,
                        weight.out);
    } else {
      MultiplyRows(weight, Numbers<float>(packed_), rows_, begin, end, sums, weight.out);
    }
  }

 private:
  const int64_t rows_;
  const bool amx_;
  at::Tensor packed_;
};

at::Tensor BFloat16Product(const at::Tensor& x, const at::Tensor& weight, const ProductEnd& end) {
  const int64_t rows = x.size(0);
  const WeightRows<BFloat16Bits> numbers{Numbers<BFloat16Bits>(weight), weight.size(0),
                                         weight.size(1)};
  const BFloat16Rows factor(x, numbers.in);
  const at::Tensor sums = at::empty({rows, numbers.out}, x.options().dtype(at::kFloat));
  float* const sum = sums.mutable_data_ptr<float>();
  if (end.float32) {
    ForOutputs(numbers, [&](int64_t first, int64_t last) {
      factor.Multiply(numbers, first, last, sum);
      FinishRows<BFloat16Bits>(end, sum, rows, numbers.out, first, last, sum);
    });
    return sums;
  }
  const at::Tensor y = at::empty({rows, numbers.out}, x.options());
  auto* const out = static_cast<BFloat16Bits*>(y.mutable_data_ptr());
  ForOutputs(numbers, [&](int64_t first, int64_t last) {
    factor.Multiply(numbers, first, last, sum);
    FinishRows<BFloat16Bits>(end, sum, rows, numbers.out, first, last, out);
  });
  return y;
}

template <typename Number>
void NormalizeRows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                   double epsilon, const at::Tensor& y) {
  const int64_t d = x.size(1);
  const Number* const in = Numbers<Number>(x);
  auto* const out = static_cast<Number*>(y.mutable_data_ptr());
  for (int64_t t = 0; t < x.size(0); ++t) {
    NormalizeRow(in + t * d, Numbers<Number>(weight), Numbers<Number>(bias), d, epsilon,
                 out + t * d);
  }
}

template <typename Number>
void RmsNormalizeRows(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                      const at::Tensor& y) {
  const int64_t d = x.size(1);
  const Number* const in = Numbers<Number>(x);
  auto* const out = static_cast<Number*>(y.mutable_data_ptr());
  for (int64_t t = 0; t < x.size(0); ++t) {
    RmsNormalizeRow(in + t * d, Numbers<Number>(weight), d, epsilon, out + t * d);
  }
}

template <typename Number>
void SiluGateRows(const at::Tensor& x, const at::Tensor& y) {
  const int64_t m = y.size(1);
  const Number* const in = Numbers<Number>(x);
  auto* const out = static_cast<Number*>(y.mutable_data_ptr());
  for (int64_t t = 0; t < y.size(0); ++t) {
    SiluGateRow(in + t * 2 * m, in + t * 2 * m + m, m, out + t * m);
  }
}

}  // namespace

bool IsFewRows(const at::Tensor& x) {
  return x.device().is_cpu() && x.dim() == 2 && x.size(0) > 0 && x.size(0) <= kFewRows &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         !(x.requires_grad() && at::GradMode::is_enabled());
}

at::Tensor FewRowsProduct(const at::Tensor& x, const at::Tensor& weight, const ProductEnd& end) {
  ProductEnd contiguous = end;
  if (end.addend.defined()) contiguous.addend = end.addend.contiguous();
  return x.scalar_type() == at::kFloat ? Float32Product(x.contiguous(), weight, contiguous)
                                       : BFloat16Product(x.contiguous(), weight, contiguous);
}

at::Tensor FewRowsLayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            double epsilon) {
  const at::Tensor in = x.contiguous();
  const at::Tensor y = at::empty_like(in);
  if (x.scalar_type() == at::kFloat) {
    NormalizeRows<float>(in, weight, bias, epsilon, y);
  } else {
    NormalizeRows<BFloat16Bits>(in, weight, bias, epsilon, y);
  }
  return y;
}

at::Tensor FewRowsRmsNorm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor in = x.contiguous();
  const at::Tensor y = at::empty_like(in);
  if (x.scalar_type() == at::kFloat) {
    RmsNormalizeRows<float>(in, weight, epsilon, y);
  } else {
    RmsNormalizeRows<BFloat16Bits>(in, weight, epsilon, y);
  }
  return y;
}

at::Tensor FewRowsSiluGate(const at::Tensor& x) {
  const at::Tensor in = x.contiguous();
  const at::Tensor y = at::empty({x.size(0), x.size(1) / 2}, x.options());
  if (x.scalar_type() == at::kFloat) {
    SiluGateRows<float>(in, y);
  } else {
    SiluGateRows<BFloat16Bits>(in, y);
  }
  return y;
}

}  // namespace amend
