#include "core/editing/key_covariance.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/torch_status.h"
#include "core/editing/moment_settling.h"
#include "core/editing/symmetric_sum.h"
#include "core/editing/tensor_matrix.h"
#include "core/model/attention.h"
#include "core/model/checkpoint.h"
#include "core/model/hook_point.h"
#include "core/model/packed_forward.h"
#include "core/model/torch_device.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

using Json = nlohmann::json;

// Tokens of one forward: enough to keep the products large and what each adds to the float64 sums
// small beside them.
constexpr int64_t kTokensPerForward = 4096;

constexpr char kTokens[] = "tokens";
constexpr char kSettling[] = "settling_steps";

std::string TensorName(LayerIndex layer) {
  return absl::StrCat("layer", layer.value(), ".covariance");
}

// Names of what Save writes.
std::string PartName(LayerIndex layer, absl::string_view part) {
  return absl::StrCat("layer", layer.value(), ".", part);
}

Json ToJson(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

std::optional<double> FromJson(const Json& json) {
  return json.is_number() ? std::optional<double>(json.get<double>()) : std::nullopt;
}

Json ToJson(const std::vector<SettlingStep>& steps) {
  Json json = Json::array();
  for (const SettlingStep& step : steps) {
    json.push_back({step.from_tokens, step.to_tokens, step.moment_change,
                    ToJson(step.median_cosine), ToJson(step.smallest_cosine),
                    ToJson(step.median_leverage_change)});
  }
  return json;
}

// False when `json` is not what ToJson made.
bool StepsFromJson(LayerIndex layer, const Json& json, std::vector<SettlingStep>* steps) {
  if (!json.is_array()) return false;
  for (const Json& item : json) {
    if (!item.is_array() || item.size() != 6 || !item[0].is_number_integer() ||
        !item[1].is_number_integer() || !item[2].is_number()) {
      return false;
    }
    steps->push_back({layer, item[0].get<int64_t>(), item[1].get<int64_t>(), item[2].get<double>(),
                      FromJson(item[3]), FromJson(item[4]), FromJson(item[5])});
  }
  return true;
}

int Log2(int64_t value) {
  int result = -1;
  for (; value > 0; value >>= 1) ++result;
  return result;
}

absl::StatusOr<int64_t> TokensIn(const SafetensorsFile& file) {
  int64_t tokens = 0;
  const auto it = file.metadata().find(kTokens);
  if (it == file.metadata().end()) return tokens;
  if (!absl::SimpleAtoi(it->second, &tokens) || tokens < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": metadata \"tokens\" is \"", it->second, "\", not a count"));
  }
  return tokens;
}

}  // namespace

struct KeyCovarianceEstimator::Layer {
  Layer(LayerIndex layer, int64_t d_in, at::Device device) : sum(d_in, device), settling(layer) {}

  SymmetricSum sum;
  MomentSettling settling;
};

absl::StatusOr<std::unique_ptr<KeyCovarianceEstimator>> KeyCovarianceEstimator::Create(
    const CausalLm* model, const Tokenizer* tokenizer, Options options) {
  const ModelConfig& config = model->config();
  for (const LayerIndex layer : options.layers) {
    if (layer.value() < 0 || layer.value() >= config.layers) {
      return absl::InvalidArgumentError(
          absl::StrCat("layer ", layer.value(), ": the model has layers 0 to ", config.layers - 1));
    }
  }
  auto estimator = std::unique_ptr<KeyCovarianceEstimator>(
      new KeyCovarianceEstimator(model, tokenizer, std::move(options)));
  AMEND_RETURN_IF_ERROR(CatchTorch("making room for the key covariance", [&] {
    for (const LayerIndex layer : estimator->options_.layers) {
      estimator->layers_[layer] =
          std::make_unique<Layer>(layer, config.intermediate_size, TorchDevice(*model));
    }
    return absl::OkStatus();
  }));
  return estimator;
}

KeyCovarianceEstimator::KeyCovarianceEstimator(const CausalLm* model, const Tokenizer* tokenizer,
                                               Options options)
    : model_(model),
      tokenizer_(tokenizer),
      options_(std::move(options)),
      tokens_per_text_(options_.max_tokens_per_text > 0
                           ? std::min(options_.max_tokens_per_text, model->config().context_length)
                           : model->config().context_length) {}

KeyCovarianceEstimator::~KeyCovarianceEstimator() = default;

bool KeyCovarianceEstimator::full() const {
  return options_.max_tokens > 0 && tokens_ + waiting_tokens_ >= options_.max_tokens;
}

absl::Status KeyCovarianceEstimator::Add(absl::string_view text) {
  if (full()) return absl::OkStatus();
  std::vector<TokenId> tokens = tokenizer_->Encode(text);
  tokens.resize(std::min(tokens.size(), tokens_per_text_));
  if (options_.max_tokens > 0) {
    const size_t left = static_cast<size_t>(options_.max_tokens - tokens_ - waiting_tokens_);
    tokens.resize(std::min(tokens.size(), left));
  }
  if (tokens.empty()) return absl::OkStatus();
  waiting_tokens_ += static_cast<int64_t>(tokens.size());
  rows_.push_back(std::move(tokens));
  if (waiting_tokens_ < kTokensPerForward) return absl::OkStatus();
  return CatchTorch("computing the key covariance", [&] {
    RunForward();
    if (Log2(tokens_) > Log2(observed_tokens_)) ObserveSettling();
    return absl::OkStatus();
  });
}

