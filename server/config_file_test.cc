#include "server/config_file.h"

#include <fstream>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "server/settings.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// The paths of the fields that have a value, but for those of a profile.
std::set<std::string> Leaves(const google::protobuf::Descriptor* message,
                             const std::string& prefix = "") {
  std::set<std::string> leaves;
  for (int i = 0; i < message->field_count(); ++i) {
    const auto* field = message->field(i);
    const std::string path = absl::StrCat(prefix, field->name());
    if (field->message_type() == nullptr) {
      leaves.insert(path);
    } else if (field->message_type() != v1::Profile::descriptor()) {
      leaves.merge(Leaves(field->message_type(), absl::StrCat(path, ".")));
    }
  }
  return leaves;
}

TEST(ConfigFileTest, EveryFieldHasASettingAndEverySettingAField) {
  std::set<std::string> settings;
  for (const Setting& setting : Settings()) settings.insert(setting.field);
  EXPECT_EQ(settings, Leaves(v1::ServerConfig::descriptor()));
}

TEST(ConfigFileTest, WhatItSaysIsSetAndTheRestStays) {
  ServerOptions options;
  options.threads = 5;
  ASSERT_THAT(ApplyConfigText("f", R"pb(
                                model: "m"
                                listen: "[::1]:7"
                                drain_seconds: 2.5
                                serve_intact_ancestor: true
                                limits { edit_credits: 3 max_reader_pause_seconds: 0.5 }
                              )pb",
                              &options),
              IsOk());
  EXPECT_EQ(options.model_directory, "m");
  EXPECT_EQ(options.grpc_address, "[::1]:7");
  EXPECT_EQ(options.drain_time, absl::Seconds(2.5));
  EXPECT_TRUE(options.serve_intact_ancestor);
  EXPECT_EQ(options.limits.edit_credits, 3);
  EXPECT_EQ(options.limits.max_reader_pause, absl::Seconds(0.5));
  EXPECT_EQ(options.threads, 5);
  EXPECT_EQ(options.limits.max_batch_edits, 1000);
}

TEST(ConfigFileTest, ZeroIsAValueToo) {
  ServerOptions options;
  ASSERT_THAT(ApplyConfigText("f", "drain_seconds: 0 purge_delay_seconds: 0", &options), IsOk());
  EXPECT_EQ(options.drain_time, absl::ZeroDuration());
  EXPECT_EQ(options.retention.purge_delay, absl::ZeroDuration());
}

TEST(ConfigFileTest, AFieldThatIsNotThereIsNamedWithFileAndLine) {
  ServerOptions options;
  EXPECT_THAT(ApplyConfigText("a.conf", "model: \"m\"\nlisen: \"x:1\"\n", &options),
              StatusIs(kInvalid, AllOf(HasSubstr("a.conf: line 2"), HasSubstr("lisen"))));
}

TEST(ConfigFileTest, AValueThatIsNotAllowedIsNamedWithFileLineAndField) {
  ServerOptions options;
  EXPECT_THAT(ApplyConfigText("a.conf", "model: \"m\"\n\ndevice: \"tpu\"\n", &options),
              StatusIs(kInvalid, HasSubstr("a.conf: line 3: device is \"tpu\"")));
  EXPECT_THAT(
      ApplyConfigText("a.conf", "limits {\n  max_batch_edits: 5\n  edit_credits: 0\n}", &options),
      StatusIs(kInvalid, HasSubstr("a.conf: line 3: limits.edit_credits is 0")));
  EXPECT_THAT(ApplyConfigText("a.conf", "drain_seconds: nan", &options),
              StatusIs(kInvalid, HasSubstr("a.conf: line 1: drain_seconds is nan")));
}

TEST(ConfigFileTest, AProfileCanBeNamedOrWritten) {
  ServerOptions options;
  ASSERT_THAT(ApplyConfigText("f", "profile_file: \"p\"", &options), IsOk());
  EXPECT_EQ(options.profile_file, "p");
  EXPECT_FALSE(options.profile.has_value());
  ServerOptions written;
  ASSERT_THAT(ApplyConfigText("f", "profile { lambda: 2 }", &written), IsOk());
  ASSERT_TRUE(written.profile.has_value());
  EXPECT_EQ(written.profile->lambda(), 2);
  EXPECT_EQ(written.profile_name, "f: profile");
  EXPECT_THAT(ApplyConfigText("f", "profile_file: \"p\"\nprofile { lambda: 2 }", &options),
              StatusIs(kInvalid, HasSubstr("f: line 2")));
}

TEST(ConfigFileTest, AFileThatCannotBeReadIsNamed) {
  ServerOptions options;
  EXPECT_THAT(ApplyConfigFile("/nonexistent.conf", &options),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nonexistent.conf")));
}

// Every setting gets a value that is not its default.
ServerOptions Unusual() {
  ServerOptions options;
  for (const Setting& setting : Settings()) {
    std::string value = setting.allowed.is_address ? "host:1" : "text";
    if (!setting.allowed.choices.empty()) value = setting.allowed.choices.back();
    if (setting.allowed.max > 0) value = absl::StrCat(setting.allowed.min + 2);
    if (std::holds_alternative<bool*>(setting.target(options))) value = "true";
    EXPECT_THAT(SetText(setting, setting.field, value, &options), IsOk());
  }
  return options;
}

TEST(ConfigFileTest, WhatOptionsSayGivesThemAgain) {
  const v1::ServerConfig config = ConfigOf(Unusual());
  std::string text;
  ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(config, &text));
  ServerOptions again;
  ASSERT_THAT(ApplyConfigText("f", text, &again), IsOk());
  EXPECT_EQ(ConfigOf(again).DebugString(), config.DebugString());
  EXPECT_NE(ConfigOf(ServerOptions()).DebugString(), config.DebugString());
  ServerOptions with_profile;
  with_profile.profile.emplace().set_lambda(3);
  EXPECT_EQ(ConfigOf(with_profile).profile().lambda(), 3);
}

}  // namespace
}  // namespace amend
