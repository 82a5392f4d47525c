#include "core/model/model_config.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "core/model/testing/model_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

Json Gpt2Json() {
  return {{"model_type", "gpt2"}, {"n_layer", 2},     {"n_embd", 8},       {"n_head", 2},
          {"n_positions", 16},    {"vocab_size", 50}, {"eos_token_id", 49}};
}

Json GptjJson() {
  Json json = Gpt2Json();
  json["model_type"] = "gptj";
  json["rotary_dim"] = 2;
  return json;
}

Json LlamaJson() {
  return {{"model_type", "llama"},    {"num_hidden_layers", 2},        {"hidden_size", 16},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2},      {"intermediate_size", 40},
          {"vocab_size", 50},         {"max_position_embeddings", 64}, {"rms_norm_eps", 1e-5},
          {"hidden_act", "silu"},     {"tie_word_embeddings", true}};
}

Json GptNeoxJson() {
  return {{"model_type", "gpt_neox"},    {"num_hidden_layers", 2},        {"hidden_size", 32},
          {"num_attention_heads", 4},    {"intermediate_size", 128},      {"vocab_size", 50},
          {"rotary_pct", 0.25},          {"max_position_embeddings", 64}, {"hidden_act", "gelu"},
          {"tie_word_embeddings", false}};
}

Json OfType(Json json, const std::string& type) {
  json["model_type"] = type;
  return json;
}

absl::StatusOr<ModelConfig> ReadText(const std::string& text) {
  const std::string directory = FreshDirectory("config");
  WriteBytes(directory + "/config.json", text);
  return ReadModelConfig(directory);
}

Json With(Json json, const std::string& field, const Json& value) {
  json[field] = value;
  return json;
}

Json Without(Json json, const std::string& field) {
  json.erase(field);
  return json;
}

// The error names the file, the field and each of `words`.
void ExpectFieldError(const Json& json, const std::string& field,
                      const std::vector<std::string>& words) {
  const auto config = ReadText(json.dump());
  ASSERT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr("config.json"), HasSubstr("\"" + field + "\""))))
      << json;
  for (const std::string& word : words) {
    EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(word))) << json;
  }
}

TEST(ModelConfigTest, ReadsTheDemoModel) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig config, ReadModelConfig("models/demo"));
  EXPECT_EQ(config.architecture, "gpt2");
  EXPECT_EQ(config.layers, 6);
  EXPECT_EQ(config.hidden_size, 256);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.intermediate_size, 1024);
  EXPECT_EQ(config.vocabulary_size, 6144);
  EXPECT_EQ(config.context_length, 256);
  EXPECT_THAT(config.end_of_text_ids, ElementsAre(0));
}

TEST(ModelConfigTest, ReadsAGptj) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig config,
                             ReadModelConfig("tests/testdata/random-gptj-tiny"));
  EXPECT_EQ(config.architecture, "gptj");
  EXPECT_EQ(config.rotary_dim, 8);
}

TEST(ModelConfigTest, NInnerSetsTheIntermediateSize) {
  EXPECT_EQ(ReadText(With(Gpt2Json(), "n_inner", 20).dump())->intermediate_size, 20);
}

TEST(ModelConfigTest, TheIntermediateSizeIsFourTimesTheHiddenSizeOtherwise) {
  EXPECT_EQ(ReadText(Gpt2Json().dump())->intermediate_size, 32);
  EXPECT_EQ(ReadText(With(Gpt2Json(), "n_inner", nullptr).dump())->intermediate_size, 32);
}

TEST(ModelConfigTest, EndOfTextMayBeOneIdSeveralOrNone) {
  EXPECT_THAT(ReadText(Gpt2Json().dump())->end_of_text_ids, ElementsAre(49));
  EXPECT_THAT(ReadText(With(Gpt2Json(), "eos_token_id", {3, 4}).dump())->end_of_text_ids,
              ElementsAre(3, 4));
  EXPECT_THAT(ReadText(With(Gpt2Json(), "eos_token_id", nullptr).dump())->end_of_text_ids,
              IsEmpty());
  EXPECT_THAT(ReadText(Without(Gpt2Json(), "eos_token_id").dump())->end_of_text_ids, IsEmpty());
}

TEST(ModelConfigTest, AnEndOfTextIdOutsideTheVocabularyIsRefused) {
  for (const Json& value :
       std::vector<Json>{50, -1, 1099511627776, "x", 1.5, Json::array({1, 50})}) {
    ExpectFieldError(With(Gpt2Json(), "eos_token_id", value), "eos_token_id", {});
  }
}

