#ifndef AMEND_CORE_MODEL_HOOK_POINT_H_
#define AMEND_CORE_MODEL_HOOK_POINT_H_

#include "core/base/types.h"

namespace at {
class Tensor;
}  // namespace at

namespace amend {

// Stands beside the down-projection of every block. Letters: T packed tokens of all rows.
class DownProjectionHook {
 public:
  virtual ~DownProjectionHook() = default;

  // input [T, d_in]: what the projection reads. output [T, d_out]: W0 x + bias. Returns what the
  // block goes on with: `output` itself, or a new tensor (neither argument may be changed in
  // place).
  virtual at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                           const at::Tensor& output) const = 0;
};

}  // namespace amend

#endif  // AMEND_CORE_MODEL_HOOK_POINT_H_
