#include "server/observed_store.h"

#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

class ObservedStoreTest : public ::testing::Test {
 protected:
  InMemoryRevisionStore store_;
  int read_errors_ = 0;
  int64_t damaged_ = 0;
  ObservedStore observed_{
      &store_, {[this] { ++read_errors_; }, [this](int64_t values) { damaged_ += values; }}};
};

TEST_F(ObservedStoreTest, WhatIsNotThereIsNoFailure) {
  EXPECT_FALSE(observed_.GetRevision(Revision(7)).ok());
  EXPECT_FALSE(observed_.GetLedger({"s", 0}).ok());
  EXPECT_FALSE(observed_.GetLabel("canary").ok());
  EXPECT_FALSE(observed_.ReadFactors(Revision(7)).ok());
  EXPECT_THAT(observed_.ListRevisions(Revision(9), 5), IsOk());
  EXPECT_EQ(read_errors_, 0);
  EXPECT_EQ(damaged_, 0);
}

TEST_F(ObservedStoreTest, AReadThatTheDiskRefusesIsTold) {
  store_.SetReadFactorsStatus(Revision(1), absl::UnavailableError("I/O"));
  EXPECT_THAT(observed_.ReadFactors(Revision(1)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(read_errors_, 1);
  EXPECT_EQ(damaged_, 0);
}

TEST_F(ObservedStoreTest, DamageIsTold) {
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("expected digest"));
  EXPECT_THAT(observed_.ReadFactors(Revision(1)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(damaged_, 1);
  EXPECT_EQ(read_errors_, 0);
}

TEST_F(ObservedStoreTest, WhatAVerificationFindsIsTold) {
  EXPECT_THAT(observed_.Verify(nullptr), IsOk());
  EXPECT_EQ(damaged_, 0);
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("expected digest"));
  AMEND_ASSERT_OK_AND_ASSIGN(const StoreVerification report, observed_.Verify(nullptr));
  EXPECT_EQ(damaged_, report.damage_count);
}

TEST_F(ObservedStoreTest, AWriteThatFailsIsNoReadError) {
  store_.SetWriteStatus(absl::UnavailableError("disk full"));
  LedgerEntry entry;
  entry.key = {"s", 0};
  EXPECT_THAT(observed_.AppendLedger(entry), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(read_errors_, 0);
}

}  // namespace
}  // namespace amend
