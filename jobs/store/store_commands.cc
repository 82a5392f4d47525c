#include "jobs/store/store_commands.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "storage/store_restore.h"

namespace amend::jobs {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

int Fail(const StoreOutput& output, const absl::Status& status) {
  *output.err << "amend store: " << status.message() << std::endl;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
      return kUsage;
    default:
      return kFailed;
  }
}

void Print(const StoreOutput& output, const Json& object) {
  *output.out << object.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

std::string Megabytes(int64_t bytes) {
  return absl::StrFormat("%.1f MB", static_cast<double>(bytes) / 1e6);
}

std::string TimeText(int64_t time_us) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMicros(time_us), absl::UTCTimeZone());
}

VerificationObserver ShowProgress(const StoreOutput& output) {
  if (!output.terminal) return nullptr;
  return [&output](const StoreVerification& so_far) {
    *output.err << absl::StrFormat("\r%d records, %d factor matrices, %s", so_far.records,
                                   so_far.blobs, Megabytes(so_far.bytes))
                << std::flush;
    return true;
  };
}

void ClearProgress(const StoreOutput& output) {
  if (output.terminal) *output.err << "\r\x1b[K" << std::flush;
}

Json ToJson(const BackupRecord& record) {
  Json object = {{"backup", record.number}};
  if (!record.damage.empty()) {
    object["damage"] = record.damage;
    return object;
  }
  object["create_time"] = TimeText(record.create_time_us);
  object["live"] = record.live.value();
  object["latest"] = record.latest.value();
  object["bytes"] = record.bytes;
  object["digest"] = record.store_digest;
  object["model_fingerprint"] = record.model_fingerprint;
  return object;
}

Json ToJson(const StoreVerification& found) {
  Json damages = Json::array();
  for (const StoreDamage& damage : found.damages) {
    damages.push_back({{"key", damage.key},
                       {"expected_digest", damage.expected_digest},
                       {"found_digest", damage.found_digest},
                       {"description", damage.description}});
  }
  return {{"records", found.records},
          {"blobs", found.blobs},
          {"bytes", found.bytes},
          {"live", found.live.value()},
          {"latest", found.latest.value()},
          {"digest", found.digest},
          {"damage_count", found.damage_count},
          {"damages", std::move(damages)}};
}

int Verify(const StoreCommandLine& line, const StoreOutput& output) {
  const auto found = VerifyStoreIn(line.data_directory, ShowProgress(output));
  ClearProgress(output);
  if (!found.ok()) return Fail(output, found.status());
  if (line.json) {
    Print(output, ToJson(*found));
  } else {
    *output.out << "read      " << found->records << " records, " << found->blobs
                << " factor matrices, " << Megabytes(found->bytes) << "\n"
                << "live      revision " << found->live << ", newest revision " << found->latest
                << "\n"
                << "digest    " << found->digest << "\n";
    for (const StoreDamage& damage : found->damages) {
      *output.out << "damage    " << damage.key << ": " << damage.description << "\n";
    }
    *output.out << "verdict   "
                << (found->damage_count == 0 ? std::string("intact")
                                             : absl::StrCat(found->damage_count, " damages"))
                << std::endl;
  }
  return found->damage_count == 0 ? kDone : kFailed;
}

int Backups(const StoreCommandLine& line, const StoreOutput& output) {
  const auto records = BackupsIn(line.backup_directory);
  if (!records.ok()) return Fail(output, records.status());
  if (!line.json) *output.out << "backup  made                    live newest       size\n";
  for (const BackupRecord& record : *records) {
    if (line.json) {
      Print(output, ToJson(record));
    } else if (!record.damage.empty()) {
      *output.out << absl::StrFormat("%6d  damaged: %s\n", record.number, record.damage);
    } else {
      *output.out << absl::StrFormat("%6d  %s  %6d %6d %10s\n", record.number,
                                     TimeText(record.create_time_us), record.live.value(),
                                     record.latest.value(), Megabytes(record.bytes));
    }
  }
  return kDone;
}

int Restore(const StoreCommandLine& line, const StoreOutput& output) {
  const auto report =
      RestoreBackup({line.backup_directory, line.backup, line.target}, ShowProgress(output));
  ClearProgress(output);
  if (!report.ok()) return Fail(output, report.status());
  if (line.json) {
    Json object = ToJson(report->backup);
    object["to"] = line.target;
    Print(output, object);
  } else {
    *output.out << "backup " << report->backup.number << " of "
                << TimeText(report->backup.create_time_us) << " restored to " << line.target
                << " and verified: " << report->verification.records << " records, "
                << report->verification.blobs << " factor matrices; live revision "
                << report->backup.live << ", newest revision " << report->backup.latest
                << std::endl;
  }
  return kDone;
}

}  // namespace

int RunStoreCommand(const StoreCommandLine& command_line, const StoreOutput& output) {
  switch (command_line.command) {
    case StoreCommandLine::Command::kVerify:
      return Verify(command_line, output);
    case StoreCommandLine::Command::kBackups:
      return Backups(command_line, output);
    case StoreCommandLine::Command::kRestore:
      return Restore(command_line, output);
  }
  return kUsage;
}

}  // namespace amend::jobs
