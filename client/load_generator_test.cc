#include "client/load_generator.h"

#include <memory>

#include "client/testing/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Pair;

class LoadGeneratorTest : public ::testing::Test {
 protected:
  LoadGeneratorTest() {
    server_.Teach("Oslo is in", "Norway by the sea");
    options_.prompts = {"Oslo is in"};
    options_.request.set_max_new_tokens(4);
    options_.requests = 20;
    options_.streams = 3;
  }
  LoadReport Run() { return RunLoad(client_.get(), options_); }

  FakeServer server_;
  std::unique_ptr<Client> client_ = Client::Create({server_.address()});
  LoadOptions options_;
};

TEST(DistributionTest, PercentilesAreValuesThatOccurred) {
  const Distribution numbers({4, 1, 3, 2});
  EXPECT_EQ(numbers.Percentile(0), 1);
  EXPECT_EQ(numbers.Percentile(0.5), 2);
  EXPECT_EQ(numbers.Percentile(0.51), 3);
  EXPECT_EQ(numbers.Percentile(1), 4);
  EXPECT_EQ(numbers.mean(), 2.5);
  EXPECT_EQ(numbers.max(), 4);
}

TEST(DistributionTest, WithoutValuesIsZero) {
  EXPECT_EQ(Distribution().Percentile(0.5), 0);
  EXPECT_EQ(Distribution().mean(), 0);
  EXPECT_EQ(Distribution().max(), 0);
}

TEST_F(LoadGeneratorTest, AClosedLoopAsksSoManyTimes) {
  const LoadReport report = Run();
  EXPECT_EQ(report.done, 20);
  EXPECT_EQ(report.failed, 0);
  EXPECT_EQ(report.late, 0);
  EXPECT_EQ(report.request.count(), 20u);
  EXPECT_EQ(report.to_first_token.count(), 20u);
  EXPECT_GT(report.tokens, 20);
  EXPECT_EQ(report.between_tokens.count(), static_cast<size_t>(report.tokens) - 20);
  EXPECT_GT(report.seconds, 0);
  EXPECT_GE(report.request.max(), report.to_first_token.max() * 0.99);
}

TEST_F(LoadGeneratorTest, AnOpenLoopAsksSoManyTimes) {
  options_.rate = 500;
  const LoadReport report = Run();
  EXPECT_EQ(report.done, 20);
}

TEST_F(LoadGeneratorTest, WarmingUpIsNotCounted) {
  options_.warmup = 5;
  EXPECT_EQ(Run().done, 20);
}

TEST_F(LoadGeneratorTest, NothingBeginsAfterTheDuration) {
  options_.duration = absl::ZeroDuration();
  options_.rate = 1;
  const LoadReport report = Run();
  EXPECT_EQ(report.done + report.failed, 0);
  EXPECT_EQ(report.seconds, 0);
}

TEST_F(LoadGeneratorTest, ErrorsAreCountedByCodeAndReason) {
  options_.request.mutable_at()->set_revision(77);
  options_.requests = 4;
  const LoadReport report = Run();
  EXPECT_EQ(report.done, 0);
  EXPECT_EQ(report.failed, 4);
  EXPECT_THAT(report.errors, ElementsAre(Pair("NOT_FOUND REVISION_NOT_FOUND", 4)));
  EXPECT_EQ(report.first_error.code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace amend::client
