#include "server/request_validation.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "server/errors.h"
#include "storage/revision_store.h"

namespace amend {
namespace {

constexpr size_t kMaxNameLength = 128;
constexpr size_t kMaxReasonLength = 1024;
constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;
constexpr int kMaxWithdrawnEdits = 1000;
// A message names at most so many violations; the details name all.
constexpr size_t kViolationsInMessage = 3;

absl::Status Invalid(absl::string_view field, absl::string_view description) {
  return WithFieldViolations(
      WithReason(absl::InvalidArgumentError(absl::StrCat(field, ": ", description)),
                 "INVALID_REQUEST"),
      {{std::string(field), std::string(description)}});
}

bool IsNameCharacter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == ':' || c == '-';
}

absl::Status ValidateName(absl::string_view field, absl::string_view name) {
  if (name.empty()) return Invalid(field, "is empty");
  if (name.size() > kMaxNameLength) {
    return Invalid(field,
                   absl::StrCat("has ", name.size(), " characters, at most ", kMaxNameLength));
  }
  if (!std::all_of(name.begin(), name.end(), IsNameCharacter)) {
    return Invalid(field, absl::StrCat("\"", absl::CHexEscape(name),
                                       "\" has a character outside of [A-Za-z0-9._:-]"));
  }
  return absl::OkStatus();
}

// A session that may be asked about: also that of a unary request.
absl::Status ValidateAnySession(absl::string_view session) {
  absl::string_view name = session;
  absl::ConsumePrefix(&name, kUnarySessionPrefix);
  return ValidateName("session", name);
}

absl::Status ValidateThreshold(absl::string_view field, bool is_set, double value) {
  if (!is_set || (std::isfinite(value) && value >= 0 && value <= 1)) return absl::OkStatus();
  return Invalid(absl::StrCat("thresholds.", field), absl::StrCat(value, " is not in [0, 1]"));
}

absl::Status ValidateThresholds(const v1::GateThresholds& thresholds) {
  const struct {
    absl::string_view field;
    bool is_set;
    double value;
  } shares[] = {
      {"reliability", thresholds.has_reliability(), thresholds.reliability()},
      {"generality", thresholds.has_generality(), thresholds.generality()},
      {"locality", thresholds.has_locality(), thresholds.locality()},
      {"background", thresholds.has_background(), thresholds.background()},
      {"retention", thresholds.has_retention(), thresholds.retention()},
  };
  for (const auto& [field, is_set, value] : shares) {
    AMEND_RETURN_IF_ERROR(ValidateThreshold(field, is_set, value));
  }
  const double change = thresholds.max_perplexity_change();
  if (std::isfinite(change) && change >= 0) return absl::OkStatus();
  return Invalid("thresholds.max_perplexity_change",
                 absl::StrCat(change, " is not a finite number from 0 on"));
}

absl::Status ValidatePolicy(v1::Promotion promotion, v1::FailurePolicy failure,
                            const v1::GateThresholds& thresholds) {
  if (!v1::Promotion_IsValid(promotion)) {
    return Invalid("promotion", absl::StrCat(static_cast<int>(promotion), " is not known"));
  }
  if (!v1::FailurePolicy_IsValid(failure)) {
    return Invalid("failure_policy", absl::StrCat(static_cast<int>(failure), " is not known"));
  }
  return ValidateThresholds(thresholds);
}

absl::Status ValidateRevisionNumber(int64_t revision, absl::string_view field = "revision") {
  if (revision >= 0) return absl::OkStatus();
  return Invalid(field, absl::StrCat(revision, " is negative"));
}

// An empty label means "live".
absl::Status ValidateLabel(absl::string_view label) {
  return label.empty() ? absl::OkStatus() : ValidateName("label", label);
}

// One that SetLabel and DeleteLabel may touch.
absl::Status ValidateOtherLabel(absl::string_view label) {
  AMEND_RETURN_IF_ERROR(ValidateName("label", label));
  if (label != kLiveLabel) return absl::OkStatus();
  return Invalid("label", absl::StrCat("\"", kLiveLabel,
                                       "\" is moved by Promote and Rollback and always stays"));
}

absl::Status ValidateReason(absl::string_view reason) {
  if (reason.size() <= kMaxReasonLength) return absl::OkStatus();
  return Invalid("reason",
                 absl::StrCat("has ", reason.size(), " bytes, at most ", kMaxReasonLength));
}

}  // namespace

