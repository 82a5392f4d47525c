#include "core/generation/text_stream.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "core/base/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::ElementsAre;

// What Append returns for each token, and Finish at the end.
std::vector<std::string> Pieces(TextStream& stream, const std::vector<std::string>& tokens) {
  std::vector<std::string> pieces;
  for (const std::string& token : tokens) pieces.push_back(stream.Append(token));
  pieces.push_back(stream.Finish());
  return pieces;
}

TEST(TextStreamTest, AsciiIsCertainAtOnce) {
  TextStream stream({});
  EXPECT_THAT(Pieces(stream, {"The", " cat", ""}), ElementsAre("The", " cat", "", ""));
  EXPECT_FALSE(stream.stopped());
}

TEST(TextStreamTest, CharacterWaitsForItsLastByte) {
  TextStream stream({});
  EXPECT_THAT(Pieces(stream, {"a\xF0\x9F", "\x98", "\x80 b"}), ElementsAre("a", "", "😀 b", ""));
}

TEST(TextStreamTest, BytesThatBecomeNoCharacterAreReplacedAsSoonAsThatIsCertain) {
  TextStream stream({});
  EXPECT_THAT(Pieces(stream, {"\x80", "\xE2\x82", "x"}), ElementsAre("\uFFFD", "", "\uFFFDx", ""));
}

TEST(TextStreamTest, CharacterCutByTheEndIsReplacedOnce) {
  TextStream stream({});
  EXPECT_THAT(Pieces(stream, {"a\xF0\x9F\x98"}), ElementsAre("a", "\uFFFD"));
}

TEST(TextStreamTest, EndsBeforeAStopStringInsideAToken) {
  TextStream stream({"."});
  EXPECT_THAT(Pieces(stream, {"One. Two", " three"}), ElementsAre("One", "", ""));
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStreamTest, EndsBeforeAStopStringAcrossTokens) {
  TextStream stream({"END"});
  EXPECT_THAT(Pieces(stream, {"xE", "N", "D!"}), ElementsAre("x", "", "", ""));
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStreamTest, BeginningOfAStopStringIsReleasedWhenItGoesOnOtherwise) {
  TextStream stream({"END"});
  EXPECT_THAT(Pieces(stream, {"xEN", "ENx"}), ElementsAre("x", "ENENx", ""));
  EXPECT_FALSE(stream.stopped());
}

TEST(TextStreamTest, StopStringIsFoundWithinAFailedBeginning) {
  TextStream stream({"aab"});
  EXPECT_THAT(Pieces(stream, {"a", "a", "a", "b"}), ElementsAre("", "", "a", "", ""));
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStreamTest, BeginningOfAStopStringIsReleasedAtTheEnd) {
  TextStream stream({"END"});
  EXPECT_THAT(Pieces(stream, {"xEN"}), ElementsAre("x", "EN"));
  EXPECT_FALSE(stream.stopped());
}

TEST(TextStreamTest, EarliestOfSeveralStopStringsWins) {
  TextStream stream({"three", "two", "one"});
  EXPECT_THAT(Pieces(stream, {"0 two one three"}), ElementsAre("0 ", ""));
}

TEST(TextStreamTest, StopStringWaitsForOneThatBeganBeforeIt) {
  TextStream stopped({"abc", "b"});
  EXPECT_THAT(Pieces(stopped, {"xab", "c"}), ElementsAre("x", "", ""));
  TextStream failed({"abc", "b"});
  EXPECT_THAT(Pieces(failed, {"xab", "d"}), ElementsAre("x", "a", ""));
  EXPECT_TRUE(failed.stopped());
  TextStream ended({"abc", "b"});
  EXPECT_THAT(Pieces(ended, {"xab"}), ElementsAre("x", "a"));
  EXPECT_TRUE(ended.stopped());
}

TEST(TextStreamTest, StopStringDoesNotWaitForALongerOneOfTheSameStart) {
  TextStream stream({"\n\n", "\n"});
  EXPECT_THAT(Pieces(stream, {"a\n"}), ElementsAre("a", ""));
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStreamTest, StopStringOfSeveralBytesIsFoundAcrossTokens) {
  TextStream stream({"。"});
  EXPECT_THAT(Pieces(stream, {"東\xE3", "\x80", "\x82京"}), ElementsAre("東", "", "", ""));
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStreamTest, CutCharacterBeforeAStopStringIsReplaced) {
  TextStream stream({"."});
  EXPECT_THAT(Pieces(stream, {"a\xE2\x82", ". b"}), ElementsAre("a", "\uFFFD", ""));
}

TEST(TextStreamTest, EmptyStopStringIsIgnored) {
  TextStream stream({""});
  EXPECT_THAT(Pieces(stream, {"a"}), ElementsAre("a", ""));
}

// The whole text at once: cut at the first stop string, then repaired.
std::string Expected(const std::string& bytes, const std::vector<std::string>& stop) {
  size_t end = bytes.size();
  for (const std::string& s : stop) end = std::min(end, bytes.find(s));
  std::string text;
  for (size_t i = 0; i < end;) {
    const Utf8Step step = FirstUtf8(absl::string_view(bytes).substr(i, end - i));
    text += step.kind == Utf8Step::Kind::kValid ? bytes.substr(i, step.length) : "\uFFFD";
    i += step.length;
  }
  return text;
}

TEST(TextStreamTest, TextDependsOnTheBytesAloneNotOnTheTokens) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> alphabet = {"a", "b", "é", "\xC3", "\xA9", "\xE2", "\x82", "。"};
  const auto make = [&](uint64_t pieces) {
    std::string text;
    for (; pieces > 0; --pieces) text += alphabet[random() % alphabet.size()];
    return text;
  };
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stop(random() % 3);
    for (std::string& s : stop) s = make(1 + random() % 3);
    const std::string bytes = make(random() % 12);
    TextStream stream(stop);
    std::string text;
    for (size_t i = 0; i < bytes.size();) {
      const size_t length = 1 + random() % 4;
      const std::string piece = stream.Append(absl::string_view(bytes).substr(i, length));
      for (size_t j = 0; j < piece.size();) {
        const Utf8Step step = FirstUtf8(absl::string_view(piece).substr(j));
        ASSERT_EQ(step.kind, Utf8Step::Kind::kValid);
        j += step.length;
      }
      text += piece;
      i += length;
    }
    text += stream.Finish();
    ASSERT_EQ(text, Expected(bytes, stop))
        << testing::PrintToString(bytes) << " stop " << testing::PrintToString(stop);
  }
}

}  // namespace
}  // namespace amend
