#include "storage/record_codec.h"

#include <cstring>
#include <utility>

#include "absl/base/config.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "amend/storage/v1/records.pb.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"

#ifndef ABSL_IS_LITTLE_ENDIAN
#error "factor blobs are written as they lie in memory, which must be little-endian"
#endif

namespace amend {
namespace {

namespace pb = ::amend::storage::v1;

constexpr size_t kDigestSize = 32;
constexpr size_t kShapeSize = 16;
constexpr ValueAddress kBackupAddress{"backup", ""};

absl::Status DataLoss(const ValueAddress& address, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("value of ", KeyName(address.column_family, address.key), " ", what));
}

template <typename Message>
absl::StatusOr<Message> Parse(const ValueAddress& address, absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const absl::string_view payload, UnsealValue(address, value));
  Message message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return DataLoss(address, absl::StrCat("is not a ", message.GetTypeName()));
  }
  return message;
}

template <typename Message>
std::string Seal(const ValueAddress& address, const Message& message) {
  return SealValue(address, message.SerializeAsString());
}

void ToProto(const EditScores& scores, pb::Scores* out) {
  if (scores.reliability) out->set_reliability(*scores.reliability);
  if (scores.generality) out->set_generality(*scores.generality);
  if (scores.locality) out->set_locality(*scores.locality);
}

EditScores FromProto(const pb::Scores& in) {
  EditScores scores;
  if (in.has_reliability()) scores.reliability = in.reliability();
  if (in.has_generality()) scores.generality = in.generality();
  if (in.has_locality()) scores.locality = in.locality();
  return scores;
}

void ToProto(const GateThresholds& thresholds, pb::Thresholds* out) {
  out->set_reliability(thresholds.reliability);
  out->set_generality(thresholds.generality);
  out->set_locality(thresholds.locality);
  out->set_background(thresholds.background);
  out->set_retention(thresholds.retention);
  if (thresholds.max_perplexity_change) {
    out->set_max_perplexity_change(*thresholds.max_perplexity_change);
  }
}

GateThresholds FromProto(const pb::Thresholds& in) {
  GateThresholds thresholds;
  thresholds.reliability = in.reliability();
  thresholds.generality = in.generality();
  thresholds.locality = in.locality();
  thresholds.background = in.background();
  thresholds.retention = in.retention();
  if (in.has_max_perplexity_change()) {
    thresholds.max_perplexity_change = in.max_perplexity_change();
  }
  return thresholds;
}

void ToProto(const GateVerdict& gate, pb::GateVerdict* out) {
  out->set_enforced(gate.enforced);
  out->set_passed(gate.passed);
  ToProto(gate.scores, out->mutable_scores());
  if (gate.background) out->set_background(*gate.background);
  if (gate.perplexity_change) out->set_perplexity_change(*gate.perplexity_change);
  out->set_retained_edits(gate.retained_edits);
  if (gate.retention) out->set_retention(*gate.retention);
  if (gate.reverted) out->set_reverted(*gate.reverted);
  for (const EditId& edit : gate.broken_edits) {
    pb::EditReference* added = out->add_broken_edits();
    added->set_revision(edit.revision.value());
    added->set_edit_index(edit.index);
  }
  ToProto(gate.thresholds, out->mutable_thresholds());
  for (const std::string& failure : gate.failures) out->add_failures(failure);
}

GateVerdict FromProto(const pb::GateVerdict& in) {
  GateVerdict gate;
  gate.enforced = in.enforced();
  gate.passed = in.passed();
  gate.scores = FromProto(in.scores());
  if (in.has_background()) gate.background = in.background();
  if (in.has_perplexity_change()) gate.perplexity_change = in.perplexity_change();
  gate.retained_edits = in.retained_edits();
  if (in.has_retention()) gate.retention = in.retention();
  if (in.has_reverted()) gate.reverted = in.reverted();
  for (const pb::EditReference& edit : in.broken_edits()) {
    gate.broken_edits.push_back({Revision(edit.revision()), edit.edit_index()});
  }
  gate.thresholds = FromProto(in.thresholds());
  gate.failures.assign(in.failures().begin(), in.failures().end());
  return gate;
}

void ToProto(const Edit& edit, pb::Edit* out) {
  out->set_prompt(edit.prompt);
  out->set_subject(edit.subject);
  out->set_target_new(edit.target_new);
  for (const std::string& paraphrase : edit.paraphrases) out->add_paraphrases(paraphrase);
  for (const Probe& probe : edit.probes) {
    pb::Probe* added = out->add_probes();
    added->set_prompt(probe.prompt);
    added->set_answer(probe.answer);
  }
  out->set_client_edit_id(edit.client_edit_id);
}

