#ifndef AMEND_SERVER_METRICS_H_
#define AMEND_SERVER_METRICS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/edit_observer.h"
#include "server/security/security_observer.h"
#include "server/serving_observer.h"
#include "storage/store_usage.h"

namespace amend {

// Every number that /metrics shows, in Prometheus' text format. Thread-safe; no method blocks for
// longer than a counter takes. Label values come from enums and constants of this program, never
// from requests.
class Metrics : public EditObserver, public ServingObserver, public SecurityObserver {
 public:
  Metrics();
  ~Metrics() override;

  // The text of all metrics now; ages count up to `now`.
  std::string Text(absl::Time now) const;

  // What generation does now.
  struct Serving {
    double kv_cache_usage_ratio = 0;
    // Generated since the start, also by requests that have not ended.
    int64_t tokens = 0;
  };
  Serving serving() const;

  // amend_build_info.
  void SetBuildInfo(absl::string_view version, absl::string_view architecture,
                    absl::string_view device, absl::string_view dtype);
  // One synced write of the store.
  void StoreSynced(absl::Duration duration, bool ok);
  // A read failed, or a thread of the database's own.
  void StoreReadFailed();
  void StoreBackgroundFailed();
  // So many values were not what was written, or missing.
  void StoreDamaged(int64_t values);
  void SetStoreUsage(const StoreUsage& usage);
  // The store takes no writes, or takes them again.
  void StoreReadOnly(bool read_only);
  // The store was read and verified at start.
  void Recovered(absl::Duration duration);
  // One RPC began or ended; names as in grpc_server_*: "unary", "amend.v1.EditService", "Edit",
  // "OK".
  void RpcStarted(absl::string_view type, absl::string_view service, absl::string_view method);
  void RpcHandled(absl::string_view type, absl::string_view service, absl::string_view method,
                  absl::string_view code, absl::Duration duration);

  // EditObserver
  void BatchFinished(BatchOutcome outcome, int edit_count) override;
  void EditsDropped(int edit_count) override;
  void QueueChanged(int depth, absl::Time oldest_receive_time) override;
  void StageDone(EditStage stage, absl::Duration duration) override;
  void GateScore(GateCheck check, double score) override;
  void GateRejected(GateCheck check) override;
  void Promoted(PromotionResult result) override;
  void EditsWithdrawn(BatchOutcome outcome, int edit_count) override;
  void RolledBack() override;
  void EditTimeToLive(absl::Duration duration) override;
  void UpdateNormRatio(LayerIndex layer, double ratio) override;
  void LiveRevisionChanged(Revision live) override;

  // ServingObserver
  void OnSequences(int running, int waiting) override;
  void OnKvCache(int64_t claimed, int64_t capacity) override;
  void OnStep(int rows) override;
  void OnHooks(int64_t tokens, int64_t fired) override;
  void OnPreemption() override;
  void OnFirstToken(absl::Duration since_submit) override;
  void OnInterToken(absl::Duration since_last_token) override;
  void OnRequestEnd(const RequestEnd& end) override;
  void OnRejection(absl::string_view reason) override;

  // SecurityObserver
  void SecurityFileChanged(SecurityFile file, bool taken) override;
  void CertificateExpires(absl::Time expiry) override;

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

}  // namespace amend

#endif  // AMEND_SERVER_METRICS_H_
