#include "storage/testing/in_memory_backups.h"

#include <memory>

#include "gtest/gtest.h"
#include "storage/testing/in_memory_revision_store.h"
#include "storage/testing/store_backups_conformance.h"

namespace amend {
namespace {

class InMemoryHarness : public BackupsHarness {
 public:
  InMemoryHarness() { EXPECT_THAT(store_.Initialize({"abc", "demo", "", {}, ""}), IsOk()); }
  RevisionStore& store() override { return store_; }
  StoreBackups& backups() override { return backups_; }

 private:
  InMemoryRevisionStore store_;
  InMemoryBackups backups_{&store_, kBackupsKept};
};

INSTANTIATE_TEST_SUITE_P(InMemory, StoreBackupsConformance,
                         testing::Values([] { return std::make_unique<InMemoryHarness>(); }));

TEST(InMemoryBackupsTest, CreateFailsAsTold) {
  InMemoryRevisionStore store;
  InMemoryBackups backups(&store, 1);
  backups.SetCreateStatus(absl::UnavailableError("full"));
  EXPECT_THAT(backups.Create(1), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_TRUE(backups.List()->empty());
}

}  // namespace
}  // namespace amend