TEST(ModelConfigTest, AMissingFileIsNotFoundAndNamed) {
  EXPECT_THAT(ReadModelConfig("no/such/model"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such/model/config.json")));
}

TEST(ModelConfigTest, WhatIsNoJsonObjectIsRefused) {
  for (const char* text : {"", "[]", "{\"n_layer\": ", "3", "{} {}"}) {
    EXPECT_THAT(ReadText(text), StatusIs(absl::StatusCode::kInvalidArgument,
                                         HasSubstr("config.json: not a JSON object")))
        << text;
  }
}

TEST(ModelConfigTest, AMissingFieldIsNamed) {
  for (const char* field : {"n_layer", "n_embd", "n_head", "n_positions", "vocab_size"}) {
    ExpectFieldError(Without(Gpt2Json(), field), field, {"is missing"});
  }
  ExpectFieldError(Without(Gpt2Json(), "model_type"), "model_type", {"is missing"});
  ExpectFieldError(Without(GptjJson(), "rotary_dim"), "rotary_dim", {"is missing"});
}

TEST(ModelConfigTest, ASizeThatIsNoPositiveIntegerIsRefusedWithItsValue) {
  for (const char* field :
       {"n_layer", "n_embd", "n_head", "n_positions", "vocab_size", "n_inner"}) {
    for (const Json& value : std::vector<Json>{0, -3, 1.5, "12", true, 9007199254740993,
                                               18446744073709551615u, 1 << 29}) {
      ExpectFieldError(With(Gpt2Json(), field, value), field, {value.dump()});
    }
  }
}

TEST(ModelConfigTest, AnotherArchitectureIsRefusedAndTheSupportedOnesAreNamed) {
  ExpectFieldError(OfType(Gpt2Json(), "bert"), "model_type",
                   {"\"bert\"", "gpt2, gptj, gpt_neox, llama, mistral, qwen2"});
}

TEST(ModelConfigTest, HeadsMustDivideTheHiddenSize) {
  ExpectFieldError(With(Gpt2Json(), "n_head", 3), "n_embd", {"8", "n_head 3"});
}

TEST(ModelConfigTest, TheLayerNormEpsilonMustBeAPositiveNumber) {
  for (const Json& value : std::vector<Json>{"x", 0.0, -1e-5, nullptr}) {
    ExpectFieldError(With(Gpt2Json(), "layer_norm_epsilon", value), "layer_norm_epsilon", {});
  }
}

TEST(ModelConfigTest, RotaryDimMustBeEvenAndWithinAHead) {
  ExpectFieldError(With(GptjJson(), "rotary_dim", 3), "rotary_dim", {"3", "even"});
  ExpectFieldError(With(GptjJson(), "rotary_dim", 6), "rotary_dim", {"6", "at most 4"});
}

TEST(ModelConfigTest, OptionsThatChangeTheMathematicsAreRefused) {
  const std::vector<std::pair<std::string, Json>> options = {
      {"activation_function", "relu"},
      {"scale_attn_weights", false},
      {"scale_attn_by_inverse_layer_idx", true},
      {"add_cross_attention", true},
      {"tie_word_embeddings", false},
  };
  for (const auto& [field, value] : options) {
    ExpectFieldError(With(Gpt2Json(), field, value), field, {value.dump(), "is supported"});
  }
  ExpectFieldError(With(GptjJson(), "tie_word_embeddings", true), "tie_word_embeddings", {});
}

TEST(ModelConfigTest, ReadsALlama) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig config, ReadText(LlamaJson().dump()));
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.rotary_dim, 4);
  EXPECT_EQ(config.rotary_base, 10000);
  EXPECT_EQ(config.intermediate_size, 40);
  EXPECT_EQ(config.context_length, 64);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_TRUE(config.tied_head);
  EXPECT_FALSE(config.query_key_value_bias);
  EXPECT_FALSE(config.attention_out_bias);
  EXPECT_FALSE(config.mlp_bias);
  EXPECT_EQ(ReadText(Without(LlamaJson(), "num_key_value_heads").dump())->kv_heads, 4);
  EXPECT_EQ(ReadText(With(LlamaJson(), "head_dim", 10).dump())->head_dim, 10);
}

TEST(ModelConfigTest, BiasesAreThoseOfTheArchitecture) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const ModelConfig llama,
      ReadText(With(With(LlamaJson(), "attention_bias", true), "mlp_bias", true).dump()));
  EXPECT_TRUE(llama.query_key_value_bias && llama.attention_out_bias && llama.mlp_bias);
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig qwen2,
                             ReadText(OfType(LlamaJson(), "qwen2").dump()));
  EXPECT_TRUE(qwen2.query_key_value_bias);
  EXPECT_FALSE(qwen2.attention_out_bias || qwen2.mlp_bias);
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig neox,
                             ReadText(With(GptNeoxJson(), "attention_bias", false).dump()));
  EXPECT_FALSE(neox.query_key_value_bias || neox.attention_out_bias);
  EXPECT_TRUE(neox.mlp_bias);
}

TEST(ModelConfigTest, ReadsAGptNeox) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig config, ReadText(GptNeoxJson().dump()));
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.rotary_dim, 2);
  EXPECT_EQ(config.activation, Activation::kGelu);
  EXPECT_TRUE(config.parallel_residual);
  EXPECT_FALSE(config.tied_head);
  EXPECT_EQ(ReadText(With(GptNeoxJson(), "hidden_act", "gelu_fast").dump())->activation,
            Activation::kGeluNew);
  EXPECT_FALSE(
      ReadText(With(GptNeoxJson(), "use_parallel_residual", false).dump())->parallel_residual);
}

