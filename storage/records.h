#ifndef AMEND_STORAGE_RECORDS_H_
#define AMEND_STORAGE_RECORDS_H_

// The values that a revision store keeps. Plain data; thread-compatible. Times are microseconds
// since the Unix epoch, given by the caller.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/types.h"
#include "core/editing/edit.h"
#include "core/editing/factors.h"

namespace amend {

// What must agree between a store and the server that opens it. Written once, when the store is
// created.
struct StoreIdentity {
  // sha-256 (hex) over the weight files and config of the base model.
  std::string model_fingerprint;
  // The model directory's name: for messages only.
  std::string model_name;
  // Canonical text of the edit hyperparameters.
  std::string hyperparameters;
  // Context templates ("{}" stands for the prompt), without the plain one.
  std::vector<std::string> context_templates;
  // sha-256 (hex) of the key covariance.
  std::string covariance_digest;
};

// Another edit that shares its key with a new one.
struct EditOverlap {
  // The revision and the place in its batch of the other one: earlier, or of the same batch.
  Revision revision;
  int32_t edit_index = 0;
  // What the other one gives at the new one's key, over what it gives at its own.
  double activation = 0;
  // Both have the same prompt and subject: the new one supersedes the other.
  bool same_prompt = false;
};

// What the generality of an edit was measured on.
// Values are written to disk: never renumber.
enum class GeneralitySource {
  kNone = 0,
  kParaphrases = 1,
  // The edit has none: its prompt in each of the context templates.
  kTemplates = 2,
};

// Verdict of the gate on one edit, or what is wrong with a malformed one.
struct EditVerdict {
  int32_t index = 0;
  // Set for a malformed edit: "batch.edits[3].subject" and the reason.
  std::string violation_field;
  std::string violation_description;
  EditScores scores;
  GeneralitySource generality_source = GeneralitySource::kNone;
  bool passed = false;
  // It failed and was left out, and the rest was solved again: no part of the revision.
  bool dropped = false;
  TargetReport target;
  // The latest first.
  std::vector<EditOverlap> overlaps;
};

struct GateThresholds {
  double reliability = 0;
  double generality = 0;
  double locality = 0;
  double background = 0;
  double retention = 0;
  // The one bound from above. Absent: none.
  std::optional<double> max_perplexity_change;
};

// Verdict of the gate on a batch.
struct GateVerdict {
  // False: scores were only recorded.
  bool enforced = true;
  bool passed = false;
  // Means over the edits.
  EditScores scores;
  // Background text, against the parent: share of next-token predictions that did not change, and
  // by how much the perplexity grew (0.1 is a tenth). Absent where there is no such text.
  std::optional<double> background;
  std::optional<double> perplexity_change;
  // Earlier edits of the line that were tested again and held before the batch: how many, the share
  // that holds after it (absent where there are none), and those that do not.
  int32_t retained_edits = 0;
  std::optional<double> retention;
  std::vector<EditId> broken_edits;
  // Of a revision that withdraws edits: share of their prompts where the model answers as before
  // the edit, or as the unedited one.
  std::optional<double> reverted;
  GateThresholds thresholds;
  std::vector<std::string> failures;
};

// Values are written to disk: never renumber.
enum class RevisionState { kTemporary = 1, kValidated = 2, kRejected = 3 };
enum class BatchState { kDurable = 1, kFailed = 2, kRejected = 3, kValidated = 4, kLive = 5 };
enum class PromotionPolicy { kWhenValidated = 1, kStageOnly = 2 };
// What becomes of a batch some of whose edits fail the gate: it stands or falls as a whole, or
// those are left out and the rest is solved again.
enum class FailurePolicy { kAllOrNothing = 1, kDropFailing = 2 };

// Whether the solver has nothing left to do for the batch: every state but kDurable. (A kValidated
// batch may still become kLive.)
bool IsTerminal(BatchState state);

struct BatchKey {
  std::string session;
  int64_t offset = 0;

