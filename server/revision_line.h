#ifndef AMEND_SERVER_REVISION_LINE_H_
#define AMEND_SERVER_REVISION_LINE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/types.h"
#include "server/edit_engine.h"
#include "storage/revision_store.h"

namespace amend {

// The records of the revisions on the way from revision 0 (left out) to `head`, parents first.
absl::StatusOr<std::vector<RevisionRecord>> RecordsOf(const RevisionStore& store, Revision head);

// What a batch is solved on. PROMOTE_WHEN_VALIDATED: `live`. STAGE_ONLY: the last staged revision
// of its session, where it is not deleted and all that lies between it and `live` was staged by
// this session and never promoted; else `live`. So a staging session builds on its own batches
// until the label moves, also over a restart.
absl::StatusOr<Revision> ChooseParent(const RevisionStore& store, const LedgerEntry& entry,
                                      Revision live);

// Brings the engine's line to `head`: appends what is missing where the line is a part of the way,
// else begins anew. Keys cannot be taken out of a line: it also begins anew where something of what
// it holds is withdrawn further on. A long line takes a while: `go_on`, where given, is asked
// before each revision; false ends it with CANCELLED, and what was appended by then stays.
absl::Status PrepareLine(const RevisionStore& store, EditEngine& engine, Revision head,
                         const std::function<bool()>& go_on = nullptr);

}  // namespace amend

#endif  // AMEND_SERVER_REVISION_LINE_H_
