#ifndef AMEND_SERVER_REVISION_LINE_H_
#define AMEND_SERVER_REVISION_LINE_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/types.h"
#include "server/edit_engine.h"
#include "storage/revision_store.h"

namespace amend {

// The revisions on the way from revision 0 (left out) to `head`, parents first.
absl::StatusOr<std::vector<Revision>> LineOf(const RevisionStore& store, Revision head);

// What a batch is solved on. PROMOTE_WHEN_VALIDATED: `live`. STAGE_ONLY: the last staged revision
// of its session, where all that lies between that one and `live` was staged by this session and
// never promoted; else `live`. So a staging session builds on its own batches until the label
// moves, also over a restart.
absl::StatusOr<Revision> ChooseParent(const RevisionStore& store, const LedgerEntry& entry,
                                      Revision live);

// Brings the engine's line to `head`: appends what is missing where the line is a part of the way,
// else begins anew.
absl::Status PrepareLine(const RevisionStore& store, EditEngine& engine, Revision head);

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_LINE_H_
