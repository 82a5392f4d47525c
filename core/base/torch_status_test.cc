#include "core/base/torch_status.h"

#include <ATen/ATen.h>

#include <new>
#include <stdexcept>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(CatchTorchTest, ReturnsTheStatusOfTheBody) {
  EXPECT_EQ(CatchTorch("solve", [] { return absl::OkStatus(); }), absl::OkStatus());
  EXPECT_EQ(CatchTorch("solve", [] { return absl::AbortedError("stopped"); }),
            absl::AbortedError("stopped"));
}

TEST(CatchTorchTest, ShapeErrorIsInternalWithTheFirstLineOnly) {
  const absl::Status status = CatchTorch("solve", [] {
    at::matmul(at::ones({2, 3}), at::ones({4, 5}));
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), AllOf(StartsWith("solve: "), HasSubstr("2x3"),
                                                   HasSubstr("4x5"), Not(HasSubstr("\n"))));
}

TEST(CatchTorchTest, BadAllocIsResourceExhausted) {
  const absl::Status status =
      CatchTorch("load weights", []() -> absl::Status { throw std::bad_alloc(); });
  EXPECT_EQ(status, absl::ResourceExhaustedError("load weights: out of memory"));
}

TEST(CatchTorchTest, HugeTensorIsResourceExhausted) {
  const absl::Status status = CatchTorch("load weights", [] {
    at::empty({int64_t{1} << 55});
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST(CatchTorchTest, OtherExceptionIsInternal) {
  const absl::Status status =
      CatchTorch("step", []() -> absl::Status { throw std::runtime_error("first\nsecond"); });
  EXPECT_EQ(status, absl::InternalError("step: first"));
}

}  // namespace
}  // namespace amend
