#include "client/cli/cancel_command.h"

#include "absl/status/statusor.h"
#include "amend/v1/edit.pb.h"
#include "client/cli/edit_report.h"
#include "client/client.h"

namespace amend::client {

namespace v1 = ::amend::v1;

CLI::App* AddCancelCommand(CLI::App* app, CancelOptions* options) {
  CLI::App* command =
      app->add_subcommand("cancel", "End a batch of edits that is queued or being solved");
  command->add_option("session", options->session, "As `amend edit --file` shows it")->required();
  command->add_option("offset", options->offset, "The batch's place in it, from 0")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--reason", options->reason, "Kept in the audit trail");
  return command;
}

int RunCancel(const CommandContext& context, const CancelOptions& options) {
  v1::CancelEditBatchRequest request;
  request.set_session(options.session);
  request.set_offset(options.offset);
  request.set_reason(options.reason);
  const absl::StatusOr<v1::EditBatchStatus> batch = context.client->CancelEditBatch(request);
  if (!batch.ok()) return Fail(context, batch.status());
  if (context.json) {
    PrintJson(context, {{"session", batch->session()},
                        {"offset", batch->offset()},
                        {"stage", v1::BatchStage_Name(batch->stage())}});
  } else {
    *context.out << "session " << batch->session() << " batch " << batch->offset() << ": "
                 << StageText(*batch) << std::endl;
  }
  return kExitOk;
}

}  // namespace amend::client
