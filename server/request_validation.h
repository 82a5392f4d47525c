#ifndef AMEND_SERVER_REQUEST_VALIDATION_H_
#define AMEND_SERVER_REQUEST_VALIDATION_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "amend/v1/edit.pb.h"
#include "amend/v1/revision.pb.h"
#include "core/editing/edit.h"
#include "core/editing/edit_validation.h"

namespace amend {

// Checks of requests before anything is done. Pure functions; thread-safe. Errors are
// INVALID_ARGUMENT with a field path and, where there are two, both values.

// Sessions of SubmitEditBatch begin like this, followed by the request id; StreamEdits may not use
// them.
inline constexpr absl::string_view kUnarySessionPrefix = "unary:";

absl::Status ValidateStart(const v1::StreamEditsRequest::Start& start);
// Without the edits.
absl::Status ValidateSubmit(const v1::SubmitEditBatchRequest& request);
absl::Status ValidateOffset(int64_t offset);
absl::Status ValidateGetBatch(const v1::GetEditBatchRequest& request);
absl::Status ValidateCancelBatch(const v1::CancelEditBatchRequest& request);
absl::Status ValidateListBatches(const v1::ListEditBatchesRequest& request);
absl::Status ValidateGetRevision(const v1::GetRevisionRequest& request);
absl::Status ValidatePromote(const v1::PromoteRequest& request);
absl::Status ValidateRollback(const v1::RollbackRequest& request);
absl::Status ValidateCompare(const v1::CompareRevisionsRequest& request);
absl::Status ValidateValidate(const v1::ValidateRevisionRequest& request);
absl::Status ValidateSetLabel(const v1::SetLabelRequest& request);
absl::Status ValidateDeleteLabel(const v1::DeleteLabelRequest& request);
// Of PinRevision, UnpinRevision, DeleteRevision and UndeleteRevision.
absl::Status ValidateMark(int64_t revision, absl::string_view reason);
absl::Status ValidatePurge(const v1::PurgeRevisionsRequest& request);
absl::Status ValidateWithdrawEdits(const v1::WithdrawEditsRequest& request);

// 50 for 0, at most 1000.
absl::StatusOr<int> PageSize(int32_t requested);
// A token is a number that PageToken wrote; an empty one means `first`.
absl::StatusOr<int64_t> ParsePageToken(absl::string_view token, int64_t first);
std::string PageToken(int64_t next);

// What is wrong with a batch. `index` is -1 when it is the batch as a whole.
struct BatchViolation {
  int index = -1;
  // "batch.edits[3].subject"
  std::string field;
  std::string description;
};

// ValidateEdits with everything bound but the edits.
using CheckEdits = std::function<std::vector<EditViolation>(absl::Span<const Edit>)>;

// Empty when all is well. The edits are looked at only when their number is in 1 ..
// max_batch_edits.
std::vector<BatchViolation> CheckBatch(absl::Span<const Edit> edits, int max_batch_edits,
                                       const CheckEdits& check_edits);
// INVALID_ARGUMENT, reason EDIT_INVALID, with a BadRequest; `edit_count` is for the message.
absl::Status BatchError(const std::vector<BatchViolation>& violations, int edit_count);

}  // namespace amend

#endif  // AMEND_SERVER_REQUEST_VALIDATION_H_
