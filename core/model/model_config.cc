#include "core/model/model_config.h"

#include <algorithm>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace amend {
namespace {

using Json = nlohmann::json;

// Far beyond any model; four times as much still fits an int.
constexpr int64_t kMaxExtent = int64_t{1} << 28;

// Reads fields of one config.json; every error names the file and the field.
class FieldReader {
 public:
  FieldReader(const Json& json, const std::string& path) : json_(json), path_(path) {}

  absl::Status PositiveInt(const char* field, int* value) const {
    const auto it = json_.find(field);
    if (it == json_.end()) return Error(field, "is missing");
    if (!it->is_number_integer() || it->get<int64_t>() <= 0 || it->get<int64_t>() > kMaxExtent) {
      return Error(field, absl::StrCat("must be a positive integer of at most ", kMaxExtent,
                                       ", is ", it->dump()));
    }
    *value = it->get<int>();
    return absl::OkStatus();
  }

  // Leaves `value` where the field is missing or null.
  absl::Status OptionalPositiveInt(const char* field, int* value) const {
    return Has(field) ? PositiveInt(field, value) : absl::OkStatus();
  }

  absl::Status OptionalPositiveNumber(const char* field, double* value) const {
    const auto it = json_.find(field);
    if (it == json_.end()) return absl::OkStatus();
    if (!it->is_number() || !(it->get<double>() > 0)) {
      return Error(field, absl::StrCat("must be a positive number, is ", it->dump()));
    }
    *value = it->get<double>();
    return absl::OkStatus();
  }

  absl::Status OptionalBool(const char* field, bool* value) const {
    if (!Has(field)) return absl::OkStatus();
    if (!json_[field].is_boolean()) {
      return Error(field, absl::StrCat("must be true or false, is ", json_[field].dump()));
    }
    *value = json_[field].get<bool>();
    return absl::OkStatus();
  }

  // Whether the field is there and not null.
  bool Has(const char* field) const {
    const auto it = json_.find(field);
    return it != json_.end() && !it->is_null();
  }

  // Refuses a present field whose value is not `wanted`.
  absl::Status Require(const char* field, const Json& wanted) const {
    const auto it = json_.find(field);
    if (it == json_.end() || it->is_null() || *it == wanted) return absl::OkStatus();
    return Error(field, absl::StrCat("is ", it->dump(), "; only ", wanted.dump(), " is supported"));
  }

  absl::Status Error(const char* field, const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": field \"", field, "\" ", what));
  }

 private:
  const Json& json_;
  const std::string& path_;
};

absl::StatusOr<Json> ReadJsonObject(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a JSON object"));
  return json;
}

struct ShapeFields {
  const char* layers;
  const char* hidden_size;
  const char* heads;
  const char* context_length;
  // Null: the hidden size over the heads.
  const char* head_dim = nullptr;
};
constexpr ShapeFields kGptFields = {"n_layer", "n_embd", "n_head", "n_positions"};
constexpr ShapeFields kGptNeoxFields = {"num_hidden_layers", "hidden_size", "num_attention_heads",
                                        "max_position_embeddings"};
constexpr ShapeFields kLlamaFields = {"num_hidden_layers", "hidden_size", "num_attention_heads",
                                      "max_position_embeddings", "head_dim"};

absl::Status ReadShape(const FieldReader& reader, const ShapeFields& fields, ModelConfig* config) {
  AMEND_RETURN_IF_ERROR(reader.PositiveInt(fields.layers, &config->layers));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt(fields.hidden_size, &config->hidden_size));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt(fields.heads, &config->heads));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("vocab_size", &config->vocabulary_size));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt(fields.context_length, &config->context_length));
  if (fields.head_dim != nullptr) {
    AMEND_RETURN_IF_ERROR(reader.OptionalPositiveInt(fields.head_dim, &config->head_dim));
  }
  if (config->head_dim == 0) {
    if (config->hidden_size % config->heads != 0) {
      return reader.Error(fields.hidden_size,
                          absl::StrCat("is ", config->hidden_size, ", not a multiple of ",
                                       fields.heads, " ", config->heads));
    }
    config->head_dim = config->hidden_size / config->heads;
  }
  config->kv_heads = config->heads;
  return absl::OkStatus();
}

