#include "storage/rocksdb_backups.h"

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "storage/testing/store_backups_conformance.h"
#include "storage/testing/store_files.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

std::unique_ptr<RocksDbRevisionStore> OpenStore(const std::string& path,
                                                const std::string& fingerprint = "abc") {
  auto store = RocksDbRevisionStore::Open({path});
  EXPECT_THAT(store, IsOk());
  if (!(*store)->identity().has_value()) {
    EXPECT_THAT((*store)->Initialize({fingerprint, "demo", "", {}, ""}), IsOk());
  }
  return *std::move(store);
}

std::unique_ptr<RocksDbBackups> OpenBackups(const std::string& directory,
                                            RocksDbRevisionStore* store) {
  auto backups = RocksDbBackups::Open({directory, kBackupsKept, store});
  EXPECT_THAT(backups, IsOk());
  return *std::move(backups);
}

class RocksDbHarness : public BackupsHarness {
 public:
  ~RocksDbHarness() override {
    backups_.reset();
    store_.reset();
    fs::remove_all(path_);
  }
  RevisionStore& store() override { return *store_; }
  StoreBackups& backups() override { return *backups_; }

 private:
  const std::string path_ = NewTestDirectory();
  std::unique_ptr<RocksDbRevisionStore> store_ = OpenStore(path_ + "/store");
  std::unique_ptr<RocksDbBackups> backups_ = OpenBackups(path_ + "/a/backups", store_.get());
};

INSTANTIATE_TEST_SUITE_P(RocksDb, StoreBackupsConformance,
                         testing::Values([] { return std::make_unique<RocksDbHarness>(); }));

class RocksDbBackupsTest : public testing::Test {
 protected:
  ~RocksDbBackupsTest() override { fs::remove_all(path_); }

  static StoreStep LargeRevision(int64_t number) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = Revision(number);
    step.revision->state = RevisionState::kValidated;
    step.factors.emplace();
    const Matrix large{1, 60000, std::vector<float>(60000, 0.5f)};
    step.factors->layers.push_back({LayerIndex(3), {1, 2, {1, 2}}, large, large, {1}});
    return step;
  }
  static int64_t BytesIn(const std::string& path) {
    int64_t bytes = 0;
    for (const auto& file : fs::recursive_directory_iterator(path)) {
      if (file.is_regular_file()) bytes += static_cast<int64_t>(file.file_size());
    }
    return bytes;
  }

  const std::string path_ = NewTestDirectory();
  const std::string directory_ = path_ + "/backups";
};

TEST_F(RocksDbBackupsTest, ASecondBackupCostsWhatIsNew) {
  const auto store = OpenStore(path_ + "/store");
  const auto backups = OpenBackups(directory_, store.get());
  for (int64_t i = 1; i <= 8; ++i) ASSERT_THAT(store->Commit(LargeRevision(i)), IsOk());
  ASSERT_THAT(backups->Create(1), IsOk());
  const int64_t first = BytesIn(directory_);
  ASSERT_THAT(store->Commit(LargeRevision(9)), IsOk());
  ASSERT_THAT(backups->Create(2), IsOk());
  EXPECT_GT(first, 8 * 480000);
  EXPECT_LT(BytesIn(directory_) - first, 2 * 480000);
}

TEST_F(RocksDbBackupsTest, NothingIsLeftBesideTheStore) {
  const auto store = OpenStore(path_ + "/store");
  fs::create_directories(path_ + "/store.backup/left");
  const auto backups = OpenBackups(directory_, store.get());
  EXPECT_FALSE(fs::exists(path_ + "/store.backup"));
  ASSERT_THAT(backups->Create(1), IsOk());
  EXPECT_FALSE(fs::exists(path_ + "/store.backup"));
  EXPECT_FALSE(fs::exists(path_ + "/store.backup.tmp"));
}

TEST_F(RocksDbBackupsTest, BackupsOutliveTheProcess) {
  const auto store = OpenStore(path_ + "/store");
  ASSERT_THAT(OpenBackups(directory_, store.get())->Create(1), IsOk());
  const auto backups = OpenBackups(directory_, store.get());
  ASSERT_THAT(backups->Create(2), IsOk());
  EXPECT_EQ(backups->List()->size(), 2u);
}

TEST_F(RocksDbBackupsTest, ADirectoryIsOpenOnce) {
  const auto store = OpenStore(path_ + "/store");
  const auto backups = OpenBackups(directory_, store.get());
  EXPECT_THAT(
      RocksDbBackups::Open({directory_, 1, store.get()}),
      StatusIs(StatusCode::kFailedPrecondition, AllOf(HasSubstr(directory_), HasSubstr("in use"))));
}

TEST_F(RocksDbBackupsTest, BackupsOfAnotherModelAreRefusedWithBothFingerprints) {
  const auto store = OpenStore(path_ + "/store", "abc");
  ASSERT_THAT(OpenBackups(directory_, store.get())->Create(1), IsOk());
  const auto other = OpenStore(path_ + "/other", "xyz");
  EXPECT_THAT(RocksDbBackups::Open({directory_, 1, other.get()}),
              StatusIs(StatusCode::kFailedPrecondition, AllOf(HasSubstr("abc"), HasSubstr("xyz"))));
}

TEST_F(RocksDbBackupsTest, AFileInPlaceOfTheDirectoryIsRefusedNamingIt) {
  const auto store = OpenStore(path_ + "/store");
  const std::string file = path_ + "/store/CURRENT";
  EXPECT_THAT(RocksDbBackups::Open({file, 1, store.get()}),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr(file)));
}

TEST_F(RocksDbBackupsTest, ABackupWithACutListOfFilesIsListedAsDamaged) {
  const auto store = OpenStore(path_ + "/store");
  {
    const auto backups = OpenBackups(directory_, store.get());
    ASSERT_THAT(backups->Create(1), IsOk());
    ASSERT_THAT(backups->Create(2), IsOk());
  }
  fs::resize_file(directory_ + "/meta/1", 10);
  const auto backups = OpenBackups(directory_, store.get());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto listed, backups->List());
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].damage, "");
  EXPECT_EQ(listed[1].number, 1);
  EXPECT_NE(listed[1].damage, "");
}

// Each backup is a state between two writes: its digest and its latest revision are of one moment.
TEST_F(RocksDbBackupsTest, WritesGoOnWhileBackupsAreMade) {
  const auto store = OpenStore(path_ + "/store");
  const auto backups = OpenBackups(directory_, store.get());
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int64_t i = 1; i <= 200 && !stop; ++i) {
      StoreStep step = LargeRevision(i);
      step.label = LabelMove{"live", Revision(i), std::nullopt};
      EXPECT_THAT(store->Commit(step), IsOk());
    }
  });
  for (int i = 0; i < 5; ++i) {
    const absl::StatusOr<BackupRecord> record = backups->Create(i);
    EXPECT_THAT(record, IsOk());
    if (record.ok()) {
      EXPECT_EQ(record->live, record->latest);
    }
  }
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace amend
