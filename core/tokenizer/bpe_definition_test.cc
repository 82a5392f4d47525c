#include "core/tokenizer/bpe_definition.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr char kTokenizerJson[] = R"({
  "added_tokens": [{"id": 3, "content": "<end>"}],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
  "model": {"type": "BPE", "dropout": null, "continuing_subword_prefix": "",
            "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
})";

class BpeDefinitionTest : public testing::Test {
 protected:
  BpeDefinitionTest()
      : directory_(testing::TempDir() + "/bpe_definition_" +
                   testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }

  void Write(const std::string& name, absl::string_view content) {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << content;
  }

  // The error after `from` became `to` in a good tokenizer.json.
  absl::Status ErrorAfter(const std::string& from, const std::string& to) {
    const std::string changed = absl::StrReplaceAll(kTokenizerJson, {{from, to}});
    EXPECT_NE(changed, kTokenizerJson) << from;
    Write("tokenizer.json", changed);
    return ReadBpeDefinition(directory_).status();
  }

  void ExpectInvalid(const absl::Status& status, const std::string& file, const std::string& entry,
                     const std::string& value) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(directory_ + "/" + file), HasSubstr(entry), HasSubstr(value)));
  }

  std::string directory_;
};

TEST_F(BpeDefinitionTest, ReadsTokenizerJson) {
  Write("tokenizer.json", kTokenizerJson);
  const BpeDefinition definition = ReadBpeDefinition(directory_).value();
  EXPECT_THAT(definition.vocabulary,
              UnorderedElementsAre(Pair("a", 0), Pair("b", 1), Pair("ab", 2)));
  EXPECT_THAT(definition.merges, ElementsAre(Pair("a", "b")));
  EXPECT_THAT(definition.added, ElementsAre(Pair("<end>", 3)));
}

TEST_F(BpeDefinitionTest, ReadsMergesThatAreArrays) {
  EXPECT_EQ(ErrorAfter("[\"a b\"]", "[[\"a\", \"b\"]]"), absl::OkStatus());
  EXPECT_THAT(ReadBpeDefinition(directory_)->merges, ElementsAre(Pair("a", "b")));
}

TEST_F(BpeDefinitionTest, ReadsVocabAndMergesWithAddedTokens) {
  Write("vocab.json", R"({"a": 0, "b": 1, "ab": 2})");
  Write("merges.txt", "#version: 0.2\r\na b\r\n\n# a\n");
  Write("added_tokens.json", R"({"<end>": 3})");
  const BpeDefinition definition = ReadBpeDefinition(directory_).value();
  EXPECT_EQ(definition.vocabulary.size(), 3u);
  EXPECT_THAT(definition.merges, ElementsAre(Pair("a", "b"), Pair("#", "a")));
  EXPECT_THAT(definition.added, ElementsAre(Pair("<end>", 3)));
}

TEST_F(BpeDefinitionTest, PrefersTokenizerJson) {
  Write("tokenizer.json", kTokenizerJson);
  Write("vocab.json", "damaged");
  EXPECT_TRUE(ReadBpeDefinition(directory_).ok());
}

TEST_F(BpeDefinitionTest, FolderWithoutFilesIsNotFound) {
  const absl::Status status = ReadBpeDefinition(directory_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(directory_), HasSubstr("tokenizer.json"), HasSubstr("vocab.json")));
}

TEST_F(BpeDefinitionTest, MissingMergesAreNotFoundAndNamed) {
  Write("vocab.json", "{}");
  const absl::Status status = ReadBpeDefinition(directory_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(directory_ + "/merges.txt"));
}

TEST_F(BpeDefinitionTest, TruncatedJsonIsInvalid) {
  const std::string half = std::string(kTokenizerJson).substr(0, 100);
  Write("tokenizer.json", half);
  ExpectInvalid(ReadBpeDefinition(directory_).status(), "tokenizer.json", "not valid JSON", "100");
}

