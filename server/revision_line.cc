#include "server/revision_line.h"

#include <algorithm>

#include "core/base/status_macros.h"

namespace amend {
namespace {

// The revision of the last batch of the session before `key` that was staged and not promoted;
// revision 0 when there is none.
absl::StatusOr<Revision> LastStaged(const RevisionStore& store, const BatchKey& key) {
  for (int64_t offset = key.offset - 1; offset >= 0; --offset) {
    AMEND_ASSIGN_OR_RETURN(const LedgerEntry before, store.GetLedger({key.session, offset}));
    if (before.state == BatchState::kValidated) return before.revision;
    // Once a batch of the session was promoted, those before it lie behind the label.
    if (before.state == BatchState::kLive) break;
  }
  return kBaseRevision;
}

}  // namespace

absl::StatusOr<std::vector<Revision>> LineOf(const RevisionStore& store, Revision head) {
  std::vector<Revision> line;
  for (Revision at = head; at != kBaseRevision;) {
    line.push_back(at);
    AMEND_ASSIGN_OR_RETURN(const RevisionRecord record, store.GetRevision(at));
    at = record.parent;
  }
  std::reverse(line.begin(), line.end());
  return line;
}

absl::StatusOr<Revision> ChooseParent(const RevisionStore& store, const LedgerEntry& entry,
                                      Revision live) {
  if (entry.promotion == PromotionPolicy::kWhenValidated) return live;
  AMEND_ASSIGN_OR_RETURN(const Revision staged, LastStaged(store, entry.key));
  for (Revision at = staged; at != live;) {
    if (at == kBaseRevision) return live;
    AMEND_ASSIGN_OR_RETURN(const RevisionRecord record, store.GetRevision(at));
    if (record.batch.session != entry.key.session) return live;
    AMEND_ASSIGN_OR_RETURN(const LedgerEntry batch, store.GetLedger(record.batch));
    if (batch.state != BatchState::kValidated) return live;
    at = record.parent;
  }
  return staged;
}

absl::Status PrepareLine(const RevisionStore& store, EditEngine& engine, Revision head) {
  if (engine.line_head() == head) return absl::OkStatus();
  AMEND_ASSIGN_OR_RETURN(const std::vector<Revision> line, LineOf(store, head));
  auto next = line.begin();
  if (engine.line_head() != kBaseRevision) {
    const auto known = std::find(line.begin(), line.end(), engine.line_head());
    if (known == line.end()) {
      engine.ResetLine();
    } else {
      next = known + 1;
    }
  }
  for (; next != line.end(); ++next) {
    AMEND_ASSIGN_OR_RETURN(const RevisionFactors factors, store.ReadFactors(*next));
    const absl::Status appended = engine.AppendToLine(*next, factors);
    // Whatever its code, it must not look like trouble of the store, which passes.
    if (!appended.ok()) return absl::InternalError(appended.message());
  }
  return absl::OkStatus();
}

}  // namespace amend
