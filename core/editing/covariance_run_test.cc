#include "core/editing/covariance_run.h"

#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "core/editing/testing/random_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Texts of four forwards and a rest.
constexpr int kTexts = 1100;

class CovarianceRunTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory("models/demo"));
    RandomModelShape shape;
    shape.vocabulary = tokenizer_->vocabulary_size();
    model_ = RandomGpt2(shape, 1);
  }
  static void TearDownTestSuite() {
    tokenizer_.reset();
    model_.reset();
  }

  void SetUp() override {
    options_.estimator.layers = {LayerIndex(0), LayerIndex(2)};
    options_.estimator.watch_settling = true;
    options_.text_file = Path("text");
    options_.model_fingerprint = "abc";
    options_.checkpoint_file = Path("partial");
    options_.checkpoint_seconds = 0;
    options_.clock = [this] { return now_; };
    RemoveCheckpoint(options_.checkpoint_file);
    WriteText(kTexts);
  }

  static std::string Path(const std::string& what) {
    return absl::StrCat(testing::TempDir(), "/",
                        testing::UnitTest::GetInstance()->current_test_info()->name(), "_", what);
  }
  void WriteText(int texts, const std::string& first = "The first of all.") {
    std::ofstream file(options_.text_file);
    file << first << "\n";
    for (int i = 1; i < texts; ++i) {
      if (i % 100 == 0) file << "\n";
      file << "Text " << i << " is about the number " << i * 7919 % 1009 << ", as ever.\n";
    }
  }
  absl::StatusOr<CovarianceRun> Run() { return RunCovariance(*model_, *tokenizer_, options_); }
  // Ends the run at its `calls`th report; false when it ended before.
  bool StopAfter(int calls) {
    options_.progress = [calls](const CovarianceProgress&) mutable { return --calls > 0; };
    const auto run = Run();
    options_.progress = nullptr;
    if (run.ok()) return false;
    EXPECT_THAT(run, StatusIs(absl::StatusCode::kCancelled));
    return absl::IsCancelled(run.status());
  }
  bool HasCheckpoint() const { return access(options_.checkpoint_file.c_str(), F_OK) == 0; }

  static std::shared_ptr<const CausalLm> model_;
  static std::unique_ptr<Tokenizer> tokenizer_;
  CovarianceRunOptions options_;
  double now_ = 0;
};

std::shared_ptr<const CausalLm> CovarianceRunTest::model_;
std::unique_ptr<Tokenizer> CovarianceRunTest::tokenizer_;

void ExpectSame(const CovarianceRun& a, const CovarianceRun& b) {
  EXPECT_EQ(a.lines, b.lines);
  EXPECT_EQ(a.covariance.tokens, b.covariance.tokens);
  ASSERT_EQ(a.covariance.layers.size(), b.covariance.layers.size());
  for (size_t i = 0; i < a.covariance.layers.size(); ++i)
    EXPECT_EQ(a.covariance.layers[i].moment, b.covariance.layers[i].moment);
  ASSERT_EQ(a.settling.size(), b.settling.size());
  for (size_t i = 0; i < a.settling.size(); ++i) {
    EXPECT_EQ(a.settling[i].to_tokens, b.settling[i].to_tokens);
    EXPECT_EQ(a.settling[i].moment_change, b.settling[i].moment_change);
  }
}

TEST_F(CovarianceRunTest, IsWhatTheTextsGiveInMemory) {
  AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun run, Run());
  std::vector<std::string> texts;
  std::ifstream file(options_.text_file);
  for (std::string line; std::getline(file, line);) texts.push_back(line);
  AMEND_ASSERT_OK_AND_ASSIGN(
      const KeyCovariance computed,
      ComputeKeyCovariance(*model_, *tokenizer_, options_.estimator.layers, texts, 0, nullptr));
  EXPECT_EQ(run.covariance.tokens, computed.tokens);
  EXPECT_EQ(run.covariance.layers[1].moment, computed.layers[1].moment);
  EXPECT_EQ(run.lines, static_cast<int64_t>(texts.size()));
}

TEST_F(CovarianceRunTest, StoppedAtAnyForwardItEndsWithTheSameBytes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun undisturbed, Run());
  RemoveCheckpoint(options_.checkpoint_file);
  int stops = 0;
  for (int call = 1; StopAfter(call); ++call) {
    AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun resumed, Run());
    ExpectSame(resumed, undisturbed);
    RemoveCheckpoint(options_.checkpoint_file);
    ++stops;
  }
  EXPECT_GE(stops, 4);
}

