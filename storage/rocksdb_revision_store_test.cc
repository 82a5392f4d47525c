#include "storage/rocksdb_revision_store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "storage/key_encoding.h"
#include "storage/record_codec.h"
#include "storage/testing/in_memory_revision_store.h"
#include "storage/testing/random_records.h"
#include "storage/testing/revision_store_conformance.h"
#include "storage/testing/store_files.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<RevisionStore> OpenStore(const std::string& path) {
  absl::StatusOr<std::unique_ptr<RevisionStore>> store = RocksDbRevisionStore::Open({path});
  EXPECT_THAT(store, IsOk());
  return store.ok() ? *std::move(store) : nullptr;
}

class RocksDbHarness : public StoreHarness {
 public:
  ~RocksDbHarness() override {
    store_.reset();
    fs::remove_all(path_);
  }
  RevisionStore& store() override { return *store_; }
  void Reopen() override {
    store_.reset();
    store_ = OpenStore(path_);
  }

 private:
  const std::string path_ = NewTestDirectory();
  std::unique_ptr<RevisionStore> store_ = OpenStore(path_);
};

INSTANTIATE_TEST_SUITE_P(RocksDb, RevisionStoreConformance,
                         testing::Values([] { return std::make_unique<RocksDbHarness>(); }));

class RocksDbRevisionStoreTest : public testing::Test {
 protected:
  ~RocksDbRevisionStoreTest() override { fs::remove_all(path_); }

  // One validated revision with one layer whose V and K are large enough for a blob file.
  static StoreStep LargeRevision(int64_t number) {
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = Revision(number);
    step.revision->state = RevisionState::kValidated;
    step.factors.emplace();
    LayerFactors layer;
    layer.layer = LayerIndex(3);
    layer.u = {1, 4, {1, 2, 3, 4}};
    layer.v = {1, 6000, std::vector<float>(6000, 0.25f)};
    layer.keys = {1, 6000, std::vector<float>(6000, 0.5f)};
    layer.activations = {1};
    step.factors->layers.push_back(layer);
    step.label = LabelMove{"live", Revision(number), std::nullopt};
    step.audit.emplace();
    return step;
  }

  const std::string path_ = NewTestDirectory();
};

TEST_F(RocksDbRevisionStoreTest, OpenMakesTheDirectoryAndItsParents) {
  EXPECT_NE(OpenStore(path_ + "/a/b"), nullptr);
}

TEST_F(RocksDbRevisionStoreTest, OpenRefusesAnEmptyPath) {
  EXPECT_THAT(RocksDbRevisionStore::Open({""}), StatusIs(StatusCode::kInvalidArgument));
}

TEST_F(RocksDbRevisionStoreTest, OpenRefusesAFileNamingIt) {
  const std::string file = path_ + "/file";
  std::ofstream(file) << "x";
  EXPECT_THAT(RocksDbRevisionStore::Open({file}),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(file), HasSubstr("not a directory"))));
  EXPECT_THAT(RocksDbRevisionStore::Open({file + "/below"}),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr(file + "/below")));
}

TEST_F(RocksDbRevisionStoreTest, OpenRefusesAStoreThatIsOpenInThisProcess) {
  const auto store = OpenStore(path_);
  EXPECT_THAT(RocksDbRevisionStore::Open({path_}),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(path_), HasSubstr("is in use by another process"))));
}

TEST_F(RocksDbRevisionStoreTest, OpenRefusesAStoreThatIsOpenInAnotherProcess) {
  int ready[2];
  int done[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(done[1]);
    char byte = 0;
    const auto store = RocksDbRevisionStore::Open({path_});
    const ssize_t wrote = write(ready[1], store.ok() ? "y" : "n", 1);
    const ssize_t got = read(done[0], &byte, 1);
    _exit(wrote == 1 && got == 0 ? 0 : 1);
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_THAT(RocksDbRevisionStore::Open({path_}),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(path_), HasSubstr("is in use by another process"))));
  close(done[1]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(RocksDbRevisionStoreTest, OpenRefusesANewerFormatNamingBothVersions) {
  OpenStore(path_);
  PutFormatVersion(path_, 7);
  EXPECT_THAT(RocksDbRevisionStore::Open({path_}),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(path_), HasSubstr("version 7"), HasSubstr("version 1"))));
}

