#include "client/cli/export_command.h"

#include <memory>

#include "absl/strings/str_format.h"
#include "client/export_receiver.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

std::string Megabytes(int64_t bytes) {
  return absl::StrFormat("%.1f MB", static_cast<double>(bytes) / 1e6);
}

void Print(const CommandContext& context, const ExportOptions& options,
           const ExportReceiver& receiver) {
  if (!context.json) {
    *context.out << "revision " << receiver.revision() << " exported to " << options.out << ": "
                 << receiver.files().size()
                 << (receiver.files().size() == 1 ? " file, " : " files, ")
                 << Megabytes(receiver.bytes()) << std::endl;
    return;
  }
  OrderedJson files = OrderedJson::array();
  for (const ReceivedFile& file : receiver.files()) {
    files.push_back({{"name", file.name}, {"size", file.size}, {"sha256", file.sha256}});
  }
  PrintJson(context, {{"revision", receiver.revision()},
                      {"base_fingerprint", receiver.start().base_fingerprint()},
                      {"out", options.out},
                      {"files", std::move(files)}});
}

}  // namespace

CLI::App* AddExportCommand(CLI::App* app, ExportOptions* options) {
  CLI::App* command = app->add_subcommand(
      "export", "Write a revision as a checkpoint with its edits merged in, always on");
  command->add_option("--out", options->out, "Folder to make (with --projections-only a file)")
      ->required();
  CLI::Option* revision =
      command->add_option("--revision", options->at.revision, "This revision (default: live)")
          ->check(CLI::NonNegativeNumber);
  command->add_option("--label", options->at.label, "Where this label points")->excludes(revision);
  command->add_flag("--projections-only", options->projections_only,
                    "Only the weights that edits changed, as one safetensors file");
  return command;
}

int RunExport(const CommandContext& context, const ExportOptions& options) {
  const auto kind = options.projections_only ? ExportReceiver::Kind::kSingleFile
                                             : ExportReceiver::Kind::kDirectory;
  const absl::StatusOr<std::unique_ptr<ExportReceiver>> created =
      ExportReceiver::Create(options.out, kind);
  if (!created.ok()) return FailUsage(context, created.status());
  ExportReceiver& receiver = **created;
  v1::ExportRevisionRequest request;
  if (options.at.revision >= 0) request.set_revision(options.at.revision);
  if (!options.at.label.empty()) request.set_label(options.at.label);
  request.set_projections_only(options.projections_only);
  absl::Status taken;
  const absl::Status status =
      context.client->ExportRevision(request, [&](const v1::ExportRevisionResponse& message) {
        taken = receiver.Receive(message);
        if (context.terminal) {
          *context.err << absl::StrFormat("\r%s received", Megabytes(receiver.bytes()))
                       << std::flush;
        }
        return taken.ok();
      });
  if (context.terminal) *context.err << "\r\x1b[K" << std::flush;
  if (!taken.ok()) {
    return absl::IsUnavailable(taken) ? FailUsage(context, taken) : Fail(context, taken);
  }
  if (!status.ok()) return Fail(context, status);
  const absl::Status finished = receiver.Finish();
  if (!finished.ok()) return FailUsage(context, finished);
  Print(context, options, receiver);
  return kExitOk;
}

}  // namespace amend::client
