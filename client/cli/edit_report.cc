#include "client/cli/edit_report.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/errors.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

constexpr size_t kSubjectWidth = 24;
constexpr size_t kTargetWidth = 16;
constexpr int kBarWidth = 24;

const v1::EditResult* ResultOf(const v1::EditBatchStatus& batch, int index) {
  for (const v1::EditResult& result : batch.edit_results()) {
    if (result.index() == index) return &result;
  }
  return nullptr;
}

// Adds "name 0.40 is below 0.90" for a score that misses its threshold.
void AddShortfall(const char* name, bool has, double score, bool has_threshold, double threshold,
                  std::vector<std::string>* failures) {
  if (has && has_threshold && score < threshold) {
    failures->push_back(absl::StrFormat("%s %.2f is below %.2f", name, score, threshold));
  }
}

std::string Shortfalls(const v1::EditResult& result, const v1::GateThresholds& thresholds) {
  std::vector<std::string> failures;
  AddShortfall("reliability", result.has_reliability(), result.reliability(),
               thresholds.has_reliability(), thresholds.reliability(), &failures);
  AddShortfall("generality", result.has_generality(), result.generality(),
               thresholds.has_generality(), thresholds.generality(), &failures);
  AddShortfall("locality", result.has_locality(), result.locality(), thresholds.has_locality(),
               thresholds.locality(), &failures);
  return failures.empty() ? "below a threshold" : absl::StrJoin(failures, ", ");
}

const char* PhaseName(v1::SolveProgress::Phase phase) {
  switch (phase) {
    case v1::SolveProgress::TARGET_VALUES:
      return "target values";
    case v1::SolveProgress::LAYER_UPDATES:
      return "layer updates";
    default:
      return "at work";
  }
}

void SetScore(const char* name, bool has, double value, OrderedJson* object) {
  if (has) (*object)[name] = value;
}

// Batch and report have the same three scores.
template <typename Scores>
void SetScores(const Scores& scores, OrderedJson* object) {
  SetScore("reliability", scores.has_reliability(), scores.reliability(), object);
  SetScore("generality", scores.has_generality(), scores.generality(), object);
  SetScore("locality", scores.has_locality(), scores.locality(), object);
}

void SetBatchScores(const v1::GateReport& report, OrderedJson* object) {
  SetScore("background", report.has_background(), report.background(), object);
  SetScore("perplexity_change", report.has_perplexity_change(), report.perplexity_change(), object);
  SetScore("retention", report.has_retention(), report.retention(), object);
  if (report.retained_edits() > 0) (*object)["retained_edits"] = report.retained_edits();
  for (const v1::EditReference& edit : report.broken_edits()) {
    (*object)["broken_edits"].push_back(
        {{"revision", edit.revision()}, {"edit_index", edit.edit_index()}});
  }
}

// With a mark where the context templates stood in for paraphrases.
std::string Generality(const v1::EditResult& result) {
  return absl::StrCat(Score(result.has_generality(), result.generality()),
                      result.generality_source() == v1::CONTEXT_TEMPLATES ? "*" : "");
}

}  // namespace

std::string Verdict(const v1::EditBatchStatus& batch, int index) {
  const v1::EditResult* result = ResultOf(batch, index);
  if (result != nullptr && result->has_violation()) {
    return absl::StrCat(result->violation().field(), ": ", result->violation().description());
  }
  if (batch.stage() == v1::FAILED) return "not tried: its batch failed";
  if (result == nullptr) return "no verdict";
  const bool shortfall = !result->passed();
  if (result->dropped()) {
    return shortfall
               ? absl::StrCat("dropped: ", Shortfalls(*result, batch.gate_report().thresholds()))
               : "dropped: breaks an earlier edit with the same key";
  }
  if (shortfall) return Shortfalls(*result, batch.gate_report().thresholds());
  return batch.stage() == v1::REJECTED ? "passed, but its batch was rejected" : "passed";
}

std::string OverlapText(const v1::EditResult& result) {
  std::vector<std::string> texts;
  for (const v1::KeyOverlap& overlap : result.overlaps()) {
    const std::string other =
        absl::StrCat("revision ", overlap.revision(), " edit ", overlap.edit_index());
    texts.push_back(overlap.same_prompt() ? absl::StrCat("supersedes ", other)
                                          : absl::StrFormat("shares its key with %s (%.2f)", other,
                                                            overlap.activation()));
  }
  return absl::StrJoin(texts, "; ");
}

std::string BatchScores(const v1::GateReport& report) {
  std::vector<std::string> texts;
  if (report.has_background()) {
    texts.push_back(absl::StrFormat("background %.2f", report.background()));
  }
  if (report.has_perplexity_change()) {
    texts.push_back(absl::StrFormat("perplexity %+.1f %%", 100 * report.perplexity_change()));
  }
  if (report.has_retention()) {
    texts.push_back(absl::StrCat(report.retained_edits() - report.broken_edits_size(), " of ",
                                 report.retained_edits(), " earlier edits hold"));
  }
  for (const v1::EditReference& edit : report.broken_edits()) {
    texts.push_back(absl::StrCat("breaks revision ", edit.revision(), " edit ", edit.edit_index()));
  }
  return absl::StrJoin(texts, ", ");
}