TEST_F(RocksDbRevisionStoreTest, OpenRefusesRecordsWithoutAFormatVersion) {
  ASSERT_THAT(OpenStore(path_)->Initialize({}), IsOk());
  DeleteRaw(path_, "meta", "format_version");
  EXPECT_THAT(RocksDbRevisionStore::Open({path_}),
              StatusIs(StatusCode::kDataLoss, HasSubstr("meta/format_version")));
}

TEST_F(RocksDbRevisionStoreTest, OpenDoesNotMakeANewStoreWhereCurrentIsMissing) {
  OpenStore(path_);
  fs::remove(path_ + "/CURRENT");
  EXPECT_THAT(RocksDbRevisionStore::Open({path_}),
              StatusIs(StatusCode::kDataLoss, AllOf(HasSubstr(path_), HasSubstr("CURRENT"))));
}

TEST_F(RocksDbRevisionStoreTest, LargeFactorsLieInBlobFiles) {
  ASSERT_THAT(OpenStore(path_)->Commit(LargeRevision(1)), IsOk());
  FlushStore(path_);
  ASSERT_EQ(FilesOf(path_, ".blob").size(), 1u);
  EXPECT_GT(fs::file_size(FilesOf(path_, ".blob")[0]), 2u * 6000 * 4);
}

TEST_F(RocksDbRevisionStoreTest, ABlobThatIsNotTheOneOfTheRecordIsDataLossNamingBothDigests) {
  ASSERT_THAT(OpenStore(path_)->Commit(LargeRevision(1)), IsOk());
  const std::string key = EncodeFactorKey({Revision(1), LayerIndex(3), FactorPart::kV});
  // A good blob for this key: of another store, say.
  PutRaw(path_, "factors", key, EncodeMatrix({"factors", key}, Matrix{1, 1, {9}}));
  EXPECT_THAT(
      OpenStore(path_)->ReadFactors(Revision(1)),
      StatusIs(StatusCode::kDataLoss, AllOf(HasSubstr("factors/1/3/V"), HasSubstr(path_),
                                            HasSubstr("expected digest"), HasSubstr("found"))));
}

TEST_F(RocksDbRevisionStoreTest, ABlobThatIsDamagedBeforeItReachesTheFilesIsDataLoss) {
  ASSERT_THAT(OpenStore(path_)->Commit(LargeRevision(1)), IsOk());
  const std::string key = EncodeFactorKey({Revision(1), LayerIndex(3), FactorPart::kKeys});
  std::string value = GetRaw(path_, "factors", key);
  value[100] = static_cast<char>(value[100] ^ 1);
  PutRaw(path_, "factors", key, value);
  EXPECT_THAT(OpenStore(path_)->ReadFactors(Revision(1)),
              StatusIs(StatusCode::kDataLoss, HasSubstr("factors/1/3/K")));
}

TEST_F(RocksDbRevisionStoreTest, AMissingBlobIsDataLoss) {
  ASSERT_THAT(OpenStore(path_)->Commit(LargeRevision(1)), IsOk());
  DeleteRaw(path_, "factors", EncodeFactorKey({Revision(1), LayerIndex(3), FactorPart::kU}));
  EXPECT_THAT(OpenStore(path_)->ReadFactors(Revision(1)),
              StatusIs(StatusCode::kDataLoss, HasSubstr("factors/1/3/U")));
}

TEST_F(RocksDbRevisionStoreTest, AMissingRevisionBelowTheLatestIsDataLoss) {
  {
    const auto store = OpenStore(path_);
    for (int64_t i = 1; i <= 3; ++i) ASSERT_THAT(store->Commit(LargeRevision(i)), IsOk());
  }
  DeleteRaw(path_, "revisions", EncodeNumberKey(2));
  const auto store = OpenStore(path_);
  EXPECT_THAT(store->GetRevision(Revision(2)),
              StatusIs(StatusCode::kDataLoss, HasSubstr("revisions/2")));
  EXPECT_THAT(store->ListRevisions(Revision(9), 9), StatusIs(StatusCode::kDataLoss));
}

