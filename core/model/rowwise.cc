#include "core/model/rowwise.h"

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

// Bytes of a weight that are worth a thread of their own, for one row.
constexpr int64_t kBytesOfThread = 128 << 10;
// Rows that take as long as reading a weight does.
constexpr int64_t kRowsOfReading = 8;
// Numbers of the small operations that are worth a thread of their own.
constexpr int64_t kNumbersOfThread = 16 << 10;

template <typename Number>
const Number* Numbers(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const Number*>(tensor.const_data_ptr()) : nullptr;
}

// Calls body(begin, end) for ranges of outputs.
template <typename Number>
void ForOutputs(const WeightRows<Number>& weight, int64_t rows,
                absl::FunctionRef<void(int64_t, int64_t)> body) {
  const int64_t group_bytes =
      kOutputGroup * weight.in * static_cast<int64_t>(sizeof(Number)) * (1 + rows / kRowsOfReading);
  const int64_t groups = (weight.out + kOutputGroup - 1) / kOutputGroup;
  ParallelFor(0, groups, std::max<int64_t>(1, kBytesOfThread / group_bytes),
              [&](int64_t begin, int64_t end) {
                body(begin * kOutputGroup, std::min(end * kOutputGroup, weight.out));
              });
}

// Calls body(begin, end) for ranges of `rows` rows of `count` numbers.
void ForRows(int64_t rows, int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
  ParallelFor(0, rows, std::max<int64_t>(1, kNumbersOfThread / count), body);
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

// x as PackRows has it.
template <typename Number>
at::Tensor Packed(const at::Tensor& x, int64_t in) {
  const int64_t rows = x.size(0);
  const at::Tensor packed = at::empty({PackedRowsSize(rows, in)}, x.options().dtype(at::kFloat));
  float* const to = packed.mutable_data_ptr<float>();
  ForRows(rows, in, [&](int64_t begin, int64_t end) {
    PackRows(Numbers<Number>(x), rows, in, begin, end, to);
  });
  return packed;
}

at::Tensor Float32Product(const at::Tensor& x, const at::Tensor& weight, const ProductEnd& end) {
  const int64_t rows = x.size(0);
  const WeightRows<float> numbers{Numbers<float>(weight), weight.size(0), weight.size(1)};
  const at::Tensor packed = Packed<float>(x, numbers.in);
  const at::Tensor y = at::empty({rows, numbers.out}, x.options());
  const float* const in = Numbers<float>(packed);
  float* const out = y.mutable_data_ptr<float>();
  const bool plain =
      !end.bias.defined() && end.activation == Activation::kNone && !end.addend.defined();
  ForOutputs(numbers, rows, [&](int64_t first, int64_t last) {
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
    if (!amx_) {
      packed_ = Packed<BFloat16Bits>(x, in);
      return;
    }
    packed_ = at::empty({AmxPackedSize(rows_, in)}, x.options());
    auto* const to = static_cast<BFloat16Bits*>(packed_.mutable_data_ptr());
    const int64_t groups = (rows_ + kAmxRows - 1) / kAmxRows;
    ForRows(groups, kAmxRows * in, [&](int64_t begin, int64_t end) {
      PackRowsForAmx(Numbers<BFloat16Bits>(x), rows_, in, begin * kAmxRows,
                     std::min(end * kAmxRows, rows_), to);
    });
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
    ForOutputs(numbers, rows, [&](int64_t first, int64_t last) {
      factor.Multiply(numbers, first, last, sum);
      FinishRows<BFloat16Bits>(end, sum, rows, numbers.out, first, last, sum);
    });
    return sums;
  }
  const at::Tensor y = at::empty({rows, numbers.out}, x.options());
  auto* const out = static_cast<BFloat16Bits*>(y.mutable_data_ptr());
  ForOutputs(numbers, rows, [&](int64_t first, int64_t last) {
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
  ForRows(x.size(0), d, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      NormalizeRow(in + t * d, Numbers<Number>(weight), Numbers<Number>(bias), d, epsilon,
                   out + t * d);
    }
  });
}

template <typename Number>
void RmsNormalizeRows(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                      const at::Tensor& y) {
  const int64_t d = x.size(1);
  const Number* const in = Numbers<Number>(x);
  auto* const out = static_cast<Number*>(y.mutable_data_ptr());
  ForRows(x.size(0), d, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      RmsNormalizeRow(in + t * d, Numbers<Number>(weight), d, epsilon, out + t * d);
    }
  });
}

template <typename Number>
void SiluGateRows(const at::Tensor& x, const at::Tensor& y) {
  const int64_t m = y.size(1);
  const Number* const in = Numbers<Number>(x);
  auto* const out = static_cast<Number*>(y.mutable_data_ptr());
  ForRows(y.size(0), m, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      SiluGateRow(in + t * 2 * m, in + t * 2 * m + m, m, out + t * m);
    }
  });
}

}  // namespace

bool IsRowwise(const at::Tensor& x) {
  return x.device().is_cpu() && x.dim() == 2 && x.size(0) > 0 &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         !(x.requires_grad() && at::GradMode::is_enabled());
}

at::Tensor RowwiseProduct(const at::Tensor& x, const at::Tensor& weight, const ProductEnd& end) {
  ProductEnd contiguous = end;
  if (end.addend.defined()) contiguous.addend = end.addend.contiguous();
  return x.scalar_type() == at::kFloat ? Float32Product(x.contiguous(), weight, contiguous)
                                       : BFloat16Product(x.contiguous(), weight, contiguous);
}

at::Tensor RowwiseLayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
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

at::Tensor RowwiseRmsNorm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor in = x.contiguous();
  const at::Tensor y = at::empty_like(in);
  if (x.scalar_type() == at::kFloat) {
    RmsNormalizeRows<float>(in, weight, epsilon, y);
  } else {
    RmsNormalizeRows<BFloat16Bits>(in, weight, epsilon, y);
  }
  return y;
}

at::Tensor RowwiseSiluGate(const at::Tensor& x) {
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