absl::Status KeyCovarianceEstimator::Finish() {
  return CatchTorch("computing the key covariance", [&] {
    if (waiting()) RunForward();
    if (tokens_ > observed_tokens_) ObserveSettling();
    return absl::OkStatus();
  });
}

void KeyCovarianceEstimator::RunForward() {
  // Adds what each layer's down-projection reads.
  class SummingHook : public DownProjectionHook {
   public:
    explicit SummingHook(KeyCovarianceEstimator* estimator) : estimator_(estimator) {}
    void Take(LayerIndex layer, const at::Tensor& keys) const {
      const auto it = estimator_->layers_.find(layer);
      if (it == estimator_->layers_.end()) return;
      it->second->sum.Add(keys);
      if (estimator_->options_.watch_settling) it->second->settling.TakeSample(keys);
    }
    at::Tensor Apply(LayerIndex layer, const at::Tensor& input,
                     const at::Tensor& output) const override {
      Take(layer, input);
      return output;
    }

   private:
    KeyCovarianceEstimator* const estimator_;
  };

  if (!layers_.empty()) {
    const at::NoGradGuard no_grad;
    const SummingHook hook(this);
    const std::vector<absl::Span<const TokenId>> rows(rows_.begin(), rows_.end());
    const at::Device device = TorchDevice(*model_);
    const PackedTokens packed = PackTokens(rows, {}, device);
    PackedAttention attention(packed.lengths, device);
    const LayerIndex last = layers_.rbegin()->first;
    const at::Tensor hidden =
        RunBlocks(*model_, 0, last.value(), model_->Embed(packed.ids, packed.positions),
                  packed.positions, attention, &hook);
    hook.Take(last, model_->DownProjectionInput(last, hidden, packed.positions, attention));
  }
  tokens_ += waiting_tokens_;
  waiting_tokens_ = 0;
  rows_.clear();
}

void KeyCovarianceEstimator::ObserveSettling() {
  observed_tokens_ = tokens_;
  if (!options_.watch_settling) return;
  const at::NoGradGuard no_grad;
  for (const auto& [layer, state] : layers_) state->settling.Observe(state->sum, tokens_);
}

std::vector<SettlingStep> KeyCovarianceEstimator::Settling() const {
  std::vector<SettlingStep> steps;
  for (const auto& [layer, state] : layers_) {
    steps.insert(steps.end(), state->settling.steps().begin(), state->settling.steps().end());
  }
  std::stable_sort(steps.begin(), steps.end(), [](const SettlingStep& a, const SettlingStep& b) {
    return a.to_tokens < b.to_tokens;
  });
  return steps;
}