TEST_F(RocksDbRevisionStoreTest, ADamagedLogIsDataLossRatherThanAShorterHistory) {
  {
    const auto store = OpenStore(path_);
    for (int64_t i = 1; i <= 3; ++i) ASSERT_THAT(store->Commit(LargeRevision(i)), IsOk());
  }
  const std::vector<std::string> logs = FilesOf(path_, ".log");
  ASSERT_FALSE(logs.empty());
  FlipBit(logs.back(), 8 * (fs::file_size(logs.back()) / 2));
  EXPECT_THAT(RocksDbRevisionStore::Open({path_}),
              StatusIs(StatusCode::kDataLoss, HasSubstr(path_)));
}

TEST_F(RocksDbRevisionStoreTest, AWriteThatWasCutShortIsNotThereAndTheStoreOpens) {
  {
    const auto store = OpenStore(path_);
    for (int64_t i = 1; i <= 3; ++i) ASSERT_THAT(store->Commit(LargeRevision(i)), IsOk());
  }
  const std::string log = FilesOf(path_, ".log").back();
  fs::resize_file(log, fs::file_size(log) - 100);
  const auto store = OpenStore(path_);
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->LatestRevision(), Revision(2));
  EXPECT_EQ(store->GetLabel("live")->revision, Revision(2));
  EXPECT_EQ(store->ListAudit(INT64_MAX, 10)->size(), 2u);
}

TEST_F(RocksDbRevisionStoreTest, AStartWritesWhatTheLogHoldsOnceAndNotTheHistoryAgain) {
  {
    const auto store = OpenStore(path_);
    for (int64_t i = 1; i <= 20; ++i) ASSERT_THAT(store->Commit(LargeRevision(i)), IsOk());
  }
  EXPECT_TRUE(FilesOf(path_, ".sst").empty());
  OpenStore(path_);
  const std::vector<std::string> tables = FilesOf(path_, ".sst");
  const std::vector<std::string> blobs = FilesOf(path_, ".blob");
  EXPECT_FALSE(tables.empty());
  for (int i = 0; i < 3; ++i) OpenStore(path_);
  EXPECT_EQ(FilesOf(path_, ".sst"), tables);
  EXPECT_EQ(FilesOf(path_, ".blob"), blobs);
  EXPECT_EQ(OpenStore(path_)->LatestRevision(), Revision(20));
}

TEST_F(RocksDbRevisionStoreTest, AFinishedBatchLeavesTheIndexOfPendingOnes) {
  StoreStep step;
  step.ledger.emplace();
  step.ledger->key = {"s", 0};
  ASSERT_THAT(OpenStore(path_)->AppendLedger(*step.ledger), IsOk());
  EXPECT_FALSE(GetRaw(path_, "pending", EncodeNumberKey(1)).empty());
  step.ledger->state = BatchState::kFailed;
  ASSERT_THAT(OpenStore(path_)->Commit(step), IsOk());
  EXPECT_TRUE(GetRaw(path_, "pending", EncodeNumberKey(1)).empty());
}

TEST_F(RocksDbRevisionStoreTest, KeepsFewInfoLogs) {
  for (int i = 0; i < 6; ++i) OpenStore(path_);
  int logs = 0;
  for (const auto& file : fs::directory_iterator(path_)) {
    if (file.path().filename().string().rfind("LOG", 0) == 0) ++logs;
  }
  EXPECT_LE(logs, 2);
}

class CountingObserver : public StoreObserver {
 public:
  void OnSync(double seconds, bool ok) override {
    EXPECT_GE(seconds, 0);
    ++(ok ? good : bad);
  }
  int good = 0;
  int bad = 0;
};

