#ifndef AMEND_SERVER_EDIT_OBSERVER_H_
#define AMEND_SERVER_EDIT_OBSERVER_H_

#include <cstdint>

#include "absl/time/time.h"
#include "core/base/types.h"

namespace amend {

enum class EditStage { kTarget, kKeys, kSolve, kGate, kPersist, kPublish };
enum class GateCheck {
  kReliability,
  kGenerality,
  kLocality,
  kBackground,
  kFluency,
  kRetention,
  kFinite
};
// What became of a batch.
enum class BatchOutcome { kLive, kValidated, kRejected, kFailed, kCancelled };
enum class PromotionResult { kMoved, kConflict, kRefused, kFailed };

// Hears of numbers on the way of an edit, for metrics. Every method does nothing by default.
//
// Implementations are thread-safe, never block, and outlive whoever was given a pointer to them.
// Most calls come from the coordinator's threads, BatchFinished and QueueChanged also from the
// intake thread.
class EditObserver {
 public:
  virtual ~EditObserver() = default;

  // A batch of `edit_count` edits reached a terminal stage.
  virtual void BatchFinished(BatchOutcome /*outcome*/, int /*edit_count*/) {}
  // Edits that were left out of a batch because they failed the gate.
  virtual void EditsDropped(int /*edit_count*/) {}
  // Batches that are durable and not finished, and since when the oldest of them waits;
  // InfinitePast when there is none.
  virtual void QueueChanged(int /*depth*/, absl::Time /*oldest_receive_time*/) {}
  // How long one stage of one batch took.
  virtual void StageDone(EditStage /*stage*/, absl::Duration /*duration*/) {}
  // What one check measured of a batch: in [0, 1], for kFluency the relative change of perplexity.
  virtual void GateScore(GateCheck /*check*/, double /*score*/) {}
  virtual void GateRejected(GateCheck /*check*/) {}
  // A promotion, by request or because a batch was validated.
  virtual void Promoted(PromotionResult /*result*/) {}
  // Edits were taken back, or the gate turned that down.
  virtual void EditsWithdrawn(BatchOutcome /*outcome*/, int /*edit_count*/) {}
  // A label moved back on request.
  virtual void RolledBack() {}
  // From receipt of a batch until generation uses it.
  virtual void EditTimeToLive(absl::Duration /*duration*/) {}
  // Frobenius norm of a layer's whole update on the live line over that of its base weight.
  virtual void UpdateNormRatio(LayerIndex /*layer*/, double /*ratio*/) {}
  // The label "live" stands here now; also said once at start.
  virtual void LiveRevisionChanged(Revision /*live*/) {}
};

}  // namespace amend

#endif  // AMEND_SERVER_EDIT_OBSERVER_H_