Edit FromProto(const pb::Edit& in) {
  Edit edit;
  edit.prompt = in.prompt();
  edit.subject = in.subject();
  edit.target_new = in.target_new();
  edit.paraphrases.assign(in.paraphrases().begin(), in.paraphrases().end());
  for (const pb::Probe& probe : in.probes())
    edit.probes.push_back({probe.prompt(), probe.answer()});
  edit.client_edit_id = in.client_edit_id();
  return edit;
}

void ToProto(const EditVerdict& verdict, pb::EditVerdict* out) {
  out->set_index(verdict.index);
  out->set_violation_field(verdict.violation_field);
  out->set_violation_description(verdict.violation_description);
  ToProto(verdict.scores, out->mutable_scores());
  out->set_generality_source(static_cast<pb::GeneralitySource>(verdict.generality_source));
  out->set_passed(verdict.passed);
  out->set_dropped(verdict.dropped);
  out->set_target_loss(verdict.target.loss);
  out->set_target_steps(verdict.target.steps);
  for (const EditOverlap& overlap : verdict.overlaps) {
    pb::EditOverlap* added = out->add_overlaps();
    added->set_revision(overlap.revision.value());
    added->set_edit_index(overlap.edit_index);
    added->set_activation(overlap.activation);
    added->set_same_prompt(overlap.same_prompt);
  }
}

EditVerdict FromProto(const pb::EditVerdict& in) {
  EditVerdict verdict;
  verdict.index = in.index();
  verdict.violation_field = in.violation_field();
  verdict.violation_description = in.violation_description();
  verdict.scores = FromProto(in.scores());
  // One that a newer program wrote says no more than that there is one.
  verdict.generality_source = pb::GeneralitySource_IsValid(in.generality_source())
                                  ? static_cast<GeneralitySource>(in.generality_source())
                                  : GeneralitySource::kNone;
  verdict.passed = in.passed();
  verdict.dropped = in.dropped();
  verdict.target = {in.target_loss(), in.target_steps()};
  for (const pb::EditOverlap& overlap : in.overlaps()) {
    verdict.overlaps.push_back({Revision(overlap.revision()), overlap.edit_index(),
                                overlap.activation(), overlap.same_prompt()});
  }
  return verdict;
}

// The numbers of the enums are the same on both sides; 0 and unknown ones are damage.
static_assert(static_cast<int>(BatchState::kDurable) == pb::BATCH_STATE_DURABLE);
static_assert(static_cast<int>(BatchState::kFailed) == pb::BATCH_STATE_FAILED);
static_assert(static_cast<int>(BatchState::kRejected) == pb::BATCH_STATE_REJECTED);
static_assert(static_cast<int>(BatchState::kValidated) == pb::BATCH_STATE_VALIDATED);
static_assert(static_cast<int>(BatchState::kLive) == pb::BATCH_STATE_LIVE);
static_assert(static_cast<int>(PromotionPolicy::kWhenValidated) ==
              pb::PROMOTION_POLICY_WHEN_VALIDATED);
static_assert(static_cast<int>(PromotionPolicy::kStageOnly) == pb::PROMOTION_POLICY_STAGE_ONLY);
static_assert(static_cast<int>(FailurePolicy::kAllOrNothing) == pb::FAILURE_POLICY_ALL_OR_NOTHING);
static_assert(static_cast<int>(FailurePolicy::kDropFailing) == pb::FAILURE_POLICY_DROP_FAILING);
static_assert(static_cast<int>(GeneralitySource::kNone) == pb::GENERALITY_SOURCE_UNSPECIFIED);
static_assert(static_cast<int>(GeneralitySource::kParaphrases) ==
              pb::GENERALITY_SOURCE_PARAPHRASES);
static_assert(static_cast<int>(GeneralitySource::kTemplates) == pb::GENERALITY_SOURCE_TEMPLATES);
static_assert(static_cast<int>(RevisionState::kTemporary) == pb::REVISION_STATE_TEMPORARY);
static_assert(static_cast<int>(RevisionState::kValidated) == pb::REVISION_STATE_VALIDATED);
static_assert(static_cast<int>(RevisionState::kRejected) == pb::REVISION_STATE_REJECTED);
static_assert(static_cast<int>(FactorPart::kU) == pb::FACTOR_PART_U);
static_assert(static_cast<int>(FactorPart::kV) == pb::FACTOR_PART_V);
static_assert(static_cast<int>(FactorPart::kKeys) == pb::FACTOR_PART_KEYS);
static_assert(static_cast<int>(FactorPart::kActivations) == pb::FACTOR_PART_ACTIVATIONS);

