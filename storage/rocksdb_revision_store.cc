#include "storage/rocksdb_revision_store.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "rocksdb/db.h"
#include "rocksdb/utilities/checkpoint.h"
#include "rocksdb/write_batch.h"
#include "storage/key_encoding.h"
#include "storage/rocksdb_options.h"
#include "storage/rocksdb_status.h"
#include "storage/rocksdb_verification.h"
#include "storage/step_rules.h"

namespace amend {
namespace {

constexpr absl::string_view kFormatKey = "format_version";
constexpr absl::string_view kIdentityKey = "identity";
constexpr absl::string_view kSequenceKey = "last_sequence";
constexpr absl::string_view kLabelFloorKey = "label_floor";

// Blob files of so many bytes are written anew for any garbage, larger ones for half of it.
constexpr uint64_t kSmallBlobBytes = 64 << 20;

}  // namespace

struct RocksDbRevisionStore::Plan {
  rocksdb::WriteBatch batch;
  // Of the batch that is no longer pending; 0 for none.
  int64_t finished_sequence = 0;
  int64_t label_floor = 0;
};

absl::string_view RocksDbRevisionStore::NameOf(ColumnFamily family) {
  constexpr std::array<absl::string_view, kCount> kNames = {
      "meta", "revisions", "factors", "ledger", "pending", "labels", "audit"};
  return kNames[family];
}

absl::StatusOr<std::unique_ptr<RocksDbRevisionStore>> RocksDbRevisionStore::Open(
    const Options& options) {
  std::unique_ptr<RocksDbRevisionStore> store(new RocksDbRevisionStore(options));
  SyncedDb::Options db_options;
  db_options.path = options.path;
  for (int i = 0; i < kCount; ++i) {
    const auto family = static_cast<ColumnFamily>(i);
    db_options.families.push_back({std::string(NameOf(family)), family == kFactors});
  }
  db_options.is_copy = options.is_copy;
  db_options.observer = options.observer;
  db_options.env = options.env;
  db_options.on_trouble = [store = store.get()] {
    absl::MutexLock lock(&store->trouble_mu_);
    store->trouble_ = true;
  };
  AMEND_ASSIGN_OR_RETURN(store->db_, SyncedDb::Open(std::move(db_options)));
  absl::Status status = store->CheckFormat();
  if (status.ok()) status = store->LoadState();
  if (!status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("open store ", options.path, ": ", status.message()));
  }
  store->keeper_ = std::thread([store = store.get()] { store->KeepWritable(); });
  return store;
}

RocksDbRevisionStore::RocksDbRevisionStore(const Options& options) : options_(options) {}

RocksDbRevisionStore::~RocksDbRevisionStore() {
  {
    absl::MutexLock lock(&trouble_mu_);
    stopping_ = true;
  }
  if (keeper_.joinable()) keeper_.join();
  // RocksDB's threads, which end here, may still tell of trouble.
  db_.reset();
}

void RocksDbRevisionStore::KeepWritable() {
  const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(trouble_mu_) {
    return trouble_ || stopping_;
  };
  while (true) {
    {
      absl::MutexLock lock(&trouble_mu_);
      trouble_mu_.Await(absl::Condition(&has_work));
      if (stopping_) return;
      trouble_ = false;
    }
    {
      absl::MutexLock lock(&write_mu_);
      if (db_->Recover().ok()) continue;
    }
    absl::MutexLock lock(&trouble_mu_);
    trouble_ = true;
    if (trouble_mu_.AwaitWithTimeout(absl::Condition(&stopping_), options_.retry_delay)) return;
  }
}

