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
  EXPECT_EQ(config.head_dim(), 64);
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
  ExpectFieldError(With(Gpt2Json(), "model_type", "llama"), "model_type",
                   {"\"llama\"", "gpt2, gptj"});
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

}  // namespace
}  // namespace amend
