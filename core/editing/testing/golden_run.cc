#include "core/editing/testing/golden_run.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/testing/tensor_matchers.h"
#include "core/editing/tensor_matrix.h"
#include "core/editing/testing/random_model.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

// Holds the paraphrases and probes that the golden scores were made with.
constexpr char kFacts[] = "tests/testdata/world_facts.json";

nlohmann::json ReadJson(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

EditSettings SettingsOf(const nlohmann::json& golden) {
  EditSettings settings;
  settings.scope = EditScope::kReference;
  for (const int layer : golden.at("layers")) settings.layers.push_back(LayerIndex(layer));
  settings.lambda = golden.at("lambda_");
  settings.clamp = golden.at("clamp");
  settings.learning_rate = golden.at("v_lr");
  settings.steps = golden.at("steps");
  settings.alpha = golden.at("alpha");
  settings.context_templates = golden.at("templates").at(1).get<std::vector<std::string>>();
  return settings;
}

}  // namespace

void PrintTo(const GoldenModel& model, std::ostream* os) { *os << model.model; }

absl::StatusOr<std::unique_ptr<GoldenRun>> GoldenRun::Load(const GoldenModel& golden_model) {
  std::unique_ptr<GoldenRun> run(new GoldenRun());
  AMEND_ASSIGN_OR_RETURN(run->model_, LoadCausalLm(golden_model.model, LoadOptions()));
  AMEND_ASSIGN_OR_RETURN(run->tokenizer_, Tokenizer::FromDirectory(golden_model.model));
  AMEND_ASSIGN_OR_RETURN(run->file_,
                         SafetensorsFile::Open(golden_model.golden + "/golden.safetensors"));
  const nlohmann::json golden = ReadJson(golden_model.golden + "/golden.json");
  run->settings_ = SettingsOf(golden);
  run->covariance_tokens_ = golden.at("covariance_tokens");
  std::map<std::string, nlohmann::json> by_prompt;
  for (const auto& fact : ReadJson(kFacts)) by_prompt[fact.at("prompt")] = fact;
  const size_t batch_size = golden.at("batch_size");
  for (const auto& request : golden.at("requests")) {
    if (run->batches_.empty() || run->batches_.back().edits.size() == batch_size) {
      const auto& metrics = golden.at("metrics").at(run->batches_.size());
      run->batches_.emplace_back();
      run->batches_.back().scores = {metrics.at("reliability").get<double>(),
                                     metrics.at("generality").get<double>(),
                                     metrics.at("locality").get<double>()};
    }
    Edit edit;
    edit.prompt = request.at("prompt");
    edit.subject = request.at("subject");
    edit.target_new = request.at("target_new");
    const nlohmann::json& fact = by_prompt.at(edit.prompt);
    edit.paraphrases.push_back(fact.at("rephrase_prompt"));
    edit.probes.push_back({fact.at("locality_prompt"), fact.at("locality_ground_truth")});
    AMEND_ASSIGN_OR_RETURN(EditRows rows, MakeEditRows(*run->tokenizer_, run->settings_, edit));
    run->batches_.back().edits.push_back(std::move(edit));
    run->batches_.back().rows.push_back(std::move(rows));
  }
  return run;
}

at::Tensor GoldenRun::Read(const std::string& name) const {
  const auto tensor = file_->Read(name);
  if (tensor.ok()) return *tensor;
  std::cerr << tensor.status() << std::endl;
  std::abort();
}

at::Tensor GoldenRun::Read(int batch, LayerIndex layer, const std::string& name) const {
  return Read(absl::StrCat("batch", batch, ".layer", layer.value(), ".", name));
}

KeyCovariance GoldenRun::Covariance() const {
  KeyCovariance covariance;
  for (const LayerIndex layer : settings_.layers) {
    covariance.layers.push_back(
        {layer, ToMatrix(Read(absl::StrCat("layer", layer.value(), ".covariance")))});
  }
  covariance.tokens = covariance_tokens_;
  return covariance;
}

at::Tensor GoldenRun::TargetValues(int batch) const {
  return Read(absl::StrCat("batch", batch, ".target_z"));
}
at::Tensor GoldenRun::Keys(int batch, LayerIndex layer) const { return Read(batch, layer, "keys"); }
at::Tensor GoldenRun::CurrentValues(int batch, LayerIndex layer) const {
  return Read(batch, layer, "current_z");
}
at::Tensor GoldenRun::LargestScores(int batch, LayerIndex layer) const {
  return Read(batch, layer, "max_z_scores");
}

at::Tensor GoldenRun::Update(int batch, LayerIndex layer) const {
  const at::Tensor base = model_->DownProjection(layer);
  if (batch < 0) return at::zeros_like(base);
  // In the checkpoint's own layout.
  const at::Tensor stored = Read(batch, layer, "hook_weight");
  return (model_->config().architecture == "gpt2" ? stored.t() : stored) - base;
}

double GoldenRun::Alpha(int batch, LayerIndex layer) const {
  return batch < 0 ? settings_.alpha : Read(batch, layer, "alpha").item<double>();
}

ReferenceLayers GoldenRun::LayersAfter(int batch) const {
  ReferenceLayers layers;
  for (const LayerIndex layer : settings_.layers)
    layers[layer] = {Update(batch, layer), Alpha(batch, layer)};
  return layers;
}

void ExpectGolden(const std::string& what, const at::Tensor& actual, const at::Tensor& expected,
                  double tolerance) {
  testing::Test::RecordProperty(what, absl::StrCat(RelativeDifference(actual, expected)));
  EXPECT_THAT(actual, TensorRelativelyNear(expected, tolerance)) << what;
}

}  // namespace amend
