#include "server/revision_line.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/base/status_macros.h"
#include "server/out_of_memory.h"

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

// Whether one of the revisions `further` withdraws an edit that came with `head` or before it.
bool TakesFrom(absl::Span<const RevisionRecord> further, Revision head) {
  for (const RevisionRecord& record : further) {
    // They ascend.
    if (record.withdraws() && record.withdrawn.front().revision <= head) return true;
  }
  return false;
}

// The edits that are withdrawn somewhere on a line: of each revision that brought some, their
// places in its batch.
std::map<Revision, std::set<int32_t>> WithdrawnOn(absl::Span<const RevisionRecord> line) {
  std::map<Revision, std::set<int32_t>> withdrawn;
  for (const RevisionRecord& record : line) {
    for (const EditId& edit : record.withdrawn) withdrawn[edit.revision].insert(edit.index);
  }
  return withdrawn;
}

// Goes on to `record` on an engine's line that ends at its parent. `withdrawn` are those of the
// whole line that is being built: their keys never enter it. `factors` are the revision's own;
// ignored where it withdraws edits.
absl::Status AppendToLine(EditEngine& engine, const RevisionRecord& record,
                          const RevisionFactors& factors,
                          const std::map<Revision, std::set<int32_t>>& withdrawn) {
  if (record.withdraws()) return engine.AppendToLine(record.revision, RevisionFactors());
  const auto found = withdrawn.find(record.revision);
  if (found == withdrawn.end()) return engine.AppendToLine(record.revision, factors);
  return engine.AppendToLine(record.revision, WithoutEdits(factors, found->second));
}

}  // namespace

absl::StatusOr<std::vector<RevisionRecord>> RecordsOf(const RevisionStore& store, Revision head) {
  std::vector<RevisionRecord> line;
  for (Revision at = head; at != kBaseRevision;) {
    AMEND_ASSIGN_OR_RETURN(RevisionRecord record, store.GetRevision(at));
    at = record.parent;
    line.push_back(std::move(record));
  }
  std::reverse(line.begin(), line.end());
  return line;
}

absl::StatusOr<Revision> ChooseParent(const RevisionStore& store, const LedgerEntry& entry,
                                      Revision live) {
  if (entry.promotion == PromotionPolicy::kWhenValidated) return live;
  AMEND_ASSIGN_OR_RETURN(const Revision staged, LastStaged(store, entry.key));
  if (staged != kBaseRevision) {
    AMEND_ASSIGN_OR_RETURN(const RevisionRecord record, store.GetRevision(staged));
    if (record.marks.delete_time_us != 0) return live;
  }
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

absl::Status PrepareLine(const RevisionStore& store, EditEngine& engine, Revision head,
                         const std::function<bool()>& go_on) {
  if (engine.line_head() == head) return absl::OkStatus();
  AMEND_ASSIGN_OR_RETURN(const std::vector<RevisionRecord> line, RecordsOf(store, head));
  size_t next = 0;
  while (next < line.size() && line[next].revision <= engine.line_head()) ++next;
  const bool on_the_way = next > 0 && line[next - 1].revision == engine.line_head();
  if (!on_the_way || TakesFrom(absl::MakeConstSpan(line).subspan(next), engine.line_head())) {
    engine.ResetLine();
    next = 0;
  }
  const std::map<Revision, std::set<int32_t>> withdrawn = WithdrawnOn(line);
  for (; next < line.size(); ++next) {
    if (go_on && !go_on()) {
      return absl::CancelledError(absl::StrCat("told to stop before revision ",
                                               line[next].revision.value(), " of the line to ",
                                               head.value()));
    }
    RevisionFactors factors;
    if (!line[next].withdraws()) {
      AMEND_ASSIGN_OR_RETURN(factors, store.ReadFactors(line[next].revision));
    }
    const absl::Status appended = AppendToLine(engine, line[next], factors, withdrawn);
    // Whatever its code, it must not look like trouble of the store, which passes.
    if (absl::IsResourceExhausted(appended)) return FromMemory(appended);
    if (!appended.ok()) return absl::InternalError(appended.message());
  }
  return absl::OkStatus();
}

}  // namespace amend
