#include "core/base/utf8.h"

#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace amend {
namespace {

using Kind = Utf8Step::Kind;

std::string EncodeCodePoint(uint32_t c) {
  std::string out;
  if (c < 0x80) {
    out = {static_cast<char>(c)};
  } else if (c < 0x800) {
    out = {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 63))};
  } else if (c < 0x10000) {
    out = {static_cast<char>(0xE0 | (c >> 12)), static_cast<char>(0x80 | ((c >> 6) & 63)),
           static_cast<char>(0x80 | (c & 63))};
  } else {
    out = {static_cast<char>(0xF0 | (c >> 18)), static_cast<char>(0x80 | ((c >> 12) & 63)),
           static_cast<char>(0x80 | ((c >> 6) & 63)), static_cast<char>(0x80 | (c & 63))};
  }
  return out;
}

void ExpectStep(absl::string_view bytes, Kind kind, size_t length) {
  const Utf8Step step = FirstUtf8(bytes);
  EXPECT_EQ(step.kind, kind) << testing::PrintToString(std::string(bytes));
  EXPECT_EQ(step.length, length) << testing::PrintToString(std::string(bytes));
}

TEST(Utf8Test, EveryScalarValueIsValidAndEachOfItsBeginningsIncomplete) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const std::string bytes = EncodeCodePoint(c);
    ExpectStep(bytes, Kind::kValid, bytes.size());
    ExpectStep(bytes + "\x80", Kind::kValid, bytes.size());
    for (size_t n = 1; n < bytes.size(); ++n) {
      ExpectStep(bytes.substr(0, n), Kind::kIncomplete, n);
    }
    if (HasFailure()) break;
  }
}

TEST(Utf8Test, SurrogatesAreInvalid) {
  ExpectStep("\xED\xA0\x80", Kind::kInvalid, 1);
  ExpectStep("\xED\xBF\xBF", Kind::kInvalid, 1);
}

TEST(Utf8Test, OverlongFormsAreInvalid) {
  ExpectStep("\xC0\x80", Kind::kInvalid, 1);
  ExpectStep("\xC1\xBF", Kind::kInvalid, 1);
  ExpectStep("\xE0\x9F\xBF", Kind::kInvalid, 1);
  ExpectStep("\xF0\x8F\xBF\xBF", Kind::kInvalid, 1);
}

TEST(Utf8Test, BeyondTheLastCodePointIsInvalid) {
  ExpectStep("\xF4\x90\x80\x80", Kind::kInvalid, 1);
  ExpectStep("\xF5\x80\x80\x80", Kind::kInvalid, 1);
  ExpectStep("\xFF", Kind::kInvalid, 1);
}

TEST(Utf8Test, LoneContinuationByteIsInvalid) {
  ExpectStep(
      "\x80"
      "a",
      Kind::kInvalid, 1);
}

TEST(Utf8Test, BrokenCharacterCoversItsMaximalSubpart) {
  ExpectStep(
      "\xE2\x82"
      "a",
      Kind::kInvalid, 2);
  ExpectStep("\xF0\x9F\x98\xF0", Kind::kInvalid, 3);
  ExpectStep("\xC3\xC3", Kind::kInvalid, 1);
}

}  // namespace
}  // namespace amend
