#include "core/base/digest.h"

#include <cstdio>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::HasSubstr;

// FIPS 180-4 examples.
constexpr char kOfNothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kOfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(DigestTest, MatchesThePublishedValues) {
  EXPECT_EQ(Sha256Hex(""), kOfNothing);
  EXPECT_EQ(Sha256Hex("abc"), kOfAbc);
}

TEST(DigestTest, StreamInPiecesEqualsWhole) {
  Sha256Stream stream;
  stream.Update("a");
  stream.Update("");
  stream.Update("bc");
  EXPECT_EQ(stream.HexDigest(), kOfAbc);
}

TEST(DigestTest, FileLargerThanOneBufferEqualsItsBytes) {
  std::string content((1 << 20) + 17, 'x');
  content[5] = '\0';
  const std::string path = testing::TempDir() + "/digest_test_large";
  FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(std::fwrite(content.data(), 1, content.size(), file), content.size());
  ASSERT_EQ(std::fclose(file), 0);
  EXPECT_EQ(Sha256HexOfFile(path).value(), Sha256Hex(content));
}

TEST(DigestTest, MissingFileIsNotFoundAndNamed) {
  const std::string path = testing::TempDir() + "/digest_test_missing";
  const absl::Status status = Sha256HexOfFile(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
}

TEST(DigestTest, UnreadableFileIsUnavailableAndNamed) {
  const std::string path = testing::TempDir();  // a folder opens but does not read
  const absl::Status status = Sha256HexOfFile(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
}

}  // namespace
}  // namespace amend
