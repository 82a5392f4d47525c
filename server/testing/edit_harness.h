#ifndef AMEND_SERVER_TESTING_EDIT_HARNESS_H_
#define AMEND_SERVER_TESTING_EDIT_HARNESS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "amend/v1/edit.pb.h"
#include "server/coordinator.h"
#include "server/edit_intake.h"
#include "server/proto_conversion.h"
#include "server/task_executor.h"
#include "server/testing/fake_edit_engine.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {

// Keeps what a listener hears. Thread-safe; lives in a shared_ptr.
class StatusRecorder : public std::enable_shared_from_this<StatusRecorder> {
 public:
  BatchListener listener() {
    return {weak_from_this(), [this](const v1::EditBatchStatus& status) {
              absl::MutexLock lock(&mutex_);
              statuses_.push_back(status);
            }};
  }
  // Waits for the last status of the batch.
  v1::EditBatchStatus Last() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](StatusRecorder* self) ABSL_NO_THREAD_SAFETY_ANALYSIS {
          return !self->statuses_.empty() && IsLast(self->statuses_.back());
        },
        this));
    return statuses_.back();
  }
  // The stages so far, each once where it repeats.
  std::vector<v1::BatchStage> Stages() {
    absl::MutexLock lock(&mutex_);
    std::vector<v1::BatchStage> stages;
    for (const v1::EditBatchStatus& status : statuses_) {
      if (stages.empty() || stages.back() != status.stage()) stages.push_back(status.stage());
    }
    return stages;
  }
  std::vector<v1::EditBatchStatus> statuses() {
    absl::MutexLock lock(&mutex_);
    return statuses_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<v1::EditBatchStatus> statuses_ ABSL_GUARDED_BY(mutex_);
};

// An edit whose target says what becomes of it; see FakeEditEngine. "malformed" as subject is
// turned down by CheckFakeEdits.
inline Edit MakeEdit(const std::string& target, const std::string& subject = "subject") {
  Edit edit;
  edit.prompt = absl::StrCat("The prompt of ", subject);
  edit.subject = subject;
  edit.target_new = target;
  edit.client_edit_id = absl::StrCat("id of ", target);
  return edit;
}

inline std::vector<EditViolation> CheckFakeEdits(absl::Span<const Edit> edits) {
  std::vector<EditViolation> violations;
  for (size_t i = 0; i < edits.size(); ++i) {
    if (edits[i].subject != "malformed") continue;
    violations.push_back({static_cast<int>(i), "subject", "is malformed"});
  }
  return violations;
}

inline GateThresholds ReliabilityOf(double reliability) {
  GateThresholds thresholds;
  thresholds.reliability = reliability;
  return thresholds;
}

// The edit path over an in-memory store and a fake engine.
struct EditHarness {
  EditHarness() : EditHarness(EditIntake::Options()) {}
  explicit EditHarness(EditIntake::Options intake_options) {
    intake = std::make_unique<EditIntake>(&store, CheckFakeEdits, &hub, MakeCoordinator(),
                                          &observer, std::move(intake_options));
  }
  ~EditHarness() {
    intake->Stop();
    coordinator->Stop();
  }

  // Also in the place of the one that was there, as after a restart; the serving model is new then.
  Coordinator* MakeCoordinator(Coordinator::Options options = {}) {
    coordinator.reset();
    serving = std::make_unique<ServingModel>(nullptr, std::shared_ptr<const HookStack>());
    options.store_retry_delay = absl::Milliseconds(1);
    coordinator = std::make_unique<Coordinator>(&store, &engine, serving.get(), &hub, &changes,
                                                &observer, std::move(options));
    return coordinator.get();
  }
  void Start() {
    coordinator->Start();
    intake->Start();
  }

  std::shared_ptr<StatusRecorder> Submit(
      const std::string& session, int64_t offset, std::vector<Edit> edits,
      PromotionPolicy promotion = PromotionPolicy::kWhenValidated, bool record_malformed = true) {
    auto recorder = std::make_shared<StatusRecorder>();
    BatchSubmission submission;
    submission.key = {session, offset};
    submission.edits = std::move(edits);
    submission.promotion = promotion;
    submission.failure = failure;
    submission.thresholds = thresholds;
    submission.actor = actor;
    submission.trace_id = trace_id;
    submission.record_malformed = record_malformed;
    submission.listener = recorder->listener();
    const absl::Status submitted = intake->Submit(std::move(submission));
    if (!submitted.ok()) recorder->listener().Notify(NotTaken({session, offset}, 0, submitted));
    return recorder;
  }
  // Submits and waits for the end.
  v1::EditBatchStatus Run(const std::string& session, int64_t offset, const std::string& target,
                          PromotionPolicy promotion = PromotionPolicy::kWhenValidated) {
    return Submit(session, offset, {MakeEdit(target)}, promotion)->Last();
  }
  Revision Live() const { return (*serving->Resolve(kLiveLabel))->revision; }

  // Of what is submitted.
  FailurePolicy failure = FailurePolicy::kAllOrNothing;
  GateThresholds thresholds = ReliabilityOf(0.9);
  // Who submits.
  std::string actor;
  std::string trace_id;

  InMemoryRevisionStore store;
  FakeEditEngine engine;
  EditEventHub hub;
  RevisionEventHub changes;
  EditObserver observer;
  std::unique_ptr<ServingModel> serving;
  std::unique_ptr<Coordinator> coordinator;
  std::unique_ptr<EditIntake> intake;
};

}  // namespace amend

#endif  // AMEND_SERVER_TESTING_EDIT_HARNESS_H_
