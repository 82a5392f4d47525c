#include "core/editing/context_templates.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/testing/status_matchers.h"
#include "core/base/utf8.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using Templates = std::vector<std::string>;

class ContextTemplatesTest : public testing::Test {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(model_, LoadCausalLm("models/demo", LoadOptions()));
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory("models/demo"));
  }

  std::shared_ptr<const CausalLm> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

int Count(absl::string_view text, absl::string_view part) {
  int count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = FirstUtf8(text);
    if (step.kind != Utf8Step::Kind::kValid) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

TEST_F(ContextTemplatesTest, FiveTemplatesBeginWithTheirOpenings) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Templates templates,
                             SampleContextTemplates(model_, *tokenizer_, 1));
  const Templates openings = {"The", "Therefore", "Because", "I", "You"};
  ASSERT_EQ(templates.size(), openings.size());
  for (size_t i = 0; i < openings.size(); ++i)
    EXPECT_TRUE(absl::StartsWith(templates[i], openings[i])) << templates[i];
}

TEST_F(ContextTemplatesTest, WhatATextBeginsWithIsLeftOut) {
  for (const char* name : {"llama", "mistral"}) {
    const std::string folder = absl::StrCat("tests/testdata/architectures/", name);
    AMEND_ASSERT_OK_AND_ASSIGN(const auto model, LoadCausalLm(folder, LoadOptions()));
    AMEND_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::FromDirectory(folder));
    AMEND_ASSERT_OK_AND_ASSIGN(const Templates templates,
                               SampleContextTemplates(model, *tokenizer, 1));
    EXPECT_TRUE(absl::StartsWith(templates[3], "I")) << name << ": " << templates[3];
    EXPECT_TRUE(absl::StartsWith(templates[4], "You")) << name << ": " << templates[4];
  }
}

TEST_F(ContextTemplatesTest, EachEndsWithItsOnlyPlaceHolder) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Templates templates,
                             SampleContextTemplates(model_, *tokenizer_, 2));
  for (const std::string& text : templates) {
    EXPECT_TRUE(absl::EndsWith(text, ". {}")) << text;
    EXPECT_EQ(Count(text, "{}"), 1) << text;
  }
}

TEST_F(ContextTemplatesTest, TheSampleHasAtMostTenTokens) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Templates templates,
                             SampleContextTemplates(model_, *tokenizer_, 3));
  for (const std::string& text : templates) {
    const absl::string_view sample = absl::string_view(text).substr(0, text.size() - 4);
    EXPECT_LE(tokenizer_->Encode(sample).size(), 10u) << text;
    EXPECT_GE(tokenizer_->Encode(sample).size(), 5u) << text;
  }
}

TEST_F(ContextTemplatesTest, TheEndOfATextIsLeftOut) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    AMEND_ASSERT_OK_AND_ASSIGN(const Templates templates,
                               SampleContextTemplates(model_, *tokenizer_, seed));
    for (const std::string& text : templates)
      EXPECT_FALSE(absl::StrContains(text, "<|endoftext|>")) << text;
  }
}

TEST_F(ContextTemplatesTest, SameSeedGivesTheSameTemplates) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Templates first, SampleContextTemplates(model_, *tokenizer_, 7));
  AMEND_ASSERT_OK_AND_ASSIGN(const Templates second,
                             SampleContextTemplates(model_, *tokenizer_, 7));
  EXPECT_EQ(first, second);
}

TEST_F(ContextTemplatesTest, AnotherSeedGivesOtherTemplates) {
  AMEND_ASSERT_OK_AND_ASSIGN(const Templates first, SampleContextTemplates(model_, *tokenizer_, 7));
  AMEND_ASSERT_OK_AND_ASSIGN(const Templates second,
                             SampleContextTemplates(model_, *tokenizer_, 1007));
  EXPECT_NE(first, second);
}

// A model that has learnt nothing puts out parts of characters, braces and line ends.
TEST_F(ContextTemplatesTest, WhateverTheModelSaysATemplateIsOneLineOfUtf8) {
  RandomModelShape shape;
  shape.vocabulary = tokenizer_->vocabulary_size();
  const std::shared_ptr<const CausalLm> random = RandomGpt2(shape, 5);
  for (uint64_t seed = 0; seed < 25; ++seed) {
    AMEND_ASSERT_OK_AND_ASSIGN(const Templates templates,
                               SampleContextTemplates(random, *tokenizer_, seed));
    for (const std::string& text : templates) {
      EXPECT_TRUE(IsUtf8(text)) << text;
      EXPECT_EQ(Count(text, "{"), 1) << text;
      EXPECT_EQ(Count(text, "}"), 1) << text;
      for (const char c : text) EXPECT_GE(static_cast<unsigned char>(c), ' ') << text;
    }
  }
}

}  // namespace
}  // namespace amend
