#include "core/tokenizer/pre_tokenizer.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Words(absl::string_view text) {
  static const PreTokenizer* const pre =
      PreTokenizer::Create(SplitExpression::kGpt2).value().release();
  std::vector<std::string> words;
  pre->ForEachWord(text, [&](absl::string_view word) { words.emplace_back(word); });
  return words;
}

std::vector<std::string> WordsBy(SplitExpression split, absl::string_view text) {
  const auto pre = PreTokenizer::Create(split).value();
  std::vector<std::string> words;
  pre->ForEachWord(text, [&](absl::string_view word) { words.emplace_back(word); });
  return words;
}

TEST(PreTokenizerTest, Llama3CutsNumbersInThreesAndQwen2InSingles) {
  EXPECT_THAT(WordsBy(SplitExpression::kLlama3, "in 12345"), ElementsAre("in", " ", "123", "45"));
  EXPECT_THAT(WordsBy(SplitExpression::kQwen2, "in 123"), ElementsAre("in", " ", "1", "2", "3"));
}

TEST(PreTokenizerTest, LaterExpressionsKnowContractionsInAnyCaseAndKeepLineEndsApart) {
  for (const SplitExpression split : {SplitExpression::kLlama3, SplitExpression::kQwen2}) {
    EXPECT_THAT(WordsBy(split, "DON'T don't"), ElementsAre("DON", "'T", " don", "'t"));
    EXPECT_THAT(WordsBy(split, "a;\n\nb  \n c"), ElementsAre("a", ";\n\n", "b", "  \n", " c"));
    EXPECT_THAT(WordsBy(split, "(a) \"b\""), ElementsAre("(a", ")", " \"", "b", "\""));
    EXPECT_THAT(WordsBy(split, "a \u180Eb"), ElementsAre("a", " \u180E", "b"));
  }
}

TEST(PreTokenizerTest, WithoutAnExpressionATextIsOneWord) {
  EXPECT_THAT(WordsBy(SplitExpression::kNone, "a b\nc"), ElementsAre("a b\nc"));
  EXPECT_THAT(WordsBy(SplitExpression::kNone, "a \xff b"), ElementsAre("a ", "\xff", " b"));
}

TEST(PreTokenizerTest, EmptyTextHasNoWords) { EXPECT_THAT(Words(""), IsEmpty()); }

TEST(PreTokenizerTest, OneSpaceBelongsToTheWordAfterIt) {
  EXPECT_THAT(Words("Hello  world 42!?"), ElementsAre("Hello", " ", " world", " 42", "!?"));
}

TEST(PreTokenizerTest, ContractionsAreCutOffInLowerCaseOnly) {
  EXPECT_THAT(Words("we'll don't"), ElementsAre("we", "'ll", " don", "'t"));
  EXPECT_THAT(Words("DON'T"), ElementsAre("DON", "'", "T"));
}

TEST(PreTokenizerTest, TrailingWhiteSpaceIsOneWord) {
  EXPECT_THAT(Words("a \n\t "), ElementsAre("a", " \n\t "));
}

TEST(PreTokenizerTest, LettersAndDigitsAreThoseOfUnicode) {
  EXPECT_THAT(Words("naïve東京½٣"), ElementsAre("naïve東京", "½٣"));
}

TEST(PreTokenizerTest, NoBreakSpaceIsWhiteSpaceButTheMongolianVowelSeparatorIsNot) {
  EXPECT_THAT(Words("a\u00A0\u00A0b"), ElementsAre("a", "\u00A0", "\u00A0", "b"));
  EXPECT_THAT(Words("a \u180Eb"), ElementsAre("a", " \u180E", "b"));
}

TEST(PreTokenizerTest, RunOfInvalidBytesIsAWordAndEndsTheTextBeforeIt) {
  EXPECT_THAT(Words("ab \xFF\x80 cd"), ElementsAre("ab", " ", "\xFF\x80", " cd"));
}

TEST(PreTokenizerTest, CharacterCutAtTheEndIsAWord) {
  EXPECT_THAT(Words("ab\xE2\x82"), ElementsAre("ab", "\xE2\x82"));
}

TEST(PreTokenizerTest, NulByteIsAnOrdinaryCharacter) {
  EXPECT_THAT(Words(absl::string_view("a\0b", 3)), ElementsAre("a", std::string(1, '\0'), "b"));
}

TEST(PreTokenizerTest, MegabyteOfOneClassIsOneWord) {
  for (const char* unit : {"x", " ", "7", "-", "é", "\u2003"}) {
    std::string text;
    while (text.size() < (1 << 20)) text += unit;
    EXPECT_THAT(Words(text), ElementsAre(text)) << unit;
  }
}

}  // namespace
}  // namespace amend
