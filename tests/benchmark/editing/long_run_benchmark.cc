// What a batch costs after a long line of edits: performance goal E3.
//
//   long_run_benchmark --model DIR --facts FILE [--history 10000] [--layers 0,1] [--lambda 25]
//   [--clamp 4] [--steps 30] [--batch 20] [--repeat 9]
//   long_run_benchmark --model DIR --facts FILE --edits 10000
//
// The first form solves, extends, measures (gate) and takes the norms of the same `repeat` batches
// of real edits twice, in turns: on the unedited model, and after `history` edits.
// The history is solved edit by edit on its line, round after round over the file, with the facts'
// own keys, but with target values that move nothing: the measured batches have the same work to do
// before and after, and what they cost more is the line's length. Their subjects are not part of
// it. The second form applies every edit in full,
// round after round over the file, each round with the target of another fact of the same relation.
//
// Prints a table and JSON. Checks that what is timed works: the measured batches have to succeed.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/process_memory.h"
#include "core/base/status_macros.h"
#include "core/editing/background_factors.h"
#include "core/editing/batch_editor.h"
#include "core/editing/hook_stack.h"
#include "core/editing/key_covariance.h"
#include "core/evaluation/edit_evaluation.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

// Edits of the history that share one revision.
constexpr size_t kHistoryBatch = 200;

struct Flags {
  std::string model;
  std::string facts;
  std::vector<int> layers = {0, 1};
  double lambda = 25;
  double clamp = 4;
  double beta = 0.5;
  int steps = 30;
  int batch = 20;
  int history = 10000;
  int repeat = 9;
  int edits = 0;
  int every = 1000;
  int threads = 2;
};

struct Fact {
  Edit edit;
  std::string relation;
};

// The first fact of each subject: a batch may hold a subject once.
absl::StatusOr<std::vector<Fact>> ReadFacts(const std::string& path) {
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_array())
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a JSON array"));
  std::vector<Fact> facts;
  std::set<std::string> subjects;
  for (const auto& record : json) {
    if (!subjects.insert(record.at("subject")).second) continue;
    Fact fact;
    fact.edit.prompt = record.at("prompt");
    fact.edit.subject = record.at("subject");
    fact.edit.target_new = record.at("target_new");
    fact.edit.paraphrases.push_back(record.at("rephrase_prompt"));
    fact.edit.probes.push_back({record.at("locality_prompt"), record.at("locality_ground_truth")});
    fact.relation = record.value("relation", "");
    facts.push_back(std::move(fact));
  }
  return facts;
}

std::vector<Edit> Slice(const std::vector<Fact>& facts, size_t begin, size_t count) {
  std::vector<Edit> edits;
  for (size_t i = 0; i < count; ++i) edits.push_back(facts[(begin + i) % facts.size()].edit);
  return edits;
}

double ResidentMegabytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident * sysconf(_SC_PAGESIZE)) / 1e6;
}