TEST_F(RocksDbRevisionStoreTest, OneStepIsOneSync) {
  CountingObserver observer;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto store, RocksDbRevisionStore::Open({path_, &observer}));
  const int before = observer.good;
  ASSERT_THAT(store->Commit(LargeRevision(1)), IsOk());
  EXPECT_EQ(observer.good, before + 1);
  EXPECT_EQ(observer.bad, 0);
}

// Keeps what it hears.
class RememberingObserver : public StoreObserver {
 public:
  void OnSync(double /*seconds*/, bool /*ok*/) override {}
  void OnLedger(const LedgerEntry& entry) override { states.push_back(entry.state); }
  void OnAudit(const AuditRecord& record) override { verbs.push_back(record.verb); }
  std::vector<BatchState> states;
  std::vector<std::string> verbs;
};

TEST_F(RocksDbRevisionStoreTest, ItsObserverHearsOfWhatBecameDurable) {
  RememberingObserver observer;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto store, RocksDbRevisionStore::Open({path_, &observer}));
  LedgerEntry entry;
  entry.key = {"s", 0};
  entry.edits.resize(1);
  ASSERT_THAT(store->AppendLedger(entry), IsOk());
  EXPECT_EQ(observer.states, std::vector<BatchState>{BatchState::kDurable});
  StoreStep step;
  step.ledger = entry;
  step.ledger->state = BatchState::kFailed;
  step.audit.emplace().verb = "cancel";
  ASSERT_THAT(store->Commit(step), IsOk());
  EXPECT_EQ(observer.states.back(), BatchState::kFailed);
  EXPECT_EQ(observer.verbs, std::vector<std::string>{"cancel"});
  // This does not fit, and nobody hears of it.
  EXPECT_THAT(store->Commit(LargeRevision(7)), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_EQ(observer.states.size(), 2u);
}

TEST_F(RocksDbRevisionStoreTest, AStepThatDoesNotFitIsNotWritten) {
  CountingObserver observer;
  AMEND_ASSERT_OK_AND_ASSIGN(const auto store, RocksDbRevisionStore::Open({path_, &observer}));
  const int before = observer.good;
  EXPECT_THAT(store->Commit(LargeRevision(2)), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_EQ(observer.good, before);
}

// A file system whose log files cannot grow while `full`, and that counts syncs of log files.
class FullDisk : public rocksdb::FileSystemWrapper {
 public:
  FullDisk() : rocksdb::FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FullDisk"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSWritableFile> real;
    const rocksdb::IOStatus status = target()->NewWritableFile(name, options, &real, debug);
    if (!status.ok()) return status;
    const bool is_log = fs::path(name).extension() == ".log";
    if (is_log) {
      *file = std::make_unique<LogFile>(std::move(real), this);
    } else {
      *file = std::move(real);
    }
    return status;
  }

  std::atomic<bool> full{false};
  std::atomic<int> log_syncs{0};

 private:
  class LogFile : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    LogFile(std::unique_ptr<rocksdb::FSWritableFile> file, FullDisk* disk)
        : FSWritableFileOwnerWrapper(std::move(file)), disk_(disk) {}
    using FSWritableFileOwnerWrapper::Append;
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      if (disk_->full) {
        // As a real one does: part of the bytes still fit.
        const rocksdb::Slice part(data.data(), data.size() / 2);
        const rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Append(part, options, debug);
        return status.ok() ? rocksdb::IOStatus::NoSpace("the test's disk is full") : status;
      }
      return FSWritableFileOwnerWrapper::Append(data, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
      ++disk_->log_syncs;
      return FSWritableFileOwnerWrapper::Sync(options, debug);
    }

   private:
    FullDisk* const disk_;
  };
};

class FullDiskTest : public RocksDbRevisionStoreTest {
 protected:
  std::unique_ptr<RevisionStore> Open() {
    auto store = RocksDbRevisionStore::Open({path_, &observer_, env_.get()});
    EXPECT_THAT(store, IsOk());
    return *std::move(store);
  }

