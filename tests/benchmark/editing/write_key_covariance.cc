// Computes the key covariance of a model's layers, for programs that are to be given the same.
//
//   write_key_covariance --model DIR --layers 0,1 --out FILE.safetensors
//
// The texts are those of DIR/covariance_texts.txt, one a line.
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "core/editing/key_covariance.h"
#include "core/model/causal_lm.h"
#include "core/tokenizer/tokenizer.h"

namespace amend {
namespace {

absl::Status Run(const std::string& directory, const std::vector<int>& layers,
                 const std::string& out) {
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const CausalLm> model,
                         LoadCausalLm(directory, LoadOptions()));
  AMEND_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                         Tokenizer::FromDirectory(directory));
  std::vector<LayerIndex> indices;
  for (const int layer : layers) indices.push_back(LayerIndex(layer));
  std::vector<std::string> texts;
  std::ifstream file(directory + "/covariance_texts.txt");
  for (std::string line; std::getline(file, line);) texts.push_back(line);
  const absl::Time start = absl::Now();
  AMEND_ASSIGN_OR_RETURN(const KeyCovariance covariance,
                         ComputeKeyCovariance(*model, *tokenizer, indices, texts, 0, nullptr));
  absl::PrintF("key covariance: %d tokens in %.2f s\n", covariance.tokens,
               absl::ToDoubleSeconds(absl::Now() - start));
  return SaveKeyCovariance(covariance, out);
}

}  // namespace
}  // namespace amend

int main(int argc, char** argv) {
  std::string model;
  std::string out;
  std::vector<int> layers;
  int threads = 2;
  CLI::App app("Writes the key covariance of a model's layers.");
  app.add_option("--model", model, "Hugging Face directory with covariance_texts.txt")->required();
  app.add_option("--layers", layers, "edited layers")->delimiter(',')->required();
  app.add_option("--out", out, "safetensors file to write")->required();
  app.add_option("--threads", threads, "threads of one operation");
  CLI11_PARSE(app, argc, argv);
  amend::SetComputeThreads(threads);
  const absl::Status status = amend::Run(model, layers, out);
  if (!status.ok()) std::cerr << status << std::endl;
  return status.ok() ? 0 : 1;
}
