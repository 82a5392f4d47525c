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
  static const PreTokenizer* const pre = PreTokenizer::Create().value().release();
  std::vector<std::string> words;
  pre->ForEachWord(text, [&](absl::string_view word) { words.emplace_back(word); });
  return words;
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
