#include "server/line_edits.h"

#include <set>
#include <string>
#include <utility>

#include "core/base/status_macros.h"

namespace amend {
namespace {

absl::StatusOr<std::vector<Edit>> ReadEdits(const RevisionStore& store, Revision revision) {
  AMEND_ASSIGN_OR_RETURN(const RevisionRecord record, store.GetRevision(revision));
  AMEND_ASSIGN_OR_RETURN(const LedgerEntry entry, store.GetLedger(record.batch));
  return EditsOf(entry);
}

}  // namespace

std::vector<Edit> EditsOf(const LedgerEntry& entry) {
  if (entry.state == BatchState::kRejected) return entry.edits;
  std::set<int32_t> dropped;
  for (const EditVerdict& verdict : entry.verdicts) {
    if (verdict.dropped) dropped.insert(verdict.index);
  }
  std::vector<Edit> edits;
  for (size_t i = 0; i < entry.edits.size(); ++i) {
    if (dropped.count(static_cast<int32_t>(i)) == 0) edits.push_back(entry.edits[i]);
  }
  return edits;
}

const Edit* LineEdits::Find(const EditId& id) {
  auto found = batches_.find(id.revision);
  if (found == batches_.end()) {
    found = batches_.emplace(id.revision, ReadEdits(store_, id.revision)).first;
  }
  if (!found->second.ok() || id.index < 0) return nullptr;
  const auto index = static_cast<size_t>(id.index);
  return index < found->second->size() ? &(*found->second)[index] : nullptr;
}

std::vector<RetainedEdit> ChooseRetained(const RevisionStore& store, EditEngine& engine,
                                         const std::shared_ptr<const HookStack>& parent,
                                         absl::Span<const Edit> edits,
                                         absl::Span<const KeyOverlap> overlaps, uint64_t seed) {
  std::set<EditId> chosen;
  for (const KeyOverlap& overlap : overlaps) {
    if (overlap.earlier.has_value()) chosen.insert(*overlap.earlier);
  }
  const int room = kRetainedEdits - static_cast<int>(chosen.size());
  if (room > 0) {
    for (const EditId& id : engine.SampleEdits(parent, room, seed)) chosen.insert(id);
  }
  std::set<std::pair<std::string, std::string>> superseding;
  for (const Edit& edit : edits) superseding.emplace(edit.prompt, edit.subject);
  LineEdits line(store);
  std::vector<RetainedEdit> retained;
  for (const EditId& id : chosen) {
    const Edit* const edit = line.Find(id);
    if (edit == nullptr || superseding.count({edit->prompt, edit->subject}) > 0) continue;
    retained.push_back({id, *edit});
  }
  return retained;
}

}  // namespace amend
