#ifndef AMEND_STORAGE_TESTING_STORE_SCRIPT_H_
#define AMEND_STORAGE_TESTING_STORE_SCRIPT_H_

// One history of a store with every kind of write in it, for tests that break the disk under it.

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/revision_store.h"

namespace amend {

struct ScriptStep {
  // "promote revision 3"
  std::string name;
  // Null: the store is closed and opened again.
  std::function<absl::Status(RevisionStore&)> write;
};

// A new store becomes one with an identity, validated revisions, a rejected one, one that withdraws
// an edit and one that is pinned, deleted, brought back and purged, its space reclaimed;
// promotions, a rollback, a label beside "live" that comes and goes, a staged batch, a failed batch
// and one that waits. Factors are large enough for blob files. With up to 7 `restarts` in between,
// so that tables and their compaction come in too.
std::vector<ScriptStep> StoreScript(int restarts);

// The first thing in which `found` does not read like `expected`; empty when there is none.
// `expected` is read without errors. With `losses` DATA_LOSS is no difference, but counted.
std::string DifferenceOf(const RevisionStore& found, const RevisionStore& expected,
                         int* losses = nullptr);

}  // namespace amend

#endif  // AMEND_STORAGE_TESTING_STORE_SCRIPT_H_
