#include "core/editing/key_solver.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace amend {
namespace {

constexpr int64_t kMinCapacity = 64;

}  // namespace

absl::StatusOr<at::Tensor> SolveForKeys(const at::Tensor& covariance, const at::Tensor& keys) {
  const at::Tensor k = keys.to(at::kDouble).t();
  const auto [factor, failed_minor] = at::linalg_cholesky_ex(at::addmm(covariance, k, k.t()));
  if (failed_minor.item<int>() != 0) {
    return absl::AbortedError(
        absl::StrCat("the key covariance is singular: its leading minor of order ",
                     failed_minor.item<int>(), " of ", covariance.size(0),
                     " is not positive definite; it has to be estimated from more text"));
  }
  return at::cholesky_solve(k, factor).t().contiguous();
}

KeySolver::KeySolver(std::shared_ptr<const CholeskyFactor> factor, double refactor_share)
    : factor_(std::move(factor)), refactor_share_(refactor_share) {
  const at::TensorOptions options = factor_->block_columns().front().options();
  whitened_ = at::empty({0, size()}, options);
  gram_ = at::empty({0, 0}, options);
}

int64_t KeySolver::own_bytes() const {
  int64_t bytes = (whitened_.numel() + gram_.numel()) * 8;
  for (const at::Tensor& keys : waiting_) bytes += keys.numel() * keys.element_size();
  return refactorizations_ == 0 ? bytes : bytes + factor_->bytes();
}

absl::Status KeySolver::Append(const at::Tensor& keys) {
  if (keys.dim() != 2 || keys.size(1) != size()) {
    return absl::InvalidArgumentError(absl::StrCat("keys have ", keys.size(keys.dim() - 1),
                                                   " dimensions, the covariance ", size()));
  }
  if (keys.size(0) == 0) return absl::OkStatus();
  waiting_.push_back(keys.to(whitened_.device()));
  waiting_count_ += keys.size(0);
  return waiting_count_ < size() ? absl::OkStatus() : TakeWaiting();
}

absl::StatusOr<KeySolver::Extension> KeySolver::Extend(const at::Tensor& keys) const {
  Extension extension;
  extension.whitened = factor_->Whiten(keys.to(at::kDouble));
  const int64_t n = keys.size(0);
  const at::Tensor& y = extension.whitened;
  at::Tensor schur = at::addmm(at::eye(n, y.options()), y, y.t());
  if (count_ > 0) {
    extension.cross =
        at::linalg_solve_triangular(GramFactor().t(), at::matmul(y, WhitenedKeys().t()),
                                    /*upper=*/true, /*left=*/false);
    schur.addmm_(extension.cross, extension.cross.t(), 1, -1);
  }
  auto [corner, failed_minor] = at::linalg_cholesky_ex(schur);
  if (failed_minor.item<int>() != 0) {
    return absl::AbortedError(
        absl::StrCat("the keys of the line are not independent up to rounding: key ",
                     failed_minor.item<int>(), " of ", n, " after ", count_));
  }
  extension.corner = std::move(corner);
  return extension;
}

void KeySolver::Adopt(const Extension& extension) {
  const int64_t n = extension.whitened.size(0);
  const int64_t used = count_ + n;
  if (used > whitened_.size(0)) {
    const auto most = static_cast<int64_t>(refactor_share_ * static_cast<double>(size()));
    const int64_t capacity =
        std::max(used, std::min(most, std::max(2 * whitened_.size(0), kMinCapacity)));
    at::Tensor whitened = at::empty({capacity, size()}, whitened_.options());
    at::Tensor gram = at::zeros({capacity, capacity}, gram_.options());
    if (count_ > 0) {
      whitened.narrow(0, 0, count_).copy_(WhitenedKeys());
      gram.narrow(0, 0, count_).narrow(1, 0, count_).copy_(GramFactor());
    }
    whitened_ = std::move(whitened);
    gram_ = std::move(gram);
  } else if (whitened_.use_count() > 1 || gram_.use_count() > 1) {
    // A copy of this solver reads them too.
    whitened_ = whitened_.clone();
    gram_ = gram_.clone();
  }
  whitened_.narrow(0, count_, n).copy_(extension.whitened);
  const at::Tensor rows = gram_.narrow(0, count_, n);
  if (count_ > 0) rows.narrow(1, 0, count_).copy_(extension.cross);
  rows.narrow(1, count_, n).copy_(extension.corner);
  count_ = used;
}

absl::Status KeySolver::TakeWaiting() {
  if (waiting_.empty()) return absl::OkStatus();
  const bool fits = count_ + waiting_count_ <= refactor_share_ * static_cast<double>(size());
  if (!fits) return Refactorize();
  const absl::StatusOr<Extension> extension = Extend(at::cat(waiting_, 0));
  // In a factor of their own they need no independence.
  if (!extension.ok()) return Refactorize();
  Adopt(*extension);
  waiting_.clear();
  waiting_count_ = 0;
  return absl::OkStatus();
}

absl::Status KeySolver::Refactorize() {
  std::vector<at::Tensor> keys;
  if (count_ > 0) keys.push_back(factor_->Multiply(WhitenedKeys()));
  for (const at::Tensor& some : waiting_) keys.push_back(some.to(at::kDouble));
  absl::StatusOr<std::shared_ptr<const CholeskyFactor>> factor =
      factor_->WithKeys(at::cat(keys, 0));
  if (!factor.ok()) {
    return absl::AbortedError(
        absl::StrCat("the sum of covariance and keys is singular: ", factor.status().message()));
  }
  factor_ = *std::move(factor);
  ++refactorizations_;
  waiting_.clear();
  waiting_count_ = 0;
  count_ = 0;
  whitened_ = at::empty({0, size()}, whitened_.options());
  gram_ = at::empty({0, 0}, gram_.options());
  return absl::OkStatus();
}

at::Tensor KeySolver::ApplyGramInverse(const at::Tensor& rows) const {
  const at::Tensor factor = GramFactor().contiguous();
  const at::Tensor half =
      at::linalg_solve_triangular(factor.t(), rows, /*upper=*/true, /*left=*/false);
  return at::linalg_solve_triangular(factor, half, /*upper=*/false, /*left=*/false);
}

absl::StatusOr<at::Tensor> KeySolver::Solve(const at::Tensor& keys) {
  const at::NoGradGuard no_grad;
  AMEND_RETURN_IF_ERROR(TakeWaiting());
  const int64_t before = count_;
  const int64_t n = keys.size(0);
  AMEND_ASSIGN_OR_RETURN(const Extension extension, Extend(keys));
  // The batch's rows stand behind those of the line only for this call.
  Adopt(extension);
  const at::Tensor y = WhitenedKeys();
  at::Tensor last = at::zeros({n, count_}, y.options());
  last.narrow(1, before, n).copy_(at::eye(n, y.options()));
  at::Tensor x = factor_->Unwhiten(at::matmul(ApplyGramInverse(last), y));
  // One step of iterative refinement: where L is ill conditioned, Y is large and G is too.
  at::Tensor image = factor_->MultiplyTransposed(x);
  image.addmm_(at::matmul(image, y.t()), y);
  const at::Tensor error = factor_->Whiten(keys.to(at::kDouble) - factor_->Multiply(image));
  x += factor_->Unwhiten(at::addmm(error, ApplyGramInverse(at::matmul(error, y.t())), y, 1, -1));
  count_ = before;
  return x;
}

}  // namespace amend
