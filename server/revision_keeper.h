#ifndef AMEND_SERVER_REVISION_KEEPER_H_
#define AMEND_SERVER_REVISION_KEEPER_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/types.h"
#include "server/retention.h"
#include "server/revision_event_hub.h"
#include "server/serving_model.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

struct MarkCommand {
  enum class Verb { kPin, kUnpin, kDelete, kUndelete };
  Verb verb = Verb::kPin;
  Revision revision;
  std::string reason;
  std::string actor;
};

struct PurgeCommand {
  // Also what was deleted less than the policy's delay ago.
  bool without_delay = false;
  // Only says what would be purged.
  bool dry_run = false;
  std::string reason;
  std::string actor;
};

struct Purged {
  // Newest first.
  std::vector<Revision> revisions;
  // The purge ended early; more can go.
  bool more = false;
};

// Says which revisions stay: pins, deletes, brings back and purges them, on request and by the
// retention policy. Each change is one synced commit with an audit record, then the serving model,
// then those who watch. Not thread-safe; owned by the coordinator thread.
class RevisionKeeper {
 public:
  // A purge stops here, so that other verbs get their turn.
  static constexpr int kMaxPurge = 100;

  // All of them outlive this object.
  RevisionKeeper(RevisionStore* store, ServingModel* serving, RevisionEventHub* changes,
                 const RetentionPolicy& policy, std::function<absl::Time()> clock);

  void SetPolicy(const RetentionPolicy& policy) { policy_ = policy; }
  // The revision as it is then. A revision that is as it is asked to be is left alone. NOT_FOUND
  // (REVISION_NOT_FOUND, REVISION_PURGED); FAILED_PRECONDITION: NOT_VALIDATED for revisions that
  // have nothing to keep, UNEDITED_MODEL for revision 0, which always stays, and for a deletion
  // REVISION_PINNED and REVISION_LABELLED.
  absl::StatusOr<RevisionRecord> Mark(const MarkCommand& command);
  // Removes the factors of deleted revisions that nothing needs. An error leaves those purged that
  // were purged before it.
  absl::StatusOr<Purged> Purge(const PurgeCommand& command);
  // What the server does by itself now and then: deletes by the policy, then purges.
  absl::StatusOr<Purged> Sweep();

 private:
  absl::StatusOr<std::vector<RetentionFacts>> AllFacts() const;
  absl::Status CheckDeletion(const RevisionRecord& record) const;
  // `record` has its new marks.
  absl::Status Commit(const RevisionRecord& record,
                      v1::WatchRevisionsResponse::RevisionChanged::Change change,
                      const std::string& reason, const std::string& actor);
  absl::StatusOr<Purged> PurgeAll(const std::vector<Revision>& revisions, const std::string& reason,
                                  const std::string& actor);

  RevisionStore* const store_;
  ServingModel* const serving_;
  RevisionEventHub* const changes_;
  RetentionPolicy policy_;
  const std::function<absl::Time()> clock_;
};

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_KEEPER_H_
