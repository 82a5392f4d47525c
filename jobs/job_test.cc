#include "jobs/job.h"

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::jobs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(FailTest, WhatTheUserCanCorrectIsAUsageError) {
  std::ostringstream err;
  JobContext context;
  context.err = &err;
  EXPECT_EQ(Fail(context, absl::NotFoundError("no x")), kExitUsage);
  EXPECT_EQ(err.str(), "amend covariance: no x\n");
  EXPECT_EQ(Fail(context, absl::AlreadyExistsError("")), kExitUsage);
  EXPECT_EQ(Fail(context, absl::InternalError("")), kExitFailed);
  EXPECT_EQ(Fail(context, absl::UnavailableError("")), kExitFailed);
}

TEST(CheckOutputTest, AFileThatIsThereIsReplacedOnlyWhenAsked) {
  const std::string path = absl::StrCat(testing::TempDir(), "/there");
  std::ofstream(path) << "x";
  EXPECT_THAT(CheckOutput(path, false), StatusIs(absl::StatusCode::kAlreadyExists,
                                                 AllOf(HasSubstr(path), HasSubstr("--overwrite"))));
  EXPECT_THAT(CheckOutput(path, true), IsOk());
  EXPECT_THAT(CheckOutput(path + "_not", false), IsOk());
}

TEST(CheckOutputTest, AMissingFolderAndAFolderAreNamed) {
  EXPECT_THAT(CheckOutput("no/such/file", false),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such is no folder")));
  EXPECT_THAT(CheckOutput(testing::TempDir(), true),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is a folder")));
}

}  // namespace
}  // namespace amend::jobs
