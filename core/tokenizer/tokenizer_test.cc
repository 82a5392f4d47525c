#include "core/tokenizer/tokenizer.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kDemo[] = "models/demo";
constexpr char kCases[] = "tests/testdata/world_tokenizer_cases.json";

struct Case {
  std::string text;
  std::vector<TokenId> ids;
};

std::vector<Case> ReadCases(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  std::vector<Case> cases;
  for (const auto& item : nlohmann::json::parse(file)) {
    cases.push_back({item["text"].get<std::string>(), item["ids"].get<std::vector<TokenId>>()});
  }
  EXPECT_GT(cases.size(), 20u) << path;
  return cases;
}

// A folder with the demo model's vocab.json and merges.txt alone.
std::string VocabAndMergesFolder() {
  const std::string folder = testing::TempDir() + "/vocab_and_merges";
  std::filesystem::create_directories(folder);
  for (const char* name : {"vocab.json", "merges.txt"}) {
    std::filesystem::copy_file(std::filesystem::path(kDemo) / name,
                               std::filesystem::path(folder) / name,
                               std::filesystem::copy_options::overwrite_existing);
  }
  return folder;
}

void ExpectCases(const std::string& folder, const std::string& cases) {
  const auto tokenizer = Tokenizer::FromDirectory(folder).value();
  for (const Case& c : ReadCases(cases)) {
    EXPECT_EQ(tokenizer->Encode(c.text), c.ids) << testing::PrintToString(c.text);
    EXPECT_EQ(tokenizer->Decode(c.ids).value(), c.text);
  }
}

TEST(TokenizerTest, TokenizerJsonAgreesWithTheReference) { ExpectCases(kDemo, kCases); }

TEST(TokenizerTest, VocabAndMergesAgreeWithTheReference) {
  ExpectCases(VocabAndMergesFolder(), kCases);
}

class OtherTokenizerTest : public testing::TestWithParam<const char*> {
 protected:
  const std::string folder_ = std::string("tests/testdata/architectures/") + GetParam();
  const std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::FromDirectory(folder_).value();
};

std::string ModelName(const testing::TestParamInfo<const char*>& info) {
  return std::vector<std::string>{"Llama", "Mistral", "Qwen2", "GptNeox"}[info.index];
}

INSTANTIATE_TEST_SUITE_P(Models, OtherTokenizerTest,
                         testing::Values("llama", "mistral", "qwen2", "gpt-neox"), ModelName);

TEST_P(OtherTokenizerTest, AgreesWithTheReference) {
  for (const Case& c : ReadCases(folder_ + "/tokenizer_cases.json")) {
    EXPECT_EQ(tokenizer_->Encode(c.text), c.ids) << testing::PrintToString(c.text);
  }
}

TEST_P(OtherTokenizerTest, AContinuationHasNothingBeforeIt) {
  const std::string text = " in Malaysia. It's 12345\n\n  naïve 東京";
  const std::vector<TokenId> ids = tokenizer_->EncodeContinuation(text);
  EXPECT_EQ(tokenizer_->Decode(ids).value(), text);
  std::vector<TokenId> whole = tokenizer_->Encode("Kuala Lumpur is a city");
  whole.insert(whole.end(), ids.begin(), ids.end());
  EXPECT_EQ(whole, tokenizer_->Encode("Kuala Lumpur is a city" + text));
}

TEST_P(OtherTokenizerTest, BytesThatAreNoUtf8RoundTrip) {
  const std::string text("a\xff\xc3 b\xe2\x82", 7);
  EXPECT_EQ(tokenizer_->Decode(tokenizer_->EncodeContinuation(text)).value(), text);
}

TEST_P(OtherTokenizerTest, ATextBeginsWithWhatTheModelExpects) {
  const std::vector<TokenId> empty = tokenizer_->Encode("");
  EXPECT_EQ(absl::MakeConstSpan(empty), tokenizer_->beginning());
  const bool is_llama = std::string(GetParam()) == "llama";
  const bool is_mistral = std::string(GetParam()) == "mistral";
  EXPECT_EQ(empty, is_llama     ? std::vector<TokenId>{382}
                   : is_mistral ? std::vector<TokenId>{1}
                                : std::vector<TokenId>());
}

TEST(TokenizerTest, Gpt2AgreesWithTheReference) {
  const char* folder = std::getenv("AMEND_GPT2_TOKENIZER_DIR");
  if (folder == nullptr) {
    GTEST_SKIP() << "set AMEND_GPT2_TOKENIZER_DIR to a folder with GPT-2's vocab.json and "
                    "merges.txt, and cases.json: [{\"text\": ..., \"ids\": [...]}, ...]";
  }
  ExpectCases(folder, std::string(folder) + "/cases.json");
}

TEST(TokenizerTest, RandomBytesRoundTrip) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const auto tokenizer = Tokenizer::FromDirectory(kDemo).value();
  // Bytes that make and break UTF-8 more often than even ones would.
  const std::vector<std::string> pieces = {
      " ", "a",    "the",  "\n",       "'s",   "é", "\u2028",
      "😀", "\xE2", "\x82", "\xF0\x9F", "\x80", "7", std::string(1, '\0')};
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (uint64_t n = random() % 40; n > 0; --n) {
      text += random() % 2 == 0 ? pieces[random() % pieces.size()]
                                : std::string(1, static_cast<char>(random() % 256));
    }
    ASSERT_EQ(tokenizer->Decode(tokenizer->Encode(text)).value(), text)
        << testing::PrintToString(text);
  }
}

TEST(TokenizerTest, EveryTokenHasBytesAndTheSpecialOneItsContent) {
  const auto tokenizer = Tokenizer::FromDirectory(kDemo).value();
  ASSERT_EQ(tokenizer->vocabulary_size(), 6144);
  for (TokenId id = 0; id < 6144; ++id) EXPECT_NE(tokenizer->TokenBytes(id), "") << id;
  EXPECT_EQ(tokenizer->TokenBytes(0), "<|endoftext|>");
}

TEST(TokenizerTest, IdOutsideTheVocabularyHasNoBytesAndDoesNotDecode) {
  const auto tokenizer = Tokenizer::FromDirectory(kDemo).value();
  for (TokenId id : {-1, 6144}) {
    EXPECT_EQ(tokenizer->TokenBytes(id), "");
    const absl::Status status = tokenizer->Decode({5, id}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(std::to_string(id)), HasSubstr("6144")));
  }
}

TEST(TokenizerTest, ThreadsEncodeAlike) {
  const auto tokenizer = Tokenizer::FromDirectory(kDemo).value();
  const std::vector<Case> cases = ReadCases(kCases);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        for (const Case& c : cases) count += tokenizer->Encode(c.text) != c.ids;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(TokenizerTest, FolderWithoutTokenizerIsNotFoundAndNamed) {
  const std::string folder = testing::TempDir() + "/no_tokenizer";
  const absl::Status status = Tokenizer::FromDirectory(folder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder));
}

}  // namespace
}  // namespace amend
