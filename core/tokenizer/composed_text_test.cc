#include "core/tokenizer/composed_text.h"

#include <string>

#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(ComposedTextTest, PlainTextStaysAsItIs) {
  EXPECT_EQ(ComposeCharacters(""), "");
  EXPECT_EQ(ComposeCharacters("plain text, naïve"), "plain text, naïve");
}

TEST(ComposedTextTest, ALetterAndItsMarkBecomeOneCharacter) {
  EXPECT_EQ(ComposeCharacters("Cafe\u0301 A\u030aland"), "Caf\u00e9 \u00c5land");
}

TEST(ComposedTextTest, CanonicalEquivalentsBecomeTheSame) {
  // The angstrom sign; marks in another order; Hangul from its letters.
  EXPECT_EQ(ComposeCharacters("\u212b"), "\u00c5");
  EXPECT_EQ(ComposeCharacters("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(ComposeCharacters("\u1112\u1161\u11ab"), "\ud55c");
}

TEST(ComposedTextTest, CompatibilityCharactersStay) {
  EXPECT_EQ(ComposeCharacters("\ufb01 x\u00b2 \u2460"), "\ufb01 x\u00b2 \u2460");
}

TEST(ComposedTextTest, BytesThatAreNoUtf8StayAndEndTheTextBeforeThem) {
  EXPECT_EQ(ComposeCharacters("e\u0301\xff\xfe e\u0301"), "\u00e9\xff\xfe \u00e9");
  EXPECT_EQ(ComposeCharacters("\xff\u0301"), "\xff\u0301");
  EXPECT_EQ(ComposeCharacters("e\u0301\xe2\x82"), "\u00e9\xe2\x82");
}

TEST(ComposedTextTest, NulBytesAreOrdinaryCharacters) {
  const std::string text = std::string("e\u0301") + '\0' + "e\u0301";
  EXPECT_EQ(ComposeCharacters(text), std::string("\u00e9") + '\0' + "\u00e9");
}

}  // namespace
}  // namespace amend
