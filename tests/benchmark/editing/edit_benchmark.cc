// Edits a model in consecutive batches and prints seconds per edit and the scores of all edits so
// far, as a table and, in the last line, as JSON.
//
//   edit_benchmark --model DIR --profile FILE --facts FILE [--edits 100] [--batch 20]
//   [--score-every 20] [--out FILE]
//
// The profile says how, in either scope (docs/configuration.md). The facts are a JSON array with
// CounterFact's field names. An edit whose subject is in a batch already goes into a later one.
// --out writes a safetensors file with what each batch made, named "batch{b}." and then as in
// batch_line.h.
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/process_memory.h"
#include "core/base/status_macros.h"
#include "core/editing/context_templates.h"
#include "core/editing/key_covariance.h"
#include "core/evaluation/edit_evaluation.h"
#include "core/model/causal_lm.h"
#include "core/model/checkpoint.h"
#include "core/model/model_config.h"
#include "core/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
#include "server/profile.h"
#include "tests/benchmark/editing/batch_line.h"

namespace amend {
namespace {

struct Flags {
  std::string model;
  std::string profile;
  std::string facts;
  // Instead of the profile's.
  std::string covariance;
  std::string out;
  int edits = 100;
  int batch = 20;
  int score_every = 1;
  int threads = 2;
  bool bfloat16 = false;
};

// The unedited model.
class NoHooks : public DownProjectionHook {
 public:
  at::Tensor Apply(LayerIndex, const at::Tensor&, const at::Tensor& output) const override {
    return output;
  }
};

absl::StatusOr<std::vector<Edit>> ReadEdits(const std::string& path, int limit) {
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_array())
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a JSON array"));
  std::vector<Edit> edits;
  for (const auto& record : json) {
    if (static_cast<int>(edits.size()) == limit) break;
    Edit edit;
    edit.prompt = record.at("prompt");
    edit.subject = record.at("subject");
    edit.target_new = record.at("target_new");
    edit.paraphrases.push_back(record.at("rephrase_prompt"));
    edit.probes.push_back({record.at("locality_prompt"), record.at("locality_ground_truth")});
    edits.push_back(std::move(edit));
  }
  return edits;
}

// Batches of `size` edits in order; no subject is twice in a batch.
std::vector<std::vector<Edit>> Batches(std::vector<Edit> edits, size_t size) {
  std::vector<std::vector<Edit>> batches;
  while (!edits.empty()) {
    std::vector<Edit> batch, later;
    std::set<std::string> subjects;
    for (Edit& edit : edits) {
      const bool fits = batch.size() < size && subjects.insert(edit.subject).second;
      (fits ? batch : later).push_back(std::move(edit));
    }
    batches.push_back(std::move(batch));
    edits = std::move(later);
  }
  return batches;
}

// `path` below the model directory unless it is absolute.
std::string Resolve(const Flags& flags, const std::string& path) {
  return path.front() == '/' ? path : absl::StrCat(flags.model, "/", path);
}

absl::StatusOr<KeyCovariance> ObtainCovariance(const Flags& flags, const EditProfile& profile,
                                               const CausalLm& model, const Tokenizer& tokenizer) {
  const std::vector<LayerIndex>& layers = profile.settings.layers;
  if (!flags.covariance.empty()) return LoadKeyCovariance(flags.covariance, layers);
  if (!profile.covariance_file.empty())
    return LoadKeyCovariance(Resolve(flags, profile.covariance_file), layers);
  std::vector<std::string> texts;
  std::ifstream file(Resolve(flags, profile.covariance_text_file));
  for (std::string line; std::getline(file, line);) texts.push_back(line);
  const absl::Time start = absl::Now();
  AMEND_ASSIGN_OR_RETURN(
      KeyCovariance covariance,
      ComputeKeyCovariance(model, tokenizer, layers, texts, profile.max_tokens_per_text, nullptr));
  absl::PrintF("key covariance: %d tokens in %.2f s\n", covariance.tokens,
               absl::ToDoubleSeconds(absl::Now() - start));
  return covariance;
}

// Prints a line of the table as soon as it is there and keeps it for the JSON.
class Report {
 public:
  Report() {
    absl::PrintF("%6s %10s %10s %12s %12s %10s\n", "edits", "s/edit", "targets", "reliability",
                 "generality", "locality");
  }

  // `scores` are absent where nothing was scored.
  void Add(size_t edits, double seconds_per_edit, std::optional<double> target_seconds_per_edit,
           const EditScores& scores) {
    nlohmann::json row = {{"edits", edits}, {"seconds_per_edit", seconds_per_edit}};
    if (target_seconds_per_edit.has_value())
      row["target_seconds_per_edit"] = *target_seconds_per_edit;
    absl::PrintF("%6d %10.4f %10s", edits, seconds_per_edit,
                 target_seconds_per_edit.has_value()
                     ? absl::StrFormat("%.4f", *target_seconds_per_edit)
                     : "-");
    const auto add = [&](const char* name, int width, const std::optional<double>& score) {
      if (score.has_value()) row[name] = *score;
      absl::PrintF(" %*s", width, score.has_value() ? absl::StrFormat("%.2f", 100 * *score) : "-");
    };
    add("reliability", 12, scores.reliability);
    add("generality", 12, scores.generality);
    add("locality", 10, scores.locality);
    absl::PrintF("\n");
    rows_.push_back(std::move(row));
  }
  void PrintJson() const { std::cout << rows_.dump() << std::endl; }

