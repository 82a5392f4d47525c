#include "jobs/compute_command.h"

#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "core/editing/key_covariance.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace amend::jobs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

class ComputeCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.model_directory = "models/demo";
    options_.text_file = Path("text");
    options_.out_file = Path("out");
    options_.layers = {1, 0};
    options_.threads = 1;
    for (const char* end : {"", ".partial", ".settling.json"})
      unlink(absl::StrCat(options_.out_file, end).c_str());
    std::ofstream text(options_.text_file);
    for (int i = 0; i < 500; ++i)
      text << "Text " << i << " says that the capital of Jordan is Amman.\n";
  }
  static std::string Path(const std::string& what) {
    return absl::StrCat(testing::TempDir(), "/",
                        testing::UnitTest::GetInstance()->current_test_info()->name(), "_", what);
  }
  int Run() {
    out_.str("");
    err_.str("");
    JobContext context;
    context.out = &out_;
    context.err = &err_;
    context.clock = [this] {
      if (--readings_to_signal_ == 0) signal_ = SIGTERM;
      return now_ += 0.5;
    };
    context.stop_signal = &signal_;
    return RunCompute(context, options_);
  }
  // Runs what must be refused, and looks for what it says.
  void ExpectRefused(const testing::Matcher<std::string>& message) {
    EXPECT_EQ(Run(), kExitUsage);
    EXPECT_THAT(err_.str(), message);
    EXPECT_FALSE(Exists(options_.out_file + ".partial"));
  }

  ComputeOptions options_;
  std::ostringstream out_;
  std::ostringstream err_;
  std::atomic<int> signal_{0};
  double now_ = 0;
  // The signal comes at this reading of the clock; 0: never.
  int readings_to_signal_ = 0;
};

TEST_F(ComputeCommandTest, WritesTheCovarianceAndItsSettlingAndNoCheckpoint) {
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  const auto covariance = LoadKeyCovariance(options_.out_file, {LayerIndex(0), LayerIndex(1)});
  ASSERT_TRUE(covariance.ok()) << covariance.status();
  EXPECT_EQ(covariance->layers[1].moment.rows, 1024);
  EXPECT_THAT(out_.str(), HasSubstr(absl::StrCat("from ", covariance->tokens, " tokens in 500")));
  const auto json = nlohmann::json::parse(ReadFile(options_.out_file + ".settling.json"));
  EXPECT_EQ(json["tokens"], covariance->tokens);
  EXPECT_FALSE(Exists(options_.out_file + ".partial"));
}

TEST_F(ComputeCommandTest, ASignalLeavesACheckpointAndTheSameCommandGoesOn) {
  options_.no_settling = true;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  const std::string undisturbed = ReadFile(options_.out_file);
  unlink(options_.out_file.c_str());
  options_.checkpoint_seconds = 0;
  // The third reading is behind the first forward.
  readings_to_signal_ = 3;
  EXPECT_EQ(Run(), kExitSignal + SIGTERM);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("stopped after 4"), HasSubstr("goes on from"),
                                HasSubstr(options_.out_file + ".partial")));
  EXPECT_FALSE(Exists(options_.out_file));
  signal_ = 0;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("resuming after 4"));
  EXPECT_EQ(ReadFile(options_.out_file), undisturbed);
  EXPECT_FALSE(Exists(options_.out_file + ".partial"));
}

TEST_F(ComputeCommandTest, ASignalBeforeTheFirstForwardLeavesNothing) {
  signal_ = SIGINT;
  EXPECT_EQ(Run(), kExitSignal + SIGINT);
  EXPECT_THAT(err_.str(), HasSubstr("stopped after 0 tokens\n"));
  EXPECT_FALSE(Exists(options_.out_file + ".partial"));
}

TEST_F(ComputeCommandTest, StopsAtTheTokensAskedForAndWarnsThatTheyAreTooFew) {
  options_.max_tokens = 100;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("from 100 tokens"));
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("100 tokens are fewer"), HasSubstr("1024")));
}

TEST_F(ComputeCommandTest, LayersMayComeFromAProfile) {
  options_.layers.clear();
  options_.profile_file = Path("profile");
  options_.max_tokens = 60;
  std::ofstream(options_.profile_file) << "layers: 2 covariance { max_tokens_per_text: 3 }";
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("layers 2,"), HasSubstr("60 tokens in 20 lines")));
}

TEST_F(ComputeCommandTest, LayersAreRequiredAndCheckedAgainstTheModel) {
  options_.layers = {};
  ExpectRefused(AllOf(HasSubstr("--layers or --profile"), HasSubstr("layers 0 to 5")));
  options_.layers = {0, 6};
  ExpectRefused(AllOf(HasSubstr("layer 6"), HasSubstr("layers 0 to 5")));
  options_.layers = {-1};
  ExpectRefused(HasSubstr("layer -1"));
  options_.layers = {3, 3};
  ExpectRefused(HasSubstr("layer 3 is given twice"));
}

TEST_F(ComputeCommandTest, FilesThatAreNotThereAreNamed) {
  ComputeOptions good = options_;
  options_.model_directory = "no/model";
  ExpectRefused(HasSubstr("no/model"));
  options_ = good;
  options_.text_file = "no/text";
  ExpectRefused(HasSubstr("no/text"));
  options_ = good;
  options_.out_file = "no/folder/out";
  ExpectRefused(HasSubstr("no/folder"));
}

TEST_F(ComputeCommandTest, TextThatIsEmptyOrNotUtf8IsRefused) {
  std::ofstream(options_.text_file) << "";
  ExpectRefused(HasSubstr("holds no text"));
  std::ofstream(options_.text_file) << "fine\nbad \xc3(\n";
  ExpectRefused(HasSubstr("_text:2: byte 5"));
}

TEST_F(ComputeCommandTest, AResultThatIsThereIsKept) {
  std::ofstream(options_.out_file) << "precious";
  ExpectRefused(HasSubstr("--overwrite"));
  EXPECT_EQ(ReadFile(options_.out_file), "precious");
  options_.overwrite = true;
  options_.max_tokens = 50;
  EXPECT_EQ(Run(), kExitOk) << err_.str();
}

TEST_F(ComputeCommandTest, ACheckpointThatDoesNotFitSaysHowToDoWithoutIt) {
  options_.checkpoint_seconds = 0;
  readings_to_signal_ = 3;
  ASSERT_EQ(Run(), kExitSignal + SIGTERM);
  signal_ = 0;
  options_.layers = {0};
  EXPECT_EQ(Run(), kExitUsage);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("_out.partial"), HasSubstr("\"0,1\""), HasSubstr("\"0\""),
                                HasSubstr("--restart")));
  std::ofstream(options_.out_file + ".partial") << "broken";
  EXPECT_EQ(Run(), kExitUsage);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("_out.partial"), HasSubstr("--restart")));
  options_.restart = true;
  EXPECT_EQ(Run(), kExitOk) << err_.str();
}

}  // namespace
}  // namespace amend::jobs
