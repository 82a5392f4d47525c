#include "client/edit_stream.h"

#include <algorithm>
#include <memory>
#include <set>
#include <thread>  // NOLINT: one writer beside the reading thread
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/errors.h"
#include "grpcpp/client_context.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

using Stream = grpc::ClientReaderWriterInterface<v1::StreamEditsRequest, v1::StreamEditsResponse>;

// Worth another attempt with the same offsets.
bool IsRetryable(const absl::Status& status) {
  return IsConnectionLost(status) || absl::IsUnavailable(status) ||
         absl::IsResourceExhausted(status) || absl::IsCancelled(status);
}

// An offset that the server did not take at all, so that it has no stage.
bool IsRefused(const v1::EditBatchStatus& batch) {
  return batch.has_error() && batch.stage() == v1::BATCH_STAGE_UNSPECIFIED;
}

// Sends batches while there are credits. Thread-safe: Run() on one thread, the rest on another.
class Writer {
 public:
  // `to_send` in ascending order. All referents outlive the writer.
  Writer(Stream* stream, const std::vector<v1::EditBatch>& batches, std::vector<int64_t> to_send,
         int credits)
      : stream_(stream), batches_(batches), to_send_(std::move(to_send)), credits_(credits) {}

  // Returns when all is written and flushed, or after Stop(), or when the stream broke.
  void Run() {
    for (const int64_t offset : to_send_) {
      if (!AwaitCredit(offset)) return;
      v1::StreamEditsRequest request;
      request.mutable_batch()->set_offset(offset);
      *request.mutable_batch()->mutable_batch() = batches_[offset];
      if (!stream_->Write(request)) return;
    }
    v1::StreamEditsRequest request;
    request.mutable_flush();
    stream_->Write(request);
  }

  // The batch needs no credit any more. Unknown offsets do no harm.
  void Release(int64_t offset) {
    absl::MutexLock lock(&mutex_);
    in_flight_.erase(offset);
  }

  void Stop() {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }

 private:
  bool AwaitCredit(int64_t offset) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Writer::MayGoOn));
    if (stopped_) return false;
    in_flight_.insert(offset);
    return true;
  }

  bool MayGoOn() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopped_ || in_flight_.size() < static_cast<size_t>(credits_);
  }

  Stream* const stream_;
  const std::vector<v1::EditBatch>& batches_;
  const std::vector<int64_t> to_send_;
  const int credits_;
  absl::Mutex mutex_;
  std::set<int64_t> in_flight_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// The batches of one session over any number of connections. Not thread-safe; owned by the caller's
// thread.
class Session {
 public:
  Session(v1::EditService::StubInterface* stub, const EditStreamOptions& options,
          const std::vector<v1::EditBatch>& batches, EditStreamObserver* observer)
      : stub_(stub),
        options_(options),
        batches_(batches),
        observer_(observer),
        outcomes_(batches.size()) {}

  absl::StatusOr<std::vector<v1::EditBatchStatus>> Run() {
    absl::Duration pause = options_.first_pause;
    for (int attempt = 0;;) {
      const int64_t finished_before = Finished();
      const absl::Status status = RunConnection();
      if (status.ok()) return std::move(outcomes_);
      if (Finished() > finished_before) {
        attempt = 0;
        pause = options_.first_pause;
      }
      if (!IsRetryable(status)) return status;
      if (++attempt > options_.max_reconnects) return GivenUp(status);
      observer_->OnReconnect(attempt, status, pause);
      options_.sleep(pause);
      pause = std::min(pause * 2, options_.longest_pause);
    }
  }

 private:
  absl::Status RunConnection() {
    grpc::ClientContext context;
    const std::unique_ptr<Stream> stream = stub_->StreamEdits(&context);
    v1::StreamEditsRequest start;
    start.mutable_start()->set_session(options_.session);
    start.mutable_start()->set_promotion(options_.promotion);
    start.mutable_start()->set_failure_policy(options_.failure_policy);
    *start.mutable_start()->mutable_thresholds() = options_.thresholds;
    v1::StreamEditsResponse response;
    if (!stream->Write(start) || !stream->Read(&response)) return End(stream.get());
    if (!response.has_started()) {
      context.TryCancel();
      End(stream.get()).IgnoreError();
      return absl::InternalError("the server's first response is not `started`");
    }
    observer_->OnStarted(response.started().next_offset());

    Writer writer(stream.get(), batches_, Unfinished(), std::max(1, response.started().credits()));
    std::thread thread([&writer] { writer.Run(); });
    const absl::StatusOr<ReadEnd> read = ReadToFlush(stream.get(), &writer);
    writer.Stop();
    // Wakes a Write that waits for a server which does not read.
    if (!read.ok()) context.TryCancel();
    thread.join();
    if (read.ok() && *read == ReadEnd::kFlushed) stream->WritesDone();
    const absl::Status end = End(stream.get());
    if (!read.ok()) return read.status();
    if (!end.ok()) return end;
    if (*read == ReadEnd::kStreamEnded) {
      return absl::UnavailableError("the server ended the stream before its answers were complete");
    }
    return FetchUnfinished();
  }

