#include "core/tokenizer/bpe_tokenizer.h"

#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Utf8(int code) {
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
}

// 256 tokens for the bytes, printable ASCII with its own code as id.
BpeDefinition Bytes() {
  BpeDefinition definition;
  definition.vocabulary_source = "vocabulary-file";
  definition.merges_source = "merges-file";
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    definition.vocabulary.emplace_back(Utf8(printable ? byte : next++), byte);
  }
  return definition;
}

// Bytes, and each merge's result from id 256 on.
BpeDefinition WithMerges(std::vector<std::pair<std::string, std::string>> merges) {
  BpeDefinition definition = Bytes();
  for (const auto& [left, right] : merges) {
    definition.vocabulary.emplace_back(left + right, definition.vocabulary.size());
  }
  definition.merges = std::move(merges);
  return definition;
}

std::vector<TokenId> Encode(const BpeDefinition& definition, absl::string_view text) {
  return BpeTokenizer::Create(definition).value()->Encode(text);
}

std::string InvalidMessage(const BpeDefinition& definition) {
  const absl::Status status = BpeTokenizer::Create(definition).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

TEST(BpeTokenizerTest, TextWithoutMergesIsItsBytes) {
  EXPECT_THAT(Encode(Bytes(), "a\xFF b"), ElementsAre('a', 0xFF, ' ', 'b'));
}

TEST(BpeTokenizerTest, BestPriorityGoesBeforeLeftmost) {
  EXPECT_THAT(Encode(WithMerges({{"b", "c"}, {"a", "b"}}), "abc"), ElementsAre('a', 256));
}

TEST(BpeTokenizerTest, LeftmostGoesFirstAmongEquals) {
  EXPECT_THAT(Encode(WithMerges({{"a", "a"}}), "aaa"), ElementsAre(256, 'a'));
}

TEST(BpeTokenizerTest, MergedTokensMergeFurther) {
  EXPECT_THAT(Encode(WithMerges({{"a", "b"}, {"ab", "ab"}, {"abab", "c"}}), "ababcab"),
              ElementsAre(258, 256));
}

TEST(BpeTokenizerTest, PairThatIsGoneDoesNotMerge) {
  // "bc" is taken by the time that "ab" has its turn.
  EXPECT_THAT(Encode(WithMerges({{"c", "d"}, {"b", "cd"}, {"a", "b"}}), "abcd"),
              ElementsAre('a', 257));
}

TEST(BpeTokenizerTest, PairThatIsGoneGivesItsPriorityToNoOther) {
  // At the turn of "ab" there is "a", "bc" in its place, which must wait behind "bcd".
  EXPECT_THAT(Encode(WithMerges({{"b", "c"}, {"a", "b"}, {"bc", "d"}, {"a", "bc"}}), "abcd"),
              ElementsAre('a', 258));
}

TEST(BpeTokenizerTest, AWholeWordThatIsATokenMayGoBeforeMerges) {
  // "abc" cannot be reached: "bc" merges first.
  BpeDefinition definition = WithMerges({{"b", "c"}, {"a", "b"}, {"ab", "c"}});
  EXPECT_THAT(Encode(definition, "abc abc"), ElementsAre('a', 256, ' ', 'a', 256));
  definition.whole_words = true;
  EXPECT_THAT(Encode(definition, "abc abcd"), ElementsAre(258, ' ', 'a', 256, 'd'));
}

TEST(BpeTokenizerTest, AddedTokensThatStandForTheirContentAreFoundLongestFirst) {
  BpeDefinition definition = WithMerges({{"a", "b"}});
  definition.added = {{"  ", 300}, {"   ", 301}, {"<x>", 302}};
  definition.matched = {{"  ", 300}, {"   ", 301}};
  EXPECT_THAT(Encode(definition, "ab     ab<x>"), ElementsAre(256, 301, 300, 256, '<', 'x', '>'));
}

TEST(BpeTokenizerTest, NothingMergesAcrossWords) {
  EXPECT_THAT(Encode(WithMerges({{"a", "1"}}), "a1"), ElementsAre('a', '1'));
}

TEST(BpeTokenizerTest, LongWordTakesNoQuadraticTime) {
  const auto bpe = BpeTokenizer::Create(WithMerges({{"a", "b"}, {"ab", "a"}, {"b", "ab"}})).value();
  std::string word;
  for (uint32_t i = 0, x = 1; i < 1000000; ++i, x = x * 1664525 + 1013904223) {
    word.push_back(x >> 31 ? 'a' : 'b');
  }
  // 10^12 steps would take hours: the test's own time limit catches them.
  const std::vector<TokenId> ids = bpe->Encode(word);
  EXPECT_EQ(bpe->Decode(ids).value(), word);
}

TEST(BpeTokenizerTest, AddedTokenHasItsPlainBytesAndIsNeverEncoded) {
  BpeDefinition definition = Bytes();
  definition.vocabulary.emplace_back("<end>", 256);
  definition.added = {{"<end>", 256}, {"<a b>", 257}};
  const auto bpe = BpeTokenizer::Create(definition).value();
  EXPECT_EQ(bpe->vocabulary_size(), 258);
  EXPECT_EQ(bpe->TokenBytes(256), "<end>");
  EXPECT_EQ(bpe->TokenBytes(257), "<a b>");
  EXPECT_THAT(bpe->Encode("<end>"), ElementsAre('<', 'e', 'n', 'd', '>'));
}

TEST(BpeTokenizerTest, GapInTheVocabularyHasNoBytes) {
  BpeDefinition definition = Bytes();
  definition.vocabulary.emplace_back("ab", 300);
  const auto bpe = BpeTokenizer::Create(definition).value();
  EXPECT_EQ(bpe->vocabulary_size(), 301);
  EXPECT_EQ(bpe->TokenBytes(299), "");
  EXPECT_EQ(bpe->TokenBytes(300), "ab");
}

TEST(BpeTokenizerTest, MissingByteIsInvalid) {
  BpeDefinition definition = Bytes();
  definition.vocabulary.pop_back();
  EXPECT_THAT(InvalidMessage(definition),
              AllOf(StartsWith("vocabulary-file"), HasSubstr("0xFF"), HasSubstr("255")));
}

TEST(BpeTokenizerTest, TwoTokensWithOneIdAreInvalid) {
  BpeDefinition definition = Bytes();
  definition.vocabulary.emplace_back("xy", 'a');
  EXPECT_THAT(InvalidMessage(definition),
              AllOf(HasSubstr("\"a\""), HasSubstr("\"xy\""), HasSubstr("97")));
}

TEST(BpeTokenizerTest, NegativeOrHugeIdIsInvalid) {
  BpeDefinition definition = Bytes();
  definition.vocabulary.emplace_back("xy", -1);
  EXPECT_THAT(InvalidMessage(definition), AllOf(HasSubstr("\"xy\""), HasSubstr("-1")));
  definition.vocabulary.back().second = int64_t{1} << 40;
  EXPECT_THAT(InvalidMessage(definition), AllOf(HasSubstr("\"xy\""), HasSubstr("1099511627776")));
}

TEST(BpeTokenizerTest, TokenOutsideTheAlphabetIsInvalid) {
  BpeDefinition definition = Bytes();
  definition.vocabulary.emplace_back("x y", 256);
  EXPECT_THAT(InvalidMessage(definition), AllOf(HasSubstr("\"x y\""), HasSubstr("256")));
}

TEST(BpeTokenizerTest, MergeIntoAnUnknownTokenIsInvalid) {
  BpeDefinition definition = Bytes();
  definition.merges = {{"a", "b"}};
  EXPECT_THAT(InvalidMessage(definition),
              AllOf(StartsWith("merges-file"), HasSubstr("merge 0"), HasSubstr("\"ab\"")));
}

TEST(BpeTokenizerTest, MergeThatWouldNotRoundTripIsInvalid) {
  BpeDefinition definition = WithMerges({{"Ġ", "a"}});
  definition.added = {{"Ġa", 256}};  // its content is plain, so not a space
  EXPECT_THAT(InvalidMessage(definition), AllOf(StartsWith("merges-file"), HasSubstr("merge 0")));
}

}  // namespace
}  // namespace amend
