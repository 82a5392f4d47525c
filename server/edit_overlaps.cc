#include "server/edit_overlaps.h"

#include <map>
#include <utility>

#include "core/base/status_macros.h"

namespace amend {
namespace {

absl::StatusOr<std::vector<Edit>> ReadEdits(const RevisionStore& store, Revision revision) {
  AMEND_ASSIGN_OR_RETURN(const RevisionRecord record, store.GetRevision(revision));
  AMEND_ASSIGN_OR_RETURN(LedgerEntry entry, store.GetLedger(record.batch));
  return std::move(entry.edits);
}

// The edits of earlier batches, each read once.
class EarlierEdits {
 public:
  explicit EarlierEdits(const RevisionStore& store) : store_(store) {}

  // Null where it cannot be read.
  const Edit* Find(const EditId& id) {
    auto found = batches_.find(id.revision);
    if (found == batches_.end()) {
      found = batches_.emplace(id.revision, ReadEdits(store_, id.revision)).first;
    }
    if (!found->second.ok() || id.index < 0) return nullptr;
    const auto index = static_cast<size_t>(id.index);
    return index < found->second->size() ? &(*found->second)[index] : nullptr;
  }

 private:
  const RevisionStore& store_;
  std::map<Revision, absl::StatusOr<std::vector<Edit>>> batches_;
};

}  // namespace

void AddOverlaps(const RevisionStore& store, Revision candidate, absl::Span<const Edit> edits,
                 absl::Span<const KeyOverlap> overlaps, std::vector<EditVerdict>* verdicts) {
  EarlierEdits earlier(store);
  for (const KeyOverlap& overlap : overlaps) {
    const Edit& edit = edits[static_cast<size_t>(overlap.edit)];
    const EditId id = overlap.earlier.value_or(EditId{candidate, overlap.other});
    const Edit* other =
        overlap.earlier.has_value() ? earlier.Find(id) : &edits[static_cast<size_t>(overlap.other)];
    const bool same_prompt =
        other != nullptr && other->prompt == edit.prompt && other->subject == edit.subject;
    for (EditVerdict& verdict : *verdicts) {
      if (verdict.index != overlap.edit) continue;
      verdict.overlaps.push_back({id.revision, id.index, overlap.activation, same_prompt});
    }
  }
}

}  // namespace amend
