// Measures what edits cost a decoding step: sequences of a revision with many edits of which none
// fires against sequences of the unedited model, and sequences of the unedited model while such a
// revision is resident ("dormant"); and steps whose sequences are of several revisions of one line
// against steps of one revision. Prints a table and one line of JSON.
//
//   hooks_benchmark --model DIR [--edits 1000] [--layers 0,1] [--streams 1,4,16] [--steps 64]
//                   [--rounds 9] [--threads 1] [--revisions 4] [--bfloat16]
//
// The edits have keys of random prompts, and factors as a solver would make them from the keys:
// V = C^-1 K, with C from other random prompts and K itself. Their thresholds are high enough that
// they fire on none of those.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/process_memory.h"
#include "core/base/status_macros.h"
#include "core/editing/factors.h"
#include "core/editing/hook_stack.h"
#include "core/editing/tensor_matrix.h"
#include "core/generation/decoder.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"
#include "core/model/testing/full_forward.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

using HooksPtr = std::shared_ptr<const HookStack>;
using Tokens = std::vector<TokenId>;

struct Flags {
  std::string model;
  int edits = 1000;
  std::vector<int> layers = {0, 1};
  std::vector<int> streams = {1, 4, 16};
  int steps = 64;
  int rounds = 9;
  int threads = 1;
  int revisions = 4;
  bool bfloat16 = false;
};

constexpr double kBeta = 0.5;
constexpr double kLambda = 25;
constexpr int kPromptTokens = 8;
constexpr int kPreamble = 4;

// With even ids; odd ones with `odd`. Edits are made of even tokens and sequences fed odd ones, so
// that none fires.
Tokens RandomTokens(const CausalLm& model, int count, std::mt19937& random, bool odd = false) {
  Tokens tokens(count);
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(2 * (random() % (model.config().vocabulary_size / 2)) + odd);
  }
  return tokens;
}

// Keeps what the down-projections read.
class Keys : public DownProjectionHook {
 public:
  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    seen_[layer].push_back(input.to(at::kFloat).clone());
    return output;
  }
  // [all tokens so far, d_in].
  at::Tensor All(LayerIndex layer) const { return at::cat(seen_.at(layer)); }

 private:
  mutable std::map<LayerIndex, std::vector<at::Tensor>> seen_;
};

// Factors of `count` edits: at each layer V = C^-1 K and random U.
RevisionFactors MakeFactors(const CausalLm& model, const std::vector<int>& layers, int count,
                            std::mt19937& random) {
  const Keys prompts, background;
  for (int i = 0; i < count; ++i) {
    FullForward(model, RandomTokens(model, kPromptTokens, random), &prompts);
  }
  for (int i = 0; i < 200; ++i) {
    FullForward(model, RandomTokens(model, 40, random, i % 2 == 0), &background);
  }
  RevisionFactors factors;
  for (const int l : layers) {
    const LayerIndex layer(l);
    // The last token of each prompt.
    const at::Tensor k = prompts.All(layer)
                             .view({count, kPromptTokens, -1})
                             .select(1, kPromptTokens - 1)
                             .to(at::kDouble);
    const at::Tensor x = background.All(layer).to(at::kDouble);
    const at::Tensor c = at::matmul(x.t(), x) * (kLambda / static_cast<double>(x.size(0))) +
                         at::matmul(k.t(), k) +
                         at::eye(k.size(1), at::TensorOptions().dtype(at::kDouble)) * 1e-3;
    const at::Tensor v = at::linalg_solve(c, k.t()).t().contiguous();
    // Thresholds far enough above what the background gives.
    const at::Tensor most = at::amax(at::matmul(x, v.t()), {0}) * (1.5 / kBeta);
    const at::Tensor own = at::maximum((v * k).sum(1), most).to(at::kFloat).contiguous();
    LayerFactors made;
    made.layer = layer;
    made.v = ToMatrix(v.to(at::kFloat));
    made.u.rows = count;
    made.u.cols = model.config().hidden_size;
    for (int64_t i = 0; i < made.u.rows * made.u.cols; ++i) {
      made.u.values.push_back(static_cast<float>(random() % 2001) / 1000 - 1);
    }
    made.keys = ToMatrix(k.to(at::kFloat));
    const float* activations = own.const_data_ptr<float>();
    made.activations.assign(activations, activations + count);
    factors.layers.push_back(std::move(made));
  }
  return factors;
}

// Sequences that decode together; each step feeds random tokens, other ones in each round.
class Batch {
 public:
  Batch(Decoder* decoder, const CausalLm& model, const std::vector<HooksPtr>& hooks, int steps,
        int round)
      : decoder_(decoder) {
    std::mt19937 random(round);
    for (const HooksPtr& h : hooks) {
      states_.push_back(decoder->NewSequence(h, {false, kPreamble + steps, {}}));
      tokens_.push_back(RandomTokens(model, kPreamble + steps, random, /*odd=*/true));
    }
    Step(kPreamble);
  }
  // Seconds of each of the next steps.
  std::vector<double> Run(int steps) {
    std::vector<double> seconds;
    for (int i = 0; i < steps; ++i) {
      const absl::Time begin = absl::Now();
      Step(1);
      seconds.push_back(absl::ToDoubleSeconds(absl::Now() - begin));
    }
    return seconds;
  }