absl::Status RocksDbRevisionStore::CheckFormat() {
  AMEND_ASSIGN_OR_RETURN(const auto value, Get(kMeta, kFormatKey));
  const ValueAddress address{NameOf(kMeta), kFormatKey};
  if (value.has_value()) {
    AMEND_ASSIGN_OR_RETURN(const int64_t version, DecodeCounter(address, *value));
    if (version == kStorageFormatVersion) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("store ", options_.path, " has format version ", version,
                     "; this program reads version ", kStorageFormatVersion));
  }
  for (int i = 0; i < kCount; ++i) {
    const auto family = static_cast<ColumnFamily>(i);
    const auto iterator = NewIterator(family);
    iterator->SeekToFirst();
    AMEND_RETURN_IF_ERROR(IteratorStatus(*iterator, family));
    if (iterator->Valid()) {
      return absl::DataLossError(absl::StrCat("store ", options_.path, " has records in ",
                                              NameOf(family), " but no ",
                                              KeyName(address.column_family, address.key)));
    }
  }
  rocksdb::WriteBatch batch;
  Put(kMeta, kFormatKey, EncodeCounter(address, kStorageFormatVersion), &batch);
  absl::MutexLock lock(&write_mu_);
  return Write("write the format version", &batch);
}

absl::Status RocksDbRevisionStore::LoadState() {
  absl::MutexLock write_lock(&write_mu_);
  absl::MutexLock lock(&mu_);
  AMEND_ASSIGN_OR_RETURN(const auto identity, Get(kMeta, kIdentityKey));
  if (identity.has_value()) {
    AMEND_ASSIGN_OR_RETURN(identity_, DecodeIdentity({NameOf(kMeta), kIdentityKey}, *identity));
  }
  AMEND_ASSIGN_OR_RETURN(const auto sequence, Get(kMeta, kSequenceKey));
  if (sequence.has_value()) {
    AMEND_ASSIGN_OR_RETURN(last_sequence_, DecodeCounter({NameOf(kMeta), kSequenceKey}, *sequence));
  }
  AMEND_ASSIGN_OR_RETURN(const auto floor, Get(kMeta, kLabelFloorKey));
  if (floor.has_value()) {
    AMEND_ASSIGN_OR_RETURN(label_floor_, DecodeCounter({NameOf(kMeta), kLabelFloorKey}, *floor));
  }
  AMEND_ASSIGN_OR_RETURN(const int64_t latest, LastNumber(kRevisions));
  latest_ = Revision(latest);
  AMEND_ASSIGN_OR_RETURN(last_audit_, LastNumber(kAudit));
  const auto iterator = NewIterator(kPending);
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    const ValueAddress address{NameOf(kPending), ToView(iterator->key())};
    AMEND_ASSIGN_OR_RETURN(const int64_t number, DecodeNumberKey(address.key));
    AMEND_ASSIGN_OR_RETURN(const auto key, UnsealValue(address, ToView(iterator->value())));
    AMEND_ASSIGN_OR_RETURN(pending_[number], DecodeLedgerKey(key));
  }
  return IteratorStatus(*iterator, kPending);
}

std::string RocksDbRevisionStore::Doing(absl::string_view verb, ColumnFamily family,
                                        absl::string_view key) const {
  return absl::StrCat(verb, " ", KeyName(NameOf(family), key), " of store ", options_.path);
}

