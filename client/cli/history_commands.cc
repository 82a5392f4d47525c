#include "client/cli/history_commands.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/revision_text.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;
using Change = v1::WatchRevisionsResponse::RevisionChanged;

constexpr int kMaxPage = 1000;

// The size of the next page of `limit` things in all; 0 is the server's default.
int NextPage(int limit, int printed) {
  return limit == 0 ? 0 : std::min(limit - printed, kMaxPage);
}

void PrintCompareHead(const CommandContext& context, const HistoryOptions& options,
                      const v1::CompareRevisionsResponse& response) {
  if (context.json) {
    PrintJson(context, {{"base_revision", options.base},
                        {"revision", options.revision},
                        {"common_ancestor", response.common_ancestor()},
                        {"removed", response.removed_count()},
                        {"added", response.added_count()}});
    return;
  }
  *context.out << "revisions " << options.base << " and " << options.revision
               << " part at revision " << response.common_ancestor() << ": "
               << response.removed_count() << " edits removed, " << response.added_count()
               << " added\n";
}

void PrintDifference(const CommandContext& context, const v1::RevisionDifference& difference) {
  const bool added = difference.kind() == v1::RevisionDifference::ADDED;
  if (context.json) {
    OrderedJson object = {{"change", added ? "added" : "removed"},
                          {"revision", difference.revision()},
                          {"edit", difference.edit_index()}};
    object.update(ToJson(difference.edit()));
    PrintJson(context, object);
    return;
  }
  *context.out << (added ? "+ " : "- ") << absl::StrFormat("%6d ", difference.revision())
               << EditText(difference.edit_index(), difference.edit()) << "\n";
}

OrderedJson EventJson(const v1::WatchRevisionsResponse& event) {
  OrderedJson object;
  switch (event.event_case()) {
    case v1::WatchRevisionsResponse::kState:
      object = {{"event", "state"},
                {"latest_revision", event.state().latest_revision()},
                {"labels", OrderedJson::array()}};
      for (const v1::Label& label : event.state().labels()) {
        object["labels"].push_back(ToJson(label));
      }
      break;
    case v1::WatchRevisionsResponse::kRevisionChanged:
      object = {
          {"event", absl::AsciiStrToLower(Change::Change_Name(event.revision_changed().change()))},
          {"revision", ToJson(event.revision_changed().revision())}};
      break;
    case v1::WatchRevisionsResponse::kLabelMoved:
      object = {{"event", "label_moved"}, {"label", ToJson(event.label_moved().label())}};
      if (event.label_moved().has_previous_revision()) {
        object["previous_revision"] = event.label_moved().previous_revision();
      }
      break;
    case v1::WatchRevisionsResponse::kLabelDeleted:
      object = {{"event", "label_deleted"}, {"label", ToJson(event.label_deleted().label())}};
      break;
    case v1::WatchRevisionsResponse::EVENT_NOT_SET:
      object = {{"event", "unknown"}};
      break;
  }
  return object;
}

std::string EventText(const v1::WatchRevisionsResponse& event) {
  switch (event.event_case()) {
    case v1::WatchRevisionsResponse::kState: {
      std::vector<std::string> labels;
      for (const v1::Label& label : event.state().labels()) {
        labels.push_back(absl::StrCat(label.name(), " at ", label.revision()));
      }
      return absl::StrCat("newest revision ", event.state().latest_revision(), "; ",
                          absl::StrJoin(labels, ", "));
    }
    case v1::WatchRevisionsResponse::kRevisionChanged: {
      const v1::Revision& revision = event.revision_changed().revision();
      const std::string change =
          absl::AsciiStrToLower(Change::Change_Name(event.revision_changed().change()));
      if (event.revision_changed().change() != Change::CREATED) {
        return absl::StrCat("revision ", revision.revision(), ": ", change);
      }
      return absl::StrCat("revision ", revision.revision(), ": ", change, " on ", revision.parent(),
                          ", ", StateText(revision.state()), ", ", revision.edit_count(), " edits");
    }
    case v1::WatchRevisionsResponse::kLabelMoved: {
      const v1::WatchRevisionsResponse::LabelMoved& moved = event.label_moved();
      return moved.has_previous_revision()
                 ? absl::StrCat(moved.label().name(), ": revision ", moved.previous_revision(),
                                " -> ", moved.label().revision())
                 : absl::StrCat(moved.label().name(), ": new, at revision ",
                                moved.label().revision());
    }
    case v1::WatchRevisionsResponse::kLabelDeleted:
      return absl::StrCat(event.label_deleted().label().name(), ": deleted, was at revision ",
                          event.label_deleted().label().revision());
    case v1::WatchRevisionsResponse::EVENT_NOT_SET:
      break;
  }
  return "an event that this program does not know";
}

