#include "server/command_line.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/version.h"

namespace amend {
namespace {

constexpr int kWrongFlags = 2;

// Flags that are durations in options.
struct Seconds {
  double drain;
  double keep;
  double purge_delay;
};

void AddRetentionFlags(CLI::App& app, RetentionPolicy* policy, Seconds* seconds) {
  constexpr double kMaxSeconds = 1e10;
  app.add_option("--keep-revisions", policy->keep_newest,
                 "keep the newest N revisions; with --keep-seconds 0 too, 0 keeps all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--keep-seconds", seconds->keep, "keep revisions that are younger")
      ->capture_default_str()
      ->check(CLI::Range(0.0, kMaxSeconds));
  app.add_option("--purge-delay-seconds", seconds->purge_delay,
                 "how long a deleted revision can be brought back")
      ->capture_default_str()
      ->check(CLI::Range(0.0, kMaxSeconds));
}

void AddFlags(CLI::App& app, ServerOptions* options, Seconds* seconds) {
  app.add_option("--model", options->model_directory, "Hugging Face model directory (required)");
  app.add_option("--data", options->data_directory, "directory for everything durable (required)");
  app.add_option("--backup-dir", options->backup_directory,
                 "directory for backups of the store (default: none are made)");
  app.add_option("--backups-kept", options->backups_kept, "backups that stay; older ones go")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  app.add_option("--profile", options->profile_file,
                 "how the model is edited, a text proto (default: built in for known models)");
  app.add_option("--listen", options->grpc_address, "gRPC address; port 0 takes a free one")
      ->capture_default_str();
  app.add_option("--http", options->http_address, "address of /metrics, /healthz and /readyz")
      ->capture_default_str();
  app.add_option("--device", options->device, "auto, cpu or cuda")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--dtype", options->dtype, "float32 or bfloat16")
      ->capture_default_str()
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--threads", options->threads, "threads of one operation; 0 lets LibTorch choose")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  app.add_option("--decode-threads", options->decode_threads,
                 "the same while generating; 0 is 1 for a small model, else --threads")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  app.add_option("--kv-cache-mib", options->kv_cache_mib,
                 "MiB for keys and values of all sequences; 0: up to 1024, by the model's size")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--drain-seconds", seconds->drain, "how long streams may go on at shutdown")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));
  AddRetentionFlags(app, &options->retention, seconds);
  app.add_flag(
      "--serve-intact-ancestor", options->serve_intact_ancestor,
      "when the live revision is damaged, serve its newest intact ancestor, without edits");
  app.set_config("--config", "", "file of flags, one \"name=value\" per line");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.set_version_flag("--version", absl::StrCat("amendd ", kVersion));
}

// Checked after parsing: CLI11 would complain of the missing flag before it names a misspelt one.
void RequireFlags(const ServerOptions& options) {
  if (options.model_directory.empty()) throw CLI::RequiredError("--model");
  if (options.data_directory.empty()) throw CLI::RequiredError("--data");
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CommandLine result;
  Seconds seconds{absl::ToDoubleSeconds(result.options.drain_time),
                  absl::ToDoubleSeconds(result.options.retention.keep_younger),
                  absl::ToDoubleSeconds(result.options.retention.purge_delay)};
  CLI::App app("Serves one language model and edits its facts meanwhile.", "amendd");
  AddFlags(app, &result.options, &seconds);
  try {
    app.parse(argc, argv);
    RequireFlags(result.options);
    result.options.drain_time = absl::Seconds(seconds.drain);
    result.options.retention.keep_younger = absl::Seconds(seconds.keep);
    result.options.retention.purge_delay = absl::Seconds(seconds.purge_delay);
  } catch (const CLI::CallForVersion& version) {
    result.exit_code = 0;
    result.message = version.what();
  } catch (const CLI::Success&) {
    result.exit_code = 0;
    result.message = app.help();
  } catch (const CLI::ParseError& error) {
    result.exit_code = kWrongFlags;
    result.message = absl::StrCat("amendd: ", absl::StrReplaceAll(error.what(), {{"\n", " "}}),
                                  " (see amendd --help)");
  }
  return result;
}

}  // namespace amend