std::string StageText(const v1::EditBatchStatus& batch) {
  const v1::SolveProgress& progress = batch.progress();
  switch (batch.stage()) {
    case v1::SOLVING:
      if (!batch.has_progress()) return "solving";
      return absl::StrCat("solving: ", PhaseName(progress.phase()), " ", progress.done(), "/",
                          progress.total());
    case v1::STAGED:
      return absl::StrCat("staged as revision ", batch.revision(), ", at the gate");
    case v1::VALIDATED:
      return absl::StrCat("validated as revision ", batch.revision());
    case v1::LIVE:
      return absl::StrCat("live as revision ", batch.revision());
    case v1::REJECTED:
      return absl::StrCat("rejected: ", absl::StrJoin(batch.gate_report().failures(), ", "));
    case v1::FAILED:
      return absl::StrCat("failed: ", Describe(FromRpcStatus(batch.error())));
    default:
      return absl::AsciiStrToLower(v1::BatchStage_Name(batch.stage()));
  }
}

EditReport::EditReport(const CommandContext& context, const std::vector<v1::EditBatch>& batches,
                       v1::Promotion promotion)
    : context_(context),
      batches_(batches),
      promotion_(promotion),
      reported_(batches.size(), false),
      stages_(batches.size()) {
  int first = 0;
  for (const v1::EditBatch& batch : batches) {
    first_edit_.push_back(first);
    first += batch.edits_size();
  }
}

void EditReport::OnStarted(int64_t next_offset) {
  if (context_.json) PrintJson(context_, {{"event", "started"}, {"next_offset", next_offset}});
}

bool EditReport::IsDone(const v1::EditBatchStatus& batch) const {
  return IsTerminal(batch.stage(), promotion_) ||
         (batch.replayed() && batch.stage() == v1::VALIDATED);
}

void EditReport::OnBatch(const v1::EditBatchStatus& batch) {
  const bool done = IsDone(batch) && !reported_[batch.offset()];
  const auto stage = std::make_pair(batch.stage(), batch.progress().phase());
  if (context_.json) {
    PrintObject(batch, done);
  } else if (done) {
    ClearLine();
    PrintStage(batch);
    PrintVerdicts(batch);
  } else if (context_.terminal) {
    DrawBar(batch);
  } else if (stages_[batch.offset()] != stage) {
    PrintStage(batch);
  }
  stages_[batch.offset()] = stage;
  if (done) {
    reported_[batch.offset()] = true;
    edits_done_ += batches_[batch.offset()].edits_size();
  }
}

void EditReport::OnReconnect(int attempt, const absl::Status& why, absl::Duration pause) {
  ClearLine();
  *context_.err << "connection lost (" << why.message() << "), attempt " << attempt << " in "
                << absl::FormatDuration(pause) << "\n";
}

void EditReport::ClearLine() {
  if (line_drawn_) *context_.err << "\r\033[K" << std::flush;
  line_drawn_ = false;
}

void EditReport::DrawBar(const v1::EditBatchStatus& batch) {
  const int total = first_edit_.back() + batches_.back().edits_size();
  const int filled = total == 0 ? 0 : kBarWidth * edits_done_ / total;
  *context_.err << "\r\033[K[" << std::string(filled, '#') << std::string(kBarWidth - filled, '-')
                << "] " << edits_done_ << "/" << total << " edits  batch " << batch.offset() << " "
                << StageText(batch) << std::flush;
  line_drawn_ = true;
}

void EditReport::PrintStage(const v1::EditBatchStatus& batch) {
  *context_.out << "batch " << batch.offset() << ": " << StageText(batch)
                << (batch.replayed() ? " (recorded earlier)" : "") << std::endl;
}

void EditReport::PrintVerdicts(const v1::EditBatchStatus& batch) {
  if (!header_printed_) {
    *context_.out << absl::StrFormat("%5s  %s %s reliability generality locality  verdict\n", "#",
                                     Column("subject", kSubjectWidth),
                                     Column("target", kTargetWidth));
    header_printed_ = true;
  }
  const v1::EditBatch& edits = batches_[batch.offset()];
  for (int i = 0; i < edits.edits_size(); ++i) {
    const v1::EditResult* result = ResultOf(batch, i);
    const v1::EditResult scores = result == nullptr ? v1::EditResult() : *result;
    *context_.out << absl::StrFormat(
        "%5d  %s %s %11s %10s %8s  %s\n", first_edit_[batch.offset()] + i,
        Column(edits.edits(i).subject(), kSubjectWidth),
        Column(edits.edits(i).target_new(), kTargetWidth),
        Score(scores.has_reliability(), scores.reliability()), Generality(scores),
        Score(scores.has_locality(), scores.locality()), Verdict(batch, i));
    if (scores.overlaps_size() > 0) *context_.out << "       " << OverlapText(scores) << "\n";
  }
  const std::string whole = BatchScores(batch.gate_report());
  if (!whole.empty()) *context_.out << "       the batch: " << whole << "\n";
  *context_.out << std::flush;
}

