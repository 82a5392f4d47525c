// Damages the files and the records of a store in every way that a test can think of: what is
// damaged is found and named, at the start or when it is read, and never served.

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "storage/key_encoding.h"
#include "storage/rocksdb_revision_store.h"
#include "storage/testing/simulated_disk.h"
#include "storage/testing/store_files.h"
#include "storage/testing/store_trial.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

namespace fs = std::filesystem;

constexpr int kNobody = 65534;

class DamagedStore : public testing::Test {
 protected:
  // Of tables, blob files and a log with a write in it.
  DamagedStore() {
    absl::StatusOr<std::unique_ptr<RevisionStore>> store = Open();
    EXPECT_THAT(store, IsOk());
    for (int i = 0; i < trial_.size(); ++i) {
      if (trial_.script()[i].write == nullptr) {
        store->reset();
        store = Open();
        EXPECT_THAT(store, IsOk());
      } else {
        EXPECT_THAT(trial_.script()[i].write(**store), IsOk());
      }
    }
  }
  ~DamagedStore() override { fs::remove_all(path_); }

  absl::StatusOr<std::unique_ptr<RevisionStore>> Open() const {
    return RocksDbRevisionStore::Open({path_});
  }

  // Reads all of a damaged store: every answer is the right one or DATA_LOSS; of a store whose log
  // was cut short, that of some earlier step. Returns how often it was DATA_LOSS.
  int CountDataLoss(int fewest_steps) const {
    const auto store = Open();
    if (!store.ok()) {
      EXPECT_THAT(store, StatusIs(StatusCode::kDataLoss, HasSubstr(path_)));
      return 1;
    }
    std::string differences;
    for (int steps = trial_.size(); steps >= fewest_steps; --steps) {
      int losses = 0;
      const std::string difference = DifferenceOf(**store, trial_.StateAfter(steps), &losses);
      if (difference.empty()) return losses;
      absl::StrAppend(&differences, "\nafter step ", steps, ": ", difference);
    }
    ADD_FAILURE() << "a wrong answer:" << differences;
    return 0;
  }

  // Does `damage` to each file that counts, on a copy, and reads it. Returns how often the damage
  // was found.
  int DamageEachFile(const std::function<void(const std::string& file)>& damage) {
    const std::string good = path_ + ".good";
    fs::rename(path_, good);
    int found = 0;
    for (const auto& entry : fs::directory_iterator(good)) {
      const std::string name = entry.path().filename().string();
      // RocksDB's diary, its lock and a note of its options: nothing of the store's.
      if (absl::StartsWith(name, "LOG") || name == "LOCK" || absl::StartsWith(name, "OPTIONS")) {
        continue;
      }
      SCOPED_TRACE(name);
      fs::copy(good, path_, fs::copy_options::recursive);
      damage(absl::StrCat(path_, "/", name));
      // The end of the log cannot be told from a write that was never acknowledged.
      const bool is_log = absl::EndsWith(name, ".log");
      if (CountDataLoss(is_log ? 0 : trial_.size()) > 0) {
        ++found;
      } else {
        EXPECT_TRUE(is_log || name == "IDENTITY") << "nobody noticed";
      }
      fs::remove_all(path_);
    }
    fs::rename(good, path_);
    return found;
  }

  const StoreTrial trial_{3};
  std::string path_ = NewTestDirectory();
};

TEST_F(DamagedStore, AnIntactOneReadsAsWritten) { EXPECT_EQ(CountDataLoss(trial_.size()), 0); }

TEST_F(DamagedStore, AMissingFileIsDataLossNamingTheStore) {
  EXPECT_GT(DamageEachFile([](const std::string& file) { fs::remove(file); }), 5);
}

TEST_F(DamagedStore, AnEmptyFileIsDataLossNamingTheStore) {
  EXPECT_GT(DamageEachFile([](const std::string& file) { fs::resize_file(file, 0); }), 5);
}

TEST_F(DamagedStore, AFileThatEndsInTheMiddleIsDataLossNamingTheStore) {
  const auto cut = [](const std::string& file) { fs::resize_file(file, fs::file_size(file) / 2); };
  EXPECT_GT(DamageEachFile(cut), 5);
}

TEST_F(DamagedStore, AMissingLogIsDataLoss) {
  for (const std::string& log : FilesOf(path_, ".log")) fs::remove(log);
  EXPECT_THAT(Open(), StatusIs(StatusCode::kDataLoss,
                               AllOf(HasSubstr(path_), HasSubstr("write-ahead log"))));
}

// A bit flips before the bytes reach a file, so that RocksDB's own checksums fit: one value of each
// column family in turn, in every byte of its payload and its digest.
struct Record {
  const char* family;
  std::string key;
  // What the message calls it.
  std::string name;
};

