#ifndef AMEND_CORE_MODEL_AMX_PRODUCT_H_
#define AMEND_CORE_MODEL_AMX_PRODUCT_H_

#include <cstdint>

#include "core/model/product_kernels.h"

// The product of product_kernels.h for a weight in bfloat16, on the matrix unit that Intel's server
// processors have since Sapphire Rapids (AMX): sixteen rows cost what one does. The weight is read
// where it lies.

namespace amend {

// Whether this machine and its system let us use the unit; asked of the system once.
bool HasAmx();

// Numbers of a row that the unit takes at once: `in` has to be a multiple.
constexpr int64_t kAmxInputs = 32;

// Size of what PackRowsForAmx writes.
int64_t AmxPackedSize(int64_t rows, int64_t in);
// Rows that it takes at once.
constexpr int64_t kAmxRows = 16;
// Puts the rows [begin, end) of x [T, in] into the order in which the unit takes the numbers of
// kAmxRows rows. `begin` is a multiple of kAmxRows, and so is `end`, unless it is T. This and what
// follows only where HasAmx().
void PackRowsForAmx(const BFloat16Bits* x, int64_t rows, int64_t in, int64_t begin, int64_t end,
                    BFloat16Bits* packed);

// y[t * y_stride + o] = sum over i of x[t, i] W[o, i], for o in [begin, end), of x as packed above.
// Sums are float32; each has an order of its own, the same whatever the number of rows and the
// range. `begin` is a multiple of kOutputGroup, and so is `end`, unless it is `out`.
void MultiplyRowsByAmx(const WeightRows<BFloat16Bits>& weight, const BFloat16Bits* packed,
                       int64_t rows, int64_t begin, int64_t end, float* y, int64_t y_stride);

}  // namespace amend

#endif  // AMEND_CORE_MODEL_AMX_PRODUCT_H_
