#include "server/text_proto.h"

#include <fstream>

#include "amend/v1/profile.pb.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(TextProtoTest, ReadsAMessageAndWhereItsFieldsStand) {
  v1::Profile profile;
  google::protobuf::TextFormat::ParseInfoTree locations;
  ASSERT_THAT(ParseTextProto("p", "name: \"x\"\n\nlambda: 2\n", &profile, &locations), IsOk());
  EXPECT_EQ(profile.name(), "x");
  const auto* lambda = v1::Profile::descriptor()->FindFieldByName("lambda");
  EXPECT_EQ(locations.GetLocation(lambda, -1).line, 2);
}

TEST(TextProtoTest, AFieldThatIsNotThereIsNamedWithItsLine) {
  v1::Profile profile;
  EXPECT_THAT(ParseTextProto("some.file", "name: \"x\"\nlambdda: 2", &profile),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("some.file: line 2"), HasSubstr("lambdda"))));
}

TEST(TextProtoTest, AValueOfAnotherTypeIsNamedWithItsLine) {
  v1::Profile profile;
  EXPECT_THAT(ParseTextProto("some.file", "\nlambda: \"much\"", &profile),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("some.file: line 2"), HasSubstr("much"))));
}

TEST(TextProtoTest, AFieldGivenTwiceIsRefused) {
  v1::Profile profile;
  EXPECT_THAT(ParseTextProto("some.file", "lambda: 1\nlambda: 2", &profile),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 2")));
}

TEST(TextProtoTest, AFileThatCannotBeReadIsNamed) {
  EXPECT_THAT(ReadTextFile("the profile", "/nonexistent/p"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("the profile /nonexistent/p")));
  EXPECT_THAT(ReadTextFile("the profile", ::testing::TempDir()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(::testing::TempDir())));
}

TEST(TextProtoTest, AFileIsReadWhole) {
  const std::string path = ::testing::TempDir() + "/text";
  std::ofstream(path) << "a\n\nb";
  EXPECT_EQ(ReadTextFile("it", path).value(), "a\n\nb");
}

}  // namespace
}  // namespace amend