  CountingObserver observer_;
  const std::shared_ptr<FullDisk> disk_ = std::make_shared<FullDisk>();
  const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
};

TEST_F(FullDiskTest, EveryWriteIsSynced) {
  const auto store = Open();
  int syncs = disk_->log_syncs;
  const auto expect_sync = [&] { EXPECT_EQ(disk_->log_syncs, ++syncs); };
  ASSERT_THAT(store->Initialize({}), IsOk());
  expect_sync();
  LedgerEntry entry;
  entry.key = {"s", 0};
  ASSERT_THAT(store->AppendLedger(entry), IsOk());
  expect_sync();
  ASSERT_THAT(store->Commit(LargeRevision(1)), IsOk());
  expect_sync();
}

TEST_F(FullDiskTest, AFullDiskIsResourceExhaustedAndNothingOfTheStepIsThere) {
  const auto store = Open();
  ASSERT_THAT(store->Commit(LargeRevision(1)), IsOk());
  disk_->full = true;
  EXPECT_THAT(store->Commit(LargeRevision(2)),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr(path_)));
  EXPECT_EQ(store->LatestRevision(), Revision(1));
  EXPECT_THAT(store->GetRevision(Revision(2)), StatusIs(StatusCode::kNotFound));
  EXPECT_EQ(store->GetLabel("live")->revision, Revision(1));
  EXPECT_THAT(store->ReadFactors(Revision(1)), IsOk());
  EXPECT_EQ(observer_.bad, 1);
}

TEST_F(FullDiskTest, AStoreThatIsClosedWhileTheDiskIsFullOpensAgainWithEveryStep) {
  auto store = Open();
  for (int64_t i = 1; i <= 2; ++i) ASSERT_THAT(store->Commit(LargeRevision(i)), IsOk());
  disk_->full = true;
  EXPECT_THAT(store->Commit(LargeRevision(3)), StatusIs(StatusCode::kResourceExhausted));
  store.reset();
  disk_->full = false;
  store = Open();
  EXPECT_EQ(store->LatestRevision(), Revision(2));
  EXPECT_THAT(store->ReadFactors(Revision(2)), IsOk());
  EXPECT_THAT(store->Commit(LargeRevision(3)), IsOk());
}

TEST_F(FullDiskTest, WritingGoesOnOnceThereIsSpaceAgain) {
  auto store = Open();
  disk_->full = true;
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(store->Commit(LargeRevision(1)), StatusIs(StatusCode::kResourceExhausted));
  }
  disk_->full = false;
  // RocksDB looks for space every few seconds.
  const absl::Time deadline = absl::Now() + absl::Seconds(40);
  absl::Status status = store->Commit(LargeRevision(1));
  while (!status.ok() && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(50));
    status = store->Commit(LargeRevision(1));
  }
  ASSERT_THAT(status, IsOk());
  ASSERT_THAT(store->Commit(LargeRevision(2)), IsOk());
  store.reset();
  store = OpenStore(path_);
  EXPECT_EQ(store->LatestRevision(), Revision(2));
  EXPECT_THAT(store->ReadFactors(Revision(2)), IsOk());
}

// ---- Purged factors ----------------------------------------------------------------------------

uintmax_t BlobBytes(const std::string& path) {
  uintmax_t bytes = 0;
  for (const std::string& file : FilesOf(path, ".blob")) bytes += fs::file_size(file);
  return bytes;
}

