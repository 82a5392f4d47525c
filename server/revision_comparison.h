#ifndef AMEND_SERVER_REVISION_COMPARISON_H_
#define AMEND_SERVER_REVISION_COMPARISON_H_

#include "absl/status/statusor.h"
#include "amend/v1/revision.pb.h"
#include "storage/revision_store.h"

namespace amend {

// Answers CompareRevisions from the store: one page of the edits on the one line and not on the
// other. Reads the records from both revisions back to where their lines meet, and the batches of
// the page. Lines never change, so pages of several calls fit together. Purged, deleted and
// rejected revisions can be compared too. NOT_FOUND (REVISION_NOT_FOUND); INVALID_ARGUMENT for a
// bad page token. Thread-safe.
absl::StatusOr<v1::CompareRevisionsResponse> CompareRevisions(
    const RevisionStore& store, const v1::CompareRevisionsRequest& request);

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_COMPARISON_H_
