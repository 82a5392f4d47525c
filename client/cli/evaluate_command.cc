#include "client/cli/evaluate_command.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/dataset.h"
#include "client/evaluation.h"

namespace amend::client {
namespace {

std::string Row(const char* name, const Mean& mean) {
  const std::string value = mean.count == 0 ? "-" : absl::StrFormat("%.1f %%", 100 * mean.value());
  return absl::StrFormat("%-24s %8s  %5d records\n", name, value, mean.count);
}

OrderedJson ToJson(const Mean& mean) {
  OrderedJson object = {{"mean", nullptr}, {"records", mean.count}};
  if (mean.count > 0) object["mean"] = mean.value();
  return object;
}

void Cut(const EvaluateOptions& options, std::vector<EditRecord>* records) {
  records->erase(records->begin(),
                 records->begin() + std::min<size_t>(options.skip, records->size()));
  if (options.limit > 0 && records->size() > static_cast<size_t>(options.limit)) {
    records->resize(options.limit);
  }
}

}  // namespace

CLI::App* AddEvaluateCommand(CLI::App* app, EvaluateOptions* options) {
  CLI::App* command = app->add_subcommand("evaluate", "Measure how a revision holds edits");
  command->add_option("--file", options->file, "Edits, as for `amend edit`")->required();
  command->add_option("--limit", options->limit, "Use at most this many")
      ->check(CLI::PositiveNumber);
  command->add_option("--skip", options->skip, "Leave out the first ones")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--skip-bad", options->skip_bad, "Leave out records that are wrong");
  CLI::Option* revision =
      command->add_option("--revision", options->at.revision, "Measure this revision")
          ->check(CLI::NonNegativeNumber);
  command->add_option("--label", options->at.label, "Measure its revision (default live)")
      ->excludes(revision);
  command->add_option("--against", options->against, "Revision that locality compares with")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->footer(
      "Teacher-forced, mean over the records that have it: reliability and generality are shares\n"
      "of target tokens predicted after the prompt and after its rephrasing; locality is the "
      "share\n"
      "of probe answer tokens whose prediction is the same as at --against. Exact match decodes\n"
      "freely: the greedy continuation of the prompt is the target.");
  return command;
}

int RunEvaluate(const CommandContext& context, const EvaluateOptions& options) {
  absl::StatusOr<std::vector<EditRecord>> records =
      ReadEditFile(context, options.file, options.skip_bad);
  if (!records.ok()) return FailUsage(context, records.status());
  Cut(options, &*records);
  if (records->empty()) {
    return FailUsage(context, absl::InvalidArgumentError(
                                  absl::StrCat(options.file, ": no records to evaluate")));
  }
  EvaluationOptions evaluation;
  evaluation.at = ToSelector(options.at);
  evaluation.against.set_revision(options.against);
  if (context.terminal && !context.json) {
    evaluation.progress = [&](size_t done) {
      *context.err << "\r\033[K";
      if (done < records->size()) *context.err << done << "/" << records->size() << " records";
      *context.err << std::flush;
    };
  }
  const absl::StatusOr<Evaluation> result = Evaluate(context.client, *records, evaluation);
  if (!result.ok()) return Fail(context, result.status());
  if (context.json) {
    PrintJson(context, {{"revision", result->revision},
                        {"against", result->against},
                        {"reliability", ToJson(result->reliability)},
                        {"generality", ToJson(result->generality)},
                        {"locality", ToJson(result->locality)},
                        {"exact_match", ToJson(result->exact_match)}});
    return kExitOk;
  }
  *context.out << "revision " << result->revision << ", locality against revision "
               << result->against << "\n"
               << Row("reliability", result->reliability) << Row("generality", result->generality)
               << Row("locality", result->locality)
               << Row("exact match, decoding", result->exact_match) << std::flush;
  return kExitOk;
}

}  // namespace amend::client