  enum class ReadEnd { kFlushed, kStreamEnded };

  // Reads until the flush is answered or the stream ends, whose own status then says why.
  absl::StatusOr<ReadEnd> ReadToFlush(Stream* stream, Writer* writer) {
    v1::StreamEditsResponse response;
    while (stream->Read(&response)) {
      if (response.has_flushed()) return ReadEnd::kFlushed;
      if (!response.has_batch()) continue;
      const v1::EditBatchStatus& batch = response.batch();
      if (IsRefused(batch)) return FromRpcStatus(batch.error());
      const absl::Status status = Record(batch);
      if (!status.ok()) return status;
      // A recorded VALIDATED is where a staged batch stays, whatever this stream asks for.
      if (IsDone(batch) || (batch.replayed() && batch.stage() == v1::VALIDATED)) {
        writer->Release(batch.offset());
      }
    }
    return ReadEnd::kStreamEnded;
  }

  absl::Status Record(const v1::EditBatchStatus& batch) {
    if (batch.offset() < 0 || batch.offset() >= static_cast<int64_t>(batches_.size())) {
      return absl::InternalError(absl::StrCat("the server answers offset ", batch.offset(), " of ",
                                              batches_.size(), " batches"));
    }
    const int sent = batches_[batch.offset()].edits_size();
    if (batch.edit_count() != 0 && batch.edit_count() != sent) {
      return absl::FailedPreconditionError(
          absl::StrCat("session ", options_.session, " has a batch of ", batch.edit_count(),
                       " edits at offset ", batch.offset(), ", this one has ", sent,
                       ": the session belongs to other edits; choose another name"));
    }
    outcomes_[batch.offset()] = batch;
    observer_->OnBatch(batch);
    return absl::OkStatus();
  }

  // What the stream did not tell although all is flushed.
  absl::Status FetchUnfinished() {
    for (const int64_t offset : Unfinished()) {
      if (outcomes_[offset].stage() == v1::VALIDATED) continue;  // Staged by an earlier run.
      grpc::ClientContext context;
      v1::GetEditBatchRequest request;
      request.set_session(options_.session);
      request.set_offset(offset);
      v1::EditBatchStatus batch;
      absl::Status status = FromGrpcStatus(stub_->GetEditBatch(&context, request, &batch));
      if (status.ok()) status = Record(batch);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  static absl::Status End(Stream* stream) {
    v1::StreamEditsResponse ignored;
    while (stream->Read(&ignored)) {
    }
    return FromGrpcStatus(stream->Finish());
  }

  bool IsDone(const v1::EditBatchStatus& batch) const {
    return IsTerminal(batch.stage(), options_.promotion);
  }

  std::vector<int64_t> Unfinished() const {
    std::vector<int64_t> offsets;
    for (size_t i = 0; i < outcomes_.size(); ++i) {
      if (!IsDone(outcomes_[i])) offsets.push_back(static_cast<int64_t>(i));
    }
    return offsets;
  }

  int64_t Finished() const { return static_cast<int64_t>(outcomes_.size() - Unfinished().size()); }

  absl::Status GivenUp(const absl::Status& last) const {
    absl::Status status(last.code(), absl::StrCat(last.message(), "; ", Finished(), " of ",
                                                  batches_.size(), " batches are done"));
    last.ForEachPayload([&status](absl::string_view url, const absl::Cord& payload) {
      status.SetPayload(url, payload);
    });
    return status;
  }

  v1::EditService::StubInterface* const stub_;
  const EditStreamOptions& options_;
  const std::vector<v1::EditBatch>& batches_;
  EditStreamObserver* const observer_;
  // The latest status by offset.
  std::vector<v1::EditBatchStatus> outcomes_;
};

}  // namespace

bool IsTerminal(v1::BatchStage stage, v1::Promotion promotion) {
  switch (stage) {
    case v1::REJECTED:
    case v1::FAILED:
    case v1::LIVE:
      return true;
    case v1::VALIDATED:
      return promotion == v1::STAGE_ONLY;
    default:
      return false;
  }
}

absl::StatusOr<std::vector<v1::EditBatchStatus>> RunEditStream(
    v1::EditService::StubInterface* stub, const EditStreamOptions& options,
    const std::vector<v1::EditBatch>& batches, EditStreamObserver* observer) {
  return Session(stub, options, batches, observer).Run();
}

}  // namespace amend::client
