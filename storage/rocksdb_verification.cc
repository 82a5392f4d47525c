#include "storage/rocksdb_verification.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "rocksdb/db.h"
#include "rocksdb/snapshot.h"
#include "storage/key_encoding.h"
#include "storage/record_codec.h"
#include "storage/revision_store.h"
#include "storage/rocksdb_options.h"

namespace amend {
namespace {

using Family = rocksdb::ColumnFamilyHandle*;

// How much is read between two calls of the observer.
constexpr int64_t kBytesPerReport = 4 << 20;
constexpr int64_t kRecordsPerReport = 1000;

// One pass over a database.
class Verifier {
 public:
  Verifier(rocksdb::DB* db, const std::vector<Family>& families, VerificationObserver observer)
      : db_(db), families_(families), observer_(std::move(observer)), snapshot_(db->GetSnapshot()) {
    // Digests do not depend on the order in which the families were opened.
    std::sort(families_.begin(), families_.end(),
              [](Family a, Family b) { return a->GetName() < b->GetName(); });
    read_ = CheckedRead();
    read_.snapshot = snapshot_;
    read_.fill_cache = false;
  }
  ~Verifier() { db_->ReleaseSnapshot(snapshot_); }

  // All families but `factors`.
  absl::Status ReadRecords() {
    for (const Family family : families_) {
      if (family->GetName() != "factors") AMEND_RETURN_IF_ERROR(ReadFamily(family));
    }
    result_.digest = digest_.HexDigest();
    return absl::OkStatus();
  }

  absl::Status ReadFactors() {
    for (const auto& [revision, stored] : revisions_) {
      for (const BlobReference& blob : stored.blobs) {
        ReadBlob(revision, blob);
        AMEND_RETURN_IF_ERROR(Report());
      }
    }
    return absl::OkStatus();
  }

  void CheckRelations();

  StoreVerification TakeResult() { return std::move(result_); }
  const StoreVerification& result() const { return result_; }

 private:
  void AddDamage(StoreDamage damage) {
    ++result_.damage_count;
    if (result_.damages.size() < kMaxDamagesDescribed) result_.damages.push_back(std::move(damage));
  }
  void AddDamage(absl::string_view family, absl::string_view key, absl::string_view description) {
    AddDamage({KeyName(family, key), "", "", std::string(description)});
  }

  absl::Status Report() {
    const int64_t records = result_.records + result_.blobs;
    if (result_.bytes - reported_bytes_ < kBytesPerReport &&
        records - reported_records_ < kRecordsPerReport) {
      return absl::OkStatus();
    }
    reported_bytes_ = result_.bytes;
    reported_records_ = records;
    if (observer_ == nullptr || observer_(result_)) return absl::OkStatus();
    return absl::CancelledError("the verification was ended");
  }

  absl::Status ReadFamily(Family family);
  // False: the value does not carry its digest, which is noted.
  bool CheckSeal(const ValueAddress& address, absl::string_view value);
  absl::Status CheckRecord(const ValueAddress& address, absl::string_view value);
  absl::Status DecodeRecord(const ValueAddress& address, absl::string_view value);
  void ReadBlob(Revision revision, const BlobReference& blob);
  Family FamilyOf(absl::string_view name) const {
    for (const Family family : families_) {
      if (family->GetName() == name) return family;
    }
    return nullptr;
  }

  rocksdb::DB* const db_;
  std::vector<Family> families_;
  const VerificationObserver observer_;
  const rocksdb::Snapshot* const snapshot_;
  rocksdb::ReadOptions read_;
  Sha256Stream digest_;
  StoreVerification result_;
  int64_t reported_bytes_ = 0;
  int64_t reported_records_ = 0;
  std::map<Revision, StoredRevision> revisions_;
  std::vector<LabelRecord> labels_;
  // Sequence to the key in `ledger`.
  std::map<int64_t, std::string> pending_;
  // Keys in `ledger` of batches in state DURABLE.
  std::map<std::string, int64_t> durable_;
};

absl::Status Verifier::ReadFamily(Family family) {
  const std::string name = family->GetName();
  const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(read_, family));
  std::optional<std::string> last;
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    last = iterator->key().ToString();
    AMEND_RETURN_IF_ERROR(CheckRecord({name, *last}, ToView(iterator->value())));
  }
  if (iterator->status().ok()) return absl::OkStatus();
  // What lies behind the damage is read from the other end.
  const std::string cause = iterator->status().ToString();
  std::string next;
  for (iterator->SeekToLast(); iterator->Valid(); iterator->Prev()) {
    const std::string key = iterator->key().ToString();
    if (last.has_value() && key <= *last) break;
    next = key;
    AMEND_RETURN_IF_ERROR(CheckRecord({name, key}, ToView(iterator->value())));
  }
  AddDamage(
      {name, "", "",
       absl::StrCat("records between ", last.has_value() ? KeyName(name, *last) : "the first key",
                    " and ", next.empty() ? "the last key" : KeyName(name, next),
                    " cannot be read: ", cause)});
  return absl::OkStatus();
}

bool Verifier::CheckSeal(const ValueAddress& address, absl::string_view value) {
  const absl::Status status = UnsealValue(address, value).status();
  if (status.ok()) return true;
  StoreDamage damage;
  damage.key = KeyName(address.column_family, address.key);
  damage.description = std::string(status.message());
  const std::string expected = SealDigest(value);
  if (value.size() >= expected.size() && !expected.empty()) {
    damage.expected_digest = absl::BytesToHexString(expected);
    damage.found_digest = absl::BytesToHexString(
        ValueDigest(address, value.substr(0, value.size() - expected.size())));
  }
  AddDamage(std::move(damage));
  return false;
}