absl::Status UnknownEnum(const ValueAddress& address, absl::string_view field, int value) {
  return DataLoss(address, absl::StrCat("has an unknown ", field, ": ", value));
}

}  // namespace

std::string SealValue(const ValueAddress& address, absl::string_view payload) {
  return absl::StrCat(payload, ValueDigest(address, payload));
}

absl::StatusOr<absl::string_view> UnsealValue(const ValueAddress& address,
                                              absl::string_view value) {
  if (value.size() < kDigestSize) {
    return DataLoss(address,
                    absl::StrCat("has ", value.size(), " bytes: too short to hold a digest"));
  }
  const absl::string_view payload = value.substr(0, value.size() - kDigestSize);
  const absl::string_view expected = value.substr(payload.size());
  const std::string found = ValueDigest(address, payload);
  if (found != expected) {
    return DataLoss(address,
                    absl::StrCat("is damaged: expected digest ", absl::BytesToHexString(expected),
                                 ", found ", absl::BytesToHexString(found)));
  }
  return payload;
}

std::string ValueDigest(const ValueAddress& address, absl::string_view payload) {
  Sha256Stream stream;
  stream.Update(address.column_family);
  stream.Update(absl::string_view("\0", 1));
  stream.Update(EncodeNumberKey(static_cast<int64_t>(address.key.size())));
  stream.Update(address.key);
  stream.Update(payload);
  return absl::HexStringToBytes(stream.HexDigest());
}

std::string SealDigest(absl::string_view value) {
  return std::string(value.substr(value.size() < kDigestSize ? 0 : value.size() - kDigestSize));
}

std::string EncodeIdentity(const ValueAddress& address, const StoreIdentity& identity) {
  pb::StoreIdentity message;
  message.set_model_fingerprint(identity.model_fingerprint);
  message.set_model_name(identity.model_name);
  message.set_hyperparameters(identity.hyperparameters);
  for (const std::string& context : identity.context_templates)
    message.add_context_templates(context);
  message.set_covariance_digest(identity.covariance_digest);
  return Seal(address, message);
}

absl::StatusOr<StoreIdentity> DecodeIdentity(const ValueAddress& address, absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const auto message, Parse<pb::StoreIdentity>(address, value));
  StoreIdentity identity;
  identity.model_fingerprint = message.model_fingerprint();
  identity.model_name = message.model_name();
  identity.hyperparameters = message.hyperparameters();
  identity.context_templates.assign(message.context_templates().begin(),
                                    message.context_templates().end());
  identity.covariance_digest = message.covariance_digest();
  return identity;
}

std::string EncodeCounter(const ValueAddress& address, int64_t counter) {
  pb::Counter message;
  message.set_value(counter);
  return Seal(address, message);
}

absl::StatusOr<int64_t> DecodeCounter(const ValueAddress& address, absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const auto message, Parse<pb::Counter>(address, value));
  return message.value();
}

std::string EncodeLedgerEntry(const ValueAddress& address, const LedgerEntry& entry) {
  pb::LedgerEntry message;
  message.set_sequence(entry.sequence);
  for (const Edit& edit : entry.edits) ToProto(edit, message.add_edits());
  message.set_promotion(static_cast<pb::PromotionPolicy>(entry.promotion));
  message.set_failure(static_cast<pb::FailurePolicy>(entry.failure));
  ToProto(entry.thresholds, message.mutable_thresholds());
  message.set_actor(entry.actor);
  message.set_state(static_cast<pb::BatchState>(entry.state));
  message.set_revision(entry.revision.value());
  for (const EditVerdict& verdict : entry.verdicts) ToProto(verdict, message.add_verdicts());
  if (entry.gate) ToProto(*entry.gate, message.mutable_gate());
  message.set_error_code(static_cast<int>(entry.error_code));
  message.set_error_message(entry.error_message);
  message.set_error_reason(entry.error_reason);
  message.set_receive_time_us(entry.receive_time_us);
  message.set_finish_time_us(entry.finish_time_us);
  return Seal(address, message);
}

