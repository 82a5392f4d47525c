// Measures what the metrics cost beside decoding: the calls that one step of the scheduler makes
// against a decoding step of a model, in turn, in one run. Prints a table.
//
//   metrics_benchmark --model DIR [--streams 1,4,16] [--steps 64] [--rounds 15]
//
// One thread, float32, the unedited model. A request is taken to have 16 tokens, so that a step
// makes the calls of a request's beginning and end for every sixteenth of its streams.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/process_memory.h"
#include "core/base/status_macros.h"
#include "core/editing/hook_stack.h"
#include "core/generation/decoder.h"
#include "core/model/causal_lm.h"
#include "server/metrics.h"

namespace amend {
namespace {

struct Flags {
  std::string model;
  std::vector<int> streams = {1, 4, 16};
  int steps = 64;
  int rounds = 15;
};

constexpr double kBeta = 0.5;
constexpr int kTokensOfARequest = 16;
// Repetitions of the metric calls for one measured step: one alone is too short for the clock.
constexpr int kRepetitions = 200;

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Seconds of a decoding step over `streams` sequences: mean over `steps`.
absl::StatusOr<double> TimeSteps(const CausalLm& model, Decoder* decoder, int streams, int steps) {
  std::mt19937 random(1);
  const auto hooks = HookStack::Empty(model, kBeta);
  std::vector<std::unique_ptr<DecodeState>> sequences;
  for (int i = 0; i < streams; ++i) sequences.push_back(decoder->NewSequence(hooks, false));
  absl::Duration spent;
  // The first step is not counted.
  for (int step = 0; step <= steps; ++step) {
    std::vector<TokenId> tokens;
    for (int i = 0; i < streams; ++i) {
      tokens.push_back(static_cast<TokenId>(random() % model.config().vocabulary_size));
    }
    std::vector<Decoder::Row> rows;
    for (int i = 0; i < streams; ++i) {
      rows.push_back({absl::MakeConstSpan(tokens).subspan(i, 1), sequences[i].get()});
    }
    const absl::Time start = absl::Now();
    AMEND_RETURN_IF_ERROR(decoder->Step(rows).status());
    if (step > 0) spent += absl::Now() - start;
  }
  return absl::ToDoubleSeconds(spent) / steps;
}

// Seconds of the calls that the scheduler makes in one step over `streams` sequences.
double TimeMetrics(Metrics* metrics, int streams) {
  int tokens = 0;
  const absl::Time start = absl::Now();
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    metrics->OnStep(streams);
    metrics->OnHooks(streams, repetition % 2);
    for (int i = 0; i < streams; ++i) {
      metrics->OnInterToken(absl::Microseconds(900 + repetition));
      if (++tokens % kTokensOfARequest != 0) continue;
      metrics->OnFirstToken(absl::Milliseconds(3));
      metrics->OnRequestEnd({"length", absl::Milliseconds(20), 8, kTokensOfARequest, 4});
    }
    metrics->OnSequences(streams, 0);
    metrics->OnKvCache(streams * 40, 16384);
  }
  return absl::ToDoubleSeconds(absl::Now() - start) / kRepetitions;
}

absl::Status Run(const Flags& flags) {
  SetComputeThreads(1);
  AMEND_ASSIGN_OR_RETURN(const auto model, LoadCausalLm(flags.model, {}));
  Decoder decoder(model);
  Metrics metrics;
  absl::PrintF("%8s %12s %12s %8s\n", "streams", "step, us", "metrics, us", "share");
  for (const int streams : flags.streams) {
    std::vector<double> steps, calls;
    for (int round = 0; round < flags.rounds; ++round) {
      AMEND_ASSIGN_OR_RETURN(const double step, TimeSteps(*model, &decoder, streams, flags.steps));
      steps.push_back(step);
      calls.push_back(TimeMetrics(&metrics, streams));
    }
    const double step = Median(steps);
    const double call = Median(calls);
    absl::PrintF("%8d %12.1f %12.3f %7.3f%%\n", streams, step * 1e6, call * 1e6, 100 * call / step);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) {
  amend::SetUpProcessMemory();
  amend::Flags flags;
  CLI::App app("Measures what the metrics cost beside decoding.");
  app.add_option("--model", flags.model, "Hugging Face model directory")->required();
  app.add_option("--streams", flags.streams, "Sequences in a step")->delimiter(',');
  app.add_option("--steps", flags.steps, "Steps of a round");
  app.add_option("--rounds", flags.rounds, "Rounds");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = amend::Run(flags);
  if (status.ok()) return 0;
  std::cerr << status << std::endl;
  return 1;
}
