#ifndef AMEND_CORE_EDITING_KEY_SOLVER_H_
#define AMEND_CORE_EDITING_KEY_SOLVER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/editing/cholesky_factor.h"

namespace amend {

// X' [B, d_in], float64, with X = (covariance + K K')^-1 K; covariance [d_in, d_in], float64; keys
// [B, d_in]. A dense solve: what KeySolver is measured against. ABORTED when the sum is not
// positive definite.
absl::StatusOr<at::Tensor> SolveForKeys(const at::Tensor& covariance, const at::Tensor& keys);

// The system (C + K K') X = K of one layer along a line of edits, where C is a covariance plus the
// sum of k k' over all edits so far. float64; exact up to rounding. Copies share what they can. Not
// thread-safe.
//
// Letters: d = d_in; p keys since the factor was made; B keys of a batch; y = L^-1 k is a whitened
// key, rows of Y.
//
// Kept, with C = L (I + Y'Y) L':
//  1. L, the Cholesky factor of an earlier C: 4 d^2 bytes, shared with all lines that began with
//  it.
//  2. Y: 8 p d bytes.
//  3. M, the Cholesky factor of G = I + Y Y', grown by rows: 8 p^2 bytes.
//  4. Keys that were appended since the last solve, as they came: they are whitened together.
// With B whitened keys below Y, X = L^-T Y' G^-1 E, E the last B columns of I: no difference of
// near numbers is taken. One step of iterative refinement makes up for an ill conditioned L.
//
// When p passes `refactor_share` * d the keys move into a factor of their own (2/3 d^3 + p d^2
// operations): a constant cost per edit on average, and p stays bounded. Then a line holds 4 d^2
// bytes of its own.
class KeySolver {
 public:
  // Measured (docs/performance.md).
  static constexpr double kRefactorShare = 0.25;

  explicit KeySolver(std::shared_ptr<const CholeskyFactor> factor,
                     double refactor_share = kRefactorShare);

  int64_t size() const { return factor_->size(); }
  // Bytes that this solver does not share with the factor it was made with.
  int64_t own_bytes() const;
  // How often the keys have moved into a new factor.
  int refactorizations() const { return refactorizations_; }

  // Adds keys [n, d], float32 or float64, that are now part of the line. Cheap: they are whitened
  // at the next Solve, or when there are d of them.
  absl::Status Append(const at::Tensor& keys);

  // X' [B, d], float64; keys [B, d]. The line stays as it is. ABORTED when rounding has left a sum
  // that is not positive definite.
  absl::StatusOr<at::Tensor> Solve(const at::Tensor& keys);

 private:
  // New rows below Y and what they add to M.
  struct Extension {
    at::Tensor whitened;  // [n, d]
    at::Tensor cross;     // [n, p]: rows of M left of the corner
    at::Tensor corner;    // [n, n]: lower triangular
  };

  at::Tensor WhitenedKeys() const { return whitened_.narrow(0, 0, count_); }
  at::Tensor GramFactor() const { return gram_.narrow(0, 0, count_).narrow(1, 0, count_); }
  absl::StatusOr<Extension> Extend(const at::Tensor& keys) const;
  void Adopt(const Extension& extension);
  // rows [n, p] -> rows G^-1.
  at::Tensor ApplyGramInverse(const at::Tensor& rows) const;
  // Whitens the keys that wait.
  absl::Status TakeWaiting();
  // Moves all keys into a new factor.
  absl::Status Refactorize();

  std::shared_ptr<const CholeskyFactor> factor_;
  double refactor_share_;
  int refactorizations_ = 0;
  int64_t count_ = 0;    // p
  at::Tensor whitened_;  // [capacity, d], float64: the first p rows are Y
  at::Tensor gram_;      // [capacity, capacity], float64: the first p rows and columns are M
  std::vector<at::Tensor> waiting_;
  int64_t waiting_count_ = 0;
};

}  // namespace amend

#endif  // AMEND_CORE_EDITING_KEY_SOLVER_H_
