#include "core/model/model_config.h"

#include <fstream>
#include <sstream>

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

absl::Status ReadShape(const Json& json, const FieldReader& reader, ModelConfig* config) {
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("n_layer", &config->layers));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("n_embd", &config->hidden_size));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("n_head", &config->heads));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("vocab_size", &config->vocabulary_size));
  AMEND_RETURN_IF_ERROR(reader.PositiveInt("n_positions", &config->context_length));
  config->intermediate_size = 4 * config->hidden_size;
  if (json.contains("n_inner") && !json["n_inner"].is_null()) {
    AMEND_RETURN_IF_ERROR(reader.PositiveInt("n_inner", &config->intermediate_size));
  }
  if (config->hidden_size % config->heads != 0) {
    return reader.Error("n_embd", absl::StrCat("is ", config->hidden_size,
                                               ", not a multiple of n_head ", config->heads));
  }
  if (json.contains("layer_norm_epsilon")) {
    if (!json["layer_norm_epsilon"].is_number())
      return reader.Error("layer_norm_epsilon", "must be a number");
    config->layer_norm_epsilon = json["layer_norm_epsilon"].get<double>();
    if (!(config->layer_norm_epsilon > 0)) {
      return reader.Error("layer_norm_epsilon",
                          absl::StrCat("must be positive, is ", config->layer_norm_epsilon));
    }
  }
  return absl::OkStatus();
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
  if (config.architecture != "gpt2" && config.architecture != "gptj") {
    return reader.Error("model_type",
                        absl::StrCat("is \"", config.architecture, "\"; supported: gpt2, gptj"));
  }
  AMEND_RETURN_IF_ERROR(ReadShape(json, reader, &config));
  AMEND_RETURN_IF_ERROR(ReadEndOfText(json, reader, &config));
  AMEND_RETURN_IF_ERROR(reader.Require("activation_function", "gelu_new"));
  AMEND_RETURN_IF_ERROR(reader.Require("scale_attn_weights", true));
  AMEND_RETURN_IF_ERROR(reader.Require("scale_attn_by_inverse_layer_idx", false));
  AMEND_RETURN_IF_ERROR(reader.Require("add_cross_attention", false));
  if (config.architecture == "gptj") {
    AMEND_RETURN_IF_ERROR(reader.PositiveInt("rotary_dim", &config.rotary_dim));
    if (config.rotary_dim % 2 != 0 || config.rotary_dim > config.head_dim()) {
      return reader.Error("rotary_dim",
                          absl::StrCat("is ", config.rotary_dim, "; must be even and at most ",
                                       config.head_dim(), " (one head)"));
    }
    AMEND_RETURN_IF_ERROR(reader.Require("tie_word_embeddings", false));
  } else {
    AMEND_RETURN_IF_ERROR(reader.Require("tie_word_embeddings", true));
  }
  return config;
}

}  // namespace amend