 private:
  void Step(int count) {
    std::vector<Decoder::Row> rows;
    for (size_t i = 0; i < states_.size(); ++i) {
      rows.push_back(
          {absl::MakeConstSpan(tokens_[i]).subspan(states_[i]->length(), count), states_[i].get()});
    }
    const auto logits = decoder_->Step(rows);
    if (!logits.ok()) throw std::runtime_error(std::string(logits.status().message()));
  }

  Decoder* const decoder_;
  std::vector<std::unique_ptr<DecodeState>> states_;
  std::vector<Tokens> tokens_;
};

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Firings of the measured sequences.
int64_t CountFirings(Decoder* decoder, const CausalLm& model, const HooksPtr& hooks, int streams,
                     int steps) {
  std::mt19937 random(1);
  int64_t fired = 0;
  for (int i = 0; i < streams; ++i) {
    const Tokens tokens = RandomTokens(model, kPreamble + steps, random, /*odd=*/true);
    const auto state = decoder->NewSequence(hooks, {true, kPreamble + steps, {}});
    if (!decoder->Step({{{tokens, state.get()}}}).ok()) return -1;
    fired += static_cast<int64_t>(state->TakeFirings().size());
  }
  return fired;
}

absl::Status Measure(const Flags& flags) {
  SetComputeThreads(flags.threads);
  LoadOptions load;
  load.dtype = flags.bfloat16 ? Dtype::kBFloat16 : Dtype::kFloat32;
  AMEND_ASSIGN_OR_RETURN(const auto model, LoadCausalLm(flags.model, load));
  Decoder decoder(model, {0, /*share_prefixes=*/false});
  std::mt19937 random(7);
  const HooksPtr base = HookStack::Empty(*model, kBeta);
  // A line of revisions; the last one has all edits.
  std::vector<HooksPtr> line = {base};
  const int each = std::max(1, flags.edits / flags.revisions);
  for (int i = 0; i < flags.revisions; ++i) {
    AMEND_ASSIGN_OR_RETURN(HooksPtr next,
                           HookStack::Extend(line.back(), Revision(i + 1),
                                             MakeFactors(*model, flags.layers, each, random)));
    line.push_back(std::move(next));
  }
  nlohmann::ordered_json json;
  absl::PrintF("%s, %d edits at %d layers, %d threads\n", flags.model, line.back()->edit_count(),
               flags.layers.size(), flags.threads);
  absl::PrintF("%8s %12s %12s %8s %12s %8s %12s %8s %8s\n", "streams", "no hooks ms", "hooks ms",
               "ratio", "dormant ms", "ratio", "mixed ms", "ratio", "fired");
  for (const int streams : flags.streams) {
    const std::vector<HooksPtr> none(streams, base), edited(streams, line.back());
    std::vector<HooksPtr> mixed;
    for (int i = 0; i < streams; ++i) mixed.push_back(line[line.size() - 1 - i % flags.revisions]);
    std::map<std::string, std::vector<double>> times, ratios;
    for (int round = 0; round < flags.rounds; ++round) {
      Batch a(&decoder, *model, none, flags.steps, round);
      Batch b(&decoder, *model, edited, flags.steps, round);
      Batch c(&decoder, *model, none, flags.steps, round);
      Batch d(&decoder, *model, mixed, flags.steps, round);
      // Step by step in turn: what else the machine does meets all of them.
      std::map<std::string, std::vector<double>> steps;
      for (int i = 0; i < flags.steps; ++i) {
        steps["none"].push_back(a.Run(1)[0]);
        steps["hooks"].push_back(b.Run(1)[0]);
        steps["dormant"].push_back(c.Run(1)[0]);
        steps["mixed"].push_back(d.Run(1)[0]);
      }
      for (const auto& [what, seconds] : steps) {
        times[what].push_back(Median(seconds));
        ratios[what].push_back(Median(seconds) / Median(steps["none"]));
      }
    }
    const int64_t fired = CountFirings(&decoder, *model, line.back(), streams, flags.steps);
    absl::PrintF("%8d %12.3f %12.3f %8.3f %12.3f %8.3f %12.3f %8.3f %8d\n", streams,
                 1e3 * Median(times["none"]), 1e3 * Median(times["hooks"]), Median(ratios["hooks"]),
                 1e3 * Median(times["dormant"]), Median(ratios["dormant"]),
                 1e3 * Median(times["mixed"]), Median(ratios["mixed"]), fired);
    json[std::to_string(streams)] = {{"none_ms", 1e3 * Median(times["none"])},
                                     {"hooks", Median(ratios["hooks"])},
                                     {"dormant", Median(ratios["dormant"])},
                                     {"mixed", Median(ratios["mixed"])},
                                     {"fired", fired}};
  }
  std::cout << json.dump() << std::endl;
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  SetUpProcessMemory();
  Flags flags;
  CLI::App app("Measures what edits cost a decoding step.", "hooks_benchmark");
  app.add_option("--model", flags.model)->required();
  app.add_option("--edits", flags.edits)->check(CLI::PositiveNumber);
  app.add_option("--layers", flags.layers)->delimiter(',');
  app.add_option("--streams", flags.streams)->delimiter(',');
  app.add_option("--steps", flags.steps)->check(CLI::PositiveNumber);
  app.add_option("--rounds", flags.rounds)->check(CLI::PositiveNumber);
  app.add_option("--threads", flags.threads)->check(CLI::PositiveNumber);
  app.add_option("--revisions", flags.revisions)->check(CLI::PositiveNumber);
  app.add_flag("--bfloat16", flags.bfloat16);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Measure(flags);
  if (!status.ok()) std::cerr << "error: " << status.message() << std::endl;
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) { return amend::Main(argc, argv); }
