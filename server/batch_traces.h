#ifndef AMEND_SERVER_BATCH_TRACES_H_
#define AMEND_SERVER_BATCH_TRACES_H_

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/records.h"

namespace amend {

// The traces of the RPCs that brought the batches which are on their way, for the log. In memory
// alone: nothing is known of a batch that an earlier server took. As many as batches wait or are
// solved. Thread-safe.
class BatchTraces {
 public:
  // `trace_id` as in trace_context.h; an empty one is not kept.
  void Remember(const BatchKey& key, const std::string& trace_id) ABSL_LOCKS_EXCLUDED(mutex_);
  void Forget(const BatchKey& key) ABSL_LOCKS_EXCLUDED(mutex_);
  // Empty where nothing is known.
  std::string TraceOf(const BatchKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable absl::Mutex mutex_;
  std::map<BatchKey, std::string> traces_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace amend

#endif  // AMEND_SERVER_BATCH_TRACES_H_
