#include "jobs/store/command_line.h"

#include <limits>
#include <sstream>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace amend::jobs {
namespace {

constexpr int kWrongFlags = 2;
constexpr char kFooter[] =
    "Exit codes: 0 done, or intact; 1 damaged, or failed; 2 wrong flags, or a directory that "
    "cannot "
    "be used.";

}  // namespace

StoreCommandLine ParseStoreCommandLine(int argc, const char* const* argv) {
  StoreCommandLine result;
  CLI::App app("amend store: stores and backups of which no server is in charge", "amend store");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_flag("--json", result.json, "One JSON object per line");
  CLI::App* const verify =
      app.add_subcommand("verify", "Reads and checks everything in a store; changes nothing");
  verify->add_option("--data", result.data_directory, "what amendd calls --data")->required();
  CLI::App* const backups = app.add_subcommand("backups", "The backups in a directory");
  backups->add_option("--from", result.backup_directory, "what amendd calls --backup-dir")
      ->required();
  CLI::App* const restore =
      app.add_subcommand("restore", "Makes a data directory from a backup, all of it or nothing");
  restore->add_option("--from", result.backup_directory, "what amendd calls --backup-dir")
      ->required();
  restore->add_option("--to", result.target, "data directory to make; may be there if it is empty")
      ->required();
  restore->add_option("--backup", result.backup, "its number (default: the newest)")
      ->check(CLI::Range(int64_t{1}, int64_t{std::numeric_limits<uint32_t>::max()}));
  try {
    app.parse(argc, argv);
    if (backups->parsed()) result.command = StoreCommandLine::Command::kBackups;
    if (restore->parsed()) result.command = StoreCommandLine::Command::kRestore;
  } catch (const CLI::Success& help) {
    std::ostringstream out;
    app.exit(help, out, out);
    result.exit_code = 0;
    result.message = out.str();
  } catch (const CLI::ParseError& error) {
    result.exit_code = kWrongFlags;
    result.message = absl::StrCat("amend store: ", absl::StrReplaceAll(error.what(), {{"\n", " "}}),
                                  " (see amend store restore --help)");
  }
  return result;
}

}  // namespace amend::jobs
