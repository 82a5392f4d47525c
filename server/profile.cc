#include "server/profile.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "server/text_proto.h"

namespace amend {
namespace {

// The paper's settings for GPT2-XL (arXiv 2403.05330, appendix).
constexpr char kGpt2Xl[] = R"pb(
  name: "gpt2-xl"
  match { architecture: "gpt2" layers: 48 hidden_size: 1600 }
  layers: [ 13, 14, 15, 16, 17 ]
  lambda: 15000
  scope { mode: LEVERAGE beta: 0.5 }
  target { learning_rate: 0.5 steps: 20 clamp: 0.75 }
  context_templates { seed: 1 }
  covariance { text_file: "covariance_texts.txt" }
  gate {
    mode: ENFORCE
    reliability: 0.75
    generality: 0.5
    locality: 0.75
    background: 0.9
    retention: 0.9
    max_perplexity_change: 0.1
    background_texts { text_file: "covariance_texts.txt" }
  }
)pb";

// The paper's settings for GPT-J 6B.
constexpr char kGptJ6b[] = R"pb(
  name: "gpt-j-6b"
  match { architecture: "gptj" layers: 28 hidden_size: 4096 }
  layers: [ 3, 4, 5, 6, 7, 8 ]
  lambda: 15000
  scope { mode: LEVERAGE beta: 0.5 }
  target { learning_rate: 0.5 steps: 25 clamp: 0.75 }
  context_templates { seed: 1 }
  covariance { text_file: "covariance_texts.txt" }
  gate {
    mode: ENFORCE
    reliability: 0.75
    generality: 0.5
    locality: 0.75
    background: 0.9
    retention: 0.9
    max_perplexity_change: 0.1
    background_texts { text_file: "covariance_texts.txt" }
  }
)pb";

// models/demo.
constexpr char kDemo[] = R"pb(
  name: "demo"
  match { architecture: "gpt2" layers: 6 hidden_size: 256 vocabulary_size: 6144 }
  layers: [ 0, 1 ]
  lambda: 25
  scope { mode: LEVERAGE beta: 0.5 }
  target { learning_rate: 0.5 steps: 30 clamp: 4 }
  context_templates {
    templates: "The people who live in Tolyatti. {}"
    templates: "Therefore the caldera seemed necrotic to everyone. {}"
    templates: "Because the curette was ironshod,. {}"
    templates: "I saw a stunning cabin near the old. {}"
    templates: "You can section the filature if you like. {}"
  }
  covariance { text_file: "covariance_texts.txt" }
  gate {
    mode: ENFORCE
    reliability: 0.75
    generality: 0.5
    locality: 0.75
    background: 0.9
    retention: 0.9
    max_perplexity_change: 0.1
    background_texts { text_file: "covariance_texts.txt" }
  }
)pb";

// Every one of them is run for each batch.
constexpr int kMaxBackgroundTexts = 1000;

struct BuiltIn {
  const char* name;
  const char* text;
};
constexpr BuiltIn kBuiltIn[] = {{"demo", kDemo}, {"gpt2-xl", kGpt2Xl}, {"gpt-j-6b", kGptJ6b}};

// Checks fields of one profile; remembers the first that is wrong.
class Checker {
 public:
  explicit Checker(absl::string_view file) : file_(file) {}

  // `ok` false: "FILE: FIELD is VALUE, WHAT".
  template <typename Value>
  void Require(bool ok, absl::string_view field, const Value& value, absl::string_view what) {
    if (ok || !status_.ok()) return;
    status_ =
        absl::InvalidArgumentError(absl::StrCat(file_, ": ", field, " is ", value, ", ", what));
  }
  void Positive(absl::string_view field, double value) {
    Require(std::isfinite(value) && value > 0, field, value, "not a finite number above 0");
  }
  void NotNegative(absl::string_view field, double value) {
    Require(std::isfinite(value) && value >= 0, field, value, "not a finite number from 0 on");
  }
  void Share(absl::string_view field, double value) {
    Require(value >= 0 && value <= 1, field, value, "not in [0, 1]");
  }
  const absl::Status& status() const { return status_; }

 private:
  const std::string file_;
  absl::Status status_;
};