void EditReport::PrintObject(const v1::EditBatchStatus& batch, bool done) {
  OrderedJson object;
  object["event"] = "batch";
  object["session"] = batch.session();
  object["offset"] = batch.offset();
  object["stage"] = v1::BatchStage_Name(batch.stage());
  object["revision"] = batch.revision();
  object["replayed"] = batch.replayed();
  if (batch.has_progress()) {
    object["progress"] = {{"phase", v1::SolveProgress::Phase_Name(batch.progress().phase())},
                          {"done", batch.progress().done()},
                          {"total", batch.progress().total()}};
  }
  if (batch.has_gate_report()) {
    OrderedJson gate;
    gate["passed"] = batch.gate_report().passed();
    SetScores(batch.gate_report(), &gate);
    SetBatchScores(batch.gate_report(), &gate);
    gate["failures"] = std::vector<std::string>(batch.gate_report().failures().begin(),
                                                batch.gate_report().failures().end());
    object["gate"] = gate;
  }
  if (batch.has_error()) {
    const absl::Status error = FromRpcStatus(batch.error());
    object["error"] = {{"code", absl::StatusCodeToString(error.code())},
                       {"reason", ErrorReason(error)},
                       {"message", std::string(error.message())}};
  }
  if (done) {
    object["edits"] = OrderedJson::array();
    const v1::EditBatch& edits = batches_[batch.offset()];
    for (int i = 0; i < edits.edits_size(); ++i) {
      OrderedJson edit;
      edit["index"] = first_edit_[batch.offset()] + i;
      edit["client_edit_id"] = edits.edits(i).client_edit_id();
      edit["subject"] = edits.edits(i).subject();
      edit["target"] = edits.edits(i).target_new();
      const v1::EditResult* result = ResultOf(batch, i);
      if (result != nullptr) SetScores(*result, &edit);
      if (result != nullptr && result->has_generality()) {
        edit["generality_source"] = v1::GeneralitySource_Name(result->generality_source());
      }
      if (result != nullptr && result->dropped()) edit["dropped"] = true;
      edit["passed"] = result != nullptr && result->passed();
      edit["verdict"] = Verdict(batch, i);
      if (result != nullptr && result->overlaps_size() > 0) {
        for (const v1::KeyOverlap& overlap : result->overlaps()) {
          edit["overlaps"].push_back({{"revision", overlap.revision()},
                                      {"edit_index", overlap.edit_index()},
                                      {"activation", overlap.activation()},
                                      {"same_prompt", overlap.same_prompt()}});
        }
      }
      object["edits"].push_back(edit);
    }
  }
  PrintJson(context_, object);
}

int EditReport::Finish(const std::vector<v1::EditBatchStatus>& outcomes) {
  ClearLine();
  int edits[v1::BatchStage_ARRAYSIZE] = {};
  int total = 0;
  int dropped = 0;
  bool templates = false;
  bool recorded = !outcomes.empty();
  int64_t newest = 0;
  for (const v1::EditBatchStatus& batch : outcomes) {
    const int size = batches_[batch.offset()].edits_size();
    total += size;
    int left = size;
    for (const v1::EditResult& result : batch.edit_results()) {
      if (result.dropped() && batch.stage() != v1::REJECTED) --left;
      templates = templates || result.generality_source() == v1::CONTEXT_TEMPLATES;
    }
    edits[batch.stage()] += left;
    dropped += size - left;
    recorded = recorded && batch.replayed();
    if (batch.stage() == v1::LIVE || batch.stage() == v1::VALIDATED) {
      newest = std::max(newest, batch.revision());
    }
  }
  const int lost = edits[v1::REJECTED] + edits[v1::FAILED] + dropped;
  if (context_.json) {
    PrintJson(context_, {{"event", "done"},
                         {"edits", total},
                         {"live", edits[v1::LIVE]},
                         {"validated", edits[v1::VALIDATED]},
                         {"rejected", edits[v1::REJECTED]},
                         {"failed", edits[v1::FAILED]},
                         {"dropped", dropped},
                         {"revision", newest},
                         {"recorded_earlier", recorded}});
  } else {
    if (templates) {
      *context_.out << "* measured in the server's context templates: the edit has no paraphrases"
                    << std::endl;
    }
    *context_.out << total << " edits: " << edits[v1::LIVE] << " live, " << edits[v1::VALIDATED]
                  << " validated, " << edits[v1::REJECTED] << " rejected, " << edits[v1::FAILED]
                  << " failed" << (dropped > 0 ? absl::StrCat(", ", dropped, " dropped") : "")
                  << "; newest revision " << newest << std::endl;
    if (recorded) {
      *context_.out << "All of it was recorded earlier; --session NAME applies the edits anew."
                    << std::endl;
    }
  }
  return lost == 0 ? kExitOk : kExitNotApplied;
}

}  // namespace amend::client
