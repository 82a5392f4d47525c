#include "client/cli/bench_command.h"

#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/errors.h"
#include "client/load_generator.h"

namespace amend::client {
namespace {

constexpr char kDefaultPrompt[] = "The";
constexpr int64_t kDefaultRequests = 100;

absl::Status ReadPrompts(const BenchOptions& options, std::vector<std::string>* prompts) {
  *prompts = options.prompts;
  if (!options.prompt_file.empty()) {
    std::ifstream file(options.prompt_file);
    if (!file) {
      return absl::NotFoundError(absl::StrCat("cannot read the file ", options.prompt_file));
    }
    for (std::string line; std::getline(file, line);) {
      if (!line.empty()) prompts->push_back(line);
    }
    if (prompts->empty()) {
      return absl::InvalidArgumentError(absl::StrCat(options.prompt_file, ": no prompts"));
    }
  }
  if (prompts->empty()) prompts->push_back(kDefaultPrompt);
  return absl::OkStatus();
}

LoadOptions ToLoad(const BenchOptions& options, std::vector<std::string> prompts) {
  LoadOptions load;
  load.prompts = std::move(prompts);
  load.request.set_max_new_tokens(options.max_new_tokens);
  load.request.set_temperature(options.temperature);
  load.request.set_seed(options.seed);
  *load.request.mutable_at() = ToSelector(options.at);
  load.streams = options.streams;
  load.rate = options.rate;
  load.seed = options.seed;
  load.warmup = options.warmup;
  load.requests = options.requests;
  if (options.seconds > 0) load.duration = absl::Seconds(options.seconds);
  if (load.requests == 0) {
    load.requests = options.seconds > 0 ? std::numeric_limits<int64_t>::max() - options.warmup
                                        : kDefaultRequests;
  }
  return load;
}

std::string Row(const char* what, const Distribution& times) {
  return absl::StrFormat("%-16s %10.2f %10.2f %10.2f %10.2f %10.2f\n", what, 1e3 * times.mean(),
                         1e3 * times.Percentile(0.5), 1e3 * times.Percentile(0.9),
                         1e3 * times.Percentile(0.99), 1e3 * times.max());
}

OrderedJson ToJson(const Distribution& times) {
  return {{"count", times.count()},
          {"mean_ms", 1e3 * times.mean()},
          {"p50_ms", 1e3 * times.Percentile(0.5)},
          {"p90_ms", 1e3 * times.Percentile(0.9)},
          {"p99_ms", 1e3 * times.Percentile(0.99)},
          {"max_ms", 1e3 * times.max()}};
}

double PerSecond(int64_t count, const LoadReport& report) {
  return report.seconds > 0 ? static_cast<double>(count) / report.seconds : 0;
}

void PrintJsonReport(const CommandContext& context, const BenchOptions& options,
                     const LoadReport& report) {
  OrderedJson errors = OrderedJson::object();
  for (const auto& [what, count] : report.errors) errors[what] = count;
  PrintJson(context, {{"streams", options.streams},
                      {"rate", options.rate},
                      {"requests", report.done},
                      {"failed", report.failed},
                      {"errors", errors},
                      {"late", report.late},
                      {"seconds", report.seconds},
                      {"requests_per_second", PerSecond(report.done, report)},
                      {"tokens", report.tokens},
                      {"tokens_per_second", PerSecond(report.tokens, report)},
                      {"prompt_tokens", report.prompt_tokens},
                      {"cached_prompt_tokens", report.cached_prompt_tokens},
                      {"time_to_first_token", ToJson(report.to_first_token)},
                      {"inter_token", ToJson(report.between_tokens)},
                      {"request", ToJson(report.request)}});
}

void PrintReport(const CommandContext& context, const LoadReport& report) {
  *context.out << absl::StrFormat(
      "%d requests in %.2f s: %.1f requests/s, %.1f tokens/s (%d tokens; %d prompt tokens, %d of "
      "them cached)\n",
      report.done, report.seconds, PerSecond(report.done, report), PerSecond(report.tokens, report),
      report.tokens, report.prompt_tokens, report.cached_prompt_tokens);
  *context.out << absl::StrFormat("%-16s %10s %10s %10s %10s %10s\n", "milliseconds", "mean", "p50",
                                  "p90", "p99", "max")
               << Row("first token", report.to_first_token)
               << Row("between tokens", report.between_tokens) << Row("request", report.request);
  if (report.late > 0) {
    *context.out << report.late << " requests began late: all streams were busy\n";
  }
  for (const auto& [what, count] : report.errors)
    *context.out << count << " failed: " << what << "\n";
  *context.out << std::flush;
}

}  // namespace

CLI::App* AddBenchCommand(CLI::App* app, BenchOptions* options) {
  CLI::App* command = app->add_subcommand("bench", "Measure a server under load");
  command->add_option("--prompt", options->prompts, "Ask this; may be repeated (default \"The\")");
  command->add_option("--prompt-file", options->prompt_file, "Ask the lines of this file in turn");
  command->add_option("--streams", options->streams, "Requests at a time (with --rate at most)")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command
      ->add_option("--rate", options->rate,
                   "Requests a second, at random times, whatever the answers do")
      ->check(CLI::Range(1e-3, 1e6));
  command->add_option("--requests", options->requests, "End after so many (default 100)")
      ->check(CLI::PositiveNumber);
  command->add_option("--seconds", options->seconds, "Begin none after this time")
      ->check(CLI::PositiveNumber);
  command->add_option("--warmup", options->warmup, "Do not count the first ones")
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000}));
  command->add_option("--max-new-tokens", options->max_new_tokens, "Of each answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--temperature", options->temperature, "0 is greedy")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", options->seed, "Of arrivals; requests count up from it");
  CLI::Option* revision =
      command->add_option("--revision", options->at.revision, "Ask this revision")
          ->check(CLI::NonNegativeNumber);
  command->add_option("--label", options->at.label, "Ask its revision (default live)")
      ->excludes(revision);
  command->footer(
      "Without --rate each stream asks again once it is answered (closed loop). With it, times\n"
      "count from when a request was to begin: a server that falls behind shows.");
  return command;
}

int RunBench(const CommandContext& context, const BenchOptions& options) {
  std::vector<std::string> prompts;
  if (const absl::Status status = ReadPrompts(options, &prompts); !status.ok()) {
    return FailUsage(context, status);
  }
  LoadOptions load = ToLoad(options, std::move(prompts));
  if (context.terminal && !context.json) {
    load.progress = [&](const LoadProgress& now) {
      const double seconds = absl::ToDoubleSeconds(now.elapsed);
      *context.err << absl::StrFormat("\r\033[K%.0f s: %d done, %d running, %.0f tokens/s", seconds,
                                      now.done, now.started - now.done - now.failed,
                                      static_cast<double>(now.tokens) / seconds)
                   << std::flush;
    };
  }
  const LoadReport report = RunLoad(context.client, load);
  if (load.progress) *context.err << "\r\033[K" << std::flush;
  if (report.done == 0 && report.failed > 0) return Fail(context, report.first_error);
  if (context.json) {
    PrintJsonReport(context, options, report);
  } else {
    PrintReport(context, report);
  }
  if (report.failed == 0) return kExitOk;
  *context.err << "error: " << report.failed << " requests failed, the first with "
               << Describe(report.first_error) << "\n";
  return kExitServerError;
}

}  // namespace amend::client
