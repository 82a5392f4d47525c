#include "server/export_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "server/out_of_memory.h"

namespace amend {
namespace {

absl::Status TooManyExports() {
  return WithRetryDelay(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                       kMaxExports, " exports are running, as many as may")),
                                   "QUEUE_FULL"),
                        absl::Seconds(5));
}

absl::StatusOr<std::shared_ptr<const Snapshot>> Resolve(const ServingModel& serving,
                                                        const v1::ExportRevisionRequest& request) {
  if (request.at_case() == v1::ExportRevisionRequest::kRevision) {
    return serving.Resolve(Revision(request.revision()));
  }
  return serving.Resolve(absl::string_view(request.label().empty() ? "live" : request.label()));
}

// What reading the model directory said.
absl::Status FromModelDirectory(const absl::Status& status) {
  return absl::IsDataLoss(status) ? WithReason(status, "MODEL_CHANGED") : FromMemory(status);
}

}  // namespace

ExportStream* ExportStream::Start(Environment* environment,
                                  const v1::ExportRevisionRequest& request) {
  auto* const stream = new ExportStream(environment);
  stream->self_ = std::shared_ptr<ExportStream>(stream);
  absl::StatusOr<std::shared_ptr<const Snapshot>> snapshot =
      Resolve(*environment->serving, request);
  if (!snapshot.ok()) {
    stream->Finish(ToGrpcStatus(snapshot.status()));
    return stream;
  }
  const absl::Status memory = CheckMemoryIsLeft();
  if (!memory.ok()) {
    stream->Finish(ToGrpcStatus(memory));
    return stream;
  }
  stream->snapshot_ = *std::move(snapshot);
  stream->counted_ = true;
  if (++environment->running > kMaxExports) {
    stream->Finish(ToGrpcStatus(TooManyExports()));
    return stream;
  }
  const bool projections_only = request.projections_only();
  stream->Continue([stream, projections_only] { return stream->Open(projections_only); });
  return stream;
}

void ExportStream::Continue(std::function<absl::StatusOr<bool>()> step) {
  const absl::Status submitted = environment_->executor->Submit([this, step = std::move(step)] {
    if (cancelled_) return Finish(ToGrpcStatus(absl::CancelledError("the client went away")));
    const absl::StatusOr<bool> made = ResultOrOutOfMemory("exporting a revision", step);
    if (!made.ok() || !*made) return Finish(ToGrpcStatus(made.status()));
    StartWrite(&response_);
  });
  if (!submitted.ok()) Finish(ToGrpcStatus(submitted));
}

absl::StatusOr<bool> ExportStream::Open(bool projections_only) {
  absl::StatusOr<ExportSource> opened = environment_->open(*snapshot_, projections_only);
  if (!opened.ok()) return FromModelDirectory(opened.status());
  source_ = *std::move(opened);
  v1::ExportStart* const start = response_.mutable_start();
  start->set_revision(snapshot_->revision.value());
  start->set_base_fingerprint(environment_->model_fingerprint);
  for (const ExportFile& file : source_.files) {
    v1::ExportFile* const added = start->add_files();
    added->set_name(file.name);
    added->set_size(file.size);
  }
  return true;
}

absl::StatusOr<bool> ExportStream::NextPiece() {
  absl::StatusOr<std::optional<ExportPiece>> piece = source_.next();
  if (!piece.ok()) return FromModelDirectory(piece.status());
  if (!piece->has_value()) return false;
  v1::ExportChunk* const chunk = response_.mutable_chunk();
  chunk->set_file((*piece)->file);
  chunk->set_bytes(std::move((*piece)->bytes));
  chunk->set_sha256((*piece)->sha256);
  return true;
}

void ExportStream::OnWriteDone(bool ok) {
  if (!ok) cancelled_ = true;
  Continue([this] { return NextPiece(); });
}

void ExportStream::OnDone() {
  if (counted_) --environment_->running;
  // May be the last reference: nothing of this object is touched after it.
  const std::shared_ptr<ExportStream> self = std::move(self_);
}

}  // namespace amend
