// Edits a model in consecutive batches and prints seconds per edit and the scores of all edits so
// far, as a table and as JSON.
//
//   edit_benchmark --model DIR --facts FILE [--layers 0,1] [--lambda 25] [--clamp 4] [--steps 30]
//   [--edits 100] [--batch 20]
//
// FILE is a JSON array with CounterFact's field names. The key covariance comes from
// DIR/covariance_texts.txt, the context templates from DIR/context_templates.json.
#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "core/editing/batch_editor.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/evaluation/edit_evaluation.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

struct Flags {
  std::string model;
  std::string facts;
  std::vector<int> layers = {0, 1};
  double lambda = 25;
  double clamp = 4;
  double beta = 0.5;
  int steps = 30;
  int edits = 100;
  int batch = 20;
  int threads = 2;
  bool bfloat16 = false;
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
    edits.push_back(edit);
  }
  return edits;
}

EditSettings MakeSettings(const Flags& flags) {
  EditSettings settings;
  for (const int layer : flags.layers) settings.layers.push_back(LayerIndex(layer));
  settings.lambda = flags.lambda;
  settings.clamp = flags.clamp;
  settings.beta = flags.beta;
  settings.steps = flags.steps;
  std::ifstream file(flags.model + "/context_templates.json");
  settings.context_templates = nlohmann::json::parse(file).at(1).get<std::vector<std::string>>();
  return settings;
}

absl::Status Run(const Flags& flags) {
  SetComputeThreads(flags.threads);
  LoadOptions options;
  if (flags.bfloat16) options.dtype = Dtype::kBFloat16;
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const CausalLm> model,
                         LoadCausalLm(flags.model, options));
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                         Tokenizer::FromDirectory(flags.model));
  AMEND_ASSIGN_OR_RETURN(const std::vector<Edit> edits, ReadEdits(flags.facts, flags.edits));
  const EditSettings settings = MakeSettings(flags);
  std::vector<std::string> texts;
  std::ifstream text_file(flags.model + "/covariance_texts.txt");
  for (std::string line; std::getline(text_file, line);) texts.push_back(line);
  const absl::Time covariance_start = absl::Now();
  AMEND_ASSIGN_OR_RETURN(
      KeyCovariance covariance,
      ComputeKeyCovariance(*model, *tokenizer, settings.layers, texts, 0, nullptr));
  absl::PrintF("key covariance: %d tokens in %.2f s\n", covariance.tokens,
               absl::ToDoubleSeconds(absl::Now() - covariance_start));
  AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<BatchEditor> editor,
                         BatchEditor::Create(model, tokenizer, settings, std::move(covariance)));
  const std::unique_ptr<EditLine> line = editor->NewLine();
  const std::shared_ptr<const HookStack> base = HookStack::Empty(*model, settings.beta);
  std::shared_ptr<const HookStack> hooks = base;
  nlohmann::json rows = nlohmann::json::array();
  absl::PrintF("%6s %10s %12s %12s %10s\n", "edits", "s/edit", "reliability", "generality",
               "locality");
  for (size_t begin = 0; begin < edits.size(); begin += flags.batch) {
    const auto batch = absl::MakeConstSpan(edits).subspan(begin, flags.batch);
    const absl::Time start = absl::Now();
    AMEND_ASSIGN_OR_RETURN(const BatchSolution solution, editor->Solve(*line, hooks, batch, {}));
    AMEND_RETURN_IF_ERROR(line->Append(solution.factors));
    AMEND_ASSIGN_OR_RETURN(hooks,
                           HookStack::Extend(hooks, Revision(rows.size() + 1), solution.factors));
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start) / batch.size();
    const auto so_far = absl::MakeConstSpan(edits).first(begin + batch.size());
    AMEND_ASSIGN_OR_RETURN(const auto scores,
                           EvaluateEdits(*model, *tokenizer, *base, *hooks, so_far));
    const EditScores mean = MeanScores(scores);
    absl::PrintF("%6d %10.4f %12.2f %12.2f %10.2f\n", so_far.size(), seconds,
                 100 * mean.reliability.value_or(0), 100 * mean.generality.value_or(0),
                 100 * mean.locality.value_or(0));
    rows.push_back({{"edits", so_far.size()},
                    {"seconds_per_edit", seconds},
                    {"reliability", mean.reliability.value_or(0)},
                    {"generality", mean.generality.value_or(0)},
                    {"locality", mean.locality.value_or(0)}});
  }
  std::cout << rows.dump() << std::endl;
  return absl::OkStatus();
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) {
  amend::Flags flags;
  CLI::App app("Edits a model in consecutive batches; prints seconds per edit and scores.");
  app.add_option("--model", flags.model, "Hugging Face directory")->required();
  app.add_option("--facts", flags.facts, "JSON array with CounterFact's field names")->required();
  app.add_option("--layers", flags.layers, "edited layers")->delimiter(',');
  app.add_option("--lambda", flags.lambda, "weight of the key covariance");
  app.add_option("--clamp", flags.clamp, "bound of |delta| / |z0|");
  app.add_option("--beta", flags.beta, "scope threshold");
  app.add_option("--steps", flags.steps, "iterations of the target value");
  app.add_option("--edits", flags.edits, "number of edits");
  app.add_option("--batch", flags.batch, "edits per batch");
  app.add_flag("--bfloat16", flags.bfloat16, "weights and forward pass in bfloat16");
  app.add_option("--threads", flags.threads, "threads of one operation");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = amend::Run(flags);
  if (!status.ok()) std::cerr << status << std::endl;
  return status.ok() ? 0 : 1;
}