absl::StatusOr<std::optional<std::string>> RocksDbRevisionStore::Get(ColumnFamily family,
                                                                     absl::string_view key) const {
  AMEND_ASSIGN_OR_RETURN(const auto opened, db_->Acquire());
  std::string value;
  const rocksdb::Status status =
      opened->db->Get(CheckedRead(), opened->handles[family], ToSlice(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return TranslateStatus(status, Doing("read", family, key));
  return std::optional<std::string>(std::move(value));
}

std::shared_ptr<rocksdb::Iterator> RocksDbRevisionStore::NewIterator(ColumnFamily family) const {
  const auto opened = db_->Acquire();
  if (!opened.ok()) {
    return std::shared_ptr<rocksdb::Iterator>(rocksdb::NewErrorIterator(
        rocksdb::Status::TryAgain(std::string(opened.status().message()))));
  }
  rocksdb::Iterator* iterator =
      (*opened)->db->NewIterator(CheckedRead(), (*opened)->handles[family]);
  return std::shared_ptr<rocksdb::Iterator>(
      iterator, [opened = *opened](rocksdb::Iterator* done) { delete done; });
}

absl::Status RocksDbRevisionStore::IteratorStatus(const rocksdb::Iterator& iterator,
                                                  ColumnFamily family) const {
  if (iterator.status().ok()) return absl::OkStatus();
  return TranslateStatus(iterator.status(),
                         absl::StrCat("scan ", NameOf(family), " of store ", options_.path));
}

absl::StatusOr<int64_t> RocksDbRevisionStore::LastNumber(ColumnFamily family) const {
  const auto iterator = NewIterator(family);
  iterator->SeekToLast();
  AMEND_RETURN_IF_ERROR(IteratorStatus(*iterator, family));
  if (!iterator->Valid()) return 0;
  return DecodeNumberKey(ToView(iterator->key()));
}

void RocksDbRevisionStore::Put(ColumnFamily family, absl::string_view key, absl::string_view value,
                               rocksdb::WriteBatch* batch) const {
  // While it is closed Write refuses the batch.
  if (const auto opened = db_->Acquire(); opened.ok()) {
    batch->Put((*opened)->handles[family], ToSlice(key), ToSlice(value));
  }
}

void RocksDbRevisionStore::Delete(ColumnFamily family, absl::string_view key,
                                  rocksdb::WriteBatch* batch) const {
  if (const auto opened = db_->Acquire(); opened.ok()) {
    batch->Delete((*opened)->handles[family], ToSlice(key));
  }
}

absl::Status RocksDbRevisionStore::Write(absl::string_view doing, rocksdb::WriteBatch* batch) {
  return db_->Write(doing, batch);
}

std::optional<StoreIdentity> RocksDbRevisionStore::identity() const {
  absl::MutexLock lock(&mu_);
  return identity_;
}

absl::Status RocksDbRevisionStore::Initialize(const StoreIdentity& identity) {
  absl::MutexLock write_lock(&write_mu_);
  {
    absl::MutexLock lock(&mu_);
    if (identity_) return AlreadyInitialized(*identity_);
  }
  rocksdb::WriteBatch batch;
  Put(kMeta, kIdentityKey, EncodeIdentity({NameOf(kMeta), kIdentityKey}, identity), &batch);
  AMEND_RETURN_IF_ERROR(Write("write the identity", &batch));
  absl::MutexLock lock(&mu_);
  identity_ = identity;
  return absl::OkStatus();
}

void RocksDbRevisionStore::PlanLedger(const LedgerEntry& entry, int64_t sequence,
                                      rocksdb::WriteBatch* batch) const {
  const std::string key = EncodeLedgerKey(entry.key);
  const std::string pending_key = EncodeNumberKey(sequence);
  LedgerEntry stored = entry;
  stored.sequence = sequence;
  Put(kLedger, key, EncodeLedgerEntry({NameOf(kLedger), key}, stored), batch);
  if (IsTerminal(entry.state)) {
    Delete(kPending, pending_key, batch);
  } else {
    Put(kPending, pending_key, SealValue({NameOf(kPending), pending_key}, key), batch);
  }
}

absl::StatusOr<int64_t> RocksDbRevisionStore::AppendLedger(const LedgerEntry& entry) {
  absl::MutexLock write_lock(&write_mu_);
  AMEND_ASSIGN_OR_RETURN(const int64_t next_offset, NextOffset(entry.key.session));
  AMEND_RETURN_IF_ERROR(CheckAppend(entry, next_offset));
  const int64_t sequence = last_sequence_ + 1;
  rocksdb::WriteBatch batch;
  PlanLedger(entry, sequence, &batch);
  Put(kMeta, kSequenceKey, EncodeCounter({NameOf(kMeta), kSequenceKey}, sequence), &batch);
  AMEND_RETURN_IF_ERROR(
      Write(absl::StrCat("write ", KeyName("ledger", EncodeLedgerKey(entry.key))), &batch));
  last_sequence_ = sequence;
  absl::MutexLock lock(&mu_);
  if (!IsTerminal(entry.state)) pending_[sequence] = entry.key;
  if (options_.observer != nullptr) options_.observer->OnLedger(entry);
  return sequence;
}

absl::StatusOr<std::optional<LedgerEntry>> RocksDbRevisionStore::FindLedger(
    const BatchKey& batch_key) const {
  const std::string key = EncodeLedgerKey(batch_key);
  AMEND_ASSIGN_OR_RETURN(const auto value, Get(kLedger, key));
  if (!value.has_value()) return std::optional<LedgerEntry>();
  AMEND_ASSIGN_OR_RETURN(auto entry, DecodeLedgerEntry({NameOf(kLedger), key}, *value));
  return std::optional<LedgerEntry>(std::move(entry));
}

absl::StatusOr<LedgerEntry> RocksDbRevisionStore::GetLedger(const BatchKey& key) const {
  if (key.offset < 0) return LedgerNotFound(key);
  AMEND_ASSIGN_OR_RETURN(auto entry, FindLedger(key));
  if (!entry.has_value()) return LedgerNotFound(key);
  return *std::move(entry);
}

absl::StatusOr<int64_t> RocksDbRevisionStore::NextOffset(absl::string_view session) const {
  const std::string last = EncodeLedgerKey({std::string(session), INT64_MAX});
  const auto iterator = NewIterator(kLedger);
  iterator->SeekForPrev(last);
  AMEND_RETURN_IF_ERROR(IteratorStatus(*iterator, kLedger));
  if (!iterator->Valid()) return 0;
  const absl::string_view key = ToView(iterator->key());
  if (!absl::StartsWith(key, EncodeSessionPrefix(session))) return 0;
  AMEND_ASSIGN_OR_RETURN(const BatchKey found, DecodeLedgerKey(key));
  return found.offset + 1;
}

absl::StatusOr<std::vector<LedgerEntry>> RocksDbRevisionStore::ListLedger(absl::string_view session,
                                                                          int64_t first_offset,
                                                                          int limit) const {
  std::vector<LedgerEntry> entries;
  const std::string prefix = EncodeSessionPrefix(session);
  const auto iterator = NewIterator(kLedger);
  int64_t expected = std::max<int64_t>(first_offset, 0);
  iterator->Seek(EncodeLedgerKey({std::string(session), expected}));
  for (; iterator->Valid() && static_cast<int>(entries.size()) < limit; iterator->Next()) {
    const ValueAddress address{NameOf(kLedger), ToView(iterator->key())};
    if (!absl::StartsWith(address.key, prefix)) break;
    AMEND_ASSIGN_OR_RETURN(auto entry, DecodeLedgerEntry(address, ToView(iterator->value())));
    if (entry.key.offset != expected) {
      const std::string missing = EncodeLedgerKey({std::string(session), expected});
      return absl::DataLossError(absl::StrCat(Doing("read", kLedger, missing),
                                              ": it is missing but offset ", entry.key.offset,
                                              " is there"));
    }
    ++expected;
    entries.push_back(std::move(entry));
  }
  AMEND_RETURN_IF_ERROR(IteratorStatus(*iterator, kLedger));
  return entries;
}

absl::StatusOr<std::vector<LedgerEntry>> RocksDbRevisionStore::PendingBatches() const {
  std::vector<BatchKey> keys;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [sequence, key] : pending_) keys.push_back(key);
  }
  std::vector<LedgerEntry> entries;
  for (const BatchKey& key : keys) {
    AMEND_ASSIGN_OR_RETURN(auto entry, FindLedger(key));
    if (!entry.has_value()) {
      return absl::DataLossError(absl::StrCat(Doing("read", kLedger, EncodeLedgerKey(key)),
                                              ": it is missing but pending"));
    }
    // A step that finished it may have come in between.
    if (!IsTerminal(entry->state)) entries.push_back(*std::move(entry));
  }
  return entries;
}