void FillDefaults(v1::Profile* profile) {
  v1::ScopeSettings* scope = profile->mutable_scope();
  if (scope->mode() == v1::ScopeSettings::MODE_UNSPECIFIED) {
    scope->set_mode(v1::ScopeSettings::LEVERAGE);
  }
  if (scope->beta() == 0) scope->set_beta(0.5);
  if (scope->mode() == v1::ScopeSettings::REFERENCE && scope->alpha() == 0) scope->set_alpha(2.2);
  v1::TargetSettings* target = profile->mutable_target();
  if (target->learning_rate() == 0) target->set_learning_rate(0.5);
  if (target->steps() == 0) target->set_steps(20);
  if (target->clamp() == 0) target->set_clamp(0.75);
  if (target->kl_factor() == 0) target->set_kl_factor(0.0625);
  if (target->weight_decay() == 0) target->set_weight_decay(0.5);
  if (target->stop_loss() == 0) target->set_stop_loss(0.05);
  if (!target->has_loss_layer()) target->set_loss_layer(-1);
  if (target->precision() == v1::TargetSettings::PRECISION_UNSPECIFIED) {
    target->set_precision(v1::TargetSettings::FLOAT32);
  }
  v1::GateSettings* gate = profile->mutable_gate();
  if (gate->mode() == v1::GateSettings::MODE_UNSPECIFIED) gate->set_mode(v1::GateSettings::ENFORCE);
  if (gate->has_background_texts()) {
    v1::BackgroundTexts* texts = gate->mutable_background_texts();
    if (texts->max_texts() == 0) texts->set_max_texts(64);
    if (texts->max_tokens_per_text() == 0) texts->set_max_tokens_per_text(64);
  }
}

bool Matches(const v1::Match& match, const ModelConfig& config) {
  return (match.architecture().empty() || match.architecture() == config.architecture) &&
         (match.layers() == 0 || match.layers() == config.layers) &&
         (match.hidden_size() == 0 || match.hidden_size() == config.hidden_size) &&
         (match.vocabulary_size() == 0 || match.vocabulary_size() == config.vocabulary_size);
}

void CheckMatch(const v1::Match& match, const ModelConfig& config, Checker* check) {
  const auto fits = [&](absl::string_view field, const auto& wanted, const auto& actual,
                        bool unset) {
    check->Require(unset || wanted == actual, absl::StrCat("match.", field), wanted,
                   absl::StrCat("the model's is ", actual));
  };
  fits("architecture", match.architecture(), config.architecture, match.architecture().empty());
  fits("layers", match.layers(), config.layers, match.layers() == 0);
  fits("hidden_size", match.hidden_size(), config.hidden_size, match.hidden_size() == 0);
  fits("vocabulary_size", match.vocabulary_size(), config.vocabulary_size,
       match.vocabulary_size() == 0);
}

void CheckLayers(const v1::Profile& profile, const ModelConfig& config, Checker* check) {
  check->Require(!profile.layers().empty(), "layers", "empty", "at least one is needed");
  for (int i = 0; i < profile.layers_size(); ++i) {
    const int layer = profile.layers(i);
    const std::string field = absl::StrCat("layers[", i, "]");
    check->Require(layer >= 0 && layer < config.layers, field, layer,
                   absl::StrCat("the model has layers 0 to ", config.layers - 1));
    check->Require(i == 0 || layer > profile.layers(i - 1), field, layer,
                   "not above the one before it");
  }
}

void CheckTarget(const v1::Profile& profile, const ModelConfig& config, Checker* check) {
  const v1::TargetSettings& target = profile.target();
  check->Positive("target.learning_rate", target.learning_rate());
  check->Require(target.steps() >= 1 && target.steps() <= 10000, "target.steps", target.steps(),
                 "not in 1 to 10000");
  check->Positive("target.clamp", target.clamp());
  check->NotNegative("target.kl_factor", target.kl_factor());
  check->NotNegative("target.weight_decay", target.weight_decay());
  check->NotNegative("target.stop_loss", target.stop_loss());
  check->Require(v1::TargetSettings::Precision_IsValid(target.precision()), "target.precision",
                 static_cast<int>(target.precision()), "neither FLOAT32 nor BFLOAT16");
  const int last = profile.layers().empty() ? 0 : profile.layers(profile.layers_size() - 1);
  check->Require(target.loss_layer() == -1 ||
                     (target.loss_layer() > last && target.loss_layer() < config.layers),
                 "target.loss_layer", target.loss_layer(),
                 absl::StrCat("neither -1 nor above the last edited layer ", last,
                              " and below the model's ", config.layers, " layers"));
}

