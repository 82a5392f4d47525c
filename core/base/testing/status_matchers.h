#ifndef AMEND_CORE_BASE_TESTING_STATUS_MATCHERS_H_
#define AMEND_CORE_BASE_TESTING_STATUS_MATCHERS_H_

// Matchers for absl::Status and absl::StatusOr:
//   EXPECT_THAT(store.Commit(step), IsOk());
//   EXPECT_THAT(store.GetLabel("x"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("\"x\"")));
//   AMEND_ASSERT_OK_AND_ASSIGN(auto label, store.GetLabel("live"));

#include <ostream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace status_matchers_internal {

inline const absl::Status& GetStatus(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& value) {
  return value.status();
}

}  // namespace status_matchers_internal

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  const absl::Status& status = status_matchers_internal::GetStatus(arg);
  *result_listener << "which is " << status.ToString();
  return status.ok();
}

MATCHER_P2(StatusIs, code, message_matcher,
           std::string("has status code ") + absl::StatusCodeToString(code) +
               " and a message that " +
               testing::DescribeMatcher<std::string>(message_matcher, negation)) {
  const absl::Status& status = status_matchers_internal::GetStatus(arg);
  *result_listener << "which is " << status.ToString();
  return status.code() == code && testing::Matches(message_matcher)(std::string(status.message()));
}

inline auto StatusIs(absl::StatusCode code) { return StatusIs(code, testing::_); }

}  // namespace amend

// Declares or assigns `lhs` from the StatusOr `expr`; ends the test with a failure when it has
// none.
#define AMEND_ASSERT_OK_AND_ASSIGN(lhs, expr) \
  AMEND_ASSERT_OK_AND_ASSIGN_IMPL_(AMEND_MATCHERS_CONCAT_(amend_statusor_, __LINE__), lhs, expr)
#define AMEND_MATCHERS_CONCAT_INNER_(a, b) a##b
#define AMEND_MATCHERS_CONCAT_(a, b) AMEND_MATCHERS_CONCAT_INNER_(a, b)
#define AMEND_ASSERT_OK_AND_ASSIGN_IMPL_(tmp, lhs, expr)  \
  auto tmp = (expr);                                      \
  ASSERT_TRUE(tmp.ok()) << #expr << ": " << tmp.status(); \
  lhs = std::move(tmp).value()

#endif  // AMEND_CORE_BASE_TESTING_STATUS_MATCHERS_H_
