#include "jobs/profile_layers.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::jobs {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::string Write(const std::string& text) {
  const std::string path = absl::StrCat(testing::TempDir(), "/profile.textproto");
  std::ofstream(path) << text;
  return path;
}

TEST(ProfileLayersTest, LayersAndTokensPerTextAreTaken) {
  AMEND_ASSERT_OK_AND_ASSIGN(
      const ProfileLayers profile,
      ReadProfileLayers(Write("name: \"m\" layers: [ 3, 4 ] lambda: 15000\n"
                              "covariance { text_file: \"t\" max_tokens_per_text: 100 }")));
  EXPECT_THAT(profile.layers, ElementsAre(3, 4));
  EXPECT_EQ(profile.max_tokens_per_text, 100);
}

TEST(ProfileLayersTest, ErrorsNameTheFileAndTheLine) {
  EXPECT_THAT(ReadProfileLayers("no/such"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such")));
  EXPECT_THAT(ReadProfileLayers(Write("layers: 1\nlayrs: 2")),
              StatusIs(kInvalid, AllOf(HasSubstr("profile.textproto"), HasSubstr("line 2"))));
  EXPECT_THAT(ReadProfileLayers(Write("lambda: 1")), StatusIs(kInvalid, HasSubstr("layers")));
  EXPECT_THAT(ReadProfileLayers(Write("layers: 1 covariance { max_tokens_per_text: -3 }")),
              StatusIs(kInvalid, HasSubstr("-3")));
}

}  // namespace
}  // namespace amend::jobs
