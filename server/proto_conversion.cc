#include "server/proto_conversion.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors.h"

namespace amend {
namespace {

v1::BatchStage StageOf(BatchState state) {
  switch (state) {
    case BatchState::kDurable:
      return v1::DURABLE;
    case BatchState::kFailed:
      return v1::FAILED;
    case BatchState::kRejected:
      return v1::REJECTED;
    case BatchState::kValidated:
      return v1::VALIDATED;
    case BatchState::kLive:
      return v1::LIVE;
  }
  return v1::BATCH_STAGE_UNSPECIFIED;
}

google::protobuf::Timestamp TimeOf(int64_t micros) {
  google::protobuf::Timestamp time;
  time.set_seconds(micros / 1000000);
  time.set_nanos(static_cast<int32_t>(micros % 1000000) * 1000);
  return time;
}

template <typename Message>
void SetScores(const EditScores& scores, Message& out) {
  if (scores.reliability) out.set_reliability(*scores.reliability);
  if (scores.generality) out.set_generality(*scores.generality);
  if (scores.locality) out.set_locality(*scores.locality);
}

v1::GeneralitySource ToProto(GeneralitySource source) {
  switch (source) {
    case GeneralitySource::kNone:
      return v1::GENERALITY_SOURCE_UNSPECIFIED;
    case GeneralitySource::kParaphrases:
      return v1::PARAPHRASES;
    case GeneralitySource::kTemplates:
      return v1::CONTEXT_TEMPLATES;
  }
  return v1::GENERALITY_SOURCE_UNSPECIFIED;
}

v1::GateThresholds ToProto(const GateThresholds& thresholds) {
  v1::GateThresholds out;
  out.set_reliability(thresholds.reliability);
  out.set_generality(thresholds.generality);
  out.set_locality(thresholds.locality);
  out.set_background(thresholds.background);
  out.set_retention(thresholds.retention);
  if (thresholds.max_perplexity_change) {
    out.set_max_perplexity_change(*thresholds.max_perplexity_change);
  }
  return out;
}

// The error of a failed batch, as it was sent the first time.
absl::Status ErrorOf(const LedgerEntry& entry) {
  absl::Status status(entry.error_code, entry.error_message);
  if (!entry.error_reason.empty()) status = WithReason(std::move(status), entry.error_reason);
  std::vector<std::pair<std::string, std::string>> violations;
  for (const EditVerdict& verdict : entry.verdicts) {
    if (verdict.violation_field.empty()) continue;
    violations.emplace_back(verdict.violation_field, verdict.violation_description);
  }
  return violations.empty() ? status : WithFieldViolations(std::move(status), violations);
}

}  // namespace

std::vector<Edit> EditsFromProto(const v1::EditBatch& batch) {
  std::vector<Edit> edits;
  edits.reserve(static_cast<size_t>(batch.edits_size()));
  for (const v1::Edit& in : batch.edits()) {
    Edit edit;
    edit.prompt = in.prompt();
    edit.subject = in.subject();
    edit.target_new = in.target_new();
    edit.paraphrases.assign(in.paraphrases().begin(), in.paraphrases().end());
    for (const v1::Probe& probe : in.locality_probes()) {
      edit.probes.push_back({probe.prompt(), probe.answer()});
    }
    edit.client_edit_id = in.client_edit_id();
    edits.push_back(std::move(edit));
  }
  return edits;
}

v1::Edit ToProto(const Edit& edit) {
  v1::Edit out;
  out.set_prompt(edit.prompt);
  out.set_subject(edit.subject);
  out.set_target_new(edit.target_new);
  for (const std::string& paraphrase : edit.paraphrases) out.add_paraphrases(paraphrase);
  for (const Probe& probe : edit.probes) {
    v1::Probe& out_probe = *out.add_locality_probes();
    out_probe.set_prompt(probe.prompt);
    out_probe.set_answer(probe.answer);
  }
  out.set_client_edit_id(edit.client_edit_id);
  return out;
}

PromotionPolicy PromotionFromProto(v1::Promotion promotion) {
  return promotion == v1::STAGE_ONLY ? PromotionPolicy::kStageOnly
                                     : PromotionPolicy::kWhenValidated;
}

FailurePolicy FailurePolicyFromProto(v1::FailurePolicy policy) {
  return policy == v1::DROP_FAILING ? FailurePolicy::kDropFailing : FailurePolicy::kAllOrNothing;
}

GateThresholds ThresholdsFromProto(const v1::GateThresholds& thresholds,
                                   const GateThresholds& defaults) {
  GateThresholds out = defaults;
  if (thresholds.has_reliability()) out.reliability = thresholds.reliability();
  if (thresholds.has_generality()) out.generality = thresholds.generality();
  if (thresholds.has_locality()) out.locality = thresholds.locality();
  if (thresholds.has_background()) out.background = thresholds.background();
  if (thresholds.has_retention()) out.retention = thresholds.retention();
  if (thresholds.has_max_perplexity_change()) {
    out.max_perplexity_change = thresholds.max_perplexity_change();
  }
  return out;
}

v1::EditResult ToProto(const EditVerdict& verdict, const std::string& client_edit_id) {
  v1::EditResult out;
  out.set_index(verdict.index);
  out.set_client_edit_id(client_edit_id);
  if (!verdict.violation_field.empty()) {
    out.mutable_violation()->set_field(verdict.violation_field);
    out.mutable_violation()->set_description(verdict.violation_description);
  }
  SetScores(verdict.scores, out);
  if (verdict.scores.generality) out.set_generality_source(ToProto(verdict.generality_source));
  out.set_passed(verdict.passed);
  out.set_dropped(verdict.dropped);
  out.set_target_loss(verdict.target.loss);
  out.set_target_steps(verdict.target.steps);
  for (const EditOverlap& overlap : verdict.overlaps) {
    v1::KeyOverlap& added = *out.add_overlaps();
    added.set_revision(overlap.revision.value());
    added.set_edit_index(overlap.edit_index);
    added.set_activation(overlap.activation);
    added.set_same_prompt(overlap.same_prompt);
  }
  return out;
}

v1::GateReport ToProto(const GateVerdict& verdict) {
  v1::GateReport out;
  out.set_mode(verdict.enforced ? v1::GateReport::ENFORCE : v1::GateReport::REPORT);
  out.set_passed(verdict.passed);
  SetScores(verdict.scores, out);
  *out.mutable_thresholds() = ToProto(verdict.thresholds);
  if (verdict.background) out.set_background(*verdict.background);
  if (verdict.perplexity_change) out.set_perplexity_change(*verdict.perplexity_change);
  out.set_retained_edits(verdict.retained_edits);
  if (verdict.retention) out.set_retention(*verdict.retention);
  if (verdict.reverted) out.set_reverted(*verdict.reverted);
  for (const EditId& edit : verdict.broken_edits) {
    v1::EditReference& added = *out.add_broken_edits();
    added.set_revision(edit.revision.value());
    added.set_edit_index(edit.index);
  }
  for (const std::string& failure : verdict.failures) out.add_failures(failure);
  return out;
}

v1::Revision::State ToProto(RevisionState state) {
  switch (state) {
    case RevisionState::kTemporary:
      return v1::Revision::TEMPORARY;
    case RevisionState::kValidated:
      return v1::Revision::VALIDATED;
    case RevisionState::kRejected:
      return v1::Revision::REJECTED;
  }
  return v1::Revision::STATE_UNSPECIFIED;
}

std::string EtagOf(const LabelRecord& label) { return absl::StrCat(label.generation); }

v1::Label ToProto(const LabelRecord& label) {
  v1::Label out;
  out.set_name(label.name);
  out.set_revision(label.revision.value());
  out.set_etag(EtagOf(label));
  return out;
}

v1::AuditRecord ToProto(const AuditRecord& record) {
  v1::AuditRecord out;
  out.set_sequence(record.sequence);
  *out.mutable_time() = TimeOf(record.time_us);
  out.set_actor(record.actor);
  out.set_verb(record.verb);
  out.set_label(record.label);
  out.set_from(record.from.value());
  out.set_to(record.to.value());
  out.set_reason(record.reason);
  return out;
}

v1::Revision ToProto(const RevisionRecord& record) {
  v1::Revision out;
  out.set_revision(record.revision.value());
  out.set_parent(record.parent.value());
  out.set_state(ToProto(record.state));
  out.set_session(record.batch.session);
  out.set_offset(record.batch.offset);
  out.set_edit_count(record.edit_count);
  out.set_line_edit_count(record.line_edit_count);
  out.set_actor(record.actor);
  *out.mutable_gate_report() = ToProto(record.gate);
  *out.mutable_create_time() = TimeOf(record.create_time_us);
  out.set_pinned(record.marks.pinned);
  if (record.marks.delete_time_us != 0) {
    *out.mutable_delete_time() = TimeOf(record.marks.delete_time_us);
  }
  if (record.marks.purge_time_us != 0) {
    *out.mutable_purge_time() = TimeOf(record.marks.purge_time_us);
  }
  for (const LayerNorm& norm : record.norms) {
    v1::LayerNorm& out_norm = *out.add_layer_norms();
    out_norm.set_layer(norm.layer.value());
    out_norm.set_update_norm_ratio(norm.update_norm_ratio);
  }
  for (const EditId& edit : record.withdrawn) {
    v1::EditReference& withdrawn = *out.add_withdrawn();
    withdrawn.set_revision(edit.revision.value());
    withdrawn.set_edit_index(edit.index);
  }
  return out;
}

std::vector<v1::EditResult> ResultsOf(const std::vector<EditVerdict>& verdicts,
                                      absl::Span<const Edit> edits) {
  std::vector<v1::EditResult> results;
  results.reserve(verdicts.size());
  for (const EditVerdict& verdict : verdicts) {
    const auto index = static_cast<size_t>(verdict.index);
    results.push_back(
        ToProto(verdict, index < edits.size() ? edits[index].client_edit_id : std::string()));
  }
  return results;
}

v1::EditBatchStatus StatusOf(const LedgerEntry& entry) {
  v1::EditBatchStatus out =
      StatusAt(entry.key, static_cast<int>(entry.edits.size()), StageOf(entry.state));
  out.set_revision(entry.revision.value());
  out.set_actor(entry.actor);
  for (v1::EditResult& result : ResultsOf(entry.verdicts, entry.edits)) {
    *out.add_edit_results() = std::move(result);
  }
  if (entry.gate) *out.mutable_gate_report() = ToProto(*entry.gate);
  if (entry.state == BatchState::kFailed) *out.mutable_error() = ToRpcStatus(ErrorOf(entry));
  return out;
}

v1::EditBatchStatus StatusAt(const BatchKey& key, int edit_count, v1::BatchStage stage) {
  v1::EditBatchStatus out;
  out.set_session(key.session);
  out.set_offset(key.offset);
  out.set_stage(stage);
  out.set_edit_count(edit_count);
  return out;
}

v1::EditBatchStatus NotTaken(const BatchKey& key, int edit_count, const absl::Status& error) {
  v1::EditBatchStatus out = StatusAt(key, edit_count, v1::BATCH_STAGE_UNSPECIFIED);
  *out.mutable_error() = ToRpcStatus(error);
  return out;
}

v1::SolveProgress::Phase ToProto(SolvePhase phase) {
  return phase == SolvePhase::kTargetValues ? v1::SolveProgress::TARGET_VALUES
                                            : v1::SolveProgress::LAYER_UPDATES;
}

bool IsLast(const v1::EditBatchStatus& status) {
  return status.has_error() || status.stage() == v1::VALIDATED || status.stage() == v1::REJECTED ||
         status.stage() == v1::LIVE || status.stage() == v1::FAILED;
}

bool Reached(const v1::EditBatchStatus& status, v1::BatchStage wanted) {
  if (IsLast(status)) return true;
  return wanted != v1::BATCH_STAGE_UNSPECIFIED && status.stage() >= wanted;
}

}  // namespace amend
