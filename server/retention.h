#ifndef AMEND_SERVER_RETENTION_H_
#define AMEND_SERVER_RETENTION_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "storage/records.h"

namespace amend {

// Which revisions may go. Pure functions; thread-safe.

struct RetentionPolicy {
  // Validated revisions stay that are among the newest `keep_newest` of those that are not deleted,
  // or younger than `keep_younger`. With both 0 all of them stay.
  int keep_newest = 0;
  absl::Duration keep_younger = absl::ZeroDuration();
  // How long a deleted revision can be brought back.
  absl::Duration purge_delay = absl::Hours(7 * 24);
};

// What the rules look at in one revision.
struct RetentionFacts {
  Revision revision;
  Revision parent;
  RevisionState state = RevisionState::kTemporary;
  RevisionMarks marks;
  int64_t create_time_us = 0;
  // Whether any label stands on it.
  bool labelled = false;
};

// `revisions` of both functions are all there are, oldest first; both answer newest first, so that
// nothing in a prefix of the answer is what something outside of it is built on.

// Those that the policy deletes: validated ones that do not stay by its rule, have no label and no
// pin, and are no ancestors of any such. None with a policy that keeps all.
std::vector<Revision> RevisionsToDelete(absl::Span<const RetentionFacts> revisions,
                                        const RetentionPolicy& policy, absl::Time now);

// Those whose factors can be removed: deleted `delay` ago or earlier, without label and pin, and no
// ancestors of one that still has factors and stays.
std::vector<Revision> RevisionsToPurge(absl::Span<const RetentionFacts> revisions,
                                       absl::Duration delay, absl::Time now);

}  // namespace amend

#endif  // AMEND_SERVER_RETENTION_H_