absl::StatusOr<KeyCovariance> KeyCovarianceEstimator::Estimate() const {
  if (tokens_ == 0) return absl::InvalidArgumentError("the covariance texts hold no token");
  KeyCovariance covariance;
  covariance.tokens = tokens_;
  const absl::Status status = CatchTorch("computing the key covariance", [&]() -> absl::Status {
    for (const auto& [layer, state] : layers_) {
      const at::Tensor moment = state->sum.Dense().div_(static_cast<double>(tokens_));
      // A key that is not finite shows on the diagonal: squares do not cancel.
      if (!at::isfinite(moment.diagonal()).all().item<bool>()) {
        return absl::InternalError(
            absl::StrCat("the key covariance of layer ", layer.value(), " is not finite"));
      }
      covariance.layers.push_back({layer, ToMatrix(moment)});
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return covariance;
}

absl::Status KeyCovarianceEstimator::Save(
    const std::string& path, const std::map<std::string, std::string>& metadata) const {
  if (waiting()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " cannot be written while texts wait for their forward"));
  }
  return CatchTorch("saving the covariance's sums", [&] {
    std::map<std::string, at::Tensor> tensors;
    std::map<std::string, std::string> all = metadata;
    Json settling = Json::object();
    for (const auto& [layer, state] : layers_) {
      const std::vector<at::Tensor>& panels = state->sum.panels();
      const MomentSettling::State watched = state->settling.state();
      for (size_t i = 0; i < panels.size(); ++i) {
        tensors[PartName(layer, absl::StrCat("sum.", i))] = panels[i];
        if (!watched.earlier.empty())
          tensors[PartName(layer, absl::StrCat("earlier.", i))] = watched.earlier[i];
      }
      if (watched.sample.defined()) tensors[PartName(layer, "sample")] = watched.sample;
      if (watched.directions.defined()) tensors[PartName(layer, "directions")] = watched.directions;
      settling[absl::StrCat(layer.value())] = ToJson(watched.steps);
    }
    all[kTokens] = absl::StrCat(tokens_);
    all["observed_tokens"] = absl::StrCat(observed_tokens_);
    all[kSettling] = settling.dump();
    return WriteSafetensors(tensors, path, all);
  });
}

absl::Status KeyCovarianceEstimator::Restore(const std::string& path) {
  return CatchTorch("reading the covariance's sums", [&] { return RestoreFrom(path); });
}

absl::Status KeyCovarianceEstimator::RestoreFrom(const std::string& path) {
  AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  AMEND_ASSIGN_OR_RETURN(tokens_, TokensIn(*file));
  const auto text = [&](const char* name) {
    const auto it = file->metadata().find(name);
    return it == file->metadata().end() ? std::string() : it->second;
  };
  const Json settling = Json::parse(text(kSettling), nullptr, /*allow_exceptions=*/false);
  if (!absl::SimpleAtoi(text("observed_tokens"), &observed_tokens_) || !settling.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " does not hold the sums of a key covariance"));
  }
  const at::Device device = TorchDevice(*model_);
  for (const auto& [layer, state] : layers_) {
    std::vector<at::Tensor> panels;
    MomentSettling::State watched;
    watched.tokens = observed_tokens_;
    const auto optional = [&](const std::string& name) -> absl::StatusOr<at::Tensor> {
      if (!file->Contains(name)) return at::Tensor();
      AMEND_ASSIGN_OR_RETURN(const at::Tensor tensor, file->Read(name));
      return tensor.to(device);
    };
    for (size_t i = 0; i < state->sum.panels().size(); ++i) {
      AMEND_ASSIGN_OR_RETURN(const at::Tensor panel,
                             file->Read(PartName(layer, absl::StrCat("sum.", i))));
      panels.push_back(panel);
      AMEND_ASSIGN_OR_RETURN(at::Tensor earlier,
                             optional(PartName(layer, absl::StrCat("earlier.", i))));
      if (earlier.defined()) watched.earlier.push_back(std::move(earlier));
    }
    AMEND_ASSIGN_OR_RETURN(watched.sample, optional(PartName(layer, "sample")));
    AMEND_ASSIGN_OR_RETURN(watched.directions, optional(PartName(layer, "directions")));
    const auto steps = settling.find(absl::StrCat(layer.value()));
    if ((!watched.earlier.empty() && watched.earlier.size() != panels.size()) ||
        steps == settling.end() || !StepsFromJson(layer, *steps, &watched.steps)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": the settling of layer ", layer.value(), " is broken"));
    }
    if (const absl::Status restored = state->sum.Restore(panels); !restored.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": layer ", layer.value(), ": ", restored.message()));
    }
    state->settling.Restore(std::move(watched));
  }
  return absl::OkStatus();
}

absl::StatusOr<KeyCovariance> ComputeKeyCovariance(
    const CausalLm& model, const Tokenizer& tokenizer, absl::Span<const LayerIndex> layers,
    absl::Span<const std::string> texts, int max_tokens_per_text,
    const std::function<void(int64_t texts_done)>& progress) {
  KeyCovarianceEstimator::Options options;
  options.layers.assign(layers.begin(), layers.end());
  options.max_tokens_per_text = max_tokens_per_text;
  AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<KeyCovarianceEstimator> estimator,
                         KeyCovarianceEstimator::Create(&model, &tokenizer, std::move(options)));
  for (size_t i = 0; i < texts.size(); ++i) {
    AMEND_RETURN_IF_ERROR(estimator->Add(texts[i]));
    if (i + 1 == texts.size()) AMEND_RETURN_IF_ERROR(estimator->Finish());
    if (progress && !estimator->waiting()) progress(static_cast<int64_t>(i) + 1);
  }
  return estimator->Estimate();
}

absl::Status SaveKeyCovariance(const KeyCovariance& covariance, const std::string& path) {
  return CatchTorch("saving the key covariance", [&] {
    std::map<std::string, at::Tensor> tensors;
    for (const KeyCovariance::Layer& layer : covariance.layers)
      tensors[TensorName(layer.layer)] = ToTensor(layer.moment);
    std::map<std::string, std::string> metadata;
    if (covariance.tokens > 0) metadata[kTokens] = absl::StrCat(covariance.tokens);
    return WriteSafetensors(tensors, path, metadata);
  });
}

absl::StatusOr<KeyCovariance> LoadKeyCovariance(const std::string& path,
                                                absl::Span<const LayerIndex> layers) {
  KeyCovariance covariance;
  const absl::Status status = CatchTorch("loading the key covariance", [&]() -> absl::Status {
    AMEND_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                           SafetensorsFile::Open(path));
    AMEND_ASSIGN_OR_RETURN(covariance.tokens, TokensIn(*file));
    for (const LayerIndex layer : layers) {
      AMEND_ASSIGN_OR_RETURN(const at::Tensor moment, file->Read(TensorName(layer)));
      if (moment.dim() != 2 || moment.size(0) != moment.size(1)) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": tensor ", TensorName(layer), " is not square"));
      }
      covariance.layers.push_back({layer, ToMatrix(moment)});
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return covariance;
}

}  // namespace amend
