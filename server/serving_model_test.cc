#include "server/serving_model.h"

#include <memory>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// No forward pass here: neither model nor hooks are looked at.
class ServingModelTest : public testing::Test {
 protected:
  ServingModel serving_{nullptr, std::shared_ptr<const HookStack>()};

  void Add(int64_t revision) {
    serving_.AddRevision(std::make_shared<const Snapshot>(Snapshot{Revision(revision), nullptr}));
  }
};

TEST_F(ServingModelTest, BeginsWithLiveAtTheUneditedModel) {
  AMEND_ASSERT_OK_AND_ASSIGN(const auto snapshot, serving_.Resolve("live"));
  EXPECT_EQ(snapshot->revision, kBaseRevision);
}

TEST_F(ServingModelTest, ANewRevisionServesByNumberBeforeAnyLabelMoves) {
  Add(1);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto by_number, serving_.Resolve(Revision(1)));
  EXPECT_EQ(by_number->revision, Revision(1));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto live, serving_.Resolve("live"));
  EXPECT_EQ(live->revision, kBaseRevision);
}

TEST_F(ServingModelTest, ASnapshotStaysWhatItWasWhenTheLabelMoves) {
  Add(1);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto held, serving_.Resolve("live"));
  ASSERT_THAT(serving_.MoveLabel("live", Revision(1)), IsOk());
  EXPECT_EQ(held->revision, kBaseRevision);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto now, serving_.Resolve("live"));
  EXPECT_EQ(now->revision, Revision(1));
}

TEST_F(ServingModelTest, AnUnknownRevisionIsNamedTogetherWithTheLatest) {
  Add(3);
  const auto result = serving_.Resolve(Revision(9));
  EXPECT_THAT(result, StatusIs(absl::StatusCode::kNotFound,
                               AllOf(HasSubstr("revision 9"), HasSubstr("latest is 3"))));
  EXPECT_EQ(ReasonOf(result.status()), "REVISION_NOT_FOUND");
}

TEST_F(ServingModelTest, AnUnknownLabelIsNamed) {
  const auto result = serving_.Resolve("canary");
  EXPECT_THAT(result, StatusIs(absl::StatusCode::kNotFound, HasSubstr("\"canary\"")));
  EXPECT_EQ(ReasonOf(result.status()), "LABEL_NOT_FOUND");
}

TEST_F(ServingModelTest, ALabelDoesNotMoveToARevisionThatIsNotResident) {
  EXPECT_THAT(serving_.MoveLabel("live", Revision(2)), StatusIs(absl::StatusCode::kNotFound));
  AMEND_ASSERT_OK_AND_ASSIGN(const auto live, serving_.Resolve("live"));
  EXPECT_EQ(live->revision, kBaseRevision);
}

TEST_F(ServingModelTest, ADeletedRevisionIsResidentButDoesNotServe) {
  Add(1);
  serving_.SetDeleted(Revision(1), true);
  const absl::Status refused = serving_.Resolve(Revision(1)).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(ReasonOf(refused), "REVISION_DELETED");
  EXPECT_THAT(serving_.Resident(Revision(1)), IsOk());
  serving_.SetDeleted(Revision(1), false);
  EXPECT_THAT(serving_.Resolve(Revision(1)), IsOk());
}

TEST_F(ServingModelTest, APurgedRevisionIsForgottenOnceItsReadersAreDone) {
  Add(1);
  std::shared_ptr<const Snapshot> reader = *serving_.Resolve(Revision(1));
  const std::weak_ptr<const Snapshot> snapshot = reader;
  serving_.Purge(Revision(1));
  const absl::Status gone = serving_.Resolve(Revision(1)).status();
  EXPECT_THAT(gone, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(ReasonOf(gone), "REVISION_PURGED");
  EXPECT_FALSE(serving_.Resident(Revision(1)).ok());
  EXPECT_FALSE(serving_.MoveLabel("canary", Revision(1)).ok());
  EXPECT_EQ(reader->revision, Revision(1));
  reader.reset();
  EXPECT_TRUE(snapshot.expired());
}

TEST_F(ServingModelTest, ARemovedLabelIsNotFound) {
  ASSERT_THAT(serving_.MoveLabel("canary", kBaseRevision), IsOk());
  EXPECT_THAT(serving_.Resolve("canary"), IsOk());
  serving_.RemoveLabel("canary");
  EXPECT_EQ(ReasonOf(serving_.Resolve("canary").status()), "LABEL_NOT_FOUND");
}

}  // namespace
}  // namespace amend