TEST_F(BpeDefinitionTest, TopLevelArrayIsInvalid) {
  Write("tokenizer.json", "[1]");
  ExpectInvalid(ReadBpeDefinition(directory_).status(), "tokenizer.json", "top level", "[1]");
}

TEST_F(BpeDefinitionTest, OtherModelIsInvalid) {
  ExpectInvalid(ErrorAfter("BPE", "Unigram"), "tokenizer.json", "model.type", "Unigram");
}

TEST_F(BpeDefinitionTest, OtherPreTokenizerIsInvalid) {
  ExpectInvalid(ErrorAfter("ByteLevel", "Metaspace"), "tokenizer.json", "pre_tokenizer",
                "Metaspace");
}

TEST_F(BpeDefinitionTest, PrefixSpaceIsInvalid) {
  ExpectInvalid(ErrorAfter("\"add_prefix_space\": false", "\"add_prefix_space\": true"),
                "tokenizer.json", "add_prefix_space", "true");
}

TEST_F(BpeDefinitionTest, PreTokenizerWithoutRegexIsInvalid) {
  ExpectInvalid(ErrorAfter("\"use_regex\": true", "\"use_regex\": false"), "tokenizer.json",
                "use_regex", "false");
}

TEST_F(BpeDefinitionTest, OtherNormalizersAreInvalid) {
  for (const std::string type : {"NFKC", "Lowercase", "Prepend"}) {
    ExpectInvalid(ErrorAfter("\"normalizer\": null",
                             absl::StrCat("\"normalizer\": {\"type\": \"", type, "\"}")),
                  "tokenizer.json", "normalizer", type);
  }
}

TEST_F(BpeDefinitionTest, NfcIsRead) {
  EXPECT_EQ(ErrorAfter("\"normalizer\": null", "\"normalizer\": {\"type\": \"NFC\"}"),
            absl::OkStatus());
  EXPECT_TRUE(ReadBpeDefinition(directory_)->composes);
}

constexpr char kByteLevel[] =
    R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})";

std::string SplitBy(const std::string& pattern, bool use_regex) {
  return absl::StrCat(
      R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": ")", pattern,
      R"("}, "behavior": "Isolated", "invert": false}, {"type": "ByteLevel", )",
      R"("add_prefix_space": false, "use_regex": )", use_regex ? "true" : "false", "}]}");
}

TEST_F(BpeDefinitionTest, OtherExpressionsAreInvalidAndNamed) {
  ExpectInvalid(ErrorAfter(kByteLevel, SplitBy("[a-z]+", false)), "tokenizer.json",
                "pre_tokenizer.pretokenizers[0].pattern", "[a-z]+");
  ExpectInvalid(ErrorAfter(kByteLevel, R"({"type": "Sequence", "pretokenizers": []})"),
                "tokenizer.json", "pre_tokenizer", "Sequence");
}

TEST_F(BpeDefinitionTest, ABeginningIsRead) {
  EXPECT_EQ(ErrorAfter("\"normalizer\": null",
                       R"("normalizer": null, "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<end>"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"<end>": {"id": "<end>", "ids": [3]}}})"),
            absl::OkStatus());
  EXPECT_THAT(ReadBpeDefinition(directory_)->beginning, ElementsAre(3));
}

TEST_F(BpeDefinitionTest, WhatWouldFollowATextIsInvalid) {
  ExpectInvalid(ErrorAfter("\"normalizer\": null",
                           R"("normalizer": null, "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<end>"}}]})"),
                "tokenizer.json", "post_processor", "SpecialToken");
  ExpectInvalid(ErrorAfter("\"normalizer\": null",
                           R"("normalizer": null, "post_processor": {"type": "BertProcessing"})"),
                "tokenizer.json", "post_processor", "BertProcessing");
  ExpectInvalid(ErrorAfter("\"normalizer\": null",
                           R"("normalizer": null, "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]})"),
                "tokenizer.json", "post_processor.single[0]", "<s>");
}

