#ifndef AMEND_SERVER_SERVING_MODEL_H_
#define AMEND_SERVER_SERVING_MODEL_H_

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/base/types.h"
#include "core/editing/hook_stack.h"
#include "core/model/causal_lm.h"

namespace amend {

// One revision as readers see it: never changes, keeps its memory alive.
struct Snapshot {
  Revision revision;
  std::shared_ptr<const HookStack> hooks;
};

// Serves the validated revisions of an edited model, all resident until they are purged.
// Thread-safe.
//
// Readers resolve once per request and keep the snapshot to its end; it never changes under them.
// Whatever changes is called by the coordinator thread only, after the change is durable.
class ServingModel {
 public:
  // Has revision 0, and the label "live" on it.
  ServingModel(std::shared_ptr<const CausalLm> model, double beta)
      : ServingModel(model, HookStack::Empty(*model, beta)) {}
  // The same with the hooks of revision 0 given (tests: also none).
  ServingModel(std::shared_ptr<const CausalLm> model, std::shared_ptr<const HookStack> base_hooks);

  const CausalLm& model() const { return *model_; }

  // NOT_FOUND (reason REVISION_NOT_FOUND, or LABEL_NOT_FOUND), naming what was asked for and the
  // latest revision; for deleted and purged ones see below.
  absl::StatusOr<std::shared_ptr<const Snapshot>> Resolve(Revision revision) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::shared_ptr<const Snapshot>> Resolve(absl::string_view label) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  void AddRevision(std::shared_ptr<const Snapshot> snapshot) ABSL_LOCKS_EXCLUDED(mutex_);
  // The revision must be resident.
  absl::Status MoveLabel(absl::string_view label, Revision to) ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveLabel(absl::string_view label) ABSL_LOCKS_EXCLUDED(mutex_);

  // A deleted revision stays resident, for what is built on it and to be brought back, but Resolve
  // refuses it: FAILED_PRECONDITION (REVISION_DELETED). No label stands on it.
  void SetDeleted(Revision revision, bool deleted) ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets its memory go, once the last reader is done; from now on NOT_FOUND (REVISION_PURGED). No
  // label stands on it.
  void Purge(Revision revision) ABSL_LOCKS_EXCLUDED(mutex_);
  // Resolve, for what is built on the revision: deleted ones too.
  absl::StatusOr<std::shared_ptr<const Snapshot>> Resident(Revision revision) const
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    // Null once it is purged.
    std::shared_ptr<const Snapshot> snapshot;
    bool deleted = false;
  };

  absl::StatusOr<std::shared_ptr<const Snapshot>> Find(Revision revision) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<const CausalLm> model_;
  mutable absl::Mutex mutex_;
  std::map<Revision, Entry> revisions_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Revision, std::less<>> labels_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_SERVING_MODEL_H_