absl::Status ValidateStart(const v1::StreamEditsRequest::Start& start) {
  AMEND_RETURN_IF_ERROR(ValidateName("start.session", start.session()));
  if (absl::StartsWith(start.session(), kUnarySessionPrefix)) {
    return Invalid("start.session",
                   absl::StrCat("\"", start.session(), "\" begins with \"", kUnarySessionPrefix,
                                "\", which is reserved for SubmitEditBatch"));
  }
  return ValidatePolicy(start.promotion(), start.failure_policy(), start.thresholds());
}

absl::Status ValidateSubmit(const v1::SubmitEditBatchRequest& request) {
  if (!request.request_id().empty()) {
    AMEND_RETURN_IF_ERROR(ValidateName("request_id", request.request_id()));
  }
  if (!v1::BatchStage_IsValid(request.wait_for()) || request.wait_for() == v1::ACCEPTED) {
    return Invalid("wait_for", absl::StrCat(static_cast<int>(request.wait_for()),
                                            " is not DURABLE or a later stage"));
  }
  return ValidatePolicy(request.promotion(), request.failure_policy(), request.thresholds());
}

absl::Status ValidateOffset(int64_t offset) {
  if (offset >= 0) return absl::OkStatus();
  return Invalid("offset", absl::StrCat(offset, " is negative"));
}

absl::Status ValidateGetBatch(const v1::GetEditBatchRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateAnySession(request.session()));
  return ValidateOffset(request.offset());
}

absl::Status ValidateCancelBatch(const v1::CancelEditBatchRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateAnySession(request.session()));
  AMEND_RETURN_IF_ERROR(ValidateOffset(request.offset()));
  return ValidateReason(request.reason());
}

absl::Status ValidateListBatches(const v1::ListEditBatchesRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateAnySession(request.session()));
  AMEND_RETURN_IF_ERROR(PageSize(request.page_size()).status());
  return ParsePageToken(request.page_token(), 0).status();
}

absl::Status ValidateGetRevision(const v1::GetRevisionRequest& request) {
  switch (request.at_case()) {
    case v1::GetRevisionRequest::kRevision:
      return ValidateRevisionNumber(request.revision());
    case v1::GetRevisionRequest::kLabel:
      return ValidateLabel(request.label());
    case v1::GetRevisionRequest::AT_NOT_SET:
      break;
  }
  return absl::OkStatus();
}

absl::Status ValidatePromote(const v1::PromoteRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateRevisionNumber(request.revision()));
  AMEND_RETURN_IF_ERROR(ValidateLabel(request.label()));
  return ValidateReason(request.reason());
}

absl::Status ValidateRollback(const v1::RollbackRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateLabel(request.label()));
  if (request.reason().empty()) return Invalid("reason", "is empty, but a rollback needs one");
  AMEND_RETURN_IF_ERROR(ValidateReason(request.reason()));
  switch (request.target_case()) {
    case v1::RollbackRequest::kRevision:
      return ValidateRevisionNumber(request.revision());
    case v1::RollbackRequest::kPrevious:
      if (!request.previous()) return Invalid("previous", "is set to false");
      return absl::OkStatus();
    case v1::RollbackRequest::TARGET_NOT_SET:
      break;
  }
  return Invalid("target", "is not set: give a revision, or previous");
}

absl::Status ValidateCompare(const v1::CompareRevisionsRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateRevisionNumber(request.base_revision(), "base_revision"));
  return ValidateRevisionNumber(request.revision());
}

absl::Status ValidateValidate(const v1::ValidateRevisionRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateRevisionNumber(request.revision()));
  return ValidateThresholds(request.thresholds());
}

absl::Status ValidateSetLabel(const v1::SetLabelRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateOtherLabel(request.label()));
  AMEND_RETURN_IF_ERROR(ValidateRevisionNumber(request.revision()));
  return ValidateReason(request.reason());
}