double Since(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

// Seconds of one batch, by part.
struct Times {
  double target = 0, layers = 0, extend = 0, norms = 0, gate = 0;
  // Steps of the target values, all edits together.
  int steps = 0;
  double total() const { return target + layers + extend + norms + gate; }
  void Add(const Times& other) {
    target += other.target;
    layers += other.layers;
    extend += other.extend;
    norms += other.norms;
    gate += other.gate;
    steps += other.steps;
  }
};

// One line on its way.
struct Line {
  std::unique_ptr<EditLine> line;
  std::shared_ptr<const HookStack> hooks;
  int64_t revision = 0;
};

class Run {
 public:
  static absl::StatusOr<std::unique_ptr<Run>> Create(const Flags& flags);
  absl::Status LongHistory();
  absl::Status Consecutive();

 private:
  explicit Run(const Flags& flags) : flags_(flags) {}
  Line NewLine() const { return {editor_->NewLine(), base_, 0}; }
  // Solves `edits` on `line` and goes on to the result.
  absl::StatusOr<Times> Step(const std::vector<Edit>& edits, Line* line, double* reliability);
  static void PrintHeader();
  // Means over `batches` of which `times` and `reliability` are the sums: seconds per edit; the
  // parts' per batch.
  void Print(int64_t edits, const Times& times, int batches, double reliability);
  absl::Status MakeHistory(Line* line);

  const Flags flags_;
  EditSettings settings_;
  std::shared_ptr<const CausalLm> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<Fact> facts_;
  BackgroundFactors background_;
  std::unique_ptr<BatchEditor> editor_;
  // The same with one iteration, which takes no step: real keys, and updates that move nothing.
  std::unique_ptr<BatchEditor> still_editor_;
  std::shared_ptr<const HookStack> base_;
  nlohmann::json json_;
};

absl::StatusOr<std::unique_ptr<Run>> Run::Create(const Flags& flags) {
  SetComputeThreads(flags.threads);
  std::unique_ptr<Run> run(new Run(flags));
  AMEND_ASSIGN_OR_RETURN(run->model_, LoadCausalLm(flags.model, LoadOptions()));
  AMEND_ASSIGN_OR_RETURN(run->tokenizer_, Tokenizer::FromDirectory(flags.model));
  AMEND_ASSIGN_OR_RETURN(run->facts_, ReadFacts(flags.facts));
  EditSettings& settings = run->settings_;
  for (const int layer : flags.layers) settings.layers.push_back(LayerIndex(layer));
  settings.lambda = flags.lambda;
  settings.clamp = flags.clamp;
  settings.beta = flags.beta;
  settings.steps = flags.steps;
  std::ifstream templates(flags.model + "/context_templates.json");
  settings.context_templates =
      nlohmann::json::parse(templates).at(1).get<std::vector<std::string>>();
  std::vector<std::string> texts;
  std::ifstream text_file(flags.model + "/covariance_texts.txt");
  for (std::string line; std::getline(text_file, line);) texts.push_back(line);
  AMEND_ASSIGN_OR_RETURN(
      const KeyCovariance covariance,
      ComputeKeyCovariance(*run->model_, *run->tokenizer_, settings.layers, texts, 0, nullptr));
  const absl::Time start = absl::Now();
  for (const KeyCovariance::Layer& layer : covariance.layers) {
    AMEND_ASSIGN_OR_RETURN(run->background_[layer.layer], FactorBackground(layer, flags.lambda));
  }
  absl::PrintF("Cholesky factors of %d layers in %.2f s\n", settings.layers.size(), Since(start));
  AMEND_ASSIGN_OR_RETURN(
      run->editor_, BatchEditor::Create(run->model_, run->tokenizer_, settings, run->background_));
  EditSettings quick = settings;
  quick.steps = 1;
  AMEND_ASSIGN_OR_RETURN(run->still_editor_, BatchEditor::Create(run->model_, run->tokenizer_,
                                                                 quick, run->background_));
  run->base_ = HookStack::Empty(*run->model_, settings.beta);
  run->base_->UpdateNorms(*run->model_);
  return run;
}

absl::StatusOr<Times> Run::Step(const std::vector<Edit>& edits, Line* line, double* reliability) {
  Times times;
  absl::Time start = absl::Now();
  BatchEditor::Callbacks callbacks;
  absl::Time targets_done = start;
  callbacks.progress = [&](SolvePhase phase, int, int) {
    if (phase == SolvePhase::kTargetValues) targets_done = absl::Now();
  };
  AMEND_ASSIGN_OR_RETURN(const BatchSolution solution,
                         editor_->Solve(*line->line, line->hooks, edits, callbacks));
  times.target = absl::ToDoubleSeconds(targets_done - start);
  times.layers = Since(targets_done);
  for (const TargetReport& report : solution.targets) times.steps += report.steps;
  start = absl::Now();
  const auto before = line->hooks;
  AMEND_RETURN_IF_ERROR(line->line->Append(solution.factors));
  AMEND_ASSIGN_OR_RETURN(line->hooks,
                         HookStack::Extend(before, Revision(++line->revision), solution.factors));
  times.extend = Since(start);
  start = absl::Now();
  AMEND_ASSIGN_OR_RETURN(const auto scores,
                         EvaluateEdits(*model_, *tokenizer_, *before, *line->hooks, edits));
  *reliability = MeanScores(scores).reliability.value_or(0);
  times.gate = Since(start);
  start = absl::Now();
  line->hooks->UpdateNorms(*model_);
  times.norms = Since(start);
  return times;
}

absl::Status Run::MakeHistory(Line* line) {
  const auto measured = static_cast<size_t>(flags_.batch) * static_cast<size_t>(flags_.repeat + 1);
  const size_t others = facts_.size() - measured;
  const auto wanted = static_cast<size_t>(flags_.history);
  for (size_t made = 0; made < wanted; made += kHistoryBatch) {
    std::vector<Edit> edits;
    for (size_t i = made; i < std::min(made + kHistoryBatch, wanted); ++i)
      edits.push_back(facts_[measured + i % others].edit);
    AMEND_ASSIGN_OR_RETURN(const BatchSolution solution,
                           still_editor_->Solve(*line->line, line->hooks, edits, {}));
    AMEND_RETURN_IF_ERROR(line->line->Append(solution.factors));
    AMEND_ASSIGN_OR_RETURN(
        line->hooks, HookStack::Extend(line->hooks, Revision(++line->revision), solution.factors));
  }
  return absl::OkStatus();
}

void Run::PrintHeader() {
  absl::PrintF("%8s %9s %6s %8s %8s %8s %8s %8s %10s %11s\n", "edits", "s/edit", "steps", "target",
               "layers", "extend", "gate", "norms", "RSS [MB]", "reliability");
}

void Run::Print(int64_t edits, const Times& times, int batches, double reliability) {
  const double steps = static_cast<double>(times.steps) / (batches * flags_.batch);
  const double per_edit = times.total() / (batches * flags_.batch);
  GiveBackFreedMemory();
  absl::PrintF("%8d %9.4f %6.1f %8.3f %8.3f %8.3f %8.3f %8.3f %10.1f %11.2f\n", edits, per_edit,
               steps, times.target / batches, times.layers / batches, times.extend / batches,
               times.gate / batches, times.norms / batches, ResidentMegabytes(),
               100 * reliability / batches);
  std::fflush(stdout);
  json_["rows"].push_back({{"edits", edits},
                           {"seconds_per_edit", per_edit},
                           {"steps", steps},
                           {"target", times.target / batches},
                           {"layers", times.layers / batches},
                           {"extend", times.extend / batches},
                           {"gate", times.gate / batches},
                           {"norms", times.norms / batches},
                           {"resident_mb", ResidentMegabytes()},
                           {"reliability", reliability / batches}});
}

absl::Status Run::LongHistory() {
  if (facts_.size() < static_cast<size_t>(flags_.batch) * (flags_.repeat + 1) + kHistoryBatch)
    return absl::InvalidArgumentError("too few facts");
  GiveBackFreedMemory();
  const double empty_mb = ResidentMegabytes();
  Line line = NewLine();
  const absl::Time start = absl::Now();
  AMEND_RETURN_IF_ERROR(MakeHistory(&line));
  GiveBackFreedMemory();
  absl::PrintF("history of %d edits made in %.1f s: %.0f MB resident before, %.0f after\n",
               line.hooks->edit_count(), Since(start), empty_mb, ResidentMegabytes());
  line.hooks->UpdateNorms(*model_);
  // Once unmeasured: what is computed once for a line is not a batch's.
  double ignored = 0;
  Line warm = NewLine();
  const auto last_batch = static_cast<size_t>(flags_.repeat) * flags_.batch;
  for (Line* some : {&warm, &line})
    AMEND_RETURN_IF_ERROR(Step(Slice(facts_, last_batch, flags_.batch), some, &ignored).status());
  Times of_first, of_last;
  double first_reliability = 0, last_reliability = 0;
  std::vector<double> ratios;
  // In turns: the machine's mood changes.
  for (int i = 0; i < flags_.repeat; ++i) {
    const auto edits = Slice(facts_, static_cast<size_t>(i) * flags_.batch, flags_.batch);
    double reliability = 0;
    Line fresh = NewLine();
    AMEND_ASSIGN_OR_RETURN(const Times first, Step(edits, &fresh, &reliability));
    first_reliability += reliability;
    AMEND_ASSIGN_OR_RETURN(const Times last, Step(edits, &line, &reliability));
    last_reliability += reliability;
    of_first.Add(first);
    of_last.Add(last);
    ratios.push_back(last.total() / first.total());
  }
  PrintHeader();
  Print(flags_.batch, of_first, flags_.repeat, first_reliability);
  Print(line.hooks->edit_count(), of_last, flags_.repeat, last_reliability);
  std::sort(ratios.begin(), ratios.end());
  const double median = ratios[ratios.size() / 2];
  const ModelConfig& config = model_->config();
  const double factors = static_cast<double>(line.hooks->edit_count()) * flags_.layers.size() *
                         (5.0 * config.intermediate_size + 4.0 * config.hidden_size) / 1e6;
  absl::PrintF("ratio %.3f (median of %d batches, %.3f to %.3f); factors of the line %.0f MB\n",
               median, flags_.repeat, ratios.front(), ratios.back(), factors);
  json_["ratio"] = median;
  json_["ratios"] = ratios;
  json_["factor_mb"] = factors;
  std::cout << json_.dump() << std::endl;
  return absl::OkStatus();
}

absl::Status Run::Consecutive() {
  // Facts of one relation lend each other their targets.
  std::map<std::string, std::vector<size_t>> by_relation;
  std::vector<size_t> place(facts_.size());
  for (size_t i = 0; i < facts_.size(); ++i) {
    place[i] = by_relation[facts_[i].relation].size();
    by_relation[facts_[i].relation].push_back(i);
  }
  const auto edit_at = [&](size_t n) {
    const size_t i = n % facts_.size();
    const std::vector<size_t>& same = by_relation[facts_[i].relation];
    Edit edit = facts_[i].edit;
    edit.target_new =
        facts_[same[(place[i] + 7 * (n / facts_.size())) % same.size()]].edit.target_new;
    return edit;
  };
  PrintHeader();
  Line line = NewLine();
  Times times;
  double reliability = 0;
  int batches = 0;
  for (int n = 0; n < flags_.edits; n += flags_.batch) {
    std::vector<Edit> edits;
    for (int i = 0; i < flags_.batch; ++i) edits.push_back(edit_at(static_cast<size_t>(n + i)));
    double of_batch = 0;
    AMEND_ASSIGN_OR_RETURN(const Times some, Step(edits, &line, &of_batch));
    times.Add(some);
    reliability += of_batch;
    ++batches;
    if ((n + flags_.batch) / flags_.every == n / flags_.every && n + flags_.batch < flags_.edits)
      continue;
    Print(line.hooks->edit_count(), times, batches, reliability);
    times = {};
    reliability = 0;
    batches = 0;
  }
  std::cout << json_.dump() << std::endl;
  return absl::OkStatus();
}

absl::Status Main(const Flags& flags) {
  AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<Run> run, Run::Create(flags));
  return flags.edits > 0 ? run->Consecutive() : run->LongHistory();
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) {
  amend::Flags flags;
  CLI::App app("Seconds per edit and memory after a long line of edits.");
  app.add_option("--model", flags.model, "Hugging Face directory")->required();
  app.add_option("--facts", flags.facts, "JSON array with CounterFact's field names")->required();
  app.add_option("--layers", flags.layers, "edited layers")->delimiter(',');
  app.add_option("--lambda", flags.lambda, "weight of the key covariance");
  app.add_option("--clamp", flags.clamp, "bound of |delta| / |z0|");
  app.add_option("--beta", flags.beta, "scope threshold");
  app.add_option("--steps", flags.steps, "iterations of the target value");
  app.add_option("--batch", flags.batch, "edits per batch");
  app.add_option("--history", flags.history, "edits before the second measurement");
  app.add_option("--repeat", flags.repeat, "measured batches");
  app.add_option("--edits", flags.edits, "apply so many edits in full instead");
  app.add_option("--every", flags.every, "edits between two lines of --edits");
  app.add_option("--threads", flags.threads, "threads of one operation");
  CLI11_PARSE(app, argc, argv);
  amend::SetUpProcessMemory();
  const absl::Status status = amend::Main(flags);
  if (!status.ok()) std::cerr << status << std::endl;
  return status.ok() ? 0 : 1;
}