Revision RocksDbRevisionStore::LatestRevision() const {
  absl::MutexLock lock(&mu_);
  return latest_;
}

absl::StatusOr<std::optional<StoredRevision>> RocksDbRevisionStore::FindRevision(
    Revision revision) const {
  if (revision <= kBaseRevision) return std::optional<StoredRevision>();
  // Before reading: what is missing then was missing when `latest` was true.
  const Revision latest = LatestRevision();
  const std::string key = EncodeNumberKey(revision.value());
  AMEND_ASSIGN_OR_RETURN(const auto value, Get(kRevisions, key));
  if (value.has_value()) {
    AMEND_ASSIGN_OR_RETURN(auto found, DecodeRevision({NameOf(kRevisions), key}, *value));
    return std::optional<StoredRevision>(std::move(found));
  }
  if (revision <= latest) {
    return absl::DataLossError(absl::StrCat(Doing("read", kRevisions, key),
                                            ": it is missing but the latest revision is ",
                                            latest.value()));
  }
  return std::optional<StoredRevision>();
}

absl::StatusOr<RevisionRecord> RocksDbRevisionStore::GetRevision(Revision revision) const {
  AMEND_ASSIGN_OR_RETURN(auto found, FindRevision(revision));
  if (!found.has_value()) return RevisionNotFound(revision, LatestRevision());
  return std::move(found->record);
}