absl::Status ValidateDeleteLabel(const v1::DeleteLabelRequest& request) {
  AMEND_RETURN_IF_ERROR(ValidateOtherLabel(request.label()));
  return ValidateReason(request.reason());
}

absl::Status ValidateMark(int64_t revision, absl::string_view reason) {
  AMEND_RETURN_IF_ERROR(ValidateRevisionNumber(revision));
  return ValidateReason(reason);
}

absl::Status ValidatePurge(const v1::PurgeRevisionsRequest& request) {
  return ValidateReason(request.reason());
}

absl::Status ValidateWithdrawEdits(const v1::WithdrawEditsRequest& request) {
  if (request.at_case() == v1::WithdrawEditsRequest::kRevision) {
    AMEND_RETURN_IF_ERROR(ValidateRevisionNumber(request.revision()));
  }
  AMEND_RETURN_IF_ERROR(ValidateLabel(request.label()));
  if (request.reason().empty()) return Invalid("reason", "is empty, but a withdrawal needs one");
  AMEND_RETURN_IF_ERROR(ValidateReason(request.reason()));
  AMEND_RETURN_IF_ERROR(
      ValidatePolicy(request.promotion(), v1::FAILURE_POLICY_UNSPECIFIED, v1::GateThresholds()));
  if (request.edits().empty() || request.edits_size() > kMaxWithdrawnEdits) {
    return Invalid("edits", absl::StrCat("names ", request.edits_size(), " edits; 1 to ",
                                         kMaxWithdrawnEdits, " can be withdrawn at once"));
  }
  std::set<std::pair<int64_t, int32_t>> seen;
  for (int i = 0; i < request.edits_size(); ++i) {
    const v1::EditReference& edit = request.edits(i);
    if (seen.emplace(edit.revision(), edit.edit_index()).second) continue;
    return Invalid(
        absl::StrCat("edits[", i, "]"),
        absl::StrCat("names edit ", edit.edit_index(), " of revision ", edit.revision(), " again"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> PageSize(int32_t requested) {
  if (requested < 0) return Invalid("page_size", absl::StrCat(requested, " is negative"));
  if (requested == 0) return kDefaultPageSize;
  return std::min<int>(requested, kMaxPageSize);
}

absl::StatusOr<int64_t> ParsePageToken(absl::string_view token, int64_t first) {
  if (token.empty()) return first;
  int64_t next = 0;
  if (!absl::SimpleAtoi(token, &next) || next < 0 || PageToken(next) != token) {
    return Invalid("page_token",
                   absl::StrCat("\"", absl::CHexEscape(token), "\" is not one that was given out"));
  }
  return next;
}

std::string PageToken(int64_t next) { return absl::StrCat(next); }

std::vector<BatchViolation> CheckBatch(absl::Span<const Edit> edits, int max_batch_edits,
                                       const CheckEdits& check_edits) {
  if (edits.empty()) return {{-1, "batch.edits", "is empty"}};
  if (edits.size() > static_cast<size_t>(max_batch_edits)) {
    return {{-1, "batch.edits",
             absl::StrCat("has ", edits.size(), " edits, at most ", max_batch_edits)}};
  }
  std::vector<BatchViolation> violations;
  for (const EditViolation& violation : check_edits(edits)) {
    violations.push_back({violation.index,
                          absl::StrCat("batch.edits[", violation.index, "].", violation.field),
                          violation.description});
  }
  return violations;
}

absl::Status BatchError(const std::vector<BatchViolation>& violations, int edit_count) {
  std::string message = absl::StrCat("a batch of ", edit_count, " edits is malformed");
  std::vector<std::pair<std::string, std::string>> details;
  for (const BatchViolation& violation : violations) {
    if (details.size() < kViolationsInMessage) {
      absl::StrAppend(&message, details.empty() ? ": " : "; ", violation.field, " ",
                      violation.description);
    }
    details.emplace_back(violation.field, violation.description);
  }
  if (details.size() > kViolationsInMessage) {
    absl::StrAppend(&message, "; and ", details.size() - kViolationsInMessage, " more");
  }
  return WithFieldViolations(WithReason(absl::InvalidArgumentError(message), "EDIT_INVALID"),
                             details);
}

}  // namespace amend
