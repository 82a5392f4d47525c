#include "storage/testing/random_records.h"

#include <set>
#include <utility>

namespace amend {

std::string RandomRecords::Text(int max_size) {
  std::string text(Below(max_size + 1), ' ');
  for (char& byte : text) byte = static_cast<char>(Coin() ? 'a' + Below(26) : Below(256));
  return text;
}

StoreIdentity RandomRecords::Identity() {
  StoreIdentity identity{Text(), Text(), Text(), {}, Text()};
  for (int64_t i = Below(4); i > 0; --i) identity.context_templates.push_back(Text());
  return identity;
}

EditScores RandomRecords::Scores() {
  EditScores scores;
  if (Coin()) scores.reliability = Fraction();
  if (Coin()) scores.generality = Fraction();
  if (Coin()) scores.locality = Fraction();
  return scores;
}

GateThresholds RandomRecords::Thresholds() {
  GateThresholds thresholds;
  for (double* threshold : {&thresholds.reliability, &thresholds.generality, &thresholds.locality,
                            &thresholds.background, &thresholds.retention}) {
    *threshold = Fraction();
  }
  if (Coin()) thresholds.max_perplexity_change = Fraction();
  return thresholds;
}

GateVerdict RandomRecords::Gate() {
  GateVerdict gate;
  gate.enforced = Coin();
  gate.passed = Coin();
  gate.scores = Scores();
  if (Coin()) gate.background = Fraction();
  if (Coin()) gate.perplexity_change = Fraction();
  if (Coin()) gate.retention = Fraction();
  if (Coin()) gate.reverted = Fraction();
  gate.retained_edits = static_cast<int32_t>(Below(40));
  for (int64_t i = Below(3); i > 0; --i) {
    gate.broken_edits.push_back({Revision(Below(1000)), static_cast<int32_t>(Below(50))});
  }
  gate.thresholds = Thresholds();
  for (int64_t i = Below(3); i > 0; --i) gate.failures.push_back(Text());
  return gate;
}

std::string RandomRecords::Session() {
  const std::string kSessions[] = {"",
                                   "a",
                                   "ab",
                                   std::string("a\0", 2),
                                   std::string("a\0\x01", 3),
                                   "a\xff",
                                   std::string("\0", 1)};
  return kSessions[Below(7)];
}

LedgerEntry RandomRecords::Ledger(const BatchKey& key, BatchState state) {
  LedgerEntry entry;
  entry.key = key;
  entry.state = state;
  for (int64_t i = Below(4); i > 0; --i) {
    Edit edit{Text(60), Text(), Text(), {}, {}, Text()};
    for (int64_t j = Below(3); j > 0; --j) edit.paraphrases.push_back(Text());
    for (int64_t j = Below(3); j > 0; --j) edit.probes.push_back({Text(), Text()});
    entry.edits.push_back(std::move(edit));
    EditVerdict verdict;
    verdict.index = static_cast<int32_t>(Below(100));
    verdict.violation_field = Text();
    verdict.violation_description = Text();
    verdict.scores = Scores();
    verdict.generality_source = static_cast<GeneralitySource>(Below(3));
    verdict.passed = Coin();
    verdict.dropped = Coin();
    verdict.target = {Fraction(), static_cast<int32_t>(Below(50))};
    for (int64_t j = Below(3); j > 0; --j) {
      verdict.overlaps.push_back(
          {Revision(Below(1000)), static_cast<int32_t>(Below(50)), Fraction(), Coin()});
    }
    entry.verdicts.push_back(std::move(verdict));
  }
  entry.promotion = Coin() ? PromotionPolicy::kWhenValidated : PromotionPolicy::kStageOnly;
  entry.failure = Coin() ? FailurePolicy::kAllOrNothing : FailurePolicy::kDropFailing;
  entry.thresholds = Thresholds();
  entry.actor = Text();
  if (Coin()) entry.gate = Gate();
  entry.error_code = static_cast<absl::StatusCode>(Below(17));
  entry.error_message = Text();
  entry.error_reason = Text();
  entry.receive_time_us = Below(int64_t{1} << 60);
  entry.finish_time_us = Below(int64_t{1} << 60);
  return entry;
}

Matrix RandomRecords::RandomMatrix(int64_t rows, int64_t cols) {
  Matrix matrix{rows, cols, std::vector<float>(rows * cols)};
  for (float& value : matrix.values) value = static_cast<float>(Below(2000001) - 1000000) / 997.0f;
  return matrix;
}

RevisionFactors RandomRecords::Factors() {
  RevisionFactors factors;
  const int64_t layers = Below(4);
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t b = 1 + Below(3);
    const int64_t width = Below(4) == 0 ? 6000 : 1 + Below(20);
    LayerFactors layer;
    layer.layer = LayerIndex(static_cast<int32_t>(3 * i + Below(3)));
    layer.u = RandomMatrix(b, 1 + Below(20));
    layer.v = RandomMatrix(b, width);
    layer.keys = RandomMatrix(b, width);
    layer.activations = RandomMatrix(1, b).values;
    factors.layers.push_back(std::move(layer));
  }
  return factors;
}

RevisionRecord RandomRecords::Record(Revision revision, Revision parent, RevisionState state) {
  RevisionRecord record;
  record.revision = revision;
  record.parent = parent;
  record.state = state;
  record.batch = {Session(), Below(1000)};
  record.edit_count = static_cast<int32_t>(Below(100));
  record.line_edit_count = Below(100000);
  record.gate = Gate();
  for (int64_t i = Below(3); i > 0; --i) {
    record.norms.push_back({LayerIndex(static_cast<int32_t>(Below(48))), Fraction()});
  }
  record.create_time_us = Below(int64_t{1} << 60);
  record.actor = Text();
  record.marks.pinned = Coin();
  return record;
}

RevisionRecord RandomRecords::Withdrawal(Revision revision, Revision parent, RevisionState state) {
  RevisionRecord record = Record(revision, parent, state);
  record.batch = {};
  record.edit_count = 0;
  std::set<EditId> withdrawn;
  for (int64_t i = Below(4); i >= 0; --i) {
    withdrawn.insert({Revision(1 + Below(parent.value())), static_cast<int32_t>(Below(50))});
  }
  record.withdrawn.assign(withdrawn.begin(), withdrawn.end());
  return record;
}

AuditRecord RandomRecords::Audit() {
  return {Text(), Text(), Text(), Revision(Below(100)), Revision(Below(100)), Text(), Below(1000)};
}

}  // namespace amend
