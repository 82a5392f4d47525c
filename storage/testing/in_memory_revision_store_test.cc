#include "storage/testing/in_memory_revision_store.h"

#include <memory>

#include "gtest/gtest.h"
#include "storage/testing/revision_store_conformance.h"

namespace amend {
namespace {

class InMemoryHarness : public StoreHarness {
 public:
  RevisionStore& store() override { return store_; }
  void Reopen() override {}

 private:
  InMemoryRevisionStore store_;
};

INSTANTIATE_TEST_SUITE_P(InMemory, RevisionStoreConformance,
                         testing::Values([] { return std::make_unique<InMemoryHarness>(); }));

TEST(InMemoryRevisionStore, AWriteThatIsMadeToFailChangesNothing) {
  InMemoryRevisionStore store;
  store.SetWriteStatus(absl::UnavailableError("disk"));
  LedgerEntry entry;
  entry.key = {"s", 0};
  EXPECT_THAT(store.AppendLedger(entry), StatusIs(StatusCode::kUnavailable, HasSubstr("disk")));
  StoreStep step;
  step.audit.emplace();
  EXPECT_THAT(store.Commit(step), StatusIs(StatusCode::kUnavailable));
  EXPECT_EQ(store.write_count(), 0);
  store.SetWriteStatus(absl::OkStatus());
  EXPECT_THAT(store.AppendLedger(entry), IsOk());
  EXPECT_EQ(store.write_count(), 1);
}

TEST(InMemoryRevisionStore, AReadOfFactorsCanBeMadeToFail) {
  InMemoryRevisionStore store;
  store.SetReadFactorsStatus(Revision(1), absl::DataLossError("factors/1/0/U"));
  EXPECT_THAT(store.ReadFactors(Revision(1)), StatusIs(StatusCode::kDataLoss));
}

}  // namespace
}  // namespace amend
