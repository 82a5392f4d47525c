#include "jobs/npy.h"

#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "jobs/testing/npz_writer.h"

namespace amend::jobs {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::string Matrix() { return NpyBytes("<f4", "(2, 3)", BytesOf<float>({1, 2, 3, 4, 5, 6})); }

TEST(NpyTest, ReadsAMatrix) {
  const std::string bytes = Matrix();
  AMEND_ASSERT_OK_AND_ASSIGN(const NpyArray array, ParseNpy(bytes));
  EXPECT_EQ(array.dtype, "f4");
  EXPECT_THAT(array.shape, ElementsAre(2, 3));
  EXPECT_THAT(*ToDoubles(array), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(NpyTest, ReadsEveryFloat) {
  const std::string f8 = NpyBytes("<f8", "(2,)", BytesOf<double>({0.1, -2}));
  EXPECT_THAT(*ToDoubles(*ParseNpy(f8)), ElementsAre(0.1, -2));
  // 1, -2, the smallest subnormal, infinity.
  const std::string f2 =
      NpyBytes("<f2", "(4,)", BytesOf<uint16_t>({0x3c00, 0xc000, 0x0001, 0x7c00}));
  EXPECT_THAT(*ToDoubles(*ParseNpy(f2)), ElementsAre(1, -2, std::ldexp(1, -24), HUGE_VAL));
}

TEST(NpyTest, ReadsCounts) {
  EXPECT_EQ(*ToCount(*ParseNpy(NpyBytes("<i8", "()", BytesOf<int64_t>({77})))), 77);
  EXPECT_EQ(*ToCount(*ParseNpy(NpyBytes("<i4", "(1,)", BytesOf<int32_t>({-1})))), -1);
  EXPECT_EQ(*ToCount(*ParseNpy(NpyBytes("<u4", "()", BytesOf<uint32_t>({4000000000u})))),
            4000000000);
  EXPECT_THAT(ToCount(*ParseNpy(NpyBytes("<u8", "()", BytesOf<uint64_t>({~uint64_t{0}})))),
              StatusIs(kInvalid));
  EXPECT_THAT(ToCount(*ParseNpy(NpyBytes("<f8", "()", BytesOf<double>({1})))),
              StatusIs(kInvalid, HasSubstr("f8")));
  EXPECT_THAT(ToCount(*ParseNpy(NpyBytes("<i4", "(2,)", BytesOf<int32_t>({1, 2})))),
              StatusIs(kInvalid, HasSubstr("[2]")));
}

TEST(NpyTest, ReadsTheLongHeadersOfVersionTwo) {
  std::string bytes = Matrix();
  // The length field grows from 2 to 4 bytes.
  bytes[6] = 2;
  bytes.insert(10, 2, '\0');
  EXPECT_THAT(ParseNpy(bytes), IsOk());
}

TEST(NpyTest, TruncationAnywhereIsAnError) {
  const std::string bytes = Matrix();
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_THAT(ParseNpy(bytes.substr(0, length)), StatusIs(kInvalid)) << length;
}

TEST(NpyTest, TooFewAndTooManyElementsAreToldWithBothCounts) {
  EXPECT_THAT(ParseNpy(NpyBytes("<f4", "(2, 3)", std::string(20, '\0'))),
              StatusIs(kInvalid, AllOf(HasSubstr("24 bytes"), HasSubstr("20 are there"))));
  EXPECT_THAT(ParseNpy(NpyBytes("<f4", "(2, 3)", std::string(28, '\0'))),
              StatusIs(kInvalid, HasSubstr("28 are there")));
}

TEST(NpyTest, OtherOrdersAreRefused) {
  EXPECT_THAT(ParseNpy(NpyBytes("<f4", "(1, 1)", std::string(4, '\0'), "True")),
              StatusIs(kInvalid, HasSubstr("fortran_order is True")));
  EXPECT_THAT(ParseNpy(NpyBytes(">f4", "(1, 1)", std::string(4, '\0'))),
              StatusIs(kInvalid, AllOf(HasSubstr(">f4"), HasSubstr("big-endian"))));
}

TEST(NpyTest, WhatIsNoArrayOfNumbersIsRefusedByItsDtype) {
  EXPECT_THAT(ParseNpy(NpyBytes("|O", "()", std::string(8, '\0'))),
              StatusIs(kInvalid, HasSubstr("|O")));
  EXPECT_THAT(ParseNpy(NpyBytes("<U4", "()", std::string(16, '\0'))),
              StatusIs(kInvalid, HasSubstr("<U4")));
  EXPECT_THAT(ParseNpy(NpyBytes("<c8", "()", std::string(8, '\0'))),
              StatusIs(kInvalid, HasSubstr("<c8")));
  EXPECT_THAT(ToDoubles(*ParseNpy(NpyBytes("<i8", "()", std::string(8, '\0')))),
              StatusIs(kInvalid, HasSubstr("i8")));
}

TEST(NpyTest, ShapesThatAreNoneOrOverflowAreRefused) {
  for (const char* shape : {"(2, -1)", "(a,)", "2", "", "(4611686018427387904, 4)"})
    EXPECT_THAT(ParseNpy(NpyBytes("<f4", shape, "")), StatusIs(kInvalid)) << shape;
}

TEST(NpyTest, OtherFilesAreRefused) {
  EXPECT_THAT(ParseNpy("PK\x03\x04 not an array at all"), StatusIs(kInvalid, HasSubstr("magic")));
  std::string bytes = Matrix();
  bytes[6] = 9;
  EXPECT_THAT(ParseNpy(bytes), StatusIs(kInvalid, HasSubstr("version 9")));
}

TEST(NpyTest, FlippedBytesNeverCrash) {
  constexpr uint32_t kSeed = 1;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = Matrix();
    for (int flips = 1 + random() % 3; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    const absl::StatusOr<NpyArray> array = ParseNpy(bytes);
    if (array.ok()) {
      (void)ToDoubles(*array);
      (void)ToCount(*array);
    }
  }
}

}  // namespace
}  // namespace amend::jobs