  friend bool operator==(const BatchKey& a, const BatchKey& b) {
    return a.session == b.session && a.offset == b.offset;
  }
  friend bool operator<(const BatchKey& a, const BatchKey& b) {
    return a.session == b.session ? a.offset < b.offset : a.session < b.session;
  }
};

// One batch as it was received, and what became of it.
struct LedgerEntry {
  BatchKey key;
  // Order of arrival over all sessions; set by the store in AppendLedger.
  int64_t sequence = 0;
  std::vector<Edit> edits;
  PromotionPolicy promotion = PromotionPolicy::kWhenValidated;
  FailurePolicy failure = FailurePolicy::kAllOrNothing;
  // What this batch's gate uses.
  GateThresholds thresholds;
  // The principal that sent it first; empty where nobody was asked who calls.
  std::string actor;
  BatchState state = BatchState::kDurable;
  // The revision it became, from kRejected on; otherwise 0.
  Revision revision;
  std::vector<EditVerdict> verdicts;
  std::optional<GateVerdict> gate;
  // Why it is kFailed: status code, message and ErrorInfo reason ("EDIT_INVALID").
  absl::StatusCode error_code = absl::StatusCode::kOk;
  std::string error_message;
  std::string error_reason;
  int64_t receive_time_us = 0;
  int64_t finish_time_us = 0;
};

// What may change about a revision once it is there. It never changes what the gate said.
struct RevisionMarks {
  // It stays, whatever the retention policy says, and cannot be deleted.
  bool pinned = false;
  // Since when it does not serve, though it could again; 0 when it is not deleted.
  int64_t delete_time_us = 0;
  // When its factors were removed for good; 0 when they are there.
  int64_t purge_time_us = 0;
};

struct RevisionRecord {
  Revision revision;
  Revision parent;
  RevisionState state = RevisionState::kTemporary;
  BatchKey batch;
  int32_t edit_count = 0;
  // Edits from revision 0 to here.
  int64_t line_edit_count = 0;
  GateVerdict gate;
  std::vector<LayerNorm> norms;
  int64_t create_time_us = 0;
  // Edits of the parent's line that this revision leaves out, ascending. One that withdraws has
  // neither a batch nor factors of its own.
  std::vector<EditId> withdrawn;
  // The principal that sent the batch or the withdrawal; empty where nobody was asked who calls.
  std::string actor;
  RevisionMarks marks;

  bool withdraws() const { return !withdrawn.empty(); }
};

struct LabelRecord {
  std::string name;
  Revision revision;
  // Grows by one with every move; 0 when the store is new, and for a label that does not exist. A
  // label that is made after others were deleted begins above all of theirs. The API's etag.
  int64_t generation = 0;
};

// Moves a label, if its generation is still `expected_generation` where that is given.
struct LabelMove {
  std::string name;
  Revision to;
  std::optional<int64_t> expected_generation;
};

// Deletes a label, if its generation is still `expected_generation` where that is given.
struct LabelDeletion {
  std::string name;
  std::optional<int64_t> expected_generation;
};

// Gives a revision new marks. A purge_time_us removes its factors.
struct MarkChange {
  Revision revision;
  RevisionMarks marks;
};

// One line of the audit trail; append only.
struct AuditRecord {
  std::string actor;
  // "promote", "rollback", "reject", ...
  std::string verb;
  std::string label;
  Revision from;
  Revision to;
  std::string reason;
  int64_t time_us = 0;
  // Its place in the trail, from 1; set by the store.
  int64_t sequence = 0;
};

// Everything that one step makes true, all at once.
struct StoreStep {
  // A new revision. Its number must be LatestRevision().Next().
  std::optional<RevisionRecord> revision;
  // Its factors: there for every new revision but one that is rejected or withdraws edits, which
  // has none. Each layer comes once.
  std::optional<RevisionFactors> factors;
  // The new state of an existing ledger entry. Its sequence stays what AppendLedger gave; kDurable
  // is never entered again.
  std::optional<LedgerEntry> ledger;
  std::optional<LabelMove> label;
  // In a step without a label's move.
  std::optional<LabelDeletion> label_deletion;
  // In a step without a new revision and without a label's move.
  std::optional<MarkChange> marks;
  std::optional<AuditRecord> audit;
};

bool operator==(const StoreIdentity& a, const StoreIdentity& b);
bool operator==(const EditOverlap& a, const EditOverlap& b);
bool operator==(const EditVerdict& a, const EditVerdict& b);
bool operator==(const GateThresholds& a, const GateThresholds& b);
bool operator==(const GateVerdict& a, const GateVerdict& b);
bool operator==(const LedgerEntry& a, const LedgerEntry& b);
bool operator==(const LayerFactors& a, const LayerFactors& b);
bool operator==(const RevisionFactors& a, const RevisionFactors& b);
bool operator==(const LayerNorm& a, const LayerNorm& b);
bool operator==(const RevisionMarks& a, const RevisionMarks& b);
bool operator==(const RevisionRecord& a, const RevisionRecord& b);
bool operator==(const LabelRecord& a, const LabelRecord& b);
bool operator==(const AuditRecord& a, const AuditRecord& b);

}  // namespace amend

#endif  // AMEND_STORAGE_RECORDS_H_