TEST_F(RocksDbRevisionStoreTest, TheSpaceOfPurgedFactorsIsGivenBackToTheDisk) {
  auto store = OpenStore(path_);
  for (int64_t i = 1; i <= 4; ++i) ASSERT_THAT(store->Commit(LargeRevision(i)), IsOk());
  StoreStep back;
  back.label = LabelMove{"live", Revision(1), std::nullopt};
  ASSERT_THAT(store->Commit(back), IsOk());
  store.reset();
  FlushStore(path_);
  const uintmax_t before = BlobBytes(path_);
  store = OpenStore(path_);
  for (const int64_t revision : {4, 3, 2}) {
    StoreStep step;
    step.marks = MarkChange{Revision(revision), {false, 7, 0}};
    ASSERT_THAT(store->Commit(step), IsOk());
    step.marks->marks.purge_time_us = 9;
    ASSERT_THAT(store->Commit(step), IsOk());
  }
  EXPECT_EQ(BlobBytes(path_), before);
  std::atomic<bool> cancelled{false};
  ASSERT_THAT(store->ReclaimSpace(&cancelled), IsOk());
  EXPECT_THAT(store->ReadFactors(Revision(1)), IsOk());
  // Files that are no longer needed go at the latest when the store is closed.
  store.reset();
  EXPECT_LT(BlobBytes(path_), before / 2);
  store = OpenStore(path_);
  EXPECT_THAT(store->ReadFactors(Revision(1)), IsOk());
}

TEST_F(RocksDbRevisionStoreTest, ReclaimingSpaceStopsWhenItIsTold) {
  auto store = OpenStore(path_);
  ASSERT_THAT(store->Commit(LargeRevision(1)), IsOk());
  std::atomic<bool> cancelled{true};
  EXPECT_THAT(store->ReclaimSpace(&cancelled), StatusIs(StatusCode::kCancelled));
  EXPECT_THAT(store->ReadFactors(Revision(1)), IsOk());
}

// ---- Damaged files -----------------------------------------------------------------------------

// Reads all of `damaged`: each answer is the right one or DATA_LOSS. Returns how often it was that.
int CountDataLoss(const std::string& path, const RevisionStore& good) {
  const auto opened = RocksDbRevisionStore::Open({path});
  if (!opened.ok()) {
    EXPECT_THAT(opened, StatusIs(StatusCode::kDataLoss));
    return 1;
  }
  const RevisionStore& damaged = **opened;
  int losses = 0;
  const auto check = [&losses](const auto& found, const auto& expected) {
    if (found.ok()) {
      EXPECT_TRUE(*found == *expected);
    } else {
      EXPECT_THAT(found, StatusIs(StatusCode::kDataLoss));
      ++losses;
    }
  };
  for (int64_t i = 1; i <= good.LatestRevision().value(); ++i) {
    check(damaged.GetRevision(Revision(i)), good.GetRevision(Revision(i)));
    check(damaged.ReadFactors(Revision(i)), good.ReadFactors(Revision(i)));
  }
  check(damaged.ListLedger("a", 0, 1000), good.ListLedger("a", 0, 1000));
  check(damaged.PendingBatches(), good.PendingBatches());
  check(damaged.ListLabels(), good.ListLabels());
  check(damaged.ListAudit(INT64_MAX, 1000), good.ListAudit(INT64_MAX, 1000));
  return losses;
}

class DamagedFiles : public RocksDbRevisionStoreTest {
 protected:
  DamagedFiles() {
    const auto store = OpenStore(path_);
    RandomRecords random(7);
    for (int64_t i = 0; i < 6; ++i) {
      const LedgerEntry entry = random.Ledger({"a", i}, BatchState::kDurable);
      Both(*store, [&](RevisionStore& s) { return s.AppendLedger(entry).status(); });
      StoreStep step = LargeRevision(i + 1);
      step.revision = random.Record(Revision(i + 1), Revision(i), RevisionState::kValidated);
      step.audit = random.Audit();
      Both(*store, [&](RevisionStore& s) { return s.Commit(step); });
    }
  }
  template <typename Write>
  void Both(RevisionStore& store, const Write& write) {
    EXPECT_THAT(write(store), IsOk());
    EXPECT_THAT(write(good_), IsOk());
  }
  // Flips one bit at a time at random places of every file with `extension`.
  int FlipEverywhere(const std::string& extension, int flips) {
    std::mt19937_64 random(seed_);
    int found = 0;
    for (const std::string& file : FilesOf(path_, extension)) {
      for (int i = 0; i < flips; ++i) {
        const std::string copy = NewTestDirectory();
        fs::copy(path_, copy, fs::copy_options::recursive);
        const uint64_t bit = random() % (8 * fs::file_size(file));
        const std::string name = fs::path(file).filename().string();
        SCOPED_TRACE(testing::Message() << "seed " << seed_ << ": bit " << bit << " of " << name);
        FlipBit(copy + "/" + name, bit);
        if (CountDataLoss(copy, good_) > 0) ++found;
        fs::remove_all(copy);
      }
    }
    return found;
  }