// "rope_scaling", or what newer files have under "rope_parameters": `json` is that object.
absl::Status ReadRotaryScaling(const Json& json, const FieldReader& file, const char* field,
                               const std::string& path, ModelConfig* config) {
  // Files of 2023 say "type".
  const Json& type = json.contains("rope_type") ? json["rope_type"] : json.value("type", Json());
  RotaryScaling& scaling = config->rotary_scaling;
  if (type.is_null() || type == "default") return absl::OkStatus();
  if (type == "linear") {
    scaling.kind = RotaryScaling::Kind::kLinear;
  } else if (type == "llama3") {
    scaling.kind = RotaryScaling::Kind::kLlama3;
  } else {
    return file.Error(field, absl::StrCat("is of type ", type.dump(),
                                          "; supported: \"default\", \"linear\", \"llama3\""));
  }
  const FieldReader reader(json, path);
  if (!reader.Has("factor")) return reader.Error("factor", "is missing");
  AMEND_RETURN_IF_ERROR(reader.OptionalPositiveNumber("factor", &scaling.factor));
  if (scaling.kind == RotaryScaling::Kind::kLinear) return absl::OkStatus();
  AMEND_RETURN_IF_ERROR(
      reader.OptionalPositiveNumber("low_freq_factor", &scaling.low_frequency_factor));
  AMEND_RETURN_IF_ERROR(
      reader.OptionalPositiveNumber("high_freq_factor", &scaling.high_frequency_factor));
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    return reader.Error(
        "high_freq_factor",
        absl::StrCat("is ", scaling.high_frequency_factor,
                     "; must be above low_freq_factor, which is ", scaling.low_frequency_factor));
  }
  return reader.PositiveInt("original_max_position_embeddings", &scaling.original_context_length);
}

// Rotary positions. `base` and `share` are the fields that older files have beside the shape: the
// base, and the share of each head that is rotated (null: all of it).
absl::Status ReadRotary(const Json& json, const FieldReader& reader, const std::string& path,
                        const char* base, const char* share, ModelConfig* config) {
  double rotated = 1;
  AMEND_RETURN_IF_ERROR(reader.OptionalPositiveNumber(base, &config->rotary_base));
  if (share != nullptr) {
    rotated = 0.25;  // GPT-NeoX's default
    AMEND_RETURN_IF_ERROR(reader.OptionalPositiveNumber(share, &rotated));
  }
  const char* const field = reader.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (reader.Has(field)) {
    if (!json[field].is_object()) {
      return reader.Error(field, absl::StrCat("must be an object, is ", json[field].dump()));
    }
    const FieldReader parameters(json[field], path);
    AMEND_RETURN_IF_ERROR(parameters.OptionalPositiveNumber("rope_theta", &config->rotary_base));
    AMEND_RETURN_IF_ERROR(parameters.OptionalPositiveNumber("partial_rotary_factor", &rotated));
    AMEND_RETURN_IF_ERROR(ReadRotaryScaling(json[field], reader, field, path, config));
  }
  config->rotary_dim = static_cast<int>(config->head_dim * std::min(rotated, 1.0));
  if (config->rotary_dim % 2 != 0 || config->rotary_dim == 0) {
    return reader.Error(share == nullptr ? "head_dim" : share,
                        absl::StrCat("makes ", config->rotary_dim, " of a head's ",
                                     config->head_dim, " dimensions rotate; must be even"));
  }
  return absl::OkStatus();
}

absl::Status ReadGpt(const FieldReader& reader, ModelConfig* config) {
  AMEND_RETURN_IF_ERROR(ReadShape(reader, kGptFields, config));
  config->intermediate_size = 4 * config->hidden_size;
  AMEND_RETURN_IF_ERROR(reader.OptionalPositiveInt("n_inner", &config->intermediate_size));
  AMEND_RETURN_IF_ERROR(reader.OptionalPositiveNumber("layer_norm_epsilon", &config->norm_epsilon));
  AMEND_RETURN_IF_ERROR(reader.Require("activation_function", "gelu_new"));
  AMEND_RETURN_IF_ERROR(reader.Require("scale_attn_weights", true));
  AMEND_RETURN_IF_ERROR(reader.Require("scale_attn_by_inverse_layer_idx", false));
  AMEND_RETURN_IF_ERROR(reader.Require("add_cross_attention", false));
  config->tied_head = config->architecture == "gpt2";
  AMEND_RETURN_IF_ERROR(reader.Require("tie_word_embeddings", config->tied_head));
  if (config->architecture == "gpt2") return absl::OkStatus();
  config->parallel_residual = true;
  config->query_key_value_bias = false;
  config->attention_out_bias = false;
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("rotary_dim", &config->rotary_dim));
  if (config->rotary_dim % 2 != 0 || config->rotary_dim > config->head_dim) {
    return reader.Error("rotary_dim",
                        absl::StrCat("is ", config->rotary_dim, "; must be even and at most ",
                                     config->head_dim, " (one head)"));
  }
  return absl::OkStatus();
}

