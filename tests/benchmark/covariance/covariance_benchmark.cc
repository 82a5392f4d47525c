// Times the covariance job beside the forward pass that it needs, over the same texts and in the
// same run: tokens per second of each, best of several, as a table and as JSON.
//
//   covariance_benchmark --model DIR --text FILE [--layers 0,1] [--tokens 20000] [--rounds 5]
//   [--threads 2] [--dtype float32|bfloat16]
//
// First checks that the job's moments are those of the keys that the forward pass shows.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "core/editing/key_covariance.h"
#include "core/editing/tensor_matrix.h"
#include "core/model/attention.h"
#include "core/model/causal_lm.h"
#include "core/model/hook_point.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"
#include "core/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

constexpr int64_t kTokensPerForward = 4096;

struct Flags {
  std::string model;
  std::string text;
  std::string dtype = "float32";
  std::vector<int> layers = {0, 1};
  int64_t tokens = 20000;
  int rounds = 5;
  int threads = 2;
};

struct Setup {
  std::shared_ptr<const CausalLm> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<LayerIndex> layers;
  std::vector<std::string> texts;
  // The same texts as tokens, forward by forward.
  std::vector<std::vector<std::vector<TokenId>>> forwards;
  int64_t tokens = 0;
};

absl::StatusOr<Setup> Prepare(const Flags& flags) {
  Setup setup;
  LoadOptions options;
  if (flags.dtype == "bfloat16") options.dtype = Dtype::kBFloat16;
  AMEND_ASSIGN_OR_RETURN(setup.model, LoadCausalLm(flags.model, options));
  AMEND_ASSIGN_OR_RETURN(setup.tokenizer, Tokenizer::FromDirectory(flags.model));
  for (const int layer : flags.layers) setup.layers.push_back(LayerIndex(layer));
  const size_t context = setup.model->config().context_length;
  std::ifstream file(flags.text);
  int64_t waiting = kTokensPerForward;
  for (std::string line; setup.tokens < flags.tokens && std::getline(file, line);) {
    std::vector<TokenId> tokens = setup.tokenizer->Encode(line);
    tokens.resize(std::min(tokens.size(), context));
    if (tokens.empty()) continue;
    if (waiting >= kTokensPerForward) {
      setup.forwards.emplace_back();
      waiting = 0;
    }
    waiting += static_cast<int64_t>(tokens.size());
    setup.tokens += static_cast<int64_t>(tokens.size());
    setup.forwards.back().push_back(std::move(tokens));
    setup.texts.push_back(std::move(line));
  }
  if (setup.tokens == 0)
    return absl::InvalidArgumentError(absl::StrCat(flags.text, " holds no text"));
  return setup;
}

// Blocks [0, blocks) over all texts, as the job packs them.
void Forward(const Setup& setup, int blocks, const DownProjectionHook* hook) {
  const at::NoGradGuard no_grad;
  const at::Device device = TorchDevice(*setup.model);
  for (const auto& rows : setup.forwards) {
    const std::vector<absl::Span<const TokenId>> spans(rows.begin(), rows.end());
    const PackedTokens packed = PackTokens(spans, {}, device);
    PackedAttention attention(packed.lengths, device);
    RunBlocks(*setup.model, 0, blocks, setup.model->Embed(packed.ids, packed.positions),
              packed.positions, attention, hook);
  }
}

absl::StatusOr<KeyCovariance> Job(const Setup& setup) {
  KeyCovarianceEstimator::Options options;
  options.layers = setup.layers;
  AMEND_ASSIGN_OR_RETURN(
      const auto estimator,
      KeyCovarianceEstimator::Create(setup.model.get(), setup.tokenizer.get(), std::move(options)));
  for (const std::string& text : setup.texts) AMEND_RETURN_IF_ERROR(estimator->Add(text));
  AMEND_RETURN_IF_ERROR(estimator->Finish());
  return estimator->Estimate();
}

// The plain way: the whole square in float64.
class PlainSums : public DownProjectionHook {
 public:
  at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                   const at::Tensor& output) const override {
    const at::Tensor keys = input.to(at::kDouble);
    at::Tensor& sum = sums_[layer];
    const at::Tensor more = at::matmul(keys.t(), keys);
    sum = sum.defined() ? sum + more : more;
    return output;
  }
  const std::map<LayerIndex, at::Tensor>& sums() const { return sums_; }

 private:
  mutable std::map<LayerIndex, at::Tensor> sums_;
};

