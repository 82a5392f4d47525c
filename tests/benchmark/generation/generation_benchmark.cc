// Times greedy generation straight over the decoder, without a server: tokens per second of 1, 4
// and 16 sequences and the seconds of one long prompt, beside how fast this machine reads memory
// and multiplies matrices in the same run. Prints a table and, last, one line of JSON.
//
//   generation_benchmark --model DIR [--dtype float32|bfloat16] [--prompts FILE] [--streams 1,4,16]
//   [--prompt-tokens 16] [--new-tokens 64] [--prefill 512] [--rounds 3] [--threads 2]
//   [--first-edited-layer 8]
//
// With --first-edited-layer the long prompt is timed once more as after a promotion: another
// revision had it, so that the layers below that one do not run it again.
//
// --prompts is JSON, {"decode": [[id, ...], ...], "prefill": [id, ...]}: what the other engines are
// given too; without it prompts are made from a fixed seed. The JSON holds the tokens that the
// first round generated, so that they can be compared. Before anything is timed, one sequence is
// generated alone and among others, and both have to yield the same tokens.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/parallel.h"
#include "core/base/process_memory.h"
#include "core/base/status_macros.h"
#include "core/base/types.h"
#include "core/editing/hook_stack.h"
#include "core/generation/decoder.h"
#include "core/generation/sampler.h"
#include "core/model/causal_lm.h"
#include "core/model/torch_device.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

struct Flags {
  std::string model;
  std::string dtype = "float32";
  std::string prompts;
  std::vector<int> streams = {1, 4, 16};
  int prompt_tokens = 16;
  int new_tokens = 64;
  int prefill = 512;
  int rounds = 3;
  int threads = 2;
  int first_edited_layer = 0;
};

using Tokens = std::vector<TokenId>;

struct Setup {
  std::shared_ptr<const CausalLm> model;
  std::vector<Tokens> prompts;
  Tokens prefill;
  LayerIndex first_edited_layer;
};

struct Generated {
  std::vector<Tokens> tokens;
  double prefill_seconds = 0;
  // One forward for each token but the first, with sampling.
  double decode_seconds = 0;
};

double Seconds(absl::FunctionRef<void()> body) {
  const absl::Time begin = absl::Now();
  body();
  return absl::ToDoubleSeconds(absl::Now() - begin);
}

double BestSeconds(int rounds, absl::FunctionRef<void()> body) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < rounds; ++i) best = std::min(best, Seconds(body));
  return best;
}

// The sum of `count` numbers, a multiple of 32: four parts side by side, since the processor
// fetches ahead along several lines of addresses faster than along one.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) int64_t Sum(
    const int64_t* numbers, int64_t count) {
  int64_t parts[4][8] = {};
  for (int64_t at = 0; at < count / 4; at += 8) {
    for (int part = 0; part < 4; ++part) {
      const int64_t* const eight = numbers + count / 4 * part + at;
      for (int j = 0; j < 8; ++j) parts[part][j] += eight[j];
    }
  }
  return std::accumulate(&parts[0][0], &parts[0][0] + 32, int64_t{0});
}

// Bytes per second that the threads read together, of 2 GiB, which no cache holds.
double ReadBandwidth(int threads) {
  std::vector<int64_t> numbers((int64_t{2} << 30) / sizeof(int64_t), 1);
  const int64_t share = static_cast<int64_t>(numbers.size()) / threads / 32 * 32;
  std::vector<int64_t> sums(threads);
  const double seconds = BestSeconds(16, [&] {
    ParallelFor(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sums[i] = Sum(numbers.data() + share * i, share);
    });
  });
  if (sums[0] != share) std::cerr << "wrong sum" << std::endl;
  return static_cast<double>(share * threads * sizeof(int64_t)) / seconds;
}

// Multiplications and additions per second of one dense product of LibTorch's, as large as those
// of a block's MLP.
double ProductSpeed(const CausalLm& model, int64_t rows) {
  const c10::InferenceMode inference;
  const int64_t d = model.config().hidden_size;
  const int64_t m = model.config().intermediate_size;
  const at::Tensor x = at::randn({rows, d}).to(TorchDtype(model));
  const at::Tensor weight = at::randn({m, d}).to(TorchDtype(model));
  const double seconds = BestSeconds(30, [&] { at::linear(x, weight); });
  return 2.0 * static_cast<double>(rows * d * m) / seconds;
}