TEST_F(CovarianceRunTest, StoppedAtEveryForwardItEndsWithTheSameBytes) {
  AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun undisturbed, Run());
  RemoveCheckpoint(options_.checkpoint_file);
  while (StopAfter(2)) {
  }
  AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun resumed, Run());
  ExpectSame(resumed, undisturbed);
}

TEST_F(CovarianceRunTest, ProgressTellsWhatWasResumed) {
  ASSERT_TRUE(StopAfter(3));
  std::vector<CovarianceProgress> reports;
  options_.progress = [&](const CovarianceProgress& progress) {
    reports.push_back(progress);
    return true;
  };
  ASSERT_THAT(Run(), IsOk());
  ASSERT_GE(reports.size(), 2u);
  EXPECT_GT(reports[0].resumed_tokens, 0);
  EXPECT_EQ(reports[0].tokens, reports[0].resumed_tokens);
  EXPECT_GT(reports[1].tokens, reports[0].tokens);
  EXPECT_GT(reports[1].bytes, reports[0].bytes);
  EXPECT_LE(reports.back().bytes, reports.back().total_bytes);
}

TEST_F(CovarianceRunTest, CheckpointsWaitForTheirTime) {
  options_.checkpoint_seconds = 30;
  int reports = 0;
  options_.progress = [&](const CovarianceProgress&) {
    now_ += 20;
    // The first forward ends at 20 s, the second at 40 s.
    EXPECT_EQ(HasCheckpoint(), ++reports >= 3) << reports;
    return true;
  };
  ASSERT_THAT(Run(), IsOk());
  EXPECT_GE(reports, 4);
}

TEST_F(CovarianceRunTest, OfAnotherModelOrSettingItIsRefusedWithBothValues) {
  ASSERT_TRUE(StopAfter(2));
  const CovarianceRunOptions good = options_;
  options_.model_fingerprint = "xyz";
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kFailedPrecondition,
                              AllOf(HasSubstr(options_.checkpoint_file), HasSubstr("\"abc\""),
                                    HasSubstr("\"xyz\""))));
  options_ = good;
  options_.estimator.layers = {LayerIndex(0)};
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kFailedPrecondition,
                              AllOf(HasSubstr("\"0,2\""), HasSubstr("\"0\""))));
  options_ = good;
  options_.estimator.max_tokens_per_text = 7;
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kFailedPrecondition,
                              AllOf(HasSubstr("max_tokens_per_text"), HasSubstr("\"7\""))));
  options_ = good;
  options_.estimator.max_tokens = 10;
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("wants 10")));
  options_ = good;
  EXPECT_THAT(Run(), IsOk());
}

TEST_F(CovarianceRunTest, OfAnotherTextItIsRefused) {
  ASSERT_TRUE(StopAfter(2));
  WriteText(kTexts, "Another first text.");
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another text")));
  WriteText(5);
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("has 5")));
}

TEST_F(CovarianceRunTest, ALongerTextWithTheSameBeginningGoesOn) {
  WriteText(kTexts + 50);
  AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun undisturbed, Run());
  RemoveCheckpoint(options_.checkpoint_file);
  WriteText(kTexts);
  ASSERT_TRUE(StopAfter(3));
  WriteText(kTexts + 50);
  AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun resumed, Run());
  ExpectSame(resumed, undisturbed);
}

TEST_F(CovarianceRunTest, RestartForgetsTheCheckpoint) {
  AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun undisturbed, Run());
  std::ofstream(options_.checkpoint_file) << "broken";
  EXPECT_THAT(Run(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(options_.checkpoint_file)));
  options_.restart = true;
  AMEND_ASSERT_OK_AND_ASSIGN(const CovarianceRun anew, Run());
  ExpectSame(anew, undisturbed);
}

TEST_F(CovarianceRunTest, BadTextIsNamed) {
  std::ofstream(options_.text_file) << "fine\nnot \xff\n";
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(":2:")));
  std::ofstream(options_.text_file) << "\n\n";
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("holds no text")));
  options_.text_file = "no/such/file";
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such/file")));
}

TEST_F(CovarianceRunTest, ACheckpointThatCannotBeWrittenEndsTheRun) {
  options_.checkpoint_file = "no/such/folder/partial";
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no/such/folder")));
}

}  // namespace
}  // namespace amend
