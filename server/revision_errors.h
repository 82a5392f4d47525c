#ifndef AMEND_SERVER_REVISION_ERRORS_H_
#define AMEND_SERVER_REVISION_ERRORS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/types.h"

namespace amend {

// Why a revision is not there or not fit for what is asked: the same words everywhere. Pure
// functions; thread-safe.

// NOT_FOUND, reason REVISION_NOT_FOUND, with both numbers.
absl::Status UnknownRevision(Revision revision, Revision latest);
// FAILED_PRECONDITION: "revision 3 <why>".
absl::Status UnfitRevision(Revision revision, absl::string_view reason, absl::string_view why);
// FAILED_PRECONDITION, reason REVISION_DELETED: it can be brought back.
absl::Status RevisionDeleted(Revision revision);
// NOT_FOUND, reason REVISION_PURGED: only its record is left.
absl::Status RevisionPurged(Revision revision);

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_ERRORS_H_
