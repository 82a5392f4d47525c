#ifndef AMEND_SERVER_EDIT_OVERLAPS_H_
#define AMEND_SERVER_EDIT_OVERLAPS_H_

#include <vector>

#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/batch_editor.h"
#include "core/editing/edit.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

// Puts each overlap of the batch `edits`, which is to become `candidate`, into the verdict on its
// edit. Whether both have the same prompt is read from the ledger, for the named edits only; where
// that cannot be read it counts as another one.
void AddOverlaps(const RevisionStore& store, Revision candidate, absl::Span<const Edit> edits,
                 absl::Span<const KeyOverlap> overlaps, std::vector<EditVerdict>* verdicts);

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_OVERLAPS_H_
