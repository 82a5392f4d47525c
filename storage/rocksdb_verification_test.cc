#include "storage/rocksdb_verification.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/key_encoding.h"
#include "storage/record_codec.h"
#include "storage/rocksdb_revision_store.h"
#include "storage/store_restore.h"
#include "storage/testing/random_records.h"
#include "storage/testing/store_files.h"

namespace amend {
namespace {

namespace fs = std::filesystem;

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

// A store with two revisions, a batch that waits, labels and an audit trail, closed. Its damage is
// seen without a server: see store_restore.h.
class RocksDbVerificationTest : public testing::Test {
 protected:
  RocksDbVerificationTest() {
    const auto store = Open();
    EXPECT_THAT(store->Initialize({"abc", "demo", "", {}, ""}), IsOk());
    for (int64_t revision = 1; revision <= 2; ++revision) {
      LedgerEntry entry = random_.Ledger({"s", revision - 1}, BatchState::kDurable);
      EXPECT_THAT(store->AppendLedger(entry), IsOk());
      StoreStep step;
      step.revision =
          random_.Record(Revision(revision), Revision(revision - 1), RevisionState::kValidated);
      step.factors.emplace();
      const Matrix large{1, 6000, std::vector<float>(6000, 0.5f)};
      step.factors->layers.push_back({LayerIndex(3), {1, 2, {1, 2}}, large, large, {1}});
      entry.state = BatchState::kLive;
      entry.revision = Revision(revision);
      step.ledger = entry;
      step.label = LabelMove{"live", Revision(revision), std::nullopt};
      step.audit = random_.Audit();
      EXPECT_THAT(store->Commit(step), IsOk());
    }
    EXPECT_THAT(store->AppendLedger(random_.Ledger({"s", 2}, BatchState::kDurable)), IsOk());
  }
  ~RocksDbVerificationTest() override { fs::remove_all(path_); }

  std::unique_ptr<RocksDbRevisionStore> Open() {
    auto store = RocksDbRevisionStore::Open({store_});
    EXPECT_THAT(store, IsOk());
    return *std::move(store);
  }
  StoreVerification Verify() {
    const auto found = VerifyStoreIn(path_, nullptr);
    EXPECT_THAT(found, IsOk());
    return found.value_or(StoreVerification());
  }
  // The one damage there is.
  StoreDamage OnlyDamage() {
    const StoreVerification found = Verify();
    EXPECT_EQ(found.damage_count, 1);
    for (const StoreDamage& damage : found.damages) {
      SCOPED_TRACE(damage.key + ": " + damage.description);
      EXPECT_EQ(found.damages.size(), 1u);
    }
    return found.damages.empty() ? StoreDamage() : found.damages[0];
  }
  // Changes the last byte of the payload.
  void Damage(const std::string& family, const std::string& key) {
    std::string value = GetRaw(store_, family, key);
    ASSERT_GT(value.size(), 33u);
    value[value.size() - 33] ^= 1;
    PutRaw(store_, family, key, value);
  }