// Llama, Mistral, Qwen2.
absl::Status ReadLlama(const Json& json, const FieldReader& reader, const std::string& path,
                       ModelConfig* config) {
  AMEND_RETURN_IF_ERROR(ReadShape(reader, kLlamaFields, config));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("intermediate_size", &config->intermediate_size));
  AMEND_RETURN_IF_ERROR(reader.OptionalPositiveInt("num_key_value_heads", &config->kv_heads));
  if (config->heads % config->kv_heads != 0) {
    return reader.Error("num_attention_heads",
                        absl::StrCat("is ", config->heads, ", not a multiple of ",
                                     "num_key_value_heads ", config->kv_heads));
  }
  config->norm_epsilon = 1e-6;
  AMEND_RETURN_IF_ERROR(reader.OptionalPositiveNumber("rms_norm_eps", &config->norm_epsilon));
  AMEND_RETURN_IF_ERROR(reader.Require("hidden_act", "silu"));
  AMEND_RETURN_IF_ERROR(reader.OptionalBool("tie_word_embeddings", &config->tied_head));
  AMEND_RETURN_IF_ERROR(ReadRotary(json, reader, path, "rope_theta", nullptr, config));
  config->query_key_value_bias = config->architecture == "qwen2";
  config->attention_out_bias = false;
  config->mlp_bias = false;
  if (config->architecture == "llama") {
    AMEND_RETURN_IF_ERROR(reader.OptionalBool("attention_bias", &config->query_key_value_bias));
    config->attention_out_bias = config->query_key_value_bias;
    AMEND_RETURN_IF_ERROR(reader.OptionalBool("mlp_bias", &config->mlp_bias));
    return absl::OkStatus();
  }
  bool slides = config->architecture == "mistral";
  if (!slides) AMEND_RETURN_IF_ERROR(reader.OptionalBool("use_sliding_window", &slides));
  int window = config->context_length;
  if (slides) AMEND_RETURN_IF_ERROR(reader.OptionalPositiveInt("sliding_window", &window));
  config->context_length = std::min(config->context_length, window);
  return absl::OkStatus();
}

absl::Status ReadGptNeox(const Json& json, const FieldReader& reader, const std::string& path,
                         ModelConfig* config) {
  AMEND_RETURN_IF_ERROR(ReadShape(reader, kGptNeoxFields, config));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("intermediate_size", &config->intermediate_size));
  AMEND_RETURN_IF_ERROR(reader.OptionalPositiveNumber("layer_norm_eps", &config->norm_epsilon));
  const Json activation = json.value("hidden_act", Json("gelu"));
  if (activation == "gelu") {
    config->activation = Activation::kGelu;
  } else if (activation != "gelu_new" && activation != "gelu_fast" &&
             activation != "gelu_pytorch_tanh") {
    return reader.Error("hidden_act", absl::StrCat("is ", activation.dump(), "; supported: ",
                                                   "\"gelu\", \"gelu_new\", \"gelu_fast\", ",
                                                   "\"gelu_pytorch_tanh\""));
  }
  AMEND_RETURN_IF_ERROR(reader.OptionalBool("attention_bias", &config->query_key_value_bias));
  config->attention_out_bias = config->query_key_value_bias;
  config->parallel_residual = true;
  AMEND_RETURN_IF_ERROR(reader.OptionalBool("use_parallel_residual", &config->parallel_residual));
  AMEND_RETURN_IF_ERROR(reader.OptionalBool("tie_word_embeddings", &config->tied_head));
  return ReadRotary(json, reader, path, "rotary_emb_base", "rotary_pct", config);
}

absl::Status ReadEndOfText(const Json& json, const FieldReader& reader, ModelConfig* config) {
  const auto it = json.find("eos_token_id");
  if (it == json.end() || it->is_null()) return absl::OkStatus();
  const Json ids = it->is_array() ? *it : Json::array({*it});
  for (const Json& id : ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
        id.get<int64_t>() >= config->vocabulary_size) {
      return reader.Error("eos_token_id",
                          absl::StrCat("holds ", id.dump(), ", which is no id of a vocabulary of ",
                                       config->vocabulary_size));
    }
    config->end_of_text_ids.push_back(id.get<TokenId>());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory) {
  const std::string path = directory + "/config.json";
  AMEND_ASSIGN_OR_RETURN(const Json json, ReadJsonObject(path));
  const FieldReader reader(json, path);
  ModelConfig config;
  const auto type = json.find("model_type");
  if (type == json.end() || !type->is_string()) return reader.Error("model_type", "is missing");
  config.architecture = type->get<std::string>();
  const std::string& architecture = config.architecture;
  if (architecture == "gpt2" || architecture == "gptj") {
    AMEND_RETURN_IF_ERROR(ReadGpt(reader, &config));
  } else if (architecture == "llama" || architecture == "mistral" || architecture == "qwen2") {
    AMEND_RETURN_IF_ERROR(ReadLlama(json, reader, path, &config));
  } else if (architecture == "gpt_neox") {
    AMEND_RETURN_IF_ERROR(ReadGptNeox(json, reader, path, &config));
  } else {
    return reader.Error("model_type",
                        absl::StrCat("is \"", architecture, "\"; supported: gpt2, gptj, ",
                                     "gpt_neox, llama, mistral, qwen2"));
  }
  AMEND_RETURN_IF_ERROR(ReadEndOfText(json, reader, &config));
  return config;
}

}  // namespace amend