TEST_F(BpeDefinitionTest, OnlyTokensThatAreNotSpecialStandForTheirContent) {
  EXPECT_EQ(ErrorAfter("{\"id\": 3, \"content\": \"<end>\"}",
                       R"({"id": 3, "content": "<end>", "special": true},
                          {"id": 4, "content": "  ", "special": false})"),
            absl::OkStatus());
  const BpeDefinition definition = ReadBpeDefinition(directory_).value();
  EXPECT_THAT(definition.added, ElementsAre(Pair("<end>", 3), Pair("  ", 4)));
  EXPECT_THAT(definition.matched, ElementsAre(Pair("  ", 4)));
  ExpectInvalid(ErrorAfter("{\"id\": 3, \"content\": \"<end>\"}",
                           R"({"id": 3, "content": "x", "special": false, "lstrip": true})"),
                "tokenizer.json", "added_tokens[0].lstrip", "true");
}

TEST_F(BpeDefinitionTest, SentencePieceIsToldByItsByteFallback) {
  const std::string model = "\"type\": \"BPE\"";
  const std::string with = absl::StrCat(model, ", \"byte_fallback\": true");
  const std::string metaspace =
      R"({"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": false})";
  const auto status = [&](const std::string& pre, const std::string& normalizer) {
    Write("tokenizer.json",
          absl::StrReplaceAll(kTokenizerJson,
                              {{model, with},
                               {kByteLevel, pre},
                               {"\"normalizer\": null", "\"normalizer\": " + normalizer}}));
    return ReadBpeDefinition(directory_).status();
  };
  ASSERT_EQ(status(metaspace, "null"), absl::OkStatus());
  BpeDefinition definition = ReadBpeDefinition(directory_).value();
  EXPECT_EQ(definition.spelling, Spelling::kSentencePiece);
  EXPECT_EQ(definition.split, SplitExpression::kNone);
  EXPECT_TRUE(definition.begins_with_space && definition.only_one_space);
  ASSERT_EQ(status("null", R"({"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]})"),
            absl::OkStatus());
  definition = ReadBpeDefinition(directory_).value();
  EXPECT_TRUE(definition.begins_with_space);
  EXPECT_FALSE(definition.only_one_space);
  ExpectInvalid(
      status(absl::StrReplaceAll(metaspace, {{"\"split\": false", "\"split\": true"}}), "null"),
      "tokenizer.json", "pre_tokenizer.split", "true");
  ExpectInvalid(status(kByteLevel, "null"), "tokenizer.json", "pre_tokenizer", "ByteLevel");
  ExpectInvalid(
      status("null", R"({"type": "Replace", "pattern": {"String": "a"}, "content": "b"})"),
      "tokenizer.json", "normalizer", "Replace");
}

TEST_F(BpeDefinitionTest, SubwordPrefixIsInvalid) {
  ExpectInvalid(ErrorAfter("_prefix\": \"\"", "_prefix\": \"##\""), "tokenizer.json",
                "continuing_subword_prefix", "##");
}

TEST_F(BpeDefinitionTest, IdThatIsNoIntegerIsInvalid) {
  ExpectInvalid(ErrorAfter("\"b\": 1", "\"b\": 1.5"), "tokenizer.json", "model.vocab[\"b\"]",
                "1.5");
}

TEST_F(BpeDefinitionTest, MergeOfThreeTokensIsInvalid) {
  ExpectInvalid(ErrorAfter("a b", "a b ab"), "tokenizer.json", "model.merges[0]", "a b ab");
}

TEST_F(BpeDefinitionTest, AddedTokenWithoutIdIsInvalid) {
  ExpectInvalid(ErrorAfter("\"id\": 3, ", ""), "tokenizer.json", "added_tokens[0]", "<end>");
}

TEST_F(BpeDefinitionTest, MergesLineWithOneTokenIsInvalid) {
  Write("vocab.json", "{}");
  Write("merges.txt", "#version: 0.2\na b\nabc\n");
  ExpectInvalid(ReadBpeDefinition(directory_).status(), "merges.txt", "line 3", "abc");
}

}  // namespace
}  // namespace amend
