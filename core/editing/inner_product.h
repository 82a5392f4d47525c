#ifndef AMEND_CORE_EDITING_INNER_PRODUCT_H_
#define AMEND_CORE_EDITING_INNER_PRODUCT_H_

#include <cstdint>

namespace amend {

// The sum over i < count of a[i] b[i], in float32, in one order on each machine: what decides
// whether an edit fires, and how much of it is added, is the same bit for bit wherever it is
// computed.
float InnerProduct(const float* a, const float* b, int64_t count);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_INNER_PRODUCT_H_
