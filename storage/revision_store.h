#ifndef AMEND_STORAGE_REVISION_STORE_H_
#define AMEND_STORAGE_REVISION_STORE_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"
#include "storage/records.h"
#include "storage/store_verification.h"

namespace amend {

// The label that generation uses by default. A new store has it at revision 0.
inline constexpr absl::string_view kLiveLabel = "live";

// Keeps revisions, the ledger of received batches, labels and the audit trail of one model.
// Thread-safe.
//
// Guarantees:
//  1. When AppendLedger or Commit returns OK the change survives kill -9 and power loss.
//  2. Commit is atomic: after a crash at any moment either all of a step is there or nothing.
//  3. What is read back is what was written: every factor blob is checked against its digest
//  (DATA_LOSS names key, expected and found).
//  4. Revisions 1 .. LatestRevision() exist without gaps; revision 0 (the unedited model) is
//  implied and has no record.
//  5. Labels stand on revision 0 or on validated revisions that are not deleted; no revision is
//  added on top of a purged one.
class RevisionStore {
 public:
  virtual ~RevisionStore() = default;

  // Absent until Initialize.
  virtual std::optional<StoreIdentity> identity() const = 0;
  // Writes the identity of a new store, synced. FAILED_PRECONDITION when it has one.
  virtual absl::Status Initialize(const StoreIdentity& identity) = 0;

  // Adds a batch, synced. `entry.key.offset` must be NextOffset(session): ALREADY_EXISTS for a
  // lower one, OUT_OF_RANGE (naming both) for a higher one. `entry.state` is kDurable or kFailed,
  // `entry.revision` 0: else INVALID_ARGUMENT. Returns the sequence that was given to it; sequences
  // grow from 1 by one.
  virtual absl::StatusOr<int64_t> AppendLedger(const LedgerEntry& entry) = 0;
  // NOT_FOUND, naming session and offset.
  virtual absl::StatusOr<LedgerEntry> GetLedger(const BatchKey& key) const = 0;
  // 0 for a session that is not known.
  virtual absl::StatusOr<int64_t> NextOffset(absl::string_view session) const = 0;
  // Up to `limit` entries of a session from `first_offset` on, in offset order.
  virtual absl::StatusOr<std::vector<LedgerEntry>> ListLedger(absl::string_view session,
                                                              int64_t first_offset,
                                                              int limit) const = 0;
  // All entries in state kDurable, in order of arrival.
  virtual absl::StatusOr<std::vector<LedgerEntry>> PendingBatches() const = 0;

  // The highest revision; 0 in a new store.
  virtual Revision LatestRevision() const = 0;
  // NOT_FOUND, naming the revision and the latest one. Revision 0 has no record.
  virtual absl::StatusOr<RevisionRecord> GetRevision(Revision revision) const = 0;
  // Up to `limit` records, newest first, all below `before`.
  virtual absl::StatusOr<std::vector<RevisionRecord>> ListRevisions(Revision before,
                                                                    int limit) const = 0;
  // NOT_FOUND for a revision without factors (rejected or purged); DATA_LOSS for a blob whose
  // digest is wrong.
  virtual absl::StatusOr<RevisionFactors> ReadFactors(Revision revision) const = 0;

  // NOT_FOUND, naming the label.
  virtual absl::StatusOr<LabelRecord> GetLabel(absl::string_view name) const = 0;
  virtual absl::StatusOr<std::vector<LabelRecord>> ListLabels() const = 0;

  // The commit point: one synced write. ABORTED, naming both generations, when the label moved
  // meanwhile; INVALID_ARGUMENT or NOT_FOUND for a step that does not fit (revision number, unknown
  // ledger entry, label to a revision that is not validated or is deleted, marks that the revision
  // cannot have). Nothing is changed then.
  virtual absl::Status Commit(const StoreStep& step) = 0;

  // The audit trail, newest first: at most `limit` records, all with a sequence below `before`.
  virtual absl::StatusOr<std::vector<AuditRecord>> ListAudit(int64_t before, int limit) const = 0;

  // Gives the disk space of purged factors back, where that is worth the writing. May take long,
  // and stops early, with CANCELLED, once `*cancelled` is true; other calls go on meanwhile.
  virtual absl::Status ReclaimSpace(std::atomic<bool>* cancelled) = 0;

  // Reads everything as it is at one moment and says what is damaged, by key; takes as long as
  // reading the disk does, and reads and writes go on meanwhile. An error only when it could not be
  // done: CANCELLED when the observer ended it.
  virtual absl::StatusOr<StoreVerification> Verify(const VerificationObserver& observer) const = 0;

  // From now on nothing is written: every write gets `why`, an error.
  virtual void Freeze(const absl::Status& why) = 0;
};

}  // namespace amend

#endif  // AMEND_STORAGE_REVISION_STORE_H_