// "0.93 of at least 0.90"
std::string ScoreText(bool has, double score, double threshold) {
  return absl::StrFormat("%s of at least %.2f", Score(has, score), threshold);
}

OrderedJson ValidationJson(const HistoryOptions& options,
                           const v1::ValidateRevisionResponse& response) {
  const v1::GateReport& gate = response.gate_report();
  OrderedJson object = {{"revision", options.revision}, {"passed", gate.passed()}};
  if (gate.has_reliability()) object["reliability"] = gate.reliability();
  if (gate.has_generality()) object["generality"] = gate.generality();
  if (gate.has_locality()) object["locality"] = gate.locality();
  object["failures"] = std::vector<std::string>(gate.failures().begin(), gate.failures().end());
  object["edits"] = OrderedJson::array();
  for (const v1::EditResult& result : response.edit_results()) {
    OrderedJson edit = {{"index", result.index()}, {"passed", result.passed()}};
    if (result.has_reliability()) edit["reliability"] = result.reliability();
    if (result.has_generality()) edit["generality"] = result.generality();
    if (result.has_locality()) edit["locality"] = result.locality();
    object["edits"].push_back(std::move(edit));
  }
  return object;
}

void PrintValidation(const CommandContext& context, const HistoryOptions& options,
                     const v1::ValidateRevisionResponse& response) {
  const v1::GateReport& gate = response.gate_report();
  *context.out << "revision " << options.revision << ": "
               << (gate.passed() ? "passes the gate" : "does not pass the gate") << "\n"
               << "reliability  "
               << ScoreText(gate.has_reliability(), gate.reliability(),
                            gate.thresholds().reliability())
               << "\ngenerality   "
               << ScoreText(gate.has_generality(), gate.generality(),
                            gate.thresholds().generality())
               << "\nlocality     "
               << ScoreText(gate.has_locality(), gate.locality(), gate.thresholds().locality())
               << "\n";
  for (const std::string& failure : gate.failures())
    *context.out << "failure      " << failure << "\n";
  for (const v1::EditResult& result : response.edit_results()) {
    if (result.passed()) continue;
    *context.out << absl::StrFormat("edit %d       %s / %s / %s\n", result.index(),
                                    Score(result.has_reliability(), result.reliability()),
                                    Score(result.has_generality(), result.generality()),
                                    Score(result.has_locality(), result.locality()));
  }
}

void PrintRecord(const CommandContext& context, const v1::AuditRecord& record) {
  if (context.json) {
    PrintJson(context, {{"sequence", record.sequence()},
                        {"time", TimeText(record.time())},
                        {"actor", record.actor()},
                        {"verb", record.verb()},
                        {"label", record.label()},
                        {"from", record.from()},
                        {"to", record.to()},
                        {"reason", record.reason()}});
    return;
  }
  const std::string what = record.label().empty() ? absl::StrCat("revision ", record.to())
                                                  : absl::StrCat(record.label(), " ", record.from(),
                                                                 " -> ", record.to());
  *context.out << absl::StrFormat("%8d  %s  %s  %s  %s  %s\n", record.sequence(),
                                  TimeText(record.time()), Column(record.verb(), 12),
                                  Column(what, 24), Column(record.actor(), 24), record.reason());
}

}  // namespace

CLI::App* AddCompareCommand(CLI::App* app, HistoryOptions* options) {
  CLI::App* command = app->add_subcommand(
      "compare", "The edits on the line of one revision and not on that of another");
  command->add_option("base", options->base, "What only this one has is removed (-)")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command->add_option("revision", options->revision, "What only this one has is added (+)")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--limit", options->limit, "At most so many edits")
      ->check(CLI::PositiveNumber);
  return command;
}

