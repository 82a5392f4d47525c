#include "server/verify_stream.h"

#include <utility>

#include "server/errors.h"

namespace amend {
namespace {

v1::VerifyStoreResponse Progress(const StoreVerification& so_far) {
  v1::VerifyStoreResponse response;
  response.set_records(so_far.records);
  response.set_blobs(so_far.blobs);
  response.set_bytes(so_far.bytes);
  return response;
}

v1::VerifyStoreResponse Report(const StoreVerification& verification) {
  v1::VerifyStoreResponse response = Progress(verification);
  v1::VerifyReport* report = response.mutable_report();
  report->set_live_revision(verification.live.value());
  report->set_latest_revision(verification.latest.value());
  report->set_store_digest(verification.digest);
  report->set_damage_count(verification.damage_count);
  for (const StoreDamage& damage : verification.damages) {
    v1::StoreDamage* added = report->add_damages();
    added->set_key(damage.key);
    added->set_expected_digest(damage.expected_digest);
    added->set_found_digest(damage.found_digest);
    added->set_description(damage.description);
  }
  return response;
}

}  // namespace

VerifyStream* VerifyStream::Start(const RevisionStore* store, TaskExecutor* executor) {
  const std::shared_ptr<VerifyStream> stream(new VerifyStream);
  stream->self_ = stream;
  const absl::Status submitted = executor->Submit([stream, store] {
    stream->OnEnd(store->Verify([&](const StoreVerification& so_far) {
      stream->OnProgress(so_far);
      return !stream->cancelled_;
    }));
  });
  if (!submitted.ok()) stream->OnEnd(submitted);
  return stream.get();
}

void VerifyStream::OnProgress(const StoreVerification& so_far) {
  absl::MutexLock lock(&mutex_);
  next_ = Progress(so_far);
  Advance();
}

void VerifyStream::OnEnd(const absl::StatusOr<StoreVerification>& result) {
  absl::MutexLock lock(&mutex_);
  next_.reset();
  if (result.ok()) next_ = Report(*result);
  // The executor's refusal has its reason already.
  const bool has_reason = !ReasonOf(result.status()).empty();
  end_ = ToGrpcStatus(has_reason ? result.status() : FromStore(result.status()));
  Advance();
}

void VerifyStream::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  if (!ok) {
    cancelled_ = true;
    next_.reset();
  }
  Advance();
}

void VerifyStream::Advance() {
  if (writing_ || finished_) return;
  if (next_.has_value() && !cancelled_) {
    response_ = *std::move(next_);
    next_.reset();
    writing_ = true;
    StartWrite(&response_);
  } else if (end_.has_value()) {
    finished_ = true;
    Finish(*end_);
  }
}

}  // namespace amend
