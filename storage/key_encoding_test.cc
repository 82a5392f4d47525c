#include "storage/key_encoding.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using absl::StatusCode;
using std::string_literals::operator""s;
using testing::HasSubstr;

std::string RandomBytes(std::mt19937_64& random, int max_size) {
  // Few values: zeros, ones and 0xff are what the encoding must tell apart.
  constexpr char kBytes[] = {'\x00', '\x01', '\xff', 'a'};
  std::string bytes(random() % (max_size + 1), ' ');
  for (char& byte : bytes) byte = kBytes[random() % 4];
  return bytes;
}

TEST(NumberKey, IsInNumberOrder) {
  const std::vector<int64_t> numbers = {0, 1, 255, 256, 65536, int64_t{1} << 40, INT64_MAX};
  for (size_t i = 1; i < numbers.size(); ++i) {
    EXPECT_LT(EncodeNumberKey(numbers[i - 1]), EncodeNumberKey(numbers[i]));
  }
}

TEST(NumberKey, IsEightBytesBigEndian) {
  EXPECT_EQ(EncodeNumberKey(0x0102030405060708), "\x01\x02\x03\x04\x05\x06\x07\x08");
}

TEST(LedgerKey, IsTheDocumentedBytes) {
  EXPECT_EQ(EncodeLedgerKey({"a\0b"s, 258}),
            "a\0\xff"
            "b\0\x01\0\0\0\0\0\0\x01\x02"s);
}

TEST(LedgerKey, OfASessionWhoseNameStartsAnotherIsNotItsPrefix) {
  for (const std::string& longer : {"ab"s, "a\0"s, "a\0\x01"s, "a\0\xff"s, "a\xff"s}) {
    EXPECT_FALSE(absl::StartsWith(EncodeLedgerKey({longer, 0}), EncodeSessionPrefix("a")));
  }
}

TEST(LedgerKey, DecodesToWhatWasEncodedAndKeepsTheOrder) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20000; ++i) {
    const BatchKey a{RandomBytes(random, 6), static_cast<int64_t>(random() % 3)};
    const BatchKey b{RandomBytes(random, 6), static_cast<int64_t>(random() % 3)};
    AMEND_ASSERT_OK_AND_ASSIGN(const BatchKey decoded, DecodeLedgerKey(EncodeLedgerKey(a)));
    ASSERT_EQ(decoded, a);
    ASSERT_EQ(a < b, EncodeLedgerKey(a) < EncodeLedgerKey(b));
    if (a.session != b.session) {
      ASSERT_FALSE(absl::StartsWith(EncodeLedgerKey(a), EncodeSessionPrefix(b.session)));
    }
  }
}

TEST(LedgerKey, DecodingArbitraryBytesGivesDataLossOrAKeyOfTheSameBytes) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20000; ++i) {
    const std::string bytes = RandomBytes(random, 16);
    const absl::StatusOr<BatchKey> key = DecodeLedgerKey(bytes);
    if (key.ok()) {
      ASSERT_EQ(EncodeLedgerKey(*key), bytes);
    } else {
      ASSERT_THAT(key, StatusIs(StatusCode::kDataLoss));
    }
  }
}

TEST(FactorKey, DecodesToWhatWasEncoded) {
  const FactorKey key{Revision(1000), LayerIndex(47), FactorPart::kKeys};
  AMEND_ASSERT_OK_AND_ASSIGN(const FactorKey decoded, DecodeFactorKey(EncodeFactorKey(key)));
  EXPECT_EQ(decoded.revision, key.revision);
  EXPECT_EQ(decoded.layer, key.layer);
  EXPECT_EQ(decoded.part, key.part);
}

TEST(FactorKey, IsDataLossForAnUnknownPart) {
  std::string key = EncodeFactorKey({Revision(1), LayerIndex(2), FactorPart::kU});
  key.back() = 9;
  EXPECT_THAT(DecodeFactorKey(key), StatusIs(StatusCode::kDataLoss, HasSubstr("0x")));
}

TEST(KeyName, SaysWhatAKeyStandsFor) {
  EXPECT_EQ(KeyName("labels", "live"), "labels/live");
  EXPECT_EQ(KeyName("revisions", EncodeNumberKey(12)), "revisions/12");
  EXPECT_EQ(KeyName("ledger", EncodeLedgerKey({"s\n", 3})), "ledger/\"s\\n\"/3");
  EXPECT_EQ(KeyName("factors", EncodeFactorKey({Revision(7), LayerIndex(3), FactorPart::kV})),
            "factors/7/3/V");
  EXPECT_EQ(KeyName("ledger", "\x01"), "ledger/0x01");
}

}  // namespace
}  // namespace amend