std::vector<Record> OneOfEachFamily() {
  return {
      {"meta", "format_version", "meta/format_version"},
      {"meta", "identity", "meta/identity"},
      {"meta", "last_sequence", "meta/last_sequence"},
      {"revisions", EncodeNumberKey(1), "revisions/1"},
      {"factors", EncodeFactorKey({Revision(1), LayerIndex(2), FactorPart::kU}), "factors/1/2/U"},
      {"ledger", EncodeLedgerKey({"s", 0}), "ledger/"},
      {"pending", EncodeNumberKey(6), "pending/6"},
      {"labels", "live", "labels/live"},
      {"audit", EncodeNumberKey(1), "audit/1"}};
}

TEST_F(DamagedStore, AFlippedBitInEachColumnFamilyIsDataLossNamingKeyAndDigests) {
  for (const Record& record : OneOfEachFamily()) {
    SCOPED_TRACE(record.name);
    const std::string good = GetRaw(path_, record.family, record.key);
    ASSERT_FALSE(good.empty());
    for (const size_t byte : {size_t{0}, good.size() / 2, good.size() - 1}) {
      std::string bad = good;
      bad[byte] = static_cast<char>(bad[byte] ^ 0x10);
      PutRaw(path_, record.family, record.key, bad);
      absl::Status found;
      if (const auto store = Open(); !store.ok()) {
        found = store.status();
      } else {
        found.Update((*store)->GetRevision(Revision(1)).status());
        found.Update((*store)->ReadFactors(Revision(1)).status());
        found.Update((*store)->ListLedger("s", 0, 10).status());
        found.Update((*store)->GetLabel("live").status());
        found.Update((*store)->ListAudit(INT64_MAX, 100).status());
      }
      EXPECT_THAT(found, StatusIs(StatusCode::kDataLoss,
                                  AllOf(HasSubstr(record.name), HasSubstr("expected digest"),
                                        HasSubstr("found"))))
          << "byte " << byte;
      EXPECT_GT(CountDataLoss(trial_.size()), 0);
    }
    PutRaw(path_, record.family, record.key, good);
  }
  EXPECT_EQ(CountDataLoss(trial_.size()), 0);
}

TEST(UnusableStore, ADirectoryThatMayNotBeWrittenIsNamed) {
  const std::string path = NewTestDirectory();
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read |
                            fs::perms::others_exec);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Root may write everywhere.
    if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);
    const absl::Status status = RocksDbRevisionStore::Open({path}).status();
    const bool named = absl::StrContains(status.message(), path);
    _exit(absl::IsPermissionDenied(status) && named ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  fs::remove_all(path);
}

TEST(UnusableStore, AFileSystemThatIsMountedReadOnlyIsNamed) {
  Machine machine(std::make_shared<SimulatedDisk>());
  ASSERT_THAT(machine.Start(), IsOk());
  machine.store.reset();
  machine.disk->set_hook([](const DiskOperation& operation) {
    return ChangesDisk(operation.kind)
               ? DiskFault{rocksdb::IOStatus::IOError(operation.path, "Read-only file system")}
               : DiskFault();
  });
  EXPECT_THAT(machine.Start(), StatusIs(StatusCode::kPermissionDenied, HasSubstr(kTrialPath)));
}

TEST(UnusableStore, AFullDiskIsNamedAndTheStoreOpensOnceThereIsSpace) {
  Machine machine(std::make_shared<SimulatedDisk>());
  machine.disk->set_hook([](const DiskOperation& operation) {
    return ChangesDisk(operation.kind) ? NoSpaceFault() : DiskFault();
  });
  EXPECT_THAT(machine.Start(), StatusIs(StatusCode::kResourceExhausted, HasSubstr(kTrialPath)));
  machine.disk->set_hook(nullptr);
  EXPECT_THAT(machine.Start(), IsOk());
}

TEST(UnusableStore, IsNotOpenedAgainBeforeThereIsRoomForItsLog) {
  Machine machine(std::make_shared<SimulatedDisk>());
  ASSERT_THAT(machine.Start(), IsOk());
  machine.disk->set_free_space(1000);
  machine.disk->set_hook([](const DiskOperation& operation) {
    return operation.kind == DiskOperationKind::kSync ? NoSpaceFault() : DiskFault();
  });
  EXPECT_THAT(machine.store->Initialize({"f", "m", "p", {}, "d"}),
              StatusIs(StatusCode::kResourceExhausted));
  // Reads go on: the database is not closed.
  EXPECT_THAT(machine.store->GetLabel("live"), IsOk());
  EXPECT_THAT(machine.store->Initialize({"f", "m", "p", {}, "d"}),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("read-only")));
  EXPECT_TRUE(machine.watch.read_only());
  machine.store.reset();
}

}  // namespace
}  // namespace amend