TEST(ModelConfigTest, RotaryPositionsAreReadFromOldFilesAndNewOnes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig old_llama,
                             ReadText(With(LlamaJson(), "rope_theta", 500.0).dump()));
  EXPECT_EQ(old_llama.rotary_base, 500);
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig new_llama,
                             ReadText(With(LlamaJson(), "rope_parameters",
                                           {{"rope_type", "default"}, {"rope_theta", 500.0}})
                                          .dump()));
  EXPECT_EQ(new_llama.rotary_base, 500);
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig old_neox,
                             ReadText(With(GptNeoxJson(), "rotary_emb_base", 300).dump()));
  EXPECT_EQ(old_neox.rotary_base, 300);
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig new_neox,
                             ReadText(With(Without(GptNeoxJson(), "rotary_pct"), "rope_parameters",
                                           {{"rope_theta", 300.0}, {"partial_rotary_factor", 0.5}})
                                          .dump()));
  EXPECT_EQ(new_neox.rotary_base, 300);
  EXPECT_EQ(new_neox.rotary_dim, 4);
}

TEST(ModelConfigTest, LinearAndLlama3ScalingAreRead) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const ModelConfig linear,
      ReadText(With(LlamaJson(), "rope_scaling", {{"type", "linear"}, {"factor", 4.0}}).dump()));
  EXPECT_EQ(linear.rotary_scaling.kind, RotaryScaling::Kind::kLinear);
  EXPECT_EQ(linear.rotary_scaling.factor, 4);
  const Json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 32}};
  AMEND_ASSERT_OK_AND_ASSIGN(const ModelConfig scaled,
                             ReadText(With(LlamaJson(), "rope_scaling", llama3).dump()));
  EXPECT_EQ(scaled.rotary_scaling.kind, RotaryScaling::Kind::kLlama3);
  EXPECT_EQ(scaled.rotary_scaling.high_frequency_factor, 4);
  EXPECT_EQ(scaled.rotary_scaling.original_context_length, 32);
  ExpectFieldError(With(LlamaJson(), "rope_scaling", With(llama3, "high_freq_factor", 1.0)),
                   "high_freq_factor", {"1", "above"});
  ExpectFieldError(
      With(LlamaJson(), "rope_scaling", Without(llama3, "original_max_position_embeddings")),
      "original_max_position_embeddings", {"is missing"});
  ExpectFieldError(With(LlamaJson(), "rope_scaling", {{"type", "linear"}}), "factor",
                   {"is missing"});
}

TEST(ModelConfigTest, AnotherScalingIsRefusedAndNamed) {
  for (const char* type : {"yarn", "dynamic", "longrope", "su"}) {
    ExpectFieldError(With(LlamaJson(), "rope_scaling", {{"type", type}, {"factor", 4.0}}),
                     "rope_scaling", {type, "linear", "llama3"});
    ExpectFieldError(With(GptNeoxJson(), "rope_parameters", {{"rope_type", type}}),
                     "rope_parameters", {type});
  }
  ExpectFieldError(With(LlamaJson(), "rope_scaling", 3), "rope_scaling", {"object", "3"});
}

TEST(ModelConfigTest, ASlidingWindowBoundsTheContext) {
  const Json window = With(LlamaJson(), "sliding_window", 24);
  EXPECT_EQ(ReadText(OfType(window, "mistral").dump())->context_length, 24);
  EXPECT_EQ(
      ReadText(OfType(With(window, "sliding_window", nullptr), "mistral").dump())->context_length,
      64);
  EXPECT_EQ(
      ReadText(OfType(With(window, "sliding_window", 4096), "mistral").dump())->context_length, 64);
  // Qwen2's files have one that is not used.
  EXPECT_EQ(ReadText(OfType(window, "qwen2").dump())->context_length, 64);
  EXPECT_EQ(
      ReadText(OfType(With(window, "use_sliding_window", true), "qwen2").dump())->context_length,
      24);
}

TEST(ModelConfigTest, WhatLlamasAndGptNeoxsCannotBeIsRefused) {
  ExpectFieldError(With(LlamaJson(), "hidden_act", "gelu"), "hidden_act", {"gelu", "silu"});
  ExpectFieldError(With(LlamaJson(), "num_key_value_heads", 3), "num_attention_heads", {"4", "3"});
  ExpectFieldError(With(LlamaJson(), "head_dim", 5), "head_dim", {"5", "even"});
  ExpectFieldError(With(LlamaJson(), "attention_bias", 1), "attention_bias", {"true or false"});
  ExpectFieldError(With(LlamaJson(), "rms_norm_eps", -1), "rms_norm_eps", {"-1"});
  ExpectFieldError(Without(LlamaJson(), "intermediate_size"), "intermediate_size", {"is missing"});
  ExpectFieldError(With(GptNeoxJson(), "hidden_act", "relu"), "hidden_act", {"relu", "gelu_fast"});
  ExpectFieldError(With(GptNeoxJson(), "rotary_pct", 0.1), "rotary_pct", {"even"});
}

}  // namespace
}  // namespace amend
