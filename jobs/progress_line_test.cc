#include "jobs/progress_line.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::jobs {
namespace {

class ProgressLineTest : public testing::Test {
 protected:
  ProgressLine Line(bool terminal, int64_t max_tokens = 0) {
    return ProgressLine(&out_, terminal, max_tokens, [this] { return now_; });
  }
  std::ostringstream out_;
  double now_ = 100;
};

TEST_F(ProgressLineTest, OffATerminalALineEveryFiveSeconds) {
  ProgressLine line = Line(false);
  line.Update({0, 0, 0, 1000});
  now_ += 4;
  line.Update({40, 0, 200, 1000});
  EXPECT_EQ(out_.str(), "");
  now_ += 4;
  line.Update({80, 0, 400, 1000});
  EXPECT_EQ(out_.str(), "80 tokens, 10 tokens/s, 40 %, 0:12 left\n");
  line.End();
  EXPECT_EQ(out_.str(), "80 tokens, 10 tokens/s, 40 %, 0:12 left\n");
}

TEST_F(ProgressLineTest, OnATerminalOneLineIsRedrawnAndLeavesNothingBehind) {
  ProgressLine line = Line(true);
  line.Update({0, 0, 0, 1000});
  now_ += 1;
  line.Update({100, 0, 1, 1000});
  now_ += 99;
  line.Update({990, 0, 990, 1000});
  line.End();
  EXPECT_EQ(out_.str(),
            "\r100 tokens, 100 tokens/s, 0 %, 16:39 left"
            "\r990 tokens, 10 tokens/s, 99 %, 0:01 left \n");
}

TEST_F(ProgressLineTest, AResumedRunCountsItsOwnTokens) {
  ProgressLine line = Line(false);
  line.Update({500, 500, 500, 1000});
  now_ += 10;
  line.Update({600, 500, 600, 1000});
  EXPECT_EQ(out_.str(), "resuming after 500 tokens\n600 tokens, 10 tokens/s, 60 %, 0:40 left\n");
}

TEST_F(ProgressLineTest, TheTokensAskedForMayEndBeforeTheText) {
  ProgressLine line = Line(false, 200);
  line.Update({0, 0, 0, 1000000});
  now_ += 10;
  line.Update({100, 0, 500, 1000000});
  EXPECT_EQ(out_.str(), "100 tokens, 10 tokens/s, 50 %, 0:10 left\n");
}

TEST(DurationTextTest, HasHoursOnlyWhenThereAreAny) {
  EXPECT_EQ(DurationText(0.4), "0:00");
  EXPECT_EQ(DurationText(725), "12:05");
  EXPECT_EQ(DurationText(11220), "3:07:00");
  EXPECT_EQ(DurationText(-1), "0:00");
}

}  // namespace
}  // namespace amend::jobs