absl::StatusOr<LedgerEntry> DecodeLedgerEntry(const ValueAddress& address,
                                              absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const auto message, Parse<pb::LedgerEntry>(address, value));
  LedgerEntry entry;
  AMEND_ASSIGN_OR_RETURN(entry.key, DecodeLedgerKey(address.key));
  if (message.promotion() == 0 || !pb::PromotionPolicy_IsValid(message.promotion())) {
    return UnknownEnum(address, "promotion policy", message.promotion());
  }
  if (message.state() == 0 || !pb::BatchState_IsValid(message.state())) {
    return UnknownEnum(address, "batch state", message.state());
  }
  if (!pb::FailurePolicy_IsValid(message.failure())) {
    return UnknownEnum(address, "failure policy", message.failure());
  }
  entry.sequence = message.sequence();
  for (const pb::Edit& edit : message.edits()) entry.edits.push_back(FromProto(edit));
  entry.promotion = static_cast<PromotionPolicy>(message.promotion());
  if (message.failure() != pb::FAILURE_POLICY_UNSPECIFIED) {
    entry.failure = static_cast<FailurePolicy>(message.failure());
  }
  entry.thresholds = FromProto(message.thresholds());
  entry.actor = message.actor();
  entry.state = static_cast<BatchState>(message.state());
  entry.revision = Revision(message.revision());
  for (const pb::EditVerdict& verdict : message.verdicts())
    entry.verdicts.push_back(FromProto(verdict));
  if (message.has_gate()) entry.gate = FromProto(message.gate());
  entry.error_code = static_cast<absl::StatusCode>(message.error_code());
  entry.error_message = message.error_message();
  entry.error_reason = message.error_reason();
  entry.receive_time_us = message.receive_time_us();
  entry.finish_time_us = message.finish_time_us();
  return entry;
}

std::string EncodeRevision(const ValueAddress& address, const StoredRevision& revision) {
  const RevisionRecord& record = revision.record;
  pb::RevisionRecord message;
  message.set_parent(record.parent.value());
  message.set_state(static_cast<pb::RevisionState>(record.state));
  message.set_batch_session(record.batch.session);
  message.set_batch_offset(record.batch.offset);
  message.set_edit_count(record.edit_count);
  message.set_line_edit_count(record.line_edit_count);
  ToProto(record.gate, message.mutable_gate());
  for (const LayerNorm& norm : record.norms) {
    pb::LayerNorm* added = message.add_norms();
    added->set_layer(norm.layer.value());
    added->set_update_norm_ratio(norm.update_norm_ratio);
  }
  message.set_create_time_us(record.create_time_us);
  message.set_pinned(record.marks.pinned);
  message.set_delete_time_us(record.marks.delete_time_us);
  message.set_purge_time_us(record.marks.purge_time_us);
  message.set_has_factors(revision.has_factors);
  for (const BlobReference& blob : revision.blobs) {
    pb::BlobReference* added = message.add_blobs();
    added->set_layer(blob.layer.value());
    added->set_part(static_cast<pb::FactorPart>(blob.part));
    added->set_digest(blob.digest);
    added->set_size(blob.size);
  }
  message.set_actor(record.actor);
  for (const EditId& edit : record.withdrawn) {
    pb::EditReference* added = message.add_withdrawn();
    added->set_revision(edit.revision.value());
    added->set_edit_index(edit.index);
  }
  return Seal(address, message);
}

absl::StatusOr<StoredRevision> DecodeRevision(const ValueAddress& address,
                                              absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const auto message, Parse<pb::RevisionRecord>(address, value));
  StoredRevision revision;
  RevisionRecord& record = revision.record;
  AMEND_ASSIGN_OR_RETURN(const int64_t number, DecodeNumberKey(address.key));
  if (message.state() == 0 || !pb::RevisionState_IsValid(message.state())) {
    return UnknownEnum(address, "revision state", message.state());
  }
  record.revision = Revision(number);
  record.parent = Revision(message.parent());
  record.state = static_cast<RevisionState>(message.state());
  record.batch = {message.batch_session(), message.batch_offset()};
  record.edit_count = message.edit_count();
  record.line_edit_count = message.line_edit_count();
  record.gate = FromProto(message.gate());
  for (const pb::LayerNorm& norm : message.norms()) {
    record.norms.push_back({LayerIndex(norm.layer()), norm.update_norm_ratio()});
  }
  record.create_time_us = message.create_time_us();
  record.actor = message.actor();
  record.marks = {message.pinned(), message.delete_time_us(), message.purge_time_us()};
  revision.has_factors = message.has_factors();
  for (const pb::BlobReference& blob : message.blobs()) {
    if (blob.part() == 0 || !pb::FactorPart_IsValid(blob.part())) {
      return UnknownEnum(address, "factor part", blob.part());
    }
    revision.blobs.push_back({LayerIndex(blob.layer()), static_cast<FactorPart>(blob.part()),
                              blob.digest(), blob.size()});
  }
  for (const pb::EditReference& edit : message.withdrawn()) {
    record.withdrawn.push_back({Revision(edit.revision()), edit.edit_index()});
  }
  return revision;
}

