#include "client/cli/withdraw_command.h"

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

struct EditName {
  int64_t revision = 0;
  // Absent: all edits of the revision.
  std::optional<int32_t> index;
};

absl::StatusOr<EditName> ParseEditName(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  EditName name;
  int32_t index = 0;
  bool fits = parts.size() <= 2 && absl::SimpleAtoi(parts[0], &name.revision) && name.revision > 0;
  if (fits && parts.size() == 2) {
    fits = absl::SimpleAtoi(parts[1], &index) && index >= 0;
    name.index = index;
  }
  if (fits) return name;
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", text, "\" names no edit: write REVISION:INDEX, or REVISION for all of its edits"));
}

// Revisions, each read once.
class Revisions {
 public:
  explicit Revisions(Client* client) : client_(client) {}

  const absl::StatusOr<v1::Revision>& Get(int64_t revision) {
    auto found = read_.find(revision);
    if (found == read_.end()) {
      v1::GetRevisionRequest request;
      request.set_revision(revision);
      found = read_.emplace(revision, client_->GetRevision(request)).first;
    }
    return found->second;
  }
  // "edit 0 of revision 3: The capital of Jordan is -> Bangui"
  std::string Describe(const v1::EditReference& edit) {
    const std::string name =
        absl::StrCat("edit ", edit.edit_index(), " of revision ", edit.revision());
    const absl::StatusOr<v1::Revision>& revision = Get(edit.revision());
    if (!revision.ok() || edit.edit_index() < 0 || edit.edit_index() >= revision->edits_size())
      return name;
    const v1::Edit& text = revision->edits(edit.edit_index());
    return absl::StrCat(name, ": ", text.prompt(), " -> ", text.target_new());
  }

 private:
  Client* const client_;
  std::map<int64_t, absl::StatusOr<v1::Revision>> read_;
};

// Puts the edits that the names stand for into the request, each once.
absl::Status AddEdits(const std::vector<EditName>& names, Revisions* revisions,
                      v1::WithdrawEditsRequest* request) {
  std::set<std::pair<int64_t, int32_t>> edits;
  for (const EditName& name : names) {
    if (name.index.has_value()) {
      edits.emplace(name.revision, *name.index);
      continue;
    }
    const absl::StatusOr<v1::Revision>& revision = revisions->Get(name.revision);
    if (!revision.ok()) return revision.status();
    for (int32_t i = 0; i < revision->edit_count(); ++i) edits.emplace(name.revision, i);
  }
  for (const auto& [revision, index] : edits) {
    v1::EditReference* edit = request->add_edits();
    edit->set_revision(revision);
    edit->set_edit_index(index);
  }
  return absl::OkStatus();
}

OrderedJson ToJson(const v1::EditReference& edit) {
  return {{"revision", edit.revision()}, {"edit_index", edit.edit_index()}};
}

void PrintObject(const CommandContext& context, const v1::WithdrawEditsResponse& response) {
  const v1::Revision& revision = response.revision();
  const v1::GateReport& gate = revision.gate_report();
  OrderedJson object = {{"revision", revision.revision()},
                        {"parent", revision.parent()},
                        {"state", v1::Revision::State_Name(revision.state())},
                        {"line_edits", revision.line_edit_count()},
                        {"withdrawn", OrderedJson::array()}};
  for (const v1::EditReference& edit : revision.withdrawn())
    object["withdrawn"].push_back(ToJson(edit));
  if (gate.has_reverted()) object["reverted"] = gate.reverted();
  if (gate.has_retention()) object["retention"] = gate.retention();
  object["failures"] = std::vector<std::string>(gate.failures().begin(), gate.failures().end());
  object["broken"] = OrderedJson::array();
  for (const v1::EditReference& edit : gate.broken_edits())
    object["broken"].push_back(ToJson(edit));
  const v1::Label& label = response.label();
  object["label"] = {
      {"name", label.name()}, {"revision", label.revision()}, {"etag", label.etag()}};
  PrintJson(context, object);
}

void PrintText(const CommandContext& context, const v1::WithdrawEditsResponse& response,
               Revisions* revisions) {
  const v1::Revision& revision = response.revision();
  const v1::GateReport& gate = revision.gate_report();
  for (const v1::EditReference& edit : revision.withdrawn())
    *context.out << "without   " << revisions->Describe(edit) << "\n";
  *context.out << "back      " << Score(gate.has_reverted(), gate.reverted())
               << " of their prompts answer as before the edit\n"
               << "others    " << gate.retained_edits() << " tested, "
               << gate.retained_edits() - gate.broken_edits_size() << " hold\n";
  for (const v1::EditReference& edit : gate.broken_edits())
    *context.out << "broken    " << revisions->Describe(edit) << "\n";
  for (const std::string& failure : gate.failures())
    *context.out << "gate      " << failure << "\n";
  const std::string state = absl::AsciiStrToLower(v1::Revision::State_Name(revision.state()));
  if (revision.revision() == 0) {
    *context.out << "dry run   would be " << state << ", on revision " << revision.parent()
                 << std::endl;
    return;
  }
  *context.out << "revision  " << revision.revision() << " (" << state << "), on "
               << revision.parent() << ", " << revision.line_edit_count() << " edits in its line\n";
  *context.out << response.label().name() << ": revision " << response.label().revision()
               << std::endl;
}

}  // namespace

CLI::App* AddWithdrawCommand(CLI::App* app, WithdrawOptions* options) {
  CLI::App* command = app->add_subcommand("withdraw", "Take single edits back, and no others");
  command->add_option("edit", options->edits, "REVISION:INDEX, or REVISION for all of its edits")
      ->required();
  command->add_option("--reason", options->reason, "Kept in the audit trail")->required();
  CLI::Option* label =
      command->add_option("--label", options->label, "Where the edits are, instead of live");
  command->add_option("--revision", options->revision, "The same, by number")
      ->check(CLI::PositiveNumber)
      ->excludes(label);
  command->add_option("--etag", options->etag, "Only if the label still has this etag");
  command->add_flag("--stage-only", options->stage_only, "Make the revision, move no label");
  command->add_flag("--dry-run", options->dry_run, "Only ask the gate");
  return command;
}

int RunWithdraw(const CommandContext& context, const WithdrawOptions& options) {
  std::vector<EditName> names;
  for (const std::string& text : options.edits) {
    const absl::StatusOr<EditName> name = ParseEditName(text);
    if (!name.ok()) return FailUsage(context, name.status());
    names.push_back(*name);
  }
  Revisions revisions(context.client);
  v1::WithdrawEditsRequest request;
  const absl::Status added = AddEdits(names, &revisions, &request);
  if (!added.ok()) return Fail(context, added);
  if (options.revision > 0) request.set_revision(options.revision);
  if (!options.label.empty()) request.set_label(options.label);
  request.set_reason(options.reason);
  request.set_etag(options.etag);
  request.set_promotion(options.stage_only ? v1::STAGE_ONLY : v1::PROMOTE_WHEN_VALIDATED);
  request.set_validate_only(options.dry_run);
  const absl::StatusOr<v1::WithdrawEditsResponse> response = context.client->WithdrawEdits(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintObject(context, *response);
  } else {
    PrintText(context, *response, &revisions);
  }
  return response->revision().state() == v1::Revision::VALIDATED ? kExitOk : kExitNotApplied;
}

}  // namespace amend::client