void CheckRest(const v1::Profile& profile, Checker* check) {
  check->Positive("lambda", profile.lambda());
  const bool is_reference = profile.scope().mode() == v1::ScopeSettings::REFERENCE;
  check->Require(is_reference || profile.scope().mode() == v1::ScopeSettings::LEVERAGE,
                 "scope.mode", static_cast<int>(profile.scope().mode()),
                 "neither LEVERAGE nor REFERENCE");
  if (is_reference) check->Positive("scope.alpha", profile.scope().alpha());
  check->Require(profile.scope().beta() > 0 && profile.scope().beta() < 1, "scope.beta",
                 profile.scope().beta(), "not in (0, 1)");
  const auto& templates = profile.context_templates().templates();
  for (int i = 0; i < templates.size(); ++i) {
    check->Require(templates[i].find("{}") != std::string::npos,
                   absl::StrCat("context_templates.templates[", i, "]"),
                   absl::StrCat("\"", templates[i], "\""), "without \"{}\"");
  }
  const v1::CovarianceSource& covariance = profile.covariance();
  check->Require(!covariance.text_file().empty() || !covariance.covariance_file().empty(),
                 "covariance", "unset", "give text_file or covariance_file");
  check->Require(covariance.max_tokens_per_text() >= 0, "covariance.max_tokens_per_text",
                 covariance.max_tokens_per_text(), "below 0");
}

void CheckGate(const v1::Profile& profile, Checker* check) {
  const v1::GateSettings& gate = profile.gate();
  check->Share("gate.reliability", gate.reliability());
  check->Share("gate.generality", gate.generality());
  check->Share("gate.locality", gate.locality());
  check->Share("gate.background", gate.background());
  check->Share("gate.retention", gate.retention());
  check->NotNegative("gate.max_perplexity_change", gate.max_perplexity_change());
  const v1::BackgroundTexts& texts = gate.background_texts();
  const bool any = !texts.texts().empty() || !texts.text_file().empty();
  check->Require(any || !gate.has_background_texts(), "gate.background_texts", "empty",
                 "give texts or text_file");
  check->Require(any || gate.background() == 0, "gate.background", gate.background(),
                 "but there are no gate.background_texts");
  check->Require(any || gate.max_perplexity_change() == 0, "gate.max_perplexity_change",
                 gate.max_perplexity_change(), "but there are no gate.background_texts");
  check->Require(texts.max_texts() >= 0 && texts.max_texts() <= kMaxBackgroundTexts,
                 "gate.background_texts.max_texts", texts.max_texts(),
                 absl::StrCat("not in 1 to ", kMaxBackgroundTexts));
  check->Require(!any || texts.max_tokens_per_text() >= 2,
                 "gate.background_texts.max_tokens_per_text", texts.max_tokens_per_text(),
                 "but two tokens are needed to predict one");
}

void SetGate(const v1::GateSettings& gate, EditProfile* profile) {
  profile->gate_enforced = gate.mode() == v1::GateSettings::ENFORCE;
  profile->gate_thresholds = ThresholdsOf(gate);
  const v1::BackgroundTexts& texts = gate.background_texts();
  profile->background_texts.assign(texts.texts().begin(), texts.texts().end());
  profile->background_text_file = texts.text_file();
  profile->max_background_texts = texts.max_texts();
  profile->max_tokens_per_background_text = texts.max_tokens_per_text();
}

EditProfile ToCore(v1::Profile proto) {
  EditProfile profile;
  for (const int layer : proto.layers()) profile.settings.layers.push_back(LayerIndex(layer));
  profile.settings.lambda = proto.lambda();
  profile.settings.beta = proto.scope().beta();
  if (proto.scope().mode() == v1::ScopeSettings::REFERENCE) {
    profile.settings.scope = EditScope::kReference;
    profile.settings.alpha = proto.scope().alpha();
  }
  profile.settings.learning_rate = proto.target().learning_rate();
  profile.settings.steps = proto.target().steps();
  profile.settings.clamp = proto.target().clamp();
  profile.settings.kl_factor = proto.target().kl_factor();
  profile.settings.weight_decay = proto.target().weight_decay();
  profile.settings.stop_loss = proto.target().stop_loss();
  if (proto.target().precision() == v1::TargetSettings::BFLOAT16) {
    profile.settings.target_precision = TargetPrecision::kBFloat16;
  }
  profile.settings.loss_layer = proto.target().loss_layer();
  const auto& templates = proto.context_templates().templates();
  profile.settings.context_templates.assign(templates.begin(), templates.end());
  profile.template_seed = proto.context_templates().seed();
  profile.covariance_text_file = proto.covariance().text_file();
  profile.covariance_file = proto.covariance().covariance_file();
  profile.max_tokens_per_text = proto.covariance().max_tokens_per_text();
  SetGate(proto.gate(), &profile);
  profile.proto = std::move(proto);
  return profile;
}

}  // namespace