 private:
  nlohmann::json rows_ = nlohmann::json::array();
};

// Solves all edits, batch by batch. `results` receives what each batch made, unless it is null.
absl::Status EditAndScore(const Flags& flags, const CausalLm& model, const Tokenizer& tokenizer,
                          absl::Span<const Edit> edits, BatchLine* line,
                          std::map<std::string, at::Tensor>* results) {
  Report report;
  size_t scored = 0;
  std::vector<Edit> so_far;
  const std::vector<std::vector<Edit>> batches =
      Batches({edits.begin(), edits.end()}, static_cast<size_t>(flags.batch));
  for (size_t b = 0; b < batches.size(); ++b) {
    const std::vector<Edit>& batch = batches[b];
    so_far.insert(so_far.end(), batch.begin(), batch.end());
    const absl::Time start = absl::Now();
    AMEND_RETURN_IF_ERROR(line->Add(batch));
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    const double count = static_cast<double>(batch.size());
    std::optional<double> target_seconds = line->target_seconds();
    if (target_seconds.has_value()) *target_seconds /= count;
    if (results != nullptr) {
      for (const auto& [name, tensor] : line->Results())
        (*results)[absl::StrCat("batch", b, ".", name)] = tensor;
    }
    EditScores mean;
    const bool is_last = so_far.size() == edits.size();
    if (so_far.size() - scored >= static_cast<size_t>(flags.score_every) || is_last) {
      AMEND_ASSIGN_OR_RETURN(const auto scores, EvaluateEdits(model, tokenizer, NoHooks(),
                                                              line->hooks(), so_far, line->rows()));
      mean = MeanScores(scores);
      scored = so_far.size();
    }
    report.Add(so_far.size(), seconds / count, target_seconds, mean);
  }
  report.PrintJson();
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  SetComputeThreads(flags.threads);
  LoadOptions options;
  if (flags.bfloat16) options.dtype = Dtype::kBFloat16;
  AMEND_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(flags.model));
  AMEND_ASSIGN_OR_RETURN(EditProfile profile, LoadProfile(flags.profile, config));
  AMEND_ASSIGN_OR_RETURN(const std::vector<Edit> edits, ReadEdits(flags.facts, flags.edits));
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const CausalLm> model,
                         LoadCausalLm(flags.model, options));
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                         Tokenizer::FromDirectory(flags.model));
  EditSettings& settings = profile.settings;
  if (settings.context_templates.empty()) {
    AMEND_ASSIGN_OR_RETURN(settings.context_templates,
                           SampleContextTemplates(model, *tokenizer, profile.template_seed));
  }
  AMEND_ASSIGN_OR_RETURN(KeyCovariance covariance,
                         ObtainCovariance(flags, profile, *model, *tokenizer));
  AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<BatchLine> line,
                         MakeBatchLine(model, tokenizer, settings, std::move(covariance)));
  std::map<std::string, at::Tensor> results;
  AMEND_RETURN_IF_ERROR(EditAndScore(flags, *model, *tokenizer, edits, line.get(),
                                     flags.out.empty() ? nullptr : &results));
  return flags.out.empty() ? absl::OkStatus() : WriteSafetensors(results, flags.out);
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) {
  amend::SetUpProcessMemory();
  amend::Flags flags;
  CLI::App app("Edits a model in consecutive batches; prints seconds per edit and scores.");
  app.add_option("--model", flags.model, "Hugging Face directory")->required();
  app.add_option("--profile", flags.profile, "how to edit: a text proto")->required();
  app.add_option("--facts", flags.facts, "JSON array with CounterFact's field names")->required();
  app.add_option("--covariance", flags.covariance, "safetensors file, instead of the profile's");
  app.add_option("--out", flags.out, "safetensors file to write: what each batch made");
  app.add_option("--edits", flags.edits, "number of edits");
  app.add_option("--batch", flags.batch, "edits per batch")->check(CLI::PositiveNumber);
  app.add_option("--score-every", flags.score_every,
                 "score all edits so far each time that this many came, and at the end");
  app.add_flag("--bfloat16", flags.bfloat16, "weights and forward pass in bfloat16");
  app.add_option("--threads", flags.threads, "threads of one operation");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = amend::Run(flags);
  if (!status.ok()) std::cerr << status << std::endl;
  return status.ok() ? 0 : 1;
}
