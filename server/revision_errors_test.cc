#include "server/revision_errors.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

TEST(RevisionErrors, NameTheRevisionAndHaveTheirReason) {
  const absl::Status unknown = UnknownRevision(Revision(9), Revision(4));
  EXPECT_THAT(unknown, StatusIs(StatusCode::kNotFound, AllOf(HasSubstr("9"), HasSubstr("4"))));
  EXPECT_EQ(ReasonOf(unknown), "REVISION_NOT_FOUND");
  const absl::Status unfit = UnfitRevision(Revision(9), "NOT_VALIDATED", "was rejected");
  EXPECT_THAT(unfit,
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("revision 9 was rejected")));
  EXPECT_EQ(ReasonOf(unfit), "NOT_VALIDATED");
  EXPECT_THAT(RevisionDeleted(Revision(9)),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("revision 9")));
  EXPECT_EQ(ReasonOf(RevisionDeleted(Revision(9))), "REVISION_DELETED");
  EXPECT_THAT(RevisionPurged(Revision(9)),
              StatusIs(StatusCode::kNotFound, HasSubstr("revision 9")));
  EXPECT_EQ(ReasonOf(RevisionPurged(Revision(9))), "REVISION_PURGED");
}

}  // namespace
}  // namespace amend
