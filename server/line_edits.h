#ifndef AMEND_SERVER_LINE_EDITS_H_
#define AMEND_SERVER_LINE_EDITS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/types.h"
#include "core/editing/batch_editor.h"
#include "core/editing/edit.h"
#include "server/edit_engine.h"
#include "server/gate_request.h"
#include "storage/records.h"
#include "storage/revision_store.h"

namespace amend {

// Earlier edits that one batch is tested against at most, without those that share a key with it.
inline constexpr int kRetainedEdits = 32;

// The edits that a revision brought, in the order of its factors: those of its batch without the
// ones that were dropped. Of a rejected revision, which brought none, all of its batch.
std::vector<Edit> EditsOf(const LedgerEntry& entry);

// Reads edits by their ids, each batch once. Not thread-safe.
class LineEdits {
 public:
  // `store` outlives this object.
  explicit LineEdits(const RevisionStore& store) : store_(store) {}

  // Null where it cannot be read. Lives as long as this object.
  const Edit* Find(const EditId& id);

 private:
  const RevisionStore& store_;
  std::map<Revision, absl::StatusOr<std::vector<Edit>>> batches_;
};

// The earlier edits that a candidate is tested against: those of the parent's line that share a key
// with one of the new `edits`, and of all others a sample, up to kRetainedEdits together where that
// is more. `seed` chooses the sample. Edits that a new one supersedes (same prompt and subject) and
// those that cannot be read are left out.
std::vector<RetainedEdit> ChooseRetained(const RevisionStore& store, EditEngine& engine,
                                         const std::shared_ptr<const HookStack>& parent,
                                         absl::Span<const Edit> edits,
                                         absl::Span<const KeyOverlap> overlaps, uint64_t seed);

}  // namespace amend

#endif  // AMEND_SERVER_LINE_EDITS_H_
