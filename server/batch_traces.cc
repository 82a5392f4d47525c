#include "server/batch_traces.h"

namespace amend {

void BatchTraces::Remember(const BatchKey& key, const std::string& trace_id) {
  if (trace_id.empty()) return;
  absl::MutexLock lock(&mutex_);
  traces_[key] = trace_id;
}

void BatchTraces::Forget(const BatchKey& key) {
  absl::MutexLock lock(&mutex_);
  traces_.erase(key);
}

std::string BatchTraces::TraceOf(const BatchKey& key) const {
  absl::MutexLock lock(&mutex_);
  const auto found = traces_.find(key);
  return found == traces_.end() ? "" : found->second;
}

}  // namespace amend
