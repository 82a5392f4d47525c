#include "core/model/causal_lm.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/model/attention.h"
#include "core/model/checkpoint.h"
#include "core/model/gpt2.h"
#include "core/model/gpt_neox.h"
#include "core/model/gptj.h"
#include "core/model/llama.h"

namespace amend {
namespace {

using Loader = absl::StatusOr<std::shared_ptr<const CausalLm>> (*)(const ModelConfig&,
                                                                   const LoadOptions&,
                                                                   const Checkpoint&);

// Of an architecture that ReadModelConfig lets through.
Loader LoaderOf(const std::string& architecture) {
  if (architecture == "gpt2") return LoadGpt2;
  if (architecture == "gptj") return LoadGptj;
  if (architecture == "gpt_neox") return LoadGptNeox;
  return LoadLlama;
}

}  // namespace

at::Tensor CausalLm::Block(LayerIndex layer, const at::Tensor& hidden, const at::Tensor& positions,
                           AttentionContext& attention, const DownProjectionHook* hook) const {
  const AttentionInput input = Project(layer, hidden, positions);
  return Finish(layer, hidden, attention.Attend(layer, input.query, input.key, input.value), hook);
}

absl::StatusOr<std::shared_ptr<const CausalLm>> LoadCausalLm(const std::string& directory,
                                                             const LoadOptions& options) {
  if (options.device == Device::kCuda && !CudaIsAvailable()) {
    return absl::FailedPreconditionError(
        "device cuda was asked for, and LibTorch sees no CUDA device here");
  }
  AMEND_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(directory));
  AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, Checkpoint::Open(directory));
  std::shared_ptr<const CausalLm> model;
  AMEND_RETURN_IF_ERROR(CatchTorch(absl::StrCat("loading ", directory), [&]() -> absl::Status {
    AMEND_ASSIGN_OR_RETURN(model, LoaderOf(config.architecture)(config, options, *checkpoint));
    return absl::OkStatus();
  }));
  return model;
}

absl::StatusOr<std::string> ModelFingerprint(const std::string& directory) {
  AMEND_ASSIGN_OR_RETURN(std::vector<std::string> paths, Checkpoint::WeightFiles(directory));
  paths.push_back(directory + "/config.json");
  std::map<std::string, std::string> digests;
  for (const std::string& path : paths) {
    AMEND_ASSIGN_OR_RETURN(digests[path.substr(path.rfind('/') + 1)], Sha256HexOfFile(path));
  }
  return FingerprintOf(digests);
}

std::string FingerprintOf(const std::map<std::string, std::string>& digests) {
  std::string lines;
  for (const auto& [name, digest] : digests) absl::StrAppend(&lines, name, " ", digest, "\n");
  return Sha256Hex(lines);
}

bool CudaIsAvailable() { return at::hasCUDA(); }

int ComputeThreads() { return at::get_num_threads(); }

void SetComputeThreads(int threads) {
  // The first call in a thread takes over the last number set anywhere: have that behind us.
  at::get_num_threads();
  at::set_num_threads(threads);
}

}  // namespace amend
