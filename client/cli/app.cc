#include "client/cli/app.h"

#include <cstring>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/command.h"
#include "client/cli/covariance_command.h"
#include "client/cli/edit_command.h"
#include "client/cli/evaluate_command.h"
#include "client/cli/generate_command.h"
#include "client/cli/revision_commands.h"
#include "client/client.h"

namespace amend::client {
namespace {

constexpr char kFooter[] =
    "Exit codes: 0 done; 1 a batch was rejected or failed; 2 wrong flags or file;\n"
    "3 the server cannot be reached; 4 the server returned an error.";

struct Options {
  std::string server = "127.0.0.1:50051";
  bool json = false;
  EditOptions edit;
  GenerateOptions generate;
  RevisionOptions revisions;
  EvaluateOptions evaluate;
};

}  // namespace

int RunApp(int argc, const char* const* argv, std::ostream* out, std::ostream* err, bool terminal) {
  // A program of its own, with flags of its own.
  if (argc > 1 && std::strcmp(argv[1], "covariance") == 0) return RunCovariance(argc, argv, err);
  Options options;
  CLI::App app("amend: edits the facts of a served language model", "amend");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--server", options.server, "HOST:PORT of amendd")
      ->envname("AMEND_SERVER")
      ->capture_default_str();
  app.add_flag("--json", options.json, "One JSON object per line");
  const CLI::App* edit = AddEditCommand(&app, &options.edit);
  const CLI::App* generate = AddGenerateCommand(&app, &options.generate);
  const CLI::App* revisions = AddRevisionsCommand(&app, &options.revisions);
  const CLI::App* promote = AddPromoteCommand(&app, &options.revisions);
  const CLI::App* rollback = AddRollbackCommand(&app, &options.revisions);
  AddStatusCommand(&app);
  const CLI::App* evaluate = AddEvaluateCommand(&app, &options.evaluate);
  CLI::App* const covariance = app.add_subcommand(
      "covariance", "Makes the key covariance that a profile names; needs no server");
  covariance->set_help_flag();
  covariance->prefix_command()->fallthrough(false);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, *out, *err) == 0 ? kExitOk : kExitUsage;
  }

  if (covariance->parsed()) {
    *err << "error: \"covariance\" comes first: amend covariance ..." << std::endl;
    return kExitUsage;
  }
  const std::unique_ptr<Client> client = Client::Create({options.server});
  CommandContext context;
  context.client = client.get();
  context.out = out;
  context.err = err;
  context.json = options.json;
  context.terminal = terminal;
  if (edit->parsed()) return RunEdit(context, options.edit);
  if (generate->parsed()) return RunGenerate(context, options.generate);
  if (revisions->parsed()) return RunRevisions(context, options.revisions);
  if (promote->parsed()) return RunPromote(context, options.revisions);
  if (rollback->parsed()) return RunRollback(context, options.revisions);
  if (evaluate->parsed()) return RunEvaluate(context, options.evaluate);
  return RunStatus(context);
}

}  // namespace amend::client
