#ifndef AMEND_CORE_MODEL_PRODUCT_KERNELS_H_
#define AMEND_CORE_MODEL_PRODUCT_KERNELS_H_

#include <cstdint>

#include "core/model/activation.h"

// Products of some rows with a weight that lies in memory as [out, in], one output's numbers side
// by side: as LibTorch keeps it, so that it is there once. Bare loops on the calling thread; each
// sum has an order of its own, the same whatever the number of rows and the range of outputs.
// Letters: T rows. Compiled for every instruction set of x86; the machine's best is taken when
// called.

namespace amend {

// A number of bfloat16 by its bits.
struct BFloat16Bits {
  uint16_t bits;
};

template <typename Number>
struct WeightRows {
  const Number* numbers = nullptr;  // [out, in]
  int64_t out = 0;
  int64_t in = 0;
};

// Floats that PackRows writes.
constexpr int64_t PackedRowsSize(int64_t rows, int64_t in) { return rows * ((in + 31) / 32 * 32); }
// Puts the rows [begin, end) of x [T, in] where the product below looks for them.
void PackRows(const float* x, int64_t rows, int64_t in, int64_t begin, int64_t end, float* packed);
void PackRows(const BFloat16Bits* x, int64_t rows, int64_t in, int64_t begin, int64_t end,
              float* packed);

// y[t * y_stride + o] = sum over i of x[t, i] W[o, i], for o in [begin, end), of x as packed above,
// out of numbers of the weight's type. Products and sums are float32. `begin` is a multiple of
// kOutputGroup, and so is `end`, unless it is `out`.
constexpr int64_t kOutputGroup = 32;
void MultiplyRows(const WeightRows<float>& weight, const float* packed, int64_t rows, int64_t begin,
                  int64_t end, float* y, int64_t y_stride);
void MultiplyRows(const WeightRows<BFloat16Bits>& weight, const float* packed, int64_t rows,
                  int64_t begin, int64_t end, float* y, int64_t y_stride);

// What a sum goes through on its way out: y = round(activation(sum + bias) + addend).
template <typename Number>
struct Finishing {
  const Number* bias = nullptr;  // may be null
  Activation activation = Activation::kNone;
  const Number* addend = nullptr;  // may be null
};

// For `count` numbers side by side. `y` may be `sums`.
void FinishRow(const Finishing<float>& finishing, const float* sums, int64_t count, float* y);
void FinishRow(const Finishing<BFloat16Bits>& finishing, const float* sums, int64_t count,
               BFloat16Bits* y);
void FinishRow(const Finishing<BFloat16Bits>& finishing, const float* sums, int64_t count,
               float* y);

// Layer norm of one row of `count` numbers, in float32 whatever the numbers are.
void NormalizeRow(const float* x, const float* weight, const float* bias, int64_t count,
                  double epsilon, float* y);
void NormalizeRow(const BFloat16Bits* x, const BFloat16Bits* weight, const BFloat16Bits* bias,
                  int64_t count, double epsilon, BFloat16Bits* y);

// y = x / sqrt(mean of x^2 + epsilon) * weight, for one row of `count` numbers, in float32 whatever
// the numbers are.
void RmsNormalizeRow(const float* x, const float* weight, int64_t count, double epsilon, float* y);
void RmsNormalizeRow(const BFloat16Bits* x, const BFloat16Bits* weight, int64_t count,
                     double epsilon, BFloat16Bits* y);

// y = silu(gate) * up for `count` numbers, in float32 whatever the numbers are.
void SiluGateRow(const float* gate, const float* up, int64_t count, float* y);
void SiluGateRow(const BFloat16Bits* gate, const BFloat16Bits* up, int64_t count, BFloat16Bits* y);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_PRODUCT_KERNELS_H_
