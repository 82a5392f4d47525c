#ifndef AMEND_SERVER_PROTO_CONVERSION_H_
#define AMEND_SERVER_PROTO_CONVERSION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "amend/v1/edit.pb.h"
#include "amend/v1/revision.pb.h"
#include "core/editing/batch_editor.h"
#include "storage/records.h"

namespace amend {

// Between the API's messages and the values of core and storage. Pure functions; thread-safe.

std::vector<Edit> EditsFromProto(const v1::EditBatch& batch);
v1::Edit ToProto(const Edit& edit);
PromotionPolicy PromotionFromProto(v1::Promotion promotion);
FailurePolicy FailurePolicyFromProto(v1::FailurePolicy policy);
// Unset fields come from `defaults`.
GateThresholds ThresholdsFromProto(const v1::GateThresholds& thresholds,
                                   const GateThresholds& defaults);
// `client_edit_id` is the one of the edit at verdict.index.
v1::EditResult ToProto(const EditVerdict& verdict, const std::string& client_edit_id);
v1::GateReport ToProto(const GateVerdict& verdict);
v1::Revision::State ToProto(RevisionState state);
// The etag of a label as clients see it: its generation.
std::string EtagOf(const LabelRecord& label);
v1::Label ToProto(const LabelRecord& label);
v1::AuditRecord ToProto(const AuditRecord& record);
// Without labels, edits and edit results.
v1::Revision ToProto(const RevisionRecord& record);
// One result per verdict; `edits` are those of the batch.
std::vector<v1::EditResult> ResultsOf(const std::vector<EditVerdict>& verdicts,
                                      absl::Span<const Edit> edits);

// What the ledger says of a batch.
v1::EditBatchStatus StatusOf(const LedgerEntry& entry);
// A batch at a stage that the ledger does not know (ACCEPTED, SOLVING, STAGED).
v1::EditBatchStatus StatusAt(const BatchKey& key, int edit_count, v1::BatchStage stage);
// A batch that was not taken: no stage, only an error.
v1::EditBatchStatus NotTaken(const BatchKey& key, int edit_count, const absl::Status& error);
v1::SolveProgress::Phase ToProto(SolvePhase phase);

// Whether nothing more comes for the batch: a terminal stage, or it was not taken. VALIDATED is
// terminal, because a batch that is promoted when validated goes from STAGED to LIVE at once.
bool IsLast(const v1::EditBatchStatus& status);
// Whether `status` is as far as `wanted`; true for every last status.
bool Reached(const v1::EditBatchStatus& status, v1::BatchStage wanted);

}  // namespace amend

#endif  // AMEND_SERVER_PROTO_CONVERSION_H_
