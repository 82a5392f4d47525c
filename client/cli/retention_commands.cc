#include "client/cli/retention_commands.h"

#include "absl/strings/str_cat.h"
#include "client/cli/revision_text.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

// The requests of the four verbs have the same fields.
template <typename Request>
Request MakeRequest(const RetentionOptions& options) {
  Request request;
  request.set_revision(options.revision);
  request.set_reason(options.reason);
  return request;
}

absl::StatusOr<v1::Revision> Call(Client& client, const std::string& name,
                                  const RetentionOptions& options) {
  if (name == "pin") return client.PinRevision(MakeRequest<v1::PinRevisionRequest>(options));
  if (name == "unpin") return client.UnpinRevision(MakeRequest<v1::UnpinRevisionRequest>(options));
  if (name == "delete") {
    return client.DeleteRevision(MakeRequest<v1::DeleteRevisionRequest>(options));
  }
  return client.UndeleteRevision(MakeRequest<v1::UndeleteRevisionRequest>(options));
}

}  // namespace

std::vector<CLI::App*> AddMarkCommands(CLI::App* app, RetentionOptions* options) {
  const struct {
    const char* name;
    const char* description;
  } commands[] = {{"pin", "Keep a revision, whatever the retention policy says"},
                  {"unpin", "Leave a revision to the retention policy again"},
                  {"delete", "Take a revision out of service; undelete brings it back"},
                  {"undelete", "Bring a deleted revision back that is not purged yet"}};
  std::vector<CLI::App*> added;
  for (const auto& [name, description] : commands) {
    added.push_back(app->add_subcommand(name, description));
    added.back()
        ->add_option("revision", options->revision, "Its number")
        ->required()
        ->check(CLI::NonNegativeNumber);
    added.back()->add_option("--reason", options->reason, "Kept in the audit trail");
  }
  return added;
}

CLI::App* AddPurgeCommand(CLI::App* app, RetentionOptions* options) {
  CLI::App* command =
      app->add_subcommand("purge", "Remove the factors of deleted revisions for good");
  command->add_flag("--now", options->now, "Do not wait for the server's purge delay");
  command->add_flag("--dry-run", options->dry_run, "Only say which would go");
  command->add_option("--reason", options->reason, "Kept in the audit trail");
  return command;
}

int RunMark(const CommandContext& context, const std::string& name,
            const RetentionOptions& options) {
  const absl::StatusOr<v1::Revision> revision = Call(*context.client, name, options);
  if (!revision.ok()) return Fail(context, revision.status());
  if (context.json) {
    PrintJson(context, ToJson(*revision));
    return kExitOk;
  }
  const std::string marks = MarksText(*revision);
  *context.out << "revision " << revision->revision() << ": " << StateText(revision->state())
               << (marks.empty() ? "" : absl::StrCat(" ", marks)) << std::endl;
  return kExitOk;
}

int RunPurge(const CommandContext& context, const RetentionOptions& options) {
  v1::PurgeRevisionsRequest request;
  request.set_without_delay(options.now);
  request.set_dry_run(options.dry_run);
  request.set_reason(options.reason);
  const char* const done = options.dry_run ? "would be purged" : "purged";
  int count = 0;
  for (bool more = true; more;) {
    const absl::StatusOr<v1::PurgeRevisionsResponse> response =
        context.client->PurgeRevisions(request);
    if (!response.ok()) return Fail(context, response.status());
    for (const int64_t revision : response->revisions()) {
      ++count;
      if (context.json) {
        PrintJson(context, {{"revision", revision}, {"purged", !options.dry_run}});
      } else {
        *context.out << "revision " << revision << ": " << done << "\n";
      }
    }
    more = response->more();
  }
  if (!context.json) {
    *context.out << count << (count == 1 ? " revision " : " revisions ") << done << std::endl;
  }
  return kExitOk;
}

}  // namespace amend::client