absl::StatusOr<std::vector<RevisionRecord>> RocksDbRevisionStore::ListRevisions(Revision before,
                                                                                int limit) const {
  std::vector<RevisionRecord> records;
  if (before <= kBaseRevision) return records;
  const auto iterator = NewIterator(kRevisions);
  iterator->SeekForPrev(EncodeNumberKey(before.value() - 1));
  for (; iterator->Valid() && static_cast<int>(records.size()) < limit; iterator->Prev()) {
    const ValueAddress address{NameOf(kRevisions), ToView(iterator->key())};
    AMEND_ASSIGN_OR_RETURN(auto found, DecodeRevision(address, ToView(iterator->value())));
    if (!records.empty() && found.record.revision.Next() != records.back().revision) {
      return absl::DataLossError(
          absl::StrCat("store ", options_.path, " has revisions ", found.record.revision.value(),
                       " and ", records.back().revision.value(), " but none in between"));
    }
    records.push_back(std::move(found.record));
  }
  AMEND_RETURN_IF_ERROR(IteratorStatus(*iterator, kRevisions));
  return records;
}

absl::StatusOr<Matrix> RocksDbRevisionStore::ReadBlob(Revision revision,
                                                      const BlobReference& blob) const {
  const std::string key = EncodeFactorKey({revision, blob.layer, blob.part});
  AMEND_ASSIGN_OR_RETURN(const auto opened, db_->Acquire());
  // Where RocksDB has it: copied once, into the matrix.
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      opened->db->Get(CheckedRead(), opened->handles[kFactors], ToSlice(key), &value);
  if (status.IsNotFound()) {
    return absl::DataLossError(absl::StrCat(Doing("read", kFactors, key), ": it is missing"));
  }
  if (!status.ok()) return TranslateStatus(status, Doing("read", kFactors, key));
  const std::string found = SealDigest(ToView(value));
  if (found != blob.digest) {
    return absl::DataLossError(absl::StrCat(Doing("read", kFactors, key), ": expected digest ",
                                            absl::BytesToHexString(blob.digest), ", found ",
                                            absl::BytesToHexString(found)));
  }
  return DecodeMatrix({NameOf(kFactors), key}, ToView(value));
}

absl::StatusOr<RevisionFactors> RocksDbRevisionStore::ReadFactors(Revision revision) const {
  AMEND_ASSIGN_OR_RETURN(const auto found, FindRevision(revision));
  if (!found.has_value() || !found->has_factors) return FactorsNotFound(revision);
  RevisionFactors factors;
  for (const BlobReference& blob : found->blobs) {
    AMEND_ASSIGN_OR_RETURN(Matrix matrix, ReadBlob(revision, blob));
    if (blob.part == FactorPart::kU) {
      factors.layers.emplace_back();
      factors.layers.back().layer = blob.layer;
    }
    if (factors.layers.empty() || factors.layers.back().layer != blob.layer) {
      return absl::DataLossError(
          absl::StrCat(Doing("read", kRevisions, EncodeNumberKey(revision.value())),
                       ": no U before the other parts of layer ", blob.layer.value()));
    }
    LayerFactors& layer = factors.layers.back();
    switch (blob.part) {
      case FactorPart::kU:
        layer.u = std::move(matrix);
        break;
      case FactorPart::kV:
        layer.v = std::move(matrix);
        break;
      case FactorPart::kKeys:
        layer.keys = std::move(matrix);
        break;
      case FactorPart::kActivations:
        layer.activations = std::move(matrix.values);
        break;
    }
  }
  return factors;
}