absl::Status CheckAgreement(const Setup& all, int blocks) {
  Setup setup;
  setup.model = all.model;
  setup.layers = all.layers;
  setup.forwards = {all.forwards[0]};
  PlainSums plain;
  Forward(setup, blocks, &plain);
  KeyCovarianceEstimator::Options options;
  options.layers = setup.layers;
  AMEND_ASSIGN_OR_RETURN(
      const auto estimator,
      KeyCovarianceEstimator::Create(all.model.get(), all.tokenizer.get(), std::move(options)));
  for (size_t i = 0; i < all.forwards[0].size(); ++i)
    AMEND_RETURN_IF_ERROR(estimator->Add(all.texts[i]));
  AMEND_RETURN_IF_ERROR(estimator->Finish());
  AMEND_ASSIGN_OR_RETURN(const KeyCovariance covariance, estimator->Estimate());
  for (const KeyCovariance::Layer& layer : covariance.layers) {
    const at::Tensor wanted = plain.sums().at(layer.layer) / static_cast<double>(covariance.tokens);
    const double difference =
        ((ToTensor(layer.moment) - wanted).abs().max() / wanted.abs().max()).item<double>();
    if (!(difference < 1e-5)) {
      return absl::InternalError(absl::StrCat("layer ", layer.layer.value(), " differs by ",
                                              difference, " from the plain computation"));
    }
  }
  return absl::OkStatus();
}

double Seconds(const std::function<void()>& run) {
  const absl::Time start = absl::Now();
  run();
  return absl::ToDoubleSeconds(absl::Now() - start);
}

absl::Status Run(const Flags& flags) {
  SetComputeThreads(flags.threads);
  AMEND_ASSIGN_OR_RETURN(const Setup setup, Prepare(flags));
  const int blocks = std::max_element(setup.layers.begin(), setup.layers.end())->value() + 1;
  AMEND_RETURN_IF_ERROR(CheckAgreement(setup, blocks));
  double needed = std::numeric_limits<double>::infinity();
  double whole = needed;
  double job = needed;
  absl::Status status;
  for (int round = 0; round < flags.rounds; ++round) {
    needed = std::min(needed, Seconds([&] { Forward(setup, blocks, nullptr); }));
    whole =
        std::min(whole, Seconds([&] { Forward(setup, setup.model->config().layers, nullptr); }));
    job = std::min(job, Seconds([&] { status.Update(Job(setup).status()); }));
  }
  AMEND_RETURN_IF_ERROR(status);
  const auto line = [&](const char* what, double seconds) {
    std::cout << absl::StrFormat("| %-34s | %8.2f | %8.0f | %5.2f | %5.2f |\n", what, seconds,
                                 setup.tokens / seconds, seconds / needed, seconds / whole);
  };
  std::cout
      << absl::StrFormat("%d tokens in %d texts, %d layers, blocks 0 to %d of %d, best of %d\n\n",
                         setup.tokens, setup.texts.size(), setup.layers.size(), blocks - 1,
                         setup.model->config().layers, flags.rounds)
      << "| What | Seconds | Tokens/s | / blocks needed | / all blocks |\n|---|---|---|---|---|\n";
  line("forward, the blocks needed", needed);
  line("forward, all blocks", whole);
  line("covariance job", job);
  std::cout << nlohmann::json{{"model", flags.model},     {"dtype", flags.dtype},
                              {"tokens", setup.tokens},   {"layers", flags.layers},
                              {"threads", flags.threads}, {"forward_needed_seconds", needed},
                              {"forward_seconds", whole}, {"job_seconds", job}}
            << std::endl;
  return absl::OkStatus();
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) {
  amend::Flags flags;
  CLI::App app("Times the covariance job beside the forward pass.", "covariance_benchmark");
  app.add_option("--model", flags.model, "model directory")->required();
  app.add_option("--text", flags.text, "texts, one per line")->required();
  app.add_option("--layers", flags.layers, "layers")->delimiter(',');
  app.add_option("--tokens", flags.tokens, "tokens at most")->check(CLI::PositiveNumber);
  app.add_option("--rounds", flags.rounds, "the best counts")->check(CLI::PositiveNumber);
  app.add_option("--threads", flags.threads, "threads of one operation");
  app.add_option("--dtype", flags.dtype)->check(CLI::IsMember({"float32", "bfloat16"}));
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = amend::Run(flags);
  if (!status.ok()) std::cerr << "covariance_benchmark: " << status.message() << std::endl;
  return status.ok() ? 0 : 1;
}
