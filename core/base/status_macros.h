#ifndef AMEND_CORE_BASE_STATUS_MACROS_H_
#define AMEND_CORE_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr` (an absl::Status) is not OK.
#define AMEND_RETURN_IF_ERROR(expr)                \
  do {                                             \
    absl::Status amend_status_ = (expr);           \
    if (!amend_status_.ok()) return amend_status_; \
  } while (false)

// AMEND_ASSIGN_OR_RETURN(auto x, F()): declares x from the StatusOr that F returns, or returns its
// error.
#define AMEND_ASSIGN_OR_RETURN(lhs, expr) \
  AMEND_ASSIGN_OR_RETURN_IMPL_(AMEND_STATUS_CONCAT_(amend_statusor_, __LINE__), lhs, expr)

#define AMEND_STATUS_CONCAT_INNER_(a, b) a##b
#define AMEND_STATUS_CONCAT_(a, b) AMEND_STATUS_CONCAT_INNER_(a, b)
#define AMEND_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                 \
  if (!tmp.ok()) return std::move(tmp).status();     \
  lhs = std::move(tmp).value()

#endif  // AMEND_CORE_BASE_STATUS_MACROS_H_