absl::Status Verifier::CheckRecord(const ValueAddress& address, absl::string_view value) {
  ++result_.records;
  result_.bytes += static_cast<int64_t>(value.size());
  digest_.Update(SealDigest(value));
  if (CheckSeal(address, value)) {
    const absl::Status decoded = DecodeRecord(address, value);
    if (!decoded.ok()) AddDamage(address.column_family, address.key, decoded.message());
  }
  return Report();
}

absl::Status Verifier::DecodeRecord(const ValueAddress& address, absl::string_view value) {
  const absl::string_view family = address.column_family;
  if (family == "revisions") {
    AMEND_ASSIGN_OR_RETURN(StoredRevision stored, DecodeRevision(address, value));
    result_.latest = std::max(result_.latest, stored.record.revision);
    revisions_[stored.record.revision] = std::move(stored);
  } else if (family == "ledger") {
    AMEND_ASSIGN_OR_RETURN(const LedgerEntry entry, DecodeLedgerEntry(address, value));
    if (!IsTerminal(entry.state)) durable_[std::string(address.key)] = entry.sequence;
  } else if (family == "pending") {
    AMEND_ASSIGN_OR_RETURN(const int64_t sequence, DecodeNumberKey(address.key));
    AMEND_ASSIGN_OR_RETURN(const absl::string_view key, UnsealValue(address, value));
    pending_[sequence] = std::string(key);
  } else if (family == "labels") {
    AMEND_ASSIGN_OR_RETURN(const LabelRecord label, DecodeLabel(address, value));
    if (label.name == kLiveLabel) result_.live = label.revision;
    labels_.push_back(label);
  } else if (family == "audit") {
    return DecodeAudit(address, value).status();
  } else if (family == "meta" && address.key == "identity") {
    return DecodeIdentity(address, value).status();
  }
  return absl::OkStatus();
}

void Verifier::ReadBlob(Revision revision, const BlobReference& blob) {
  const std::string key = EncodeFactorKey({revision, blob.layer, blob.part});
  const ValueAddress address{"factors", key};
  const Family family = FamilyOf("factors");
  if (family == nullptr) return AddDamage("factors", key, "the column family is missing");
  ++result_.blobs;
  rocksdb::PinnableSlice value;
  const rocksdb::Status status = db_->Get(read_, family, key, &value);
  if (status.IsNotFound()) {
    AddDamage({KeyName("factors", key), absl::BytesToHexString(blob.digest), "", "it is missing"});
    return;
  }
  if (!status.ok()) {
    AddDamage({KeyName("factors", key), absl::BytesToHexString(blob.digest), "",
               absl::StrCat("cannot be read: ", status.ToString())});
    return;
  }
  result_.bytes += static_cast<int64_t>(value.size());
  if (!CheckSeal(address, ToView(value))) return;
  if (SealDigest(ToView(value)) != blob.digest) {
    AddDamage({KeyName("factors", key), absl::BytesToHexString(blob.digest),
               absl::BytesToHexString(SealDigest(ToView(value))),
               absl::StrCat("is not the matrix of revision ", revision.value())});
    return;
  }
  const absl::Status decoded = DecodeMatrix(address, ToView(value)).status();
  if (!decoded.ok()) AddDamage("factors", key, decoded.message());
}

void Verifier::CheckRelations() {
  Revision expected = kBaseRevision.Next();
  for (const auto& [revision, stored] : revisions_) {
    for (; expected < revision; expected = expected.Next()) {
      AddDamage("revisions", EncodeNumberKey(expected.value()),
                "it is missing or damaged, and later ones are there");
    }
    expected = revision.Next();
  }
  for (const LabelRecord& label : labels_) {
    if (label.revision == kBaseRevision) continue;
    const auto found = revisions_.find(label.revision);
    if (found == revisions_.end()) {
      AddDamage("labels", label.name,
                absl::StrCat("is on revision ", label.revision.value(), ", which is not there"));
    } else if (found->second.record.state != RevisionState::kValidated) {
      AddDamage(
          "labels", label.name,
          absl::StrCat("is on revision ", label.revision.value(), ", which is not validated"));
    }
  }
  for (const auto& [sequence, key] : pending_) {
    const auto found = durable_.find(key);
    if (found == durable_.end() || found->second != sequence) {
      AddDamage("pending", EncodeNumberKey(sequence),
                absl::StrCat("names ", KeyName("ledger", key), ", which is not waiting"));
    }
  }
  for (const auto& [key, sequence] : durable_) {
    if (pending_.count(sequence) == 0) {
      AddDamage("ledger", key, "waits, but is not pending: it would not be solved");
    }
  }
}

}  // namespace

absl::StatusOr<StoreVerification> VerifyRocksDb(rocksdb::DB* db,
                                                const std::vector<Family>& families,
                                                const VerificationObserver& observer) {
  Verifier verifier(db, families, observer);
  AMEND_RETURN_IF_ERROR(verifier.ReadRecords());
  AMEND_RETURN_IF_ERROR(verifier.ReadFactors());
  verifier.CheckRelations();
  return verifier.TakeResult();
}

absl::StatusOr<std::string> DigestOfRocksDb(rocksdb::DB* db, const std::vector<Family>& families) {
  Verifier verifier(db, families, nullptr);
  AMEND_RETURN_IF_ERROR(verifier.ReadRecords());
  const StoreVerification& result = verifier.result();
  if (result.damage_count == 0) return result.digest;
  return absl::DataLossError(
      absl::StrCat(result.damages.front().key, ": ", result.damages.front().description));
}

}  // namespace amend
