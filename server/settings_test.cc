#include "server/settings.h"

#include <algorithm>
#include <limits>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

const Setting& Named(const std::string& field) {
  const auto found = std::find_if(Settings().begin(), Settings().end(),
                                  [&](const Setting& setting) { return setting.field == field; });
  EXPECT_NE(found, Settings().end()) << field;
  return *found;
}

TEST(SettingsTest, EachFillsItsMember) {
  ServerOptions options;
  EXPECT_THAT(SetText(Named("model"), "--model", "m", &options), IsOk());
  EXPECT_EQ(options.model_directory, "m");
  EXPECT_THAT(SetText(Named("keep_revisions"), "--keep-revisions", "9", &options), IsOk());
  EXPECT_EQ(options.retention.keep_newest, 9);
  EXPECT_THAT(SetNumber(Named("drain_seconds"), "drain_seconds", 2.5, &options), IsOk());
  EXPECT_EQ(options.drain_time, absl::Seconds(2.5));
  EXPECT_THAT(SetText(Named("serve_intact_ancestor"), "x", "true", &options), IsOk());
  EXPECT_TRUE(options.serve_intact_ancestor);
  EXPECT_THAT(SetNumber(Named("limits.edit_credits"), "x", 3, &options), IsOk());
  EXPECT_EQ(options.limits.edit_credits, 3);
}

TEST(SettingsTest, AValueThatIsNotAllowedIsNamedAndChangesNothing) {
  ServerOptions options;
  EXPECT_THAT(
      SetText(Named("device"), "--device", "tpu", &options),
      StatusIs(kInvalid, AllOf(HasSubstr("--device"), HasSubstr("tpu"), HasSubstr("auto, cpu"))));
  EXPECT_EQ(options.device, "auto");
  EXPECT_THAT(SetText(Named("listen"), "--listen", "here", &options),
              StatusIs(kInvalid, AllOf(HasSubstr("here"), HasSubstr("HOST:PORT"))));
  EXPECT_EQ(options.grpc_address, "127.0.0.1:50051");
  EXPECT_THAT(SetText(Named("serve_intact_ancestor"), "x", "perhaps", &options),
              StatusIs(kInvalid, HasSubstr("perhaps")));
}

TEST(SettingsTest, ANumberOutsideItsRangeIsNamedWithIt) {
  ServerOptions options;
  for (const double value : {0.0, 10001.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(SetNumber(Named("backups_kept"), "backups_kept", value, &options),
                StatusIs(kInvalid, HasSubstr("in 1 to 10000")));
  }
  EXPECT_THAT(SetNumber(Named("backups_kept"), "backups_kept", 1.5, &options),
              StatusIs(kInvalid, HasSubstr("1.5")));
  EXPECT_THAT(SetText(Named("backups_kept"), "--backups-kept", "some", &options),
              StatusIs(kInvalid, HasSubstr("some")));
  EXPECT_EQ(options.backups_kept, 7);
}

TEST(SettingsTest, BothEndsOfARangeAreAllowed) {
  ServerOptions options;
  EXPECT_THAT(SetNumber(Named("backups_kept"), "x", 1, &options), IsOk());
  EXPECT_THAT(SetNumber(Named("backups_kept"), "x", 10000, &options), IsOk());
}

TEST(SettingsTest, EveryDefaultIsAllowed) {
  for (const Setting& setting : Settings()) {
    ServerOptions options;
    EXPECT_THAT(SetText(setting, setting.field, TextOf(setting, options), &options), IsOk());
  }
}

TEST(SettingsTest, FlagsAndFieldsHaveOneNameEach) {
  for (const Setting& setting : Settings()) {
    const auto same = [&](const Setting& other) {
      return other.field == setting.field || (!setting.flag.empty() && other.flag == setting.flag);
    };
    EXPECT_EQ(std::count_if(Settings().begin(), Settings().end(), same), 1) << setting.field;
  }
}

}  // namespace
}  // namespace amend
