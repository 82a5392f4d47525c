#include "client/cli/app.h"

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/bench_command.h"
#include "client/cli/cancel_command.h"
#include "client/cli/command.h"
#include "client/cli/edit_command.h"
#include "client/cli/evaluate_command.h"
#include "client/cli/export_command.h"
#include "client/cli/generate_command.h"
#include "client/cli/history_commands.h"
#include "client/cli/job_program.h"
#include "client/cli/label_commands.h"
#include "client/cli/retention_commands.h"
#include "client/cli/revision_commands.h"
#include "client/cli/store_command.h"
#include "client/cli/withdraw_command.h"
#include "client/client.h"
#include "client/credentials.h"

namespace amend::client {
namespace {

constexpr char kFooter[] =
    "Exit codes: 0 done; 1 a batch rejected or failed, edits dropped, or a store damaged;\n"
    "2 wrong flags or file; 3 the server cannot be reached; 4 the server returned an error.";

struct Options {
  std::string server = "127.0.0.1:50051";
  CredentialFiles credentials;
  bool json = false;
  EditOptions edit;
  CancelOptions cancel;
  GenerateOptions generate;
  RevisionOptions revisions;
  LabelOptions label;
  HistoryOptions history;
  RetentionOptions retention;
  WithdrawOptions withdraw;
  EvaluateOptions evaluate;
  BenchOptions bench;
  ExportOptions exports;
  StoreOptions store;
};

// A subcommand and what it does.
struct Command {
  const CLI::App* app;
  std::function<int(const CommandContext&)> run;
};

// Declares the subcommands; `options` outlives them.
std::vector<Command> AddCommands(CLI::App* app, Options* options) {
  std::vector<Command> commands;
  const auto add = [&](const CLI::App* command, auto run, const auto& its_options) {
    commands.push_back(
        {command, [run, o = &its_options](const CommandContext& c) { return run(c, *o); }});
  };
  add(AddEditCommand(app, &options->edit), RunEdit, options->edit);
  add(AddCancelCommand(app, &options->cancel), RunCancel, options->cancel);
  add(AddGenerateCommand(app, &options->generate), RunGenerate, options->generate);
  add(AddRevisionsCommand(app, &options->revisions), RunRevisions, options->revisions);
  add(AddPromoteCommand(app, &options->revisions), RunPromote, options->revisions);
  add(AddRollbackCommand(app, &options->revisions), RunRollback, options->revisions);
  add(AddWithdrawCommand(app, &options->withdraw), RunWithdraw, options->withdraw);
  commands.push_back({AddLabelsCommand(app), RunLabels});
  add(AddLabelCommand(app, &options->label), RunLabel, options->label);
  add(AddCompareCommand(app, &options->history), RunCompare, options->history);
  add(AddValidateCommand(app, &options->history), RunValidate, options->history);
  add(AddWatchCommand(app, &options->history), RunWatch, options->history);
  for (const CLI::App* const mark : AddMarkCommands(app, &options->retention)) {
    commands.push_back({mark, [mark, options](const CommandContext& context) {
                          return RunMark(context, mark->get_name(), options->retention);
                        }});
  }
  add(AddPurgeCommand(app, &options->retention), RunPurge, options->retention);
  add(AddAuditCommand(app, &options->history), RunAudit, options->history);
  commands.push_back({AddStatusCommand(app), RunStatus});
  add(AddEvaluateCommand(app, &options->evaluate), RunEvaluate, options->evaluate);
  add(AddBenchCommand(app, &options->bench), RunBench, options->bench);
  add(AddExportCommand(app, &options->exports), RunExport, options->exports);
  const CLI::App* const store = AddStoreCommand(app, &options->store);
  commands.push_back({store, [store, options](const CommandContext& context) {
                        return RunStore(context, *store, options->store);
                      }});
  return commands;
}

void AddCredentialFlags(CLI::App* app, CredentialFiles* files) {
  app->add_option("--ca", files->authorities, "Authorities of the server's certificate, PEM; TLS")
      ->envname("AMEND_CA");
  app->add_option("--cert", files->certificate, "The client's certificate, PEM; TLS")
      ->envname("AMEND_CERT");
  app->add_option("--key", files->key, "Its private key, PEM")->envname("AMEND_KEY");
  app->add_option("--token-file", files->token, "File of a bearer token")
      ->envname("AMEND_TOKEN_FILE");
  app->add_flag("--tls", files->tls, "TLS with the system's authorities")->envname("AMEND_TLS");
}

// A command of another program, to which amend hands over. Its flags are its own: so they are not
// read here, and it comes first.
CLI::App* AddJob(CLI::App* app, const std::string& name, const std::string& description) {
  CLI::App* const job = app->add_subcommand(name, description);
  job->set_help_flag();
  job->prefix_command()->fallthrough(false);
  return job;
}

}  // namespace

int RunApp(int argc, const char* const* argv, std::ostream* out, std::ostream* err, bool terminal) {
  // Programs of their own, with flags of their own.
  if (argc > 1 && std::strcmp(argv[1], "covariance") == 0) {
    return RunJobProgram(kCovarianceProgram, argc, argv, err);
  }
  if (IsOfflineStoreCommand(argc, argv)) return RunJobProgram(kStoreProgram, argc, argv, err);
  Options options;
  CLI::App app("amend: edits the facts of a served language model", "amend");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--server", options.server, "HOST:PORT of amendd")
      ->envname("AMEND_SERVER")
      ->capture_default_str();
  AddCredentialFlags(&app, &options.credentials);
  app.add_flag("--json", options.json, "One JSON object per line");
  const std::vector<Command> commands = AddCommands(&app, &options);
  const CLI::App* const covariance =
      AddJob(&app, "covariance", "Makes the key covariance that a profile names; needs no server");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, *out, *err) == 0 ? kExitOk : kExitUsage;
  }

  if (covariance->parsed()) {
    *err << "error: \"covariance\" comes first: amend covariance ..." << std::endl;
    return kExitUsage;
  }
  const absl::StatusOr<Credentials> credentials =
      ReadCredentials(options.credentials, options.server);
  if (!credentials.ok()) {
    *err << "error: " << credentials.status().message() << std::endl;
    return kExitUsage;
  }
  const std::unique_ptr<Client> client = Client::Create({options.server, *credentials});
  CommandContext context;
  context.client = client.get();
  context.out = out;
  context.err = err;
  context.json = options.json;
  context.terminal = terminal;
  for (const Command& command : commands) {
    if (command.app->parsed()) return command.run(context);
  }
  return kExitUsage;
}

}  // namespace amend::client
