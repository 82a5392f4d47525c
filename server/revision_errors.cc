#include "server/revision_errors.h"

#include "absl/strings/str_cat.h"
#include "server/errors.h"

namespace amend {

absl::Status UnknownRevision(Revision revision, Revision latest) {
  return WithReason(
      absl::NotFoundError(absl::StrCat("revision ", revision.value(),
                                       " does not exist; the latest is ", latest.value())),
      "REVISION_NOT_FOUND",
      {{"revision", absl::StrCat(revision.value())}, {"latest", absl::StrCat(latest.value())}});
}

absl::Status UnfitRevision(Revision revision, absl::string_view reason, absl::string_view why) {
  const std::string name = absl::StrCat("revision ", revision.value());
  return WithPreconditionFailure(
      WithReason(absl::FailedPreconditionError(absl::StrCat(name, " ", why)), reason,
                 {{"revision", absl::StrCat(revision.value())}}),
      reason, name, why);
}

absl::Status RevisionDeleted(Revision revision) {
  return UnfitRevision(revision, "REVISION_DELETED", "is deleted; undelete it to use it again");
}

absl::Status RevisionPurged(Revision revision) {
  return WithReason(absl::NotFoundError(absl::StrCat("revision ", revision.value(),
                                                     " is purged: only its record is left")),
                    "REVISION_PURGED", {{"revision", absl::StrCat(revision.value())}});
}

}  // namespace amend