absl::StatusOr<std::optional<LabelRecord>> RocksDbRevisionStore::FindLabel(
    absl::string_view name) const {
  AMEND_ASSIGN_OR_RETURN(const auto value, Get(kLabels, name));
  if (value.has_value()) {
    AMEND_ASSIGN_OR_RETURN(auto label, DecodeLabel({NameOf(kLabels), name}, *value));
    return std::optional<LabelRecord>(std::move(label));
  }
  if (name != kLiveLabel) return std::optional<LabelRecord>();
  return std::optional<LabelRecord>(LabelRecord{std::string(name), kBaseRevision, 0});
}

absl::StatusOr<LabelRecord> RocksDbRevisionStore::GetLabel(absl::string_view name) const {
  AMEND_ASSIGN_OR_RETURN(auto label, FindLabel(name));
  if (!label.has_value()) return LabelNotFound(name);
  return *std::move(label);
}

absl::StatusOr<std::vector<LabelRecord>> RocksDbRevisionStore::ListLabels() const {
  std::vector<LabelRecord> labels;
  const auto iterator = NewIterator(kLabels);
  bool has_live = false;
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    const ValueAddress address{NameOf(kLabels), ToView(iterator->key())};
    AMEND_ASSIGN_OR_RETURN(auto label, DecodeLabel(address, ToView(iterator->value())));
    has_live = has_live || label.name == kLiveLabel;
    labels.push_back(std::move(label));
  }
  AMEND_RETURN_IF_ERROR(IteratorStatus(*iterator, kLabels));
  if (!has_live) labels.push_back({std::string(kLiveLabel), kBaseRevision, 0});
  std::sort(labels.begin(), labels.end(),
            [](const LabelRecord& a, const LabelRecord& b) { return a.name < b.name; });
  return labels;
}

void RocksDbRevisionStore::PlanRevision(const StoreStep& step, rocksdb::WriteBatch* batch) const {
  StoredRevision stored;
  stored.record = *step.revision;
  stored.has_factors = step.factors.has_value();
  const auto put_blob = [&](LayerIndex layer, FactorPart part, const Matrix& matrix) {
    const std::string key = EncodeFactorKey({stored.record.revision, layer, part});
    const std::string value = EncodeMatrix({NameOf(kFactors), key}, matrix);
    Put(kFactors, key, value, batch);
    stored.blobs.push_back({layer, part, SealDigest(value), static_cast<int64_t>(value.size())});
  };
  if (step.factors) {
    for (const LayerFactors& layer : step.factors->layers) {
      put_blob(layer.layer, FactorPart::kU, layer.u);
      put_blob(layer.layer, FactorPart::kV, layer.v);
      put_blob(layer.layer, FactorPart::kKeys, layer.keys);
      const auto count = static_cast<int64_t>(layer.activations.size());
      put_blob(layer.layer, FactorPart::kActivations, Matrix{1, count, layer.activations});
    }
  }
  const std::string key = EncodeNumberKey(stored.record.revision.value());
  Put(kRevisions, key, EncodeRevision({NameOf(kRevisions), key}, stored), batch);
}

absl::StatusOr<StepFacts> RocksDbRevisionStore::FactsFor(const StoreStep& step) const {
  StepFacts facts;
  facts.latest = LatestRevision();
  if (step.revision) {
    AMEND_ASSIGN_OR_RETURN(const auto parent, FindRevision(step.revision->parent));
    facts.parent_purged = parent.has_value() && parent->record.marks.purge_time_us != 0;
  }
  if (step.label) {
    AMEND_ASSIGN_OR_RETURN(const auto label, FindLabel(step.label->name));
    if (label.has_value()) facts.label_generation = label->generation;
    AMEND_ASSIGN_OR_RETURN(const auto target, FindRevision(step.label->to));
    if (target.has_value()) {
      facts.label_target_state = target->record.state;
      facts.label_target_deleted = target->record.marks.delete_time_us != 0;
    }
  }
  if (step.label_deletion) {
    AMEND_ASSIGN_OR_RETURN(const auto label, FindLabel(step.label_deletion->name));
    if (label.has_value()) facts.deleted_label_generation = label->generation;
  }
  if (step.marks) {
    AMEND_ASSIGN_OR_RETURN(const auto marked, FindRevision(step.marks->revision));
    if (marked.has_value()) {
      facts.marked_state = marked->record.state;
      facts.marks = marked->record.marks;
    }
    AMEND_ASSIGN_OR_RETURN(const std::vector<LabelRecord> labels, ListLabels());
    for (const LabelRecord& label : labels) {
      if (label.revision == step.marks->revision) facts.label_on_marked = label.name;
    }
  }
  return facts;
}

