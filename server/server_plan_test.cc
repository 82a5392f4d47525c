#include "server/server_plan.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "core/base/testing/status_matchers.h"
#include "core/generation/cuda_graphs.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config_file.h"

namespace amend {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

ServerOptions Demo() {
  ServerOptions options;
  options.model_directory = "models/demo";
  options.data_directory = ::testing::TempDir() + "/nothing-there";
  options.device = "cpu";
  return options;
}

TEST(ServerPlanTest, TheDemoModelIsPlannedWithItsProfile) {
  AMEND_ASSERT_OK_AND_ASSIGN(const ServerPlan plan, PlanServer(Demo()));
  EXPECT_EQ(plan.config.layers, 6);
  EXPECT_EQ(plan.profile.proto.name(), "demo");
  EXPECT_FALSE(plan.background_texts.empty());
  EXPECT_NE(plan.tokenizer, nullptr);
}

TEST(ServerPlanTest, AProfileOfTheOptionsGoesBeforeTheBuiltInOne) {
  ServerOptions options = Demo();
  AMEND_ASSERT_OK_AND_ASSIGN(const ServerPlan built_in, PlanServer(options));
  options.profile = built_in.profile.proto;
  options.profile->set_name("mine");
  AMEND_ASSERT_OK_AND_ASSIGN(const ServerPlan plan, PlanServer(options));
  EXPECT_EQ(plan.profile.proto.name(), "mine");
  options.profile->set_lambda(-1);
  options.profile_name = "a.conf: profile";
  EXPECT_THAT(PlanServer(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("a.conf: profile: lambda is -1")));
}

TEST(ServerPlanTest, AScopeThatCannotServeIsRefused) {
  ServerOptions options = Demo();
  AMEND_ASSERT_OK_AND_ASSIGN(const ServerPlan built_in, PlanServer(options));
  options.profile = built_in.profile.proto;
  options.profile->mutable_scope()->set_mode(v1::ScopeSettings::REFERENCE);
  EXPECT_THAT(PlanServer(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("REFERENCE")));
}

TEST(ServerPlanTest, CudaGraphsOnTheCpuAreRefused) {
  ServerOptions options = Demo();
  options.cuda_graphs = true;
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument,
                                HasSubstr("cuda_graphs is true and device is \"cpu\""));
  EXPECT_THAT(PlanServer(options), refused);
  EXPECT_THAT(DescribeServer(options), refused);
}

TEST(ServerPlanTest, CudaGraphsWhereAutoIsTheCpuAreRefused) {
  if (CudaIsAvailable()) GTEST_SKIP() << "auto is cuda here";
  ServerOptions options = Demo();
  options.device = "auto";
  options.cuda_graphs = true;
  EXPECT_THAT(PlanServer(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("device is \"auto\", which is cpu here")));
}

TEST(ServerPlanTest, ABuildWithoutCudaGraphsSaysSo) {
  if (NewCudaGraphRecorder() != nullptr) GTEST_SKIP() << "this build has them";
  ServerOptions options = Demo();
  options.device = "cuda";
  options.cuda_graphs = true;
  EXPECT_THAT(PlanServer(options), StatusIs(absl::StatusCode::kFailedPrecondition,
                                            HasSubstr("this build has no CUDA graphs")));
}

TEST(ServerPlanTest, AMissingModelIsNamed) {
  ServerOptions options = Demo();
  options.model_directory = "/nonexistent/model";
  EXPECT_FALSE(PlanServer(options).ok());
  EXPECT_THAT(std::string(PlanServer(options).status().message()), HasSubstr("/nonexistent/model"));
}

TEST(ServerPlanTest, AKvCacheLargerThanAnyMachineIsRefused) {
  ServerOptions options = Demo();
  options.kv_cache_mib = 1 << 24;
  EXPECT_THAT(PlanServer(options),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("16777216 MiB")));
}

TEST(ServerPlanTest, ADescriptionIsAConfigurationOfTheSameServer) {
  ServerOptions options = Demo();
  options.limits.edit_credits = 5;
  AMEND_ASSERT_OK_AND_ASSIGN(const std::string text, DescribeServer(options));
  EXPECT_THAT(text, AllOf(HasSubstr("# amendd would serve the model demo"),
                          HasSubstr("profile \"demo\""), HasSubstr("not there yet")));
  EXPECT_FALSE(fs::exists(options.data_directory));
  ServerOptions again;
  ASSERT_THAT(ApplyConfigText("description", text, &again), IsOk());
  EXPECT_EQ(ConfigOf(again).DebugString(), ConfigOf(options).DebugString());
}

TEST(ServerPlanTest, ADataDirectoryThatIsAFileIsNamed) {
  ServerOptions options = Demo();
  options.data_directory = ::testing::TempDir() + "/a-file";
  std::ofstream(options.data_directory) << "x";
  EXPECT_THAT(DescribeServer(options),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(options.data_directory)));
}

TEST(ServerPlanTest, AModelIsNamedByItsDirectory) {
  EXPECT_EQ(NameOfModel("models/demo/"), "demo");
  EXPECT_EQ(NameOfModel("models/./demo"), "demo");
}

}  // namespace
}  // namespace amend