  const unsigned seed_ = std::random_device()();
  InMemoryRevisionStore good_;
};

TEST_F(DamagedFiles, AnIntactStoreReadsAsWritten) {
  FlushStore(path_);
  EXPECT_EQ(CountDataLoss(path_, good_), 0);
}

TEST_F(DamagedFiles, AFlippedBitInATableIsDataLossNeverWrongData) {
  FlushStore(path_);
  EXPECT_GT(FlipEverywhere(".sst", 8), 0);
}

TEST_F(DamagedFiles, AFlippedBitInABlobFileIsDataLossNeverWrongData) {
  FlushStore(path_);
  EXPECT_GT(FlipEverywhere(".blob", 20), 0);
}

// ---- Random histories --------------------------------------------------------------------------

// Does the same random thing to two stores and compares the answers.
class HistoryPair {
 public:
  HistoryPair(const std::string& path, uint64_t seed) : path_(path), random_(seed) {}

  void Step() {
    switch (random_.Below(14)) {
      case 0:
        store_.reset();
        store_ = OpenStore(path_);
        break;
      case 1:
      case 2:
      case 3:
        Append();
        break;
      case 4: {
        const StoreIdentity identity = random_.Identity();
        EXPECT_EQ(store_->Initialize(identity), fake_.Initialize(identity));
        break;
      }
      case 5:
      case 6:
      case 7:
        CommitMarks();
        break;
      case 8:
        CommitLabelDeletion();
        break;
      default:
        Commit();
    }
  }

  void CompareAll() {
    EXPECT_TRUE(store_->identity() == fake_.identity());
    EXPECT_EQ(store_->LatestRevision(), fake_.LatestRevision());
    for (int64_t i = -1; i <= fake_.LatestRevision().value() + 1; ++i) {
      Same(store_->GetRevision(Revision(i)), fake_.GetRevision(Revision(i)));
      Same(store_->ReadFactors(Revision(i)), fake_.ReadFactors(Revision(i)));
    }
    for (int i = 0; i < 20; ++i) {
      const std::string session = random_.Session();
      const int64_t offset = random_.Below(20) - 2;
      const int limit = static_cast<int>(random_.Below(10));
      Same(store_->GetLedger({session, offset}), fake_.GetLedger({session, offset}));
      Same(store_->NextOffset(session), fake_.NextOffset(session));
      Same(store_->ListLedger(session, offset, limit), fake_.ListLedger(session, offset, limit));
      const Revision before(random_.Below(20));
      Same(store_->ListRevisions(before, limit), fake_.ListRevisions(before, limit));
      const int64_t before_audit = random_.Below(40);
      Same(store_->ListAudit(before_audit, limit), fake_.ListAudit(before_audit, limit));
    }
    Same(store_->PendingBatches(), fake_.PendingBatches());
    Same(store_->ListLabels(), fake_.ListLabels());
    Same(store_->GetLabel("live"), fake_.GetLabel("live"));
    Same(store_->GetLabel("x"), fake_.GetLabel("x"));
  }

 private:
  template <typename T>
  void Same(const absl::StatusOr<T>& found, const absl::StatusOr<T>& expected) {
    ASSERT_EQ(found.status(), expected.status());
    if (found.ok()) {
      EXPECT_TRUE(*found == *expected);
    }
  }

  // The next offset of a session, or now and then one beside it.
  BatchKey Key() {
    const std::string session = random_.Session();
    const int64_t next = *fake_.NextOffset(session);
    return {session, random_.Below(5) == 0 ? next + random_.Below(4) - 2 : next};
  }

