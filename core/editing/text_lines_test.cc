#include "core/editing/text_lines.h"

#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string Write(const std::string& content) {
  const std::string path = absl::StrCat(
      testing::TempDir(), "/", testing::UnitTest::GetInstance()->current_test_info()->name());
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

absl::StatusOr<std::vector<std::string>> ReadAll(const std::string& content) {
  auto lines = TextLines::Open(Write(content));
  if (!lines.ok()) return lines.status();
  std::vector<std::string> all;
  for (std::string line;;) {
    const absl::StatusOr<bool> more = (*lines)->Next(&line);
    if (!more.ok()) return more.status();
    if (!*more) break;
    all.push_back(line);
  }
  EXPECT_EQ((*lines)->lines(), static_cast<int64_t>(all.size()));
  EXPECT_EQ((*lines)->bytes(), (*lines)->total_bytes());
  return all;
}

TEST(TextLinesTest, LinesComeInOrderWithoutTheirEnds) {
  EXPECT_THAT(*ReadAll("one\ntwo\n"), ElementsAre("one", "two"));
}

TEST(TextLinesTest, TheLastLineNeedsNoEnd) {
  EXPECT_THAT(*ReadAll("one\ntwo"), ElementsAre("one", "two"));
}

TEST(TextLinesTest, EmptyLinesCount) { EXPECT_THAT(*ReadAll("\n\na"), ElementsAre("", "", "a")); }

TEST(TextLinesTest, AnEmptyFileHasNoLine) { EXPECT_THAT(*ReadAll(""), ElementsAre()); }

TEST(TextLinesTest, BytesAboveAsciiAreKept) {
  const std::string text = "Jord\xc3\xa3o \xe2\x82\xac \xf0\x9f\x98\x80\xff";
  EXPECT_THAT(*ReadAll(text.substr(0, text.size() - 1)),
              ElementsAre(text.substr(0, text.size() - 1)));
}

TEST(TextLinesTest, WhatIsNotUtf8IsNamedByLineAndByte) {
  EXPECT_THAT(
      ReadAll("fine\nab\xff"
              "c\n"),
      StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(":2:"), HasSubstr("byte 3"))));
  EXPECT_THAT(ReadAll("cut \xe2\x82"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(TextLinesTest, ALineWithoutEndIsRefusedBeforeItFillsTheMemory) {
  EXPECT_THAT(ReadAll("a\n" + std::string(TextLines::kMaxLineBytes + 1, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(":2: the line has more")));
  EXPECT_THAT(ReadAll(std::string(TextLines::kMaxLineBytes, 'x')), IsOk());
}

TEST(TextLinesTest, AMissingFileAndADirectoryAreNamed) {
  EXPECT_THAT(TextLines::Open("no/such/file"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such/file")));
  EXPECT_THAT(TextLines::Open(testing::TempDir()), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace amend
