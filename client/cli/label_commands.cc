#include "client/cli/label_commands.h"

#include "absl/strings/str_format.h"
#include "client/cli/revision_text.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

int Set(const CommandContext& context, const LabelOptions& options) {
  v1::SetLabelRequest request;
  request.set_label(options.label);
  request.set_revision(options.revision);
  request.set_etag(options.etag);
  request.set_reason(options.reason);
  const absl::StatusOr<v1::SetLabelResponse> response = context.client->SetLabel(request);
  if (!response.ok()) return Fail(context, response.status());
  const v1::Label& label = response->label();
  if (context.json) {
    OrderedJson object = {{"label", ToJson(label)}};
    if (response->has_previous_revision()) {
      object["previous_revision"] = response->previous_revision();
    }
    PrintJson(context, object);
  } else if (response->has_previous_revision()) {
    *context.out << label.name() << ": revision " << response->previous_revision() << " -> "
                 << label.revision() << std::endl;
  } else {
    *context.out << label.name() << ": new, at revision " << label.revision() << std::endl;
  }
  return kExitOk;
}

int Delete(const CommandContext& context, const LabelOptions& options) {
  v1::DeleteLabelRequest request;
  request.set_label(options.label);
  request.set_etag(options.etag);
  request.set_reason(options.reason);
  const absl::StatusOr<v1::DeleteLabelResponse> response = context.client->DeleteLabel(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson(context, {{"deleted", ToJson(response->label())}});
  } else {
    *context.out << response->label().name() << ": deleted, was at revision "
                 << response->label().revision() << std::endl;
  }
  return kExitOk;
}

}  // namespace

CLI::App* AddLabelsCommand(CLI::App* app) {
  return app->add_subcommand("labels", "All labels, with the revisions they stand on");
}

CLI::App* AddLabelCommand(CLI::App* app, LabelOptions* options) {
  CLI::App* command = app->add_subcommand("label", "Set or delete a label beside live");
  command->require_subcommand(1);
  CLI::App* set = command->add_subcommand("set", "Make a label, or move it to any revision");
  CLI::App* remove = command->add_subcommand("delete", "Delete a label");
  for (CLI::App* const verb : {set, remove}) {
    verb->add_option("label", options->label, "Its name")->required();
  }
  set->add_option("revision", options->revision, "Where it shall stand")
      ->required()
      ->check(CLI::NonNegativeNumber);
  set->add_option("--etag", options->etag, "Only if it still has this etag; 0: only if it is new");
  remove->add_option("--etag", options->etag, "Only if it still has this etag");
  for (CLI::App* const verb : {set, remove}) {
    verb->add_option("--reason", options->reason, "Kept in the audit trail");
  }
  return command;
}

int RunLabels(const CommandContext& context) {
  const absl::StatusOr<v1::ListLabelsResponse> response =
      context.client->ListLabels(v1::ListLabelsRequest());
  if (!response.ok()) return Fail(context, response.status());
  if (!context.json) *context.out << "revision etag  label\n";
  for (const v1::Label& label : response->labels()) {
    if (context.json) {
      PrintJson(context, ToJson(label));
    } else {
      *context.out << absl::StrFormat("%8d %4s  %s\n", label.revision(), label.etag(),
                                      label.name());
    }
  }
  return kExitOk;
}

int RunLabel(const CommandContext& context, const LabelOptions& options) {
  return options.revision >= 0 ? Set(context, options) : Delete(context, options);
}

}  // namespace amend::client
