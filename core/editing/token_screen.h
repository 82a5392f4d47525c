#ifndef AMEND_CORE_EDITING_TOKEN_SCREEN_H_
#define AMEND_CORE_EDITING_TOKEN_SCREEN_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/editing/scoped_factors.h"
#include "core/editing/stacked_factors.h"

namespace amend {

// FindFired with a screen, for the few tokens of a decoding step: the same rule and the same bound,
// in one pass over the codes without tensor operations in between, where those would cost more than
// the work. Everything on the CPU; input [T, d_in], d_in of kMinTokenScreen or more.
inline constexpr int64_t kMinTokenScreen = 16;
std::vector<FiredEdit> FindFiredAtTokens(const StackedFactors& factors, const FactorScreen& screen,
                                         const at::Tensor& input);

}  // namespace amend

#endif  // AMEND_CORE_EDITING_TOKEN_SCREEN_H_
