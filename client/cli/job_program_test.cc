#include "client/cli/job_program.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/testing/cli_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class FindJobProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = absl::StrCat(testing::TempDir(), "/",
                         testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/bin");
    self_ = root_ + "/bin/amend";
  }
  std::string MakeProgram(const std::string& folder, mode_t mode = 0755) {
    std::filesystem::create_directories(root_ + folder);
    const std::string path = root_ + folder + "/amend-covariance";
    std::ofstream(path) << "#!/bin/sh\n";
    chmod(path.c_str(), mode);
    return path;
  }
  std::string root_;
  std::string self_;
};

TEST_F(FindJobProgramTest, ItIsLookedForBesideTheProgramFirst) {
  const std::string in_path = MakeProgram("/other");
  const std::string path = absl::StrCat("/no/such:", root_, "/other");
  EXPECT_EQ(*FindJobProgram(kCovarianceProgram, self_, path), in_path);
  const std::string built = MakeProgram("/jobs");
  EXPECT_EQ(*FindJobProgram(kCovarianceProgram, self_, path), built);
  const std::string beside = MakeProgram("/bin");
  EXPECT_EQ(*FindJobProgram(kCovarianceProgram, self_, path), beside);
}

TEST_F(FindJobProgramTest, WhenItIsMissingAllPlacesAreNamed) {
  const auto found = FindJobProgram(kCovarianceProgram, self_, "/no/such");
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(std::string(found.status().message()),
              AllOf(HasSubstr(root_ + "/bin/amend-covariance"),
                    HasSubstr(root_ + "/jobs/amend-covariance"), HasSubstr("PATH (/no/such)")));
}

TEST_F(FindJobProgramTest, AFolderOfThatNameIsNoProgram) {
  std::filesystem::create_directories(root_ + "/bin/amend-covariance");
  EXPECT_FALSE(FindJobProgram(kCovarianceProgram, self_, "").ok());
}

TEST(JobProgramTest, FlagsOfAmendBeforeItAreAUsageError) {
  const CliRun run = RunCli("127.0.0.1:1", {"covariance", "--help"});
  EXPECT_EQ(run.code, kExitUsage);
  EXPECT_THAT(run.err, HasSubstr("amend covariance"));
}

TEST(JobProgramTest, HelpOfAmendNamesIt) {
  EXPECT_THAT(RunCli("127.0.0.1:1", {"--help"}).out, HasSubstr("covariance"));
}

TEST_F(FindJobProgramTest, EachProgramHasItsPlaceInABuildTree) {
  std::filesystem::create_directories(root_ + "/jobs/store");
  const std::string built = root_ + "/jobs/store/amend-store";
  std::ofstream(built) << "#!/bin/sh\n";
  chmod(built.c_str(), 0755);
  EXPECT_EQ(*FindJobProgram(kStoreProgram, self_, ""), built);
}

TEST(JobProgramTest, AMissingProgramIsAUsageError) {
  setenv("PATH", "/no/such", 1);
  std::ostringstream err;
  const char* const argv[] = {"amend", "covariance", "compute"};
  EXPECT_EQ(RunJobProgram(kCovarianceProgram, 3, argv, &err), kExitUsage);
  EXPECT_THAT(err.str(), HasSubstr("amend-covariance is neither"));
}

}  // namespace
}  // namespace amend::client