absl::Status RocksDbRevisionStore::PlanLabels(const StoreStep& step, Plan* plan) const {
  plan->label_floor = label_floor_;
  if (step.label) {
    AMEND_ASSIGN_OR_RETURN(const auto before, FindLabel(step.label->name));
    std::optional<int64_t> generation;
    if (before.has_value()) generation = before->generation;
    const LabelRecord label{step.label->name, step.label->to,
                            NextGeneration(generation, label_floor_)};
    Put(kLabels, label.name, EncodeLabel({NameOf(kLabels), label.name}, label), &plan->batch);
  }
  if (step.label_deletion) {
    const std::string& name = step.label_deletion->name;
    AMEND_ASSIGN_OR_RETURN(const LabelRecord label, GetLabel(name));
    Delete(kLabels, name, &plan->batch);
    plan->label_floor = std::max(label_floor_, label.generation);
    Put(kMeta, kLabelFloorKey, EncodeCounter({NameOf(kMeta), kLabelFloorKey}, plan->label_floor),
        &plan->batch);
  }
  return absl::OkStatus();
}

absl::Status RocksDbRevisionStore::PlanMarks(const MarkChange& change,
                                             rocksdb::WriteBatch* batch) const {
  AMEND_ASSIGN_OR_RETURN(auto stored, FindRevision(change.revision));
  if (!stored.has_value()) return RevisionNotFound(change.revision, LatestRevision());
  stored->record.marks = change.marks;
  if (change.marks.purge_time_us != 0) {
    for (const BlobReference& blob : stored->blobs) {
      Delete(kFactors, EncodeFactorKey({change.revision, blob.layer, blob.part}), batch);
    }
    stored->has_factors = false;
    stored->blobs.clear();
  }
  const std::string key = EncodeNumberKey(change.revision.value());
  Put(kRevisions, key, EncodeRevision({NameOf(kRevisions), key}, *stored), batch);
  return absl::OkStatus();
}

absl::Status RocksDbRevisionStore::PlanStep(const StoreStep& step, Plan* plan) const {
  AMEND_ASSIGN_OR_RETURN(StepFacts facts, FactsFor(step));
  int64_t sequence = 0;
  if (step.ledger && step.ledger->key.offset >= 0) {
    AMEND_ASSIGN_OR_RETURN(const auto stored, FindLedger(step.ledger->key));
    if (stored.has_value()) {
      facts.ledger_state = stored->state;
      sequence = stored->sequence;
    }
  }
  AMEND_RETURN_IF_ERROR(CheckStep(step, facts));
  if (step.revision) PlanRevision(step, &plan->batch);
  if (step.ledger) {
    PlanLedger(*step.ledger, sequence, &plan->batch);
    if (IsTerminal(step.ledger->state)) plan->finished_sequence = sequence;
  }
  AMEND_RETURN_IF_ERROR(PlanLabels(step, plan));
  if (step.marks) AMEND_RETURN_IF_ERROR(PlanMarks(*step.marks, &plan->batch));
  if (step.audit) {
    const std::string key = EncodeNumberKey(last_audit_ + 1);
    Put(kAudit, key, EncodeAudit({NameOf(kAudit), key}, *step.audit), &plan->batch);
  }
  return absl::OkStatus();
}

absl::Status RocksDbRevisionStore::Commit(const StoreStep& step) {
  absl::MutexLock write_lock(&write_mu_);
  Plan plan;
  AMEND_RETURN_IF_ERROR(PlanStep(step, &plan));
  AMEND_RETURN_IF_ERROR(Write("write a step", &plan.batch));
  if (step.audit) ++last_audit_;
  label_floor_ = plan.label_floor;
  absl::MutexLock lock(&mu_);
  if (step.revision) latest_ = step.revision->revision;
  if (plan.finished_sequence != 0) pending_.erase(plan.finished_sequence);
  if (options_.observer != nullptr) {
    if (step.ledger) options_.observer->OnLedger(*step.ledger);
    if (step.audit) options_.observer->OnAudit(*step.audit);
  }
  return absl::OkStatus();
}