CLI::App* AddWatchCommand(CLI::App* app, HistoryOptions* options) {
  CLI::App* command =
      app->add_subcommand("watch", "Where revisions and labels stand, then every change");
  command->add_option("--events", options->events, "End after so many changes")
      ->check(CLI::PositiveNumber);
  return command;
}

CLI::App* AddValidateCommand(CLI::App* app, HistoryOptions* options) {
  CLI::App* command = app->add_subcommand(
      "validate", "Run the gate once more on a revision; changes nothing, exit code 1 if it fails");
  command->add_option("revision", options->revision, "Its number")
      ->required()
      ->check(CLI::NonNegativeNumber);
  const struct {
    const char* name;
    double* value;
  } thresholds[] = {{"--min-reliability", &options->min_reliability},
                    {"--min-generality", &options->min_generality},
                    {"--min-locality", &options->min_locality}};
  for (const auto& [name, value] : thresholds) {
    command->add_option(name, *value, "Instead of what its batch was judged by")
        ->check(CLI::Range(0.0, 1.0));
  }
  return command;
}

CLI::App* AddAuditCommand(CLI::App* app, HistoryOptions* options) {
  CLI::App* command =
      app->add_subcommand("audit", "What was done to revisions and labels, newest first");
  command->add_option("--limit", options->limit, "At most so many records")
      ->check(CLI::PositiveNumber);
  return command;
}

int RunCompare(const CommandContext& context, const HistoryOptions& options) {
  v1::CompareRevisionsRequest request;
  request.set_base_revision(options.base);
  request.set_revision(options.revision);
  bool first = true;
  for (int printed = 0;;) {
    request.set_page_size(NextPage(options.limit, printed));
    const absl::StatusOr<v1::CompareRevisionsResponse> page =
        context.client->CompareRevisions(request);
    if (!page.ok()) return Fail(context, page.status());
    if (first) PrintCompareHead(context, options, *page);
    first = false;
    for (const v1::RevisionDifference& difference : page->differences()) {
      PrintDifference(context, difference);
      if (++printed == options.limit) return kExitOk;
    }
    if (page->next_page_token().empty()) return kExitOk;
    request.set_page_token(page->next_page_token());
  }
}

int RunWatch(const CommandContext& context, const HistoryOptions& options) {
  int changes = 0;
  const absl::Status status = context.client->WatchRevisions(
      v1::WatchRevisionsRequest(), [&](const v1::WatchRevisionsResponse& event) {
        if (context.json) {
          PrintJson(context, EventJson(event));
        } else {
          *context.out << EventText(event) << std::endl;
        }
        if (!event.has_state()) ++changes;
        return options.events == 0 || changes < options.events;
      });
  return status.ok() ? kExitOk : Fail(context, status);
}

int RunValidate(const CommandContext& context, const HistoryOptions& options) {
  v1::ValidateRevisionRequest request;
  request.set_revision(options.revision);
  v1::GateThresholds& thresholds = *request.mutable_thresholds();
  if (options.min_reliability >= 0) thresholds.set_reliability(options.min_reliability);
  if (options.min_generality >= 0) thresholds.set_generality(options.min_generality);
  if (options.min_locality >= 0) thresholds.set_locality(options.min_locality);
  const absl::StatusOr<v1::ValidateRevisionResponse> response =
      context.client->ValidateRevision(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson(context, ValidationJson(options, *response));
  } else {
    PrintValidation(context, options, *response);
  }
  return response->gate_report().passed() ? kExitOk : kExitNotApplied;
}

int RunAudit(const CommandContext& context, const HistoryOptions& options) {
  v1::ListAuditRecordsRequest request;
  for (int printed = 0;;) {
    request.set_page_size(NextPage(options.limit, printed));
    const absl::StatusOr<v1::ListAuditRecordsResponse> page =
        context.client->ListAuditRecords(request);
    if (!page.ok()) return Fail(context, page.status());
    for (const v1::AuditRecord& record : page->records()) {
      PrintRecord(context, record);
      if (++printed == options.limit) return kExitOk;
    }
    if (page->next_page_token().empty()) return kExitOk;
    request.set_page_token(page->next_page_token());
  }
}

}  // namespace amend::client
