#include "client/cli/revision_commands.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/edit_report.h"
#include "client/cli/revision_text.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

void PrintRow(const CommandContext& context, const v1::Revision& revision) {
  const std::string marks = MarksText(revision);
  const v1::GateReport& gate = revision.gate_report();
  *context.out << absl::StrFormat(
      "%8d %6d  %-9s %5d %5d %11s %10s %8s  %-20s  %s%s\n", revision.revision(), revision.parent(),
      StateText(revision.state()), revision.edit_count(), revision.line_edit_count(),
      Score(gate.has_reliability(), gate.reliability()),
      Score(gate.has_generality(), gate.generality()), Score(gate.has_locality(), gate.locality()),
      TimeText(revision.create_time()), Column(ActorText(revision), 16),
      marks.empty() ? "" : absl::StrCat("  ", marks));
}

int RunList(const CommandContext& context, int limit) {
  if (!context.json) {
    *context.out << "revision parent  state     edits total reliability generality locality  "
                    "created               by                labels\n";
  }
  v1::ListRevisionsRequest request;
  for (int printed = 0;;) {
    if (limit > 0) request.set_page_size(std::min(limit - printed, 1000));
    const absl::StatusOr<v1::ListRevisionsResponse> page = context.client->ListRevisions(request);
    if (!page.ok()) return Fail(context, page.status());
    for (const v1::Revision& revision : page->revisions()) {
      if (context.json) {
        PrintJson(context, ToJson(revision));
      } else {
        PrintRow(context, revision);
      }
      if (++printed == limit) return kExitOk;
    }
    if (page->next_page_token().empty()) return kExitOk;
    request.set_page_token(page->next_page_token());
  }
}

void PrintEdits(const CommandContext& context, const v1::Revision& revision) {
  for (int i = 0; i < revision.edits_size(); ++i) {
    const v1::Edit& edit = revision.edits(i);
    *context.out << EditText(i, edit);
    if (i < revision.edit_results_size()) {
      const v1::EditResult& result = revision.edit_results(i);
      *context.out << absl::StrFormat("  (%s / %s / %s)",
                                      Score(result.has_reliability(), result.reliability()),
                                      Score(result.has_generality(), result.generality()),
                                      Score(result.has_locality(), result.locality()));
    }
    *context.out << "\n";
  }
}

int RunShow(const CommandContext& context, int64_t number) {
  v1::GetRevisionRequest request;
  request.set_revision(number);
  const absl::StatusOr<v1::Revision> revision = context.client->GetRevision(request);
  if (!revision.ok()) return Fail(context, revision.status());
  if (context.json) {
    OrderedJson object = ToJson(*revision);
    object["batch"] = OrderedJson::array();
    for (const v1::Edit& edit : revision->edits()) {
      object["batch"].push_back(ToJson(edit));
    }
    for (const v1::LayerNorm& norm : revision->layer_norms()) {
      object["update_norm_ratio"][absl::StrCat(norm.layer())] = norm.update_norm_ratio();
    }
    PrintJson(context, object);
    return kExitOk;
  }
  *context.out << "revision  " << revision->revision() << " (" << StateText(revision->state())
               << "), on " << revision->parent() << "\n"
               << "created   " << TimeText(revision->create_time()) << "\n"
               << "from      "
               << (revision->session().empty() ? "-"
                                               : absl::StrCat("session ", revision->session(),
                                                              ", offset ", revision->offset()))
               << "\n"
               << "by        " << ActorText(*revision) << "\n"
               << "labels    " << absl::StrJoin(revision->labels(), ", ") << "\n"
               << "edits     " << revision->edit_count() << ", in its line "
               << revision->line_edit_count() << "\n";
  if (revision->pinned()) *context.out << "pinned    yes\n";
  if (revision->has_delete_time()) {
    *context.out << "deleted   " << TimeText(revision->delete_time()) << "\n";
  }
  if (revision->has_purge_time()) {
    *context.out << "purged    " << TimeText(revision->purge_time()) << "\n";
  }
  for (const v1::EditReference& edit : revision->withdrawn()) {
    *context.out << "without   edit " << edit.edit_index() << " of revision " << edit.revision()
                 << "\n";
  }
  for (const v1::LayerNorm& norm : revision->layer_norms()) {
    *context.out << absl::StrFormat("layer %-3d update is %.4f of the weight's norm\n",
                                    norm.layer(), norm.update_norm_ratio());
  }
  const std::string scores = BatchScores(revision->gate_report());
  if (!scores.empty()) *context.out << "measured  " << scores << "\n";
  for (const std::string& failure : revision->gate_report().failures()) {
    *context.out << "gate      " << failure << "\n";
  }
  PrintEdits(context, *revision);
  return kExitOk;
}