absl::StatusOr<Setup> Prepare(const Flags& flags) {
  Setup setup;
  LoadOptions options;
  if (flags.dtype == "bfloat16") options.dtype = Dtype::kBFloat16;
  AMEND_ASSIGN_OR_RETURN(setup.model, LoadCausalLm(flags.model, options));
  if (flags.first_edited_layer >= setup.model->config().layers) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--first-edited-layer is %d, the model has %d", flags.first_edited_layer,
                        setup.model->config().layers));
  }
  setup.first_edited_layer = LayerIndex(flags.first_edited_layer);
  if (!flags.prompts.empty()) {
    std::ifstream file(flags.prompts);
    const nlohmann::json json = nlohmann::json::parse(file);
    setup.prompts = json.at("decode").get<std::vector<Tokens>>();
    setup.prefill = json.at("prefill").get<Tokens>();
    return setup;
  }
  std::mt19937_64 generator(20240607);
  const auto prompt = [&](int length) {
    Tokens tokens;
    for (int i = 0; i < length; ++i) {
      tokens.push_back(static_cast<TokenId>(generator() % setup.model->config().vocabulary_size));
    }
    return tokens;
  };
  const int most = *std::max_element(flags.streams.begin(), flags.streams.end());
  for (int i = 0; i < most; ++i) setup.prompts.push_back(prompt(flags.prompt_tokens));
  setup.prefill = prompt(std::min(flags.prefill, setup.model->config().context_length));
  return setup;
}

// Every prompt is read, also one that was read before.
Decoder::Options WithoutSharing(const Setup& setup) {
  Decoder::Options options;
  options.first_edited_layer = setup.first_edited_layer;
  options.share_prefixes = false;
  return options;
}

absl::StatusOr<Generated> Generate(const Setup& setup, int streams, int new_tokens) {
  Decoder decoder(setup.model, WithoutSharing(setup));
  const auto hooks = HookStack::Empty(*setup.model, 0.5);
  Generated result;
  result.tokens.resize(streams);
  std::vector<std::unique_ptr<DecodeState>> states;
  std::vector<Sampler> samplers(streams, Sampler(SamplingParams()));
  for (int i = 0; i < streams; ++i) states.push_back(decoder.NewSequence(hooks, false));
  absl::Status status;
  const auto step = [&](bool prefill) -> absl::Status {
    std::vector<Decoder::Row> rows;
    for (int i = 0; i < streams; ++i) {
      rows.push_back({prefill ? absl::MakeConstSpan(setup.prompts[i])
                              : absl::MakeConstSpan(result.tokens[i]).last(1),
                      states[i].get()});
    }
    AMEND_ASSIGN_OR_RETURN(const StepLogits logits, decoder.Step(rows));
    for (int i = 0; i < streams; ++i) {
      AMEND_ASSIGN_OR_RETURN(const SampledToken token, samplers[i].Sample(logits.row(i), {}));
      result.tokens[i].push_back(token.id);
    }
    return absl::OkStatus();
  };
  result.prefill_seconds = Seconds([&] { status = step(true); });
  AMEND_RETURN_IF_ERROR(status);
  result.decode_seconds = Seconds([&] {
    for (int i = 1; i < new_tokens && status.ok(); ++i) status = step(false);
  });
  AMEND_RETURN_IF_ERROR(status);
  return result;
}

struct PrefillTimes {
  double cold = std::numeric_limits<double>::infinity();
  // Where another revision had the prompt before; infinite where edits begin at layer 0.
  double promoted = std::numeric_limits<double>::infinity();
};

// Seconds of the long prompt, whole, as a revision's first.
absl::StatusOr<double> PrefillSeconds(Decoder& decoder, const Setup& setup) {
  // A stack of its own, as each revision has: finds nothing of the edited layers.
  const auto hooks = HookStack::Empty(*setup.model, 0.5);
  const auto state = decoder.NewSequence(hooks, {false, 0, setup.prefill});
  const std::vector<Decoder::Row> rows = {{setup.prefill, state.get()}};
  absl::Status status;
  const double seconds = Seconds([&] { status = decoder.Step(rows).status(); });
  AMEND_RETURN_IF_ERROR(status);
  return seconds;
}

// Best of some rounds, with and without what is shared in turn.
absl::StatusOr<PrefillTimes> TimePrefill(const Setup& setup, int rounds) {
  Decoder cold(setup.model, WithoutSharing(setup));
  Decoder::Options options;
  options.first_edited_layer = setup.first_edited_layer;
  Decoder promoted(setup.model, options);
  const bool shares = setup.first_edited_layer > LayerIndex(0);
  if (shares) AMEND_RETURN_IF_ERROR(PrefillSeconds(promoted, setup).status());
  PrefillTimes times;
  for (int round = 0; round < rounds; ++round) {
    AMEND_ASSIGN_OR_RETURN(const double seconds, PrefillSeconds(cold, setup));
    times.cold = std::min(times.cold, seconds);
    if (!shares) continue;
    AMEND_ASSIGN_OR_RETURN(const double less, PrefillSeconds(promoted, setup));
    times.promoted = std::min(times.promoted, less);
  }
  return times;
}

// What one step reads of the weights, and what it multiplies for each token outside the head.
struct Work {
  double step_bytes = 0;
  double token_flops = 0;
  double head_flops = 0;
};