  void Append() {
    const LedgerEntry entry = random_.Ledger(Key(), static_cast<BatchState>(1 + random_.Below(2)));
    Same(store_->AppendLedger(entry), fake_.AppendLedger(entry));
  }

  // Marks that mostly fit; a purge now and then with its space.
  void CommitMarks() {
    const Revision revision(random_.Below(fake_.LatestRevision().value() + 2));
    const auto record = fake_.GetRevision(revision);
    RevisionMarks marks = record.ok() ? record->marks : RevisionMarks();
    if (random_.Coin()) marks.pinned = random_.Coin();
    if (marks.delete_time_us != 0 && random_.Coin()) {
      marks.purge_time_us = 9;
    } else {
      marks.delete_time_us = random_.Coin() ? 7 : 0;
    }
    StoreStep step;
    step.marks = MarkChange{revision, marks};
    if (random_.Coin()) step.audit = random_.Audit();
    EXPECT_EQ(store_->Commit(step), fake_.Commit(step));
    std::atomic<bool> cancelled{false};
    if (random_.Below(4) == 0) {
      EXPECT_THAT(store_->ReclaimSpace(&cancelled), IsOk());
    }
  }

  void CommitLabelDeletion() {
    StoreStep step;
    step.label_deletion = LabelDeletion{random_.Below(8) == 0 ? "live" : "x", std::nullopt};
    if (random_.Coin()) step.label_deletion->expected_generation = random_.Below(6);
    EXPECT_EQ(store_->Commit(step), fake_.Commit(step));
  }

  void Commit() {
    StoreStep step;
    const int64_t latest = fake_.LatestRevision().value();
    if (random_.Coin()) {
      const int64_t number = latest + (random_.Below(8) == 0 ? random_.Below(3) : 1);
      const auto state = static_cast<RevisionState>(1 + random_.Below(3));
      step.revision = random_.Record(Revision(number), Revision(random_.Below(latest + 1)), state);
      if (state != RevisionState::kRejected) step.factors = random_.Factors();
      if (latest > 0 && random_.Below(4) == 0) {
        const Revision parent(1 + random_.Below(latest));
        step.revision = random_.Withdrawal(Revision(number), parent, state);
        // Now and then it comes with factors, which does not fit.
        if (random_.Below(4) != 0) step.factors.reset();
      }
    }
    if (random_.Coin()) {
      BatchKey key = Key();
      key.offset -= 1 + random_.Below(2);
      step.ledger = random_.Ledger(key, static_cast<BatchState>(1 + random_.Below(5)));
    }
    if (random_.Coin()) {
      step.label =
          LabelMove{random_.Coin() ? "live" : "x", Revision(random_.Below(latest + 3)), {}};
      if (random_.Coin()) {
        const auto label = fake_.GetLabel(step.label->name);
        step.label->expected_generation =
            (label.ok() ? label->generation : 0) + (random_.Below(4) == 0 ? 1 : 0);
      }
    }
    if (random_.Coin()) step.audit = random_.Audit();
    EXPECT_EQ(store_->Commit(step), fake_.Commit(step));
  }

  const std::string path_;
  RandomRecords random_;
  InMemoryRevisionStore fake_;
  std::unique_ptr<RevisionStore> store_ = OpenStore(path_);
};

TEST_F(RocksDbRevisionStoreTest, AnswersAsTheFakeDoesOverRandomHistories) {
  const char* given = std::getenv("AMEND_TEST_SEED");
  const uint64_t first =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("first seed %llu (AMEND_TEST_SEED repeats it)\n",
              static_cast<unsigned long long>(first));
  for (uint64_t seed = first; seed < first + 6; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const std::string path = path_ + "/" + std::to_string(seed);
    HistoryPair pair(path, seed);
    for (int i = 0; i < 120 && !HasFailure(); ++i) {
      pair.Step();
      if (i % 20 == 0) pair.CompareAll();
    }
    pair.CompareAll();
  }
}

}  // namespace
}  // namespace amend
