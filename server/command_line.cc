#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "server/config_file.h"
#include "server/settings.h"
#include "server/version.h"

namespace amend {
namespace {

constexpr int kWrongFlags = 2;

// A flag on the command line, as text.
struct GivenFlag {
  const Setting* setting = nullptr;
  std::string value;
  CLI::Option* option = nullptr;
};

std::string TypeName(const SettingTarget& target) {
  if (std::holds_alternative<int*>(target)) return "INT";
  return std::holds_alternative<absl::Duration*>(target) ? "SECONDS" : "TEXT";
}

// What is known of each flag after parsing lands in `flags`, which stays where it is.
void AddSettingFlags(CLI::App& app, std::vector<GivenFlag>* flags) {
  ServerOptions defaults;
  for (const Setting& setting : Settings()) {
    if (!setting.flag.empty()) flags->push_back({&setting, "", nullptr});
  }
  for (GivenFlag& flag : *flags) {
    const std::string name = absl::StrCat("--", flag.setting->flag);
    const SettingTarget target = flag.setting->target(defaults);
    if (std::holds_alternative<bool*>(target)) {
      flag.option = app.add_flag(name, flag.value, flag.setting->help);
    } else {
      flag.option = app.add_option(name, flag.value, flag.setting->help)
                        ->type_name(TypeName(target))
                        ->default_str(TextOf(*flag.setting, defaults));
    }
  }
}

// Defaults, then the file, then flags.
absl::Status Fill(const std::string& config_file, const std::vector<GivenFlag>& flags,
                  ServerOptions* options) {
  if (!config_file.empty()) AMEND_RETURN_IF_ERROR(ApplyConfigFile(config_file, options));
  for (const GivenFlag& flag : flags) {
    if (flag.option->count() == 0) continue;
    AMEND_RETURN_IF_ERROR(
        SetText(*flag.setting, absl::StrCat("--", flag.setting->flag), flag.value, options));
    if (flag.setting->field == "profile_file") options->profile.reset();
  }
  if (options->model_directory.empty()) return absl::InvalidArgumentError("--model is required");
  if (options->data_directory.empty()) return absl::InvalidArgumentError("--data is required");
  return absl::OkStatus();
}

void Refuse(absl::string_view why, CommandLine* result) {
  result->exit_code = kWrongFlags;
  result->message =
      absl::StrCat("amendd: ", absl::StrReplaceAll(why, {{"\n", " "}}), " (see amendd --help)");
}

absl::Status Reread(int argc, const char* const* argv, ServerOptions* options) {
  CommandLine line = ParseCommandLine(argc, argv);
  if (line.exit_code) {
    return absl::InvalidArgumentError(absl::StripPrefix(line.message, "amendd: "));
  }
  *options = std::move(line.options);
  return absl::OkStatus();
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CommandLine result;
  result.options.reread = [argc, argv](ServerOptions* options) {
    return Reread(argc, argv, options);
  };
  std::string config_file;
  std::vector<GivenFlag> flags;
  CLI::App app("Serves one language model and edits its facts meanwhile.", "amendd");
  AddSettingFlags(app, &flags);
  app.add_option("--config", config_file,
                 "file with all of this and more, a text proto; flags win over it");
  app.add_flag("--check-config,--check_config", result.check_config,
               "check flags, file, profile and model; say what would be done; do not serve");
  app.set_version_flag("--version", absl::StrCat("amendd ", kVersion));
  try {
    app.parse(argc, argv);
    result.options.config_file = config_file;
    const absl::Status filled = Fill(config_file, flags, &result.options);
    if (!filled.ok()) Refuse(filled.message(), &result);
  } catch (const CLI::CallForVersion& version) {
    result.exit_code = 0;
    result.message = version.what();
  } catch (const CLI::Success&) {
    result.exit_code = 0;
    result.message = app.help();
  } catch (const CLI::ParseError& error) {
    Refuse(error.what(), &result);
  }
  return result;
}

EventLog::Options LogOptionsOf(const ServerOptions& options) {
  EventLog::Options log;
  log.format = options.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  // Another name was refused when the options were read.
  log.level = ParseLogLevel(options.log_level).value_or(log.level);
  return log;
}

}  // namespace amend
