#include "client/cli/store_command.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

std::string TimeText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(time.seconds()),
                          absl::UTCTimeZone());
}

OrderedJson ToJson(const v1::Backup& backup) {
  OrderedJson object = {{"backup", backup.number()}};
  if (!backup.damage().empty()) {
    object["damage"] = backup.damage();
    return object;
  }
  object["create_time"] = TimeText(backup.create_time());
  object["live"] = backup.live_revision();
  object["latest"] = backup.latest_revision();
  object["bytes"] = backup.bytes();
  object["digest"] = backup.store_digest();
  object["model_fingerprint"] = backup.model_fingerprint();
  return object;
}

std::string Megabytes(int64_t bytes) {
  return absl::StrFormat("%.1f MB", static_cast<double>(bytes) / 1e6);
}

int RunBackup(const CommandContext& context) {
  const absl::StatusOr<v1::Backup> backup = context.client->CreateBackup();
  if (!backup.ok()) return Fail(context, backup.status());
  if (context.json) {
    PrintJson(context, ToJson(*backup));
  } else {
    *context.out << "backup " << backup->number() << ": live revision " << backup->live_revision()
                 << ", newest revision " << backup->latest_revision() << ", "
                 << Megabytes(backup->bytes()) << ", digest " << backup->store_digest()
                 << std::endl;
  }
  return kExitOk;
}

int RunBackups(const CommandContext& context) {
  const absl::StatusOr<v1::ListBackupsResponse> response = context.client->ListBackups();
  if (!response.ok()) return Fail(context, response.status());
  if (!context.json) *context.out << "backup  made                    live newest       size\n";
  for (const v1::Backup& backup : response->backups()) {
    if (context.json) {
      PrintJson(context, ToJson(backup));
    } else if (!backup.damage().empty()) {
      *context.out << absl::StrFormat("%6d  damaged: %s\n", backup.number(), backup.damage());
    } else {
      *context.out << absl::StrFormat("%6d  %s  %6d %6d %10s\n", backup.number(),
                                      TimeText(backup.create_time()), backup.live_revision(),
                                      backup.latest_revision(), Megabytes(backup.bytes()));
    }
  }
  return kExitOk;
}

int RunDelete(const CommandContext& context, int64_t number) {
  const absl::Status status = context.client->DeleteBackup(number);
  if (!status.ok()) return Fail(context, status);
  if (context.json) {
    PrintJson(context, {{"deleted", number}});
  } else {
    *context.out << "backup " << number << " deleted" << std::endl;
  }
  return kExitOk;
}

OrderedJson ToJson(const v1::VerifyStoreResponse& response) {
  const v1::VerifyReport& report = response.report();
  OrderedJson damages = OrderedJson::array();
  for (const v1::StoreDamage& damage : report.damages()) {
    damages.push_back({{"key", damage.key()},
                       {"expected_digest", damage.expected_digest()},
                       {"found_digest", damage.found_digest()},
                       {"description", damage.description()}});
  }
  return {{"records", response.records()},
          {"blobs", response.blobs()},
          {"bytes", response.bytes()},
          {"live", report.live_revision()},
          {"latest", report.latest_revision()},
          {"digest", report.store_digest()},
          {"damage_count", report.damage_count()},
          {"damages", std::move(damages)}};
}

void PrintReport(const CommandContext& context, const v1::VerifyStoreResponse& response) {
  const v1::VerifyReport& report = response.report();
  *context.out << "read      " << response.records() << " records, " << response.blobs()
               << " factor matrices, " << Megabytes(response.bytes()) << "\n"
               << "live      revision " << report.live_revision() << ", newest revision "
               << report.latest_revision() << "\n"
               << "digest    " << report.store_digest() << "\n";
  for (const v1::StoreDamage& damage : report.damages()) {
    *context.out << "damage    " << damage.key() << ": " << damage.description() << "\n";
  }
  *context.out << "verdict   "
               << (report.damage_count() == 0 ? std::string("intact")
                                              : absl::StrCat(report.damage_count(), " damages"))
               << std::endl;
}

int RunVerify(const CommandContext& context) {
  v1::VerifyStoreResponse last;
  const absl::Status status =
      context.client->VerifyStore([&](const v1::VerifyStoreResponse& response) {
        last = response;
        if (!context.terminal || response.has_report()) return;
        *context.err << absl::StrFormat("\r%d records, %d factor matrices, %s", response.records(),
                                        response.blobs(), Megabytes(response.bytes()))
                     << std::flush;
      });
  if (context.terminal) *context.err << "\r\x1b[K" << std::flush;
  if (!status.ok()) return Fail(context, status);
  if (context.json) {
    PrintJson(context, ToJson(last));
  } else {
    PrintReport(context, last);
  }
  return last.report().damage_count() == 0 ? kExitOk : kExitNotApplied;
}

}  // namespace

bool IsOfflineStoreCommand(int argc, const char* const* argv) {
  if (argc < 3 || absl::string_view(argv[1]) != "store") return false;
  if (absl::string_view(argv[2]) == "restore") return true;
  for (int i = 3; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    for (const absl::string_view flag : {"--data", "--from"}) {
      if (argument == flag || absl::StartsWith(argument, absl::StrCat(flag, "="))) return true;
    }
  }
  return false;
}

CLI::App* AddStoreCommand(CLI::App* app, StoreOptions* options) {
  CLI::App* const command = app->add_subcommand("store", "Backs up, verifies and restores a store");
  command->require_subcommand(1);
  command->add_subcommand("backup", "Copy the server's store into its backup directory");
  command->add_subcommand(
      "backups", "The server's backups, newest first; with --from DIR those of a directory");
  command->add_subcommand("delete-backup", "Delete one of the server's backups")
      ->add_option("number", options->delete_backup, "Its number")
      ->required();
  command->add_subcommand(
      "verify",
      "Read and check everything in the server's store, or, with --data DIR, in that of a server "
      "that does not run");
  CLI::App* const restore = command->add_subcommand(
      "restore", "Make a data directory from a backup: --from DIR [--backup N] --to DIR");
  restore->set_help_flag();
  restore->prefix_command()->fallthrough(false);
  return command;
}

int RunStore(const CommandContext& context, const CLI::App& command, const StoreOptions& options) {
  if (command.got_subcommand("backup")) return RunBackup(context);
  if (command.got_subcommand("backups")) return RunBackups(context);
  if (command.got_subcommand("delete-backup")) return RunDelete(context, options.delete_backup);
  if (command.got_subcommand("verify")) return RunVerify(context);
  *context.err << "error: \"store restore\" comes first: amend store restore ..." << std::endl;
  return kExitUsage;
}

}  // namespace amend::client