Work WorkOf(const CausalLm& model) {
  const ModelConfig& config = model.config();
  const double d = config.hidden_size;
  const double blocks = config.layers * (4 * d * d + 2 * d * config.intermediate_size);
  const double head = d * config.vocabulary_size;
  const double bytes = TorchDtype(model) == at::kBFloat16 ? 2 : 4;
  return {bytes * (blocks + head), 2 * blocks, 2 * head};
}

absl::StatusOr<nlohmann::json> Measure(const Flags& flags) {
  SetComputeThreads(flags.threads);
  AMEND_ASSIGN_OR_RETURN(const Setup setup, Prepare(flags));
  const Work work = WorkOf(*setup.model);
  AMEND_ASSIGN_OR_RETURN(const Generated alone, Generate(setup, 1, flags.new_tokens));
  const double bandwidth = ReadBandwidth(flags.threads);
  nlohmann::json report = {{"dtype", flags.dtype}, {"threads", flags.threads}};
  std::cout << absl::StrFormat("%s, %d threads; read bandwidth %.1f GB/s; a step reads %.0f MB\n",
                               flags.dtype, flags.threads, bandwidth / 1e9, work.step_bytes / 1e6);
  std::cout << "streams   tokens/s   ms/step   GB/s of weights   of bandwidth\n";
  for (const int streams : flags.streams) {
    double best = std::numeric_limits<double>::infinity();
    double whole = best;
    Generated first;
    for (int round = 0; round < flags.rounds; ++round) {
      AMEND_ASSIGN_OR_RETURN(Generated run, Generate(setup, streams, flags.new_tokens));
      best = std::min(best, run.decode_seconds / (flags.new_tokens - 1));
      whole = std::min(whole, run.decode_seconds + run.prefill_seconds);
      if (round == 0) first = std::move(run);
    }
    if (first.tokens[0] != alone.tokens[0]) {
      return absl::InternalError("a sequence yields other tokens alone than among others");
    }
    const double speed = work.step_bytes / best;
    std::cout << absl::StrFormat("%7d %10.1f %9.2f %17.1f %13.0f%%\n", streams, streams / best,
                                 best * 1e3, speed / 1e9, 100 * speed / bandwidth);
    report["decode"].push_back({{"streams", streams},
                                {"tokens_per_second", streams / best},
                                {"whole_tokens_per_second", streams * flags.new_tokens / whole},
                                {"step_seconds", best},
                                {"of_bandwidth", speed / bandwidth},
                                {"tokens", first.tokens}});
  }
  AMEND_ASSIGN_OR_RETURN(const PrefillTimes times, TimePrefill(setup, flags.rounds));
  const double prefill = times.cold;
  const double rows = static_cast<double>(setup.prefill.size());
  const double product = ProductSpeed(*setup.model, static_cast<int64_t>(rows));
  const double speed = (rows * work.token_flops + work.head_flops) / prefill;
  std::cout << absl::StrFormat(
      "prompt of %.0f tokens: %.3f s, %.0f GFLOP/s, %.0f%% of one product's %.0f\n", rows, prefill,
      speed / 1e9, 100 * speed / product, product / 1e9);
  report["bandwidth"] = bandwidth;
  report["prefill"] = {
      {"tokens", rows}, {"seconds", prefill}, {"flops", speed}, {"of_product", speed / product}};
  if (flags.first_edited_layer > 0) {
    std::cout << absl::StrFormat("after a promotion, edits from layer %d on: %.3f s, %.0f%%\n",
                                 flags.first_edited_layer, times.promoted,
                                 100 * times.promoted / prefill);
    report["promoted_prefill"] = {{"first_edited_layer", flags.first_edited_layer},
                                  {"seconds", times.promoted}};
  }
  return report;
}

int Main(int argc, char** argv) {
  SetUpProcessMemory();
  Flags flags;
  CLI::App app("Times greedy generation straight over the decoder.");
  app.add_option("--model", flags.model)->required();
  app.add_option("--dtype", flags.dtype)->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--prompts", flags.prompts)->check(CLI::ExistingFile);
  app.add_option("--streams", flags.streams)->delimiter(',');
  app.add_option("--prompt-tokens", flags.prompt_tokens);
  app.add_option("--new-tokens", flags.new_tokens)->check(CLI::Range(2, 100000));
  app.add_option("--prefill", flags.prefill);
  app.add_option("--rounds", flags.rounds);
  app.add_option("--threads", flags.threads);
  app.add_option("--first-edited-layer", flags.first_edited_layer)->check(CLI::NonNegativeNumber);
  CLI11_PARSE(app, argc, argv);
  const auto report = Measure(flags);
  if (!report.ok()) {
    std::cerr << report.status() << std::endl;
    return 1;
  }
  std::cout << report->dump() << std::endl;
  return 0;
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) { return amend::Main(argc, argv); }