void RocksDbRevisionStore::Freeze(const absl::Status& why) {
  absl::MutexLock write_lock(&write_mu_);
  db_->Freeze(why);
}

absl::StatusOr<std::vector<AuditRecord>> RocksDbRevisionStore::ListAudit(int64_t before,
                                                                         int limit) const {
  std::vector<AuditRecord> records;
  if (before <= 1) return records;
  const auto iterator = NewIterator(kAudit);
  iterator->SeekForPrev(EncodeNumberKey(before - 1));
  for (; iterator->Valid() && static_cast<int>(records.size()) < limit; iterator->Prev()) {
    const ValueAddress address{NameOf(kAudit), ToView(iterator->key())};
    AMEND_ASSIGN_OR_RETURN(auto record, DecodeAudit(address, ToView(iterator->value())));
    records.push_back(std::move(record));
  }
  AMEND_RETURN_IF_ERROR(IteratorStatus(*iterator, kAudit));
  return records;
}

absl::Status RocksDbRevisionStore::ReclaimSpace(std::atomic<bool>* cancelled) {
  const std::string doing = absl::StrCat("reclaim space of store ", options_.path);
  AMEND_ASSIGN_OR_RETURN(const auto opened, db_->Acquire());
  rocksdb::DB& db = *opened->db;
  rocksdb::ColumnFamilyHandle* const factors = opened->handles[kFactors];
  rocksdb::CompactRangeOptions compaction;
  compaction.canceled = cancelled;
  compaction.exclusive_manual_compaction = false;
  // Drops the keys, with values that lie beside them and blob files of which nothing is left.
  compaction.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  const auto compact = [&] {
    const rocksdb::Status status = db.CompactRange(compaction, factors, nullptr, nullptr);
    if (cancelled->load()) return absl::CancelledError(absl::StrCat(doing, ": told to stop"));
    return TranslateStatus(status, doing);
  };
  AMEND_RETURN_IF_ERROR(compact());
  uint64_t total = 0;
  uint64_t garbage = 0;
  db.GetIntProperty(factors, rocksdb::DB::Properties::kLiveBlobFileSize, &total);
  db.GetIntProperty(factors, rocksdb::DB::Properties::kLiveBlobFileGarbageSize, &garbage);
  // Writing blob files anew costs as much as what is still needed of them.
  if (garbage == 0 || (total > kSmallBlobBytes && garbage < total / 2)) return absl::OkStatus();
  compaction.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  compaction.blob_garbage_collection_policy = rocksdb::BlobGarbageCollectionPolicy::kForce;
  compaction.blob_garbage_collection_age_cutoff = 1.0;
  return compact();
}

absl::StatusOr<StoreVerification> RocksDbRevisionStore::Verify(
    const VerificationObserver& observer) const {
  AMEND_ASSIGN_OR_RETURN(const auto opened, db_->Acquire());
  return VerifyRocksDb(opened->db.get(), opened->handles, observer);
}

absl::StatusOr<std::string> RocksDbRevisionStore::Digest() const {
  AMEND_ASSIGN_OR_RETURN(const auto opened, db_->Acquire());
  return DigestOfRocksDb(opened->db.get(), opened->handles);
}

absl::Status RocksDbRevisionStore::CreateCheckpoint(const std::string& path) {
  const std::string doing = absl::StrCat("link the files of store ", options_.path, " to ", path);
  // In this order: whoever opens the database again holds the lock and waits for all who use it.
  absl::MutexLock lock(&write_mu_);
  AMEND_ASSIGN_OR_RETURN(const auto opened, db_->Acquire());
  rocksdb::Checkpoint* raw = nullptr;
  AMEND_RETURN_IF_ERROR(
      TranslateStatus(rocksdb::Checkpoint::Create(opened->db.get(), &raw), doing));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
  return TranslateStatus(checkpoint->CreateCheckpoint(path), doing);
}

}  // namespace amend
