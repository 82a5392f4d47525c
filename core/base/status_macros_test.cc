#include "core/base/status_macros.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace amend {
namespace {

absl::Status FailIf(bool fail) {
  return fail ? absl::InvalidArgumentError("told to fail") : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<int>> Box(int value) {
  if (value < 0) return absl::OutOfRangeError("negative");
  return std::make_unique<int>(value);
}

absl::StatusOr<std::string> AfterReturnIfError(bool fail) {
  AMEND_RETURN_IF_ERROR(FailIf(fail));
  return "reached the end";
}

absl::StatusOr<int> Sum(int a, int b) {
  AMEND_ASSIGN_OR_RETURN(std::unique_ptr<int> left, Box(a));
  AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<int> right, Box(b));
  return *left + *right;
}

TEST(ReturnIfErrorTest, ContinuesWhenOk) {
  EXPECT_EQ(AfterReturnIfError(false).value(), "reached the end");
}

TEST(ReturnIfErrorTest, ReturnsTheErrorUnchanged) {
  EXPECT_EQ(AfterReturnIfError(true).status(), absl::InvalidArgumentError("told to fail"));
}

TEST(AssignOrReturnTest, AssignsMoveOnlyValues) { EXPECT_EQ(Sum(2, 3).value(), 5); }

TEST(AssignOrReturnTest, ReturnsTheErrorUnchanged) {
  EXPECT_EQ(Sum(2, -3).status(), absl::OutOfRangeError("negative"));
}

}  // namespace
}  // namespace amend
