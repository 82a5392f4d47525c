#include "server/edit_overlaps.h"

#include "server/line_edits.h"

namespace amend {

void AddOverlaps(const RevisionStore& store, Revision candidate, absl::Span<const Edit> edits,
                 absl::Span<const KeyOverlap> overlaps, std::vector<EditVerdict>* verdicts) {
  LineEdits earlier(store);
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