  const std::string path_ = NewTestDirectory();
  const std::string store_ = path_ + "/store";
  RandomRecords random_{7};
};

TEST_F(RocksDbVerificationTest, AnIntactStoreHasNoDamageAndTheSameDigestOpenOrClosed) {
  const StoreVerification closed = Verify();
  EXPECT_EQ(closed.damage_count, 0);
  // meta 3, revisions 2, ledger 3, pending 1, labels 1, audit 2.
  EXPECT_EQ(closed.records, 12);
  EXPECT_EQ(closed.blobs, 8);
  EXPECT_GT(closed.bytes, 4 * 24000);
  EXPECT_EQ(closed.live, Revision(2));
  EXPECT_EQ(closed.latest, Revision(2));
  const auto store = Open();
  AMEND_ASSERT_OK_AND_ASSIGN(const StoreVerification open, store->Verify(nullptr));
  EXPECT_EQ(open.digest, closed.digest);
  AMEND_ASSERT_OK_AND_ASSIGN(const std::string digest, store->Digest());
  EXPECT_EQ(digest, closed.digest);
}

TEST_F(RocksDbVerificationTest, ADamagedRecordOfEachFamilyIsNamedWithBothDigests) {
  const std::string number = EncodeNumberKey(1);
  const std::string third = EncodeNumberKey(3);
  const std::vector<std::pair<std::string, std::string>> values = {
      {"meta", "identity"},
      {"meta", "last_sequence"},
      {"ledger", EncodeLedgerKey({"s", 1})},
      {"pending", third},
      {"labels", "live"},
      {"audit", number},
      {"factors", EncodeFactorKey({Revision(2), LayerIndex(3), FactorPart::kV})}};
  for (const auto& [family, key] : values) {
    SCOPED_TRACE(KeyName(family, key));
    const std::string good = GetRaw(store_, family, key);
    Damage(family, key);
    const StoreVerification found = Verify();
    ASSERT_GE(found.damage_count, 1);
    const StoreDamage& damage = found.damages[0];
    EXPECT_EQ(damage.key, KeyName(family, key));
    EXPECT_EQ(damage.expected_digest.size(), 64u);
    EXPECT_EQ(damage.found_digest.size(), 64u);
    EXPECT_NE(damage.expected_digest, damage.found_digest);
    PutRaw(store_, family, key, good);
  }
  EXPECT_EQ(Verify().damage_count, 0);
}

TEST_F(RocksDbVerificationTest, TheRestIsReadAllTheSame) {
  Damage("factors", EncodeFactorKey({Revision(1), LayerIndex(3), FactorPart::kU}));
  Damage("audit", EncodeNumberKey(1));
  const StoreVerification found = Verify();
  EXPECT_EQ(found.damage_count, 2);
  EXPECT_EQ(found.records, 12);
  EXPECT_EQ(found.blobs, 8);
}

TEST_F(RocksDbVerificationTest, AMissingMatrixIsNamed) {
  const std::string key = EncodeFactorKey({Revision(1), LayerIndex(3), FactorPart::kKeys});
  DeleteRaw(store_, "factors", key);
  const StoreDamage damage = OnlyDamage();
  EXPECT_EQ(damage.key, KeyName("factors", key));
  EXPECT_THAT(damage.description, HasSubstr("missing"));
}

TEST_F(RocksDbVerificationTest, AGoodMatrixThatTheRevisionDoesNotVouchForIsDamage) {
  const std::string key = EncodeFactorKey({Revision(1), LayerIndex(3), FactorPart::kActivations});
  PutRaw(store_, "factors", key, EncodeMatrix({"factors", key}, Matrix{1, 1, {2}}));
  EXPECT_THAT(OnlyDamage().description, HasSubstr("not the matrix of revision 1"));
}

TEST_F(RocksDbVerificationTest, AMissingRevisionIsNamed) {
  DeleteRaw(store_, "revisions", EncodeNumberKey(1));
  EXPECT_EQ(OnlyDamage().key, KeyName("revisions", EncodeNumberKey(1)));
}

TEST_F(RocksDbVerificationTest, ALabelOnARevisionThatIsNotThereIsDamage) {
  const std::string value = EncodeLabel({"labels", "x"}, {"x", Revision(9), 1});
  PutRaw(store_, "labels", "x", value);
  EXPECT_THAT(OnlyDamage().description, HasSubstr("revision 9"));
}

TEST_F(RocksDbVerificationTest, ABatchThatWaitsAndIsNotPendingIsDamage) {
  DeleteRaw(store_, "pending", EncodeNumberKey(3));
  EXPECT_THAT(OnlyDamage().description, HasSubstr("would not be solved"));
}

TEST_F(RocksDbVerificationTest, APendingBatchThatDoesNotWaitIsDamage) {
  const std::string key = EncodeNumberKey(1);
  PutRaw(store_, "pending", key, SealValue({"pending", key}, EncodeLedgerKey({"s", 0})));
  EXPECT_THAT(OnlyDamage().description, HasSubstr("not waiting"));
}

TEST_F(RocksDbVerificationTest, AFlippedBitInATableOrBlobFileIsFound) {
  FlushStore(store_);
  for (const std::string extension : {".sst", ".blob"}) {
    for (const std::string& file : FilesOf(store_, extension)) {
      SCOPED_TRACE(file);
      // Near the start: the first value.
      FlipBit(file, 8 * 60);
      const auto found = VerifyStoreIn(path_, nullptr);
      if (found.ok()) {
        EXPECT_GE(found->damage_count, 1);
      } else {
        EXPECT_THAT(found, StatusIs(StatusCode::kDataLoss));
      }
      FlipBit(file, 8 * 60);
    }
  }
  EXPECT_EQ(Verify().damage_count, 0);
}

TEST_F(RocksDbVerificationTest, TheObserverHearsOfProgressAndMayEndIt) {
  const auto store = Open();
  StoreStep step;
  step.audit = random_.Audit();
  for (int i = 0; i < 2500; ++i) ASSERT_THAT(store->Commit(step), IsOk());
  std::vector<int64_t> heard;
  const auto listen = [&](const StoreVerification& so_far) {
    heard.push_back(so_far.records);
    return true;
  };
  ASSERT_THAT(store->Verify(listen), IsOk());
  EXPECT_THAT(heard, testing::ElementsAre(1000, 2000));
  EXPECT_THAT(store->Verify([](const StoreVerification&) { return false; }),
              StatusIs(StatusCode::kCancelled));
}

}  // namespace
}  // namespace amend
