#include "client/cli/edit_command.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/edit_report.h"
#include "client/dataset.h"
#include "client/edit_stream.h"
#include "client/errors.h"

namespace amend::client {
namespace {

namespace v1 = ::amend::v1;

// FNV-1a, 64 bits: names a file's content; nothing relies on it being hard to forge.
uint64_t Fingerprint(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

v1::Promotion PromotionOf(const EditOptions& options) {
  return options.stage_only ? v1::STAGE_ONLY : v1::PROMOTE_WHEN_VALIDATED;
}

v1::FailurePolicy FailurePolicyOf(const EditOptions& options) {
  return options.drop_failing ? v1::DROP_FAILING : v1::ALL_OR_NOTHING;
}

v1::GateThresholds ThresholdsOf(const EditOptions& options) {
  v1::GateThresholds thresholds;
  if (options.min_reliability >= 0) thresholds.set_reliability(options.min_reliability);
  if (options.min_generality >= 0) thresholds.set_generality(options.min_generality);
  if (options.min_locality >= 0) thresholds.set_locality(options.min_locality);
  if (options.min_background >= 0) thresholds.set_background(options.min_background);
  if (options.min_retention >= 0) thresholds.set_retention(options.min_retention);
  if (options.max_perplexity_change >= 0) {
    thresholds.set_max_perplexity_change(options.max_perplexity_change);
  }
  return thresholds;
}

// As many edits to a batch as wanted. Where one has the subject of another edit of its batch a new
// batch begins, for the server takes a subject once in a batch: so the later of the two supersedes
// the earlier one, as it would in batches of one.
std::vector<v1::EditBatch> MakeBatches(const std::vector<EditRecord>& records,
                                       const EditOptions& options) {
  const size_t first = std::min<size_t>(options.skip, records.size());
  size_t end = records.size();
  if (options.limit > 0) end = std::min(end, first + options.limit);
  std::vector<v1::EditBatch> batches;
  std::set<std::string> subjects;
  for (size_t i = first; i < end; ++i) {
    const bool full = batches.empty() || batches.back().edits_size() == options.batch;
    if (full || subjects.count(records[i].edit.subject()) > 0) {
      batches.emplace_back();
      subjects.clear();
    }
    subjects.insert(records[i].edit.subject());
    *batches.back().add_edits() = records[i].edit;
  }
  return batches;
}

void PrintHeader(const CommandContext& context, const std::string& session, int edits,
                 size_t batches) {
  if (context.json) {
    PrintJson(context, {{"event", "session"},
                        {"session", session},
                        {"server", context.client->server()},
                        {"edits", edits},
                        {"batches", batches}});
  } else {
    *context.out << edits << " edits in " << batches << " batches to " << context.client->server()
                 << ", session " << session << std::endl;
  }
}

int RunFile(const CommandContext& context, const EditOptions& options) {
  const absl::StatusOr<std::string> content = ReadTextFile(options.file);
  if (!content.ok()) return FailUsage(context, content.status());
  const absl::StatusOr<std::vector<EditRecord>> records =
      ReadEditFile(context, options.file, options.skip_bad);
  if (!records.ok()) return FailUsage(context, records.status());
  const std::vector<v1::EditBatch> batches = MakeBatches(*records, options);
  if (batches.empty()) {
    return FailUsage(context, absl::InvalidArgumentError(
                                  absl::StrCat(options.file, ": no edits to send: the file has ",
                                               records->size(), ", --skip is ", options.skip)));
  }
  EditStreamOptions stream;
  stream.session = options.session.empty() ? DefaultSession(*content, options) : options.session;
  stream.promotion = PromotionOf(options);
  stream.failure_policy = FailurePolicyOf(options);
  stream.thresholds = ThresholdsOf(options);
  stream.max_reconnects = options.retries;
  int edits = 0;
  for (const v1::EditBatch& batch : batches) edits += batch.edits_size();
  PrintHeader(context, stream.session, edits, batches.size());

  EditReport report(context, batches, stream.promotion);
  const auto outcomes = context.client->StreamEdits(stream, batches, &report);
  if (outcomes.ok()) return report.Finish(*outcomes);
  report.ClearLine();
  const int code = Fail(context, outcomes.status());
  if (code == kExitUnreachable) {
    *context.err << "Run the same command again to resume (--session " << stream.session << ").\n";
  }
  return code;
}

int RunOne(const CommandContext& context, const EditOptions& options) {
  v1::SubmitEditBatchRequest request;
  request.set_promotion(PromotionOf(options));
  request.set_failure_policy(FailurePolicyOf(options));
  *request.mutable_thresholds() = ThresholdsOf(options);
  v1::Edit* edit = request.mutable_batch()->add_edits();
  edit->set_prompt(options.prompt);
  edit->set_subject(options.subject);
  edit->set_target_new(options.target);
  for (const std::string& text : options.paraphrases) edit->add_paraphrases(text);
  for (const auto& [prompt, answer] : options.probes) {
    v1::Probe* probe = edit->add_locality_probes();
    probe->set_prompt(prompt);
    probe->set_answer(answer);
  }
  const absl::StatusOr<v1::EditBatchStatus> status = context.client->SubmitEditBatch(request);
  if (!status.ok()) return Fail(context, status.status());
  const std::vector<v1::EditBatch> batches = {request.batch()};
  EditReport report(context, batches, request.promotion());
  v1::EditBatchStatus outcome = *status;
  outcome.set_offset(0);
  report.OnBatch(outcome);
  return report.Finish({outcome});
}

constexpr char kEditHelp[] =
    "Edit facts: --file for many, or --prompt, --subject and --target for one";

constexpr char kFooter[] =
    "The file holds one JSON object per line, or one JSON array, with the fields prompt, subject,\n"
    "target_new, and optionally paraphrases, locality_probes [{prompt, answer}], client_edit_id;\n"
    "CounterFact's and zsRE's field names are understood too.\n"
    "The default session name comes from the file's content and the flags, so that running the\n"
    "same command again resumes: what the server has recorded is shown and not done again.";

}  // namespace

CLI::App* AddEditCommand(CLI::App* app, EditOptions* options) {
  CLI::App* command = app->add_subcommand("edit", kEditHelp);
  command->footer(kFooter);
  const char* many = "Many edits";
  CLI::Option* file =
      command->add_option("--file", options->file, "Edits, as JSON Lines or a JSON array");
  file->group(many);
  command->add_option("--batch", options->batch, "Edits per batch: each becomes one revision")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str()
      ->group(many);
  command->add_option("--limit", options->limit, "Send at most this many")
      ->check(CLI::PositiveNumber)
      ->group(many);
  command->add_option("--skip", options->skip, "Leave out the first ones")
      ->check(CLI::NonNegativeNumber)
      ->group(many);
  command->add_flag("--skip-bad", options->skip_bad, "Leave out records that are wrong")
      ->group(many);
  command->add_option("--session", options->session, "Name under which the server keeps outcomes")
      ->group(many);
  command->add_option("--retries", options->retries, "Attempts to connect again in a row")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(many);
  const char* one = "One edit";
  CLI::Option* prompt =
      command->add_option("--prompt", options->prompt, "Text that the model continues");
  CLI::Option* subject =
      command->add_option("--subject", options->subject, "Part of the prompt: what the fact is on");
  CLI::Option* target =
      command->add_option("--target", options->target, "The new continuation of the prompt");
  prompt->group(one)->needs(subject)->needs(target)->excludes(file);
  subject->group(one)->needs(prompt);
  target->group(one)->needs(prompt);
  command->add_option("--paraphrase", options->paraphrases, "Other wording, for the gate")
      ->needs(prompt)
      ->take_all()
      ->group(one);
  command
      ->add_option("--probe", options->probes, "PROMPT ANSWER that must not change, for the gate")
      ->needs(prompt)
      ->group(one);
  const char* gate = "Gate";
  command->add_flag("--stage-only", options->stage_only, "Validate, but do not make live")
      ->group(gate);
  command->add_option("--min-reliability", options->min_reliability, "In [0, 1]")
      ->check(CLI::Range(0.0, 1.0))
      ->group(gate);
  command->add_option("--min-generality", options->min_generality, "In [0, 1]")
      ->check(CLI::Range(0.0, 1.0))
      ->group(gate);
  command->add_option("--min-locality", options->min_locality, "In [0, 1]")
      ->check(CLI::Range(0.0, 1.0))
      ->group(gate);
  command->add_option("--min-background", options->min_background, "In [0, 1]")
      ->check(CLI::Range(0.0, 1.0))
      ->group(gate);
  command->add_option("--min-retention", options->min_retention, "In [0, 1]")
      ->check(CLI::Range(0.0, 1.0))
      ->group(gate);
  command
      ->add_option("--max-perplexity-change", options->max_perplexity_change,
                   "0.1 allows a tenth more")
      ->check(CLI::NonNegativeNumber)
      ->group(gate);
  command
      ->add_flag("--drop-failing", options->drop_failing,
                 "Leave out the edits that fail and solve the rest of their batch again")
      ->group(gate);
  return command;
}

int RunEdit(const CommandContext& context, const EditOptions& options) {
  if (!options.file.empty()) return RunFile(context, options);
  if (!options.prompt.empty()) return RunOne(context, options);
  return FailUsage(context, absl::InvalidArgumentError(
                                "edit: --file, or --prompt, --subject and --target are wanted"));
}

std::string DefaultSession(absl::string_view content, const EditOptions& options) {
  return absl::StrFormat("file-%016x-b%d%s%s%s%s", Fingerprint(content), options.batch,
                         options.skip > 0 ? absl::StrCat("-s", options.skip) : "",
                         options.limit > 0 ? absl::StrCat("-n", options.limit) : "",
                         options.stage_only ? "-staged" : "", options.drop_failing ? "-drop" : "");
}

}  // namespace amend::client
