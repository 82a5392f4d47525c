#include "storage/rocksdb_status.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

TEST(TranslateStatus, OkIsOk) {
  EXPECT_THAT(TranslateStatus(rocksdb::Status::OK(), "write"), IsOk());
}

TEST(TranslateStatus, NoSpaceIsResourceExhausted) {
  EXPECT_THAT(TranslateStatus(rocksdb::Status::NoSpace("disk"), "write"),
              StatusIs(StatusCode::kResourceExhausted));
  EXPECT_THAT(TranslateStatus(rocksdb::Status::SpaceLimit(), "write"),
              StatusIs(StatusCode::kResourceExhausted));
}

TEST(TranslateStatus, OtherInputOutputErrorsAreUnavailable) {
  EXPECT_THAT(TranslateStatus(rocksdb::Status::IOError("bad sector"), "write"),
              StatusIs(StatusCode::kUnavailable));
  EXPECT_THAT(TranslateStatus(rocksdb::Status::Busy(), "write"),
              StatusIs(StatusCode::kUnavailable));
}

TEST(TranslateStatus, CorruptionIsDataLoss) {
  EXPECT_THAT(TranslateStatus(rocksdb::Status::Corruption("checksum"), "read"),
              StatusIs(StatusCode::kDataLoss));
}

TEST(TranslateStatus, SaysWhatWasTriedAndWhatRocksDbSays) {
  EXPECT_THAT(TranslateStatus(rocksdb::Status::Corruption("checksum"), "read labels/live of /s"),
              StatusIs(StatusCode::kDataLoss,
                       AllOf(HasSubstr("read labels/live of /s"), HasSubstr("checksum"))));
}

TEST(IsLockHeld, IsFalseForOtherErrors) {
  EXPECT_FALSE(IsLockHeld(rocksdb::Status::OK()));
  EXPECT_FALSE(IsLockHeld(rocksdb::Status::IOError("While open a file for lock", "denied")));
  EXPECT_TRUE(IsLockHeld(rocksdb::Status::IOError("While lock file: a/LOCK", "unavailable")));
}

}  // namespace
}  // namespace amend
