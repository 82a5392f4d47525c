#include "storage/records.h"

#include <tuple>

namespace amend {

bool IsTerminal(BatchState state) { return state != BatchState::kDurable; }

bool operator==(const StoreIdentity& a, const StoreIdentity& b) {
  const auto fields = [](const StoreIdentity& x) {
    return std::tie(x.model_fingerprint, x.model_name, x.hyperparameters, x.context_templates,
                    x.covariance_digest);
  };
  return fields(a) == fields(b);
}

bool operator==(const EditOverlap& a, const EditOverlap& b) {
  return a.revision == b.revision && a.edit_index == b.edit_index && a.activation == b.activation &&
         a.same_prompt == b.same_prompt;
}

bool operator==(const EditVerdict& a, const EditVerdict& b) {
  const auto fields = [](const EditVerdict& x) {
    return std::tie(x.index, x.violation_field, x.violation_description, x.scores,
                    x.generality_source, x.passed, x.dropped, x.target.loss, x.target.steps,
                    x.overlaps);
  };
  return fields(a) == fields(b);
}

bool operator==(const GateThresholds& a, const GateThresholds& b) {
  const auto fields = [](const GateThresholds& x) {
    return std::tie(x.reliability, x.generality, x.locality, x.background, x.retention,
                    x.max_perplexity_change);
  };
  return fields(a) == fields(b);
}

bool operator==(const GateVerdict& a, const GateVerdict& b) {
  const auto fields = [](const GateVerdict& x) {
    return std::tie(x.enforced, x.passed, x.scores, x.background, x.perplexity_change,
                    x.retained_edits, x.retention, x.broken_edits, x.reverted, x.thresholds,
                    x.failures);
  };
  return fields(a) == fields(b);
}

bool operator==(const LedgerEntry& a, const LedgerEntry& b) {
  const auto fields = [](const LedgerEntry& x) {
    return std::tie(x.key, x.sequence, x.edits, x.promotion, x.failure, x.thresholds, x.actor,
                    x.state, x.revision, x.verdicts, x.gate, x.error_code, x.error_message,
                    x.error_reason, x.receive_time_us, x.finish_time_us);
  };
  return fields(a) == fields(b);
}

bool operator==(const LayerFactors& a, const LayerFactors& b) {
  const auto fields = [](const LayerFactors& x) {
    return std::tie(x.layer, x.u, x.v, x.keys, x.activations);
  };
  return fields(a) == fields(b);
}

bool operator==(const RevisionFactors& a, const RevisionFactors& b) { return a.layers == b.layers; }

bool operator==(const LayerNorm& a, const LayerNorm& b) {
  return a.layer == b.layer && a.update_norm_ratio == b.update_norm_ratio;
}

bool operator==(const RevisionMarks& a, const RevisionMarks& b) {
  return a.pinned == b.pinned && a.delete_time_us == b.delete_time_us &&
         a.purge_time_us == b.purge_time_us;
}

bool operator==(const RevisionRecord& a, const RevisionRecord& b) {
  const auto fields = [](const RevisionRecord& x) {
    return std::tie(x.revision, x.parent, x.state, x.batch, x.edit_count, x.line_edit_count, x.gate,
                    x.norms, x.create_time_us, x.withdrawn, x.actor, x.marks);
  };
  return fields(a) == fields(b);
}

bool operator==(const LabelRecord& a, const LabelRecord& b) {
  return a.name == b.name && a.revision == b.revision && a.generation == b.generation;
}

bool operator==(const AuditRecord& a, const AuditRecord& b) {
  const auto fields = [](const AuditRecord& x) {
    return std::tie(x.actor, x.verb, x.label, x.from, x.to, x.reason, x.time_us, x.sequence);
  };
  return fields(a) == fields(b);
}

}  // namespace amend