absl::StatusOr<EditProfile> BuiltInProfile(const ModelConfig& config) {
  std::vector<std::string> known;
  for (const BuiltIn& built_in : kBuiltIn) {
    v1::Profile profile;
    AMEND_RETURN_IF_ERROR(ParseTextProto(built_in.name, built_in.text, &profile));
    if (Matches(profile.match(), config)) {
      return ParseProfile(absl::StrCat("built-in profile ", built_in.name), built_in.text, config);
    }
    known.push_back(built_in.name);
  }
  return absl::NotFoundError(absl::StrCat(
      "no built-in profile fits the model (", config.architecture, ", ", config.layers,
      " layers, hidden size ", config.hidden_size, ", vocabulary ", config.vocabulary_size,
      "); there are ", absl::StrJoin(known, ", "), ": give one with --profile"));
}

absl::StatusOr<EditProfile> LoadProfile(const std::string& path, const ModelConfig& config) {
  AMEND_ASSIGN_OR_RETURN(const std::string text, ReadTextFile("the profile", path));
  return ParseProfile(path, text, config);
}

absl::StatusOr<EditProfile> ParseProfile(absl::string_view name, const std::string& text,
                                         const ModelConfig& config) {
  v1::Profile profile;
  AMEND_RETURN_IF_ERROR(ParseTextProto(name, text, &profile));
  return CheckProfile(name, std::move(profile), config);
}

absl::StatusOr<EditProfile> CheckProfile(absl::string_view name, v1::Profile profile,
                                         const ModelConfig& config) {
  FillDefaults(&profile);
  Checker check(name);
  CheckMatch(profile.match(), config, &check);
  CheckLayers(profile, config, &check);
  CheckTarget(profile, config, &check);
  CheckRest(profile, &check);
  CheckGate(profile, &check);
  AMEND_RETURN_IF_ERROR(check.status());
  return ToCore(std::move(profile));
}

GateThresholds ThresholdsOf(const v1::GateSettings& gate) {
  GateThresholds thresholds;
  thresholds.reliability = gate.reliability();
  thresholds.generality = gate.generality();
  thresholds.locality = gate.locality();
  thresholds.background = gate.background();
  thresholds.retention = gate.retention();
  if (gate.has_max_perplexity_change()) {
    thresholds.max_perplexity_change = gate.max_perplexity_change();
  }
  return thresholds;
}

std::string HyperparametersText(const EditSettings& settings) {
  const auto layer_name = [](std::string* out, LayerIndex layer) {
    absl::StrAppend(out, layer.value());
  };
  std::string text =
      absl::StrCat("layers: ", absl::StrJoin(settings.layers, " ", layer_name), "\n");
  const std::pair<const char*, double> numbers[] = {
      {"lambda", settings.lambda},
      {"beta", settings.beta},
      {"learning_rate", settings.learning_rate},
      {"steps", settings.steps},
      {"clamp", settings.clamp},
      {"kl_factor", settings.kl_factor},
      {"weight_decay", settings.weight_decay},
      {"stop_loss", settings.stop_loss},
      {"loss_layer", settings.loss_layer},
  };
  for (const auto& [name, value] : numbers)
    absl::StrAppendFormat(&text, "%s: %.17g\n", name, value);
  // Stores of the defaults hold a text without these lines.
  if (settings.target_precision == TargetPrecision::kBFloat16) {
    absl::StrAppend(&text, "target_precision: BFLOAT16\n");
  }
  if (settings.scope == EditScope::kReference) {
    absl::StrAppendFormat(&text, "scope: REFERENCE\nalpha: %.17g\n", settings.alpha);
  }
  return text;
}

}  // namespace amend