// Promote's and Rollback's responses have the same fields.
template <typename Response>
int ReportMove(const CommandContext& context, const absl::StatusOr<Response>& response) {
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson(context, {{"label", ToJson(response->label())},
                        {"previous_revision", response->previous_revision()}});
  } else {
    *context.out << response->label().name() << ": revision " << response->previous_revision()
                 << " -> " << response->label().revision() << std::endl;
  }
  return kExitOk;
}

OrderedJson InfoJson(const v1::ServerInfo& info) {
  const v1::ModelInfo& model = info.model();
  return {{"version", info.version()},
          {"model",
           {{"name", model.name()},
            {"architecture", model.architecture()},
            {"fingerprint", model.fingerprint()},
            {"layers", model.layers()},
            {"parameters", model.parameters()},
            {"context_length", model.context_length()},
            {"dtype", model.dtype()},
            {"device", model.device()}}},
          {"profile", info.profile().name()},
          {"live", ToJson(info.live())},
          {"latest_revision", info.latest_revision()},
          {"edit_queue_depth", info.edit_queue_depth()},
          {"running_sequences", info.running_sequences()},
          {"waiting_sequences", info.waiting_sequences()},
          {"start_time", TimeText(info.start_time())},
          {"http_address", info.http_address()}};
}

}  // namespace

CLI::App* AddRevisionsCommand(CLI::App* app, RevisionOptions* options) {
  CLI::App* command = app->add_subcommand("revisions", "List the revisions (default), or show one");
  command->require_subcommand(0, 1);
  CLI::App* list = command->add_subcommand("list", "Newest first");
  list->add_option("--limit", options->limit, "At most this many")->check(CLI::PositiveNumber);
  CLI::App* show = command->add_subcommand("show", "One revision with its edits");
  show->add_option("revision", options->show, "Its number")
      ->required()
      ->check(CLI::NonNegativeNumber);
  return command;
}

CLI::App* AddPromoteCommand(CLI::App* app, RevisionOptions* options) {
  CLI::App* command = app->add_subcommand("promote", "Make a validated revision live");
  command->add_option("revision", options->promote, "Its number")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--label", options->label, "Move this label instead of live");
  command->add_option("--etag", options->etag, "Only if the label still has this etag");
  command->add_option("--reason", options->reason, "Kept in the audit trail");
  return command;
}

CLI::App* AddRollbackCommand(CLI::App* app, RevisionOptions* options) {
  CLI::App* command = app->add_subcommand("rollback", "Go back to an earlier revision");
  command->add_option("--to", options->rollback_to, "Its number (default: the one before)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--reason", options->reason, "Kept in the audit trail")->required();
  command->add_option("--label", options->label, "Move this label instead of live");
  command->add_option("--etag", options->etag, "Only if the label still has this etag");
  return command;
}

CLI::App* AddStatusCommand(CLI::App* app) {
  return app->add_subcommand("status", "What the server runs and where it stands");
}

int RunRevisions(const CommandContext& context, const RevisionOptions& options) {
  return options.show >= 0 ? RunShow(context, options.show) : RunList(context, options.limit);
}

int RunPromote(const CommandContext& context, const RevisionOptions& options) {
  v1::PromoteRequest request;
  request.set_revision(options.promote);
  request.set_label(options.label);
  request.set_etag(options.etag);
  request.set_reason(options.reason);
  return ReportMove(context, context.client->Promote(request));
}

int RunRollback(const CommandContext& context, const RevisionOptions& options) {
  v1::RollbackRequest request;
  if (options.rollback_to >= 0) {
    request.set_revision(options.rollback_to);
  } else {
    request.set_previous(true);
  }
  request.set_label(options.label);
  request.set_etag(options.etag);
  request.set_reason(options.reason);
  return ReportMove(context, context.client->Rollback(request));
}

int RunStatus(const CommandContext& context) {
  const absl::StatusOr<v1::ServerInfo> info = context.client->GetServerInfo();
  if (!info.ok()) return Fail(context, info.status());
  if (context.json) {
    PrintJson(context, InfoJson(*info));
    return kExitOk;
  }
  const v1::ModelInfo& model = info->model();
  *context.out << "server    amendd " << info->version() << " at " << context.client->server()
               << ", since " << TimeText(info->start_time()) << "\n"
               << "model     " << model.name() << " (" << model.architecture() << ", "
               << model.layers() << " layers, " << model.parameters() << " parameters, "
               << model.dtype() << " on " << model.device() << ")\n"
               << "profile   " << info->profile().name() << "\n"
               << "live      revision " << info->live().revision() << " (etag "
               << info->live().etag() << "), newest revision " << info->latest_revision() << "\n"
               << "at work   " << info->edit_queue_depth() << " batches queued, "
               << info->running_sequences() << " sequences running, " << info->waiting_sequences()
               << " waiting\n"
               << "metrics   http://" << info->http_address() << "/metrics\n";
  return kExitOk;
}

}  // namespace amend::client