std::string EncodeLabel(const ValueAddress& address, const LabelRecord& label) {
  pb::LabelRecord message;
  message.set_revision(label.revision.value());
  message.set_generation(label.generation);
  return Seal(address, message);
}

absl::StatusOr<LabelRecord> DecodeLabel(const ValueAddress& address, absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const auto message, Parse<pb::LabelRecord>(address, value));
  return LabelRecord{std::string(address.key), Revision(message.revision()), message.generation()};
}

std::string EncodeAudit(const ValueAddress& address, const AuditRecord& record) {
  pb::AuditRecord message;
  message.set_actor(record.actor);
  message.set_verb(record.verb);
  message.set_label(record.label);
  message.set_from(record.from.value());
  message.set_to(record.to.value());
  message.set_reason(record.reason);
  message.set_time_us(record.time_us);
  return Seal(address, message);
}

absl::StatusOr<AuditRecord> DecodeAudit(const ValueAddress& address, absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const auto message, Parse<pb::AuditRecord>(address, value));
  AuditRecord record;
  record.actor = message.actor();
  record.verb = message.verb();
  record.label = message.label();
  record.from = Revision(message.from());
  record.to = Revision(message.to());
  record.reason = message.reason();
  record.time_us = message.time_us();
  AMEND_ASSIGN_OR_RETURN(record.sequence, DecodeNumberKey(address.key));
  return record;
}

std::string EncodeBackup(const BackupRecord& record) {
  pb::BackupRecord message;
  message.set_create_time_us(record.create_time_us);
  message.set_live(record.live.value());
  message.set_latest(record.latest.value());
  message.set_store_digest(record.store_digest);
  message.set_model_fingerprint(record.model_fingerprint);
  message.set_model_name(record.model_name);
  return Seal(kBackupAddress, message);
}

absl::StatusOr<BackupRecord> DecodeBackup(absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const auto message, Parse<pb::BackupRecord>(kBackupAddress, value));
  BackupRecord record;
  record.create_time_us = message.create_time_us();
  record.live = Revision(message.live());
  record.latest = Revision(message.latest());
  record.store_digest = message.store_digest();
  record.model_fingerprint = message.model_fingerprint();
  record.model_name = message.model_name();
  return record;
}

std::string EncodeMatrix(const ValueAddress& address, const Matrix& matrix) {
  const size_t value_bytes = matrix.values.size() * sizeof(float);
  std::string value;
  value.reserve(kShapeSize + value_bytes + kDigestSize);
  value.append(reinterpret_cast<const char*>(&matrix.rows), sizeof(matrix.rows));
  value.append(reinterpret_cast<const char*>(&matrix.cols), sizeof(matrix.cols));
  value.append(reinterpret_cast<const char*>(matrix.values.data()), value_bytes);
  value.append(ValueDigest(address, value));
  return value;
}

absl::StatusOr<Matrix> DecodeMatrix(const ValueAddress& address, absl::string_view value) {
  AMEND_ASSIGN_OR_RETURN(const absl::string_view payload, UnsealValue(address, value));
  if (payload.size() < kShapeSize) return DataLoss(address, "is too short to hold a shape");
  Matrix matrix;
  std::memcpy(&matrix.rows, payload.data(), sizeof(matrix.rows));
  std::memcpy(&matrix.cols, payload.data() + sizeof(matrix.rows), sizeof(matrix.cols));
  const absl::string_view numbers = payload.substr(kShapeSize);
  const auto count = static_cast<int64_t>(numbers.size() / sizeof(float));
  const bool fits =
      numbers.size() % sizeof(float) == 0 && matrix.rows >= 0 && matrix.cols >= 0 &&
      (matrix.cols == 0 ? count == 0
                        : count % matrix.cols == 0 && count / matrix.cols == matrix.rows);
  if (!fits) {
    return DataLoss(address, absl::StrCat("has shape ", matrix.rows, " x ", matrix.cols, " but ",
                                          numbers.size(), " bytes of numbers"));
  }
  matrix.values.resize(count);
  if (count > 0) std::memcpy(matrix.values.data(), numbers.data(), numbers.size());
  return matrix;
}

}  // namespace amend
