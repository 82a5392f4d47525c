#include "jobs/import_command.h"

#include <unistd.h>

#include <sstream>

#include "absl/strings/str_cat.h"
#include "core/editing/key_covariance.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "jobs/testing/npz_writer.h"

namespace amend::jobs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kKeySize = 1024;

// `diagonal` times the unit matrix.
std::vector<float> Diagonal(float diagonal) {
  std::vector<float> sum(kKeySize * kKeySize, 0);
  for (int i = 0; i < kKeySize; ++i) sum[i * kKeySize + i] = diagonal;
  return sum;
}

class ImportCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.model_directory = "models/demo";
    options_.out_file = absl::StrCat(testing::TempDir(), "/imported.safetensors");
    unlink(options_.out_file.c_str());
  }
  int Run() {
    JobContext context;
    context.out = &out_;
    context.err = &err_;
    return RunImport(context, options_);
  }
  void ExpectRefused(const testing::Matcher<std::string>& message) {
    err_.str("");
    EXPECT_EQ(Run(), kExitUsage);
    EXPECT_THAT(err_.str(), message);
    EXPECT_NE(access(options_.out_file.c_str(), F_OK), 0);
  }

  ImportOptions options_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(ImportCommandTest, OneFilePerLayerBecomesOneFile) {
  options_.npz_files = {
      WriteMomentNpz("transformer.h.1.mlp.c_proj_float32_mom2_100000.npz", Diagonal(6), kKeySize,
                     3000),
      absl::StrCat("0=", WriteMomentNpz("other.npz", Diagonal(8), kKeySize, 2000))};
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  const auto covariance = LoadKeyCovariance(options_.out_file, {LayerIndex(0), LayerIndex(1)});
  ASSERT_TRUE(covariance.ok()) << covariance.status();
  EXPECT_EQ(covariance->layers[0].moment.values[0], 0.004f);
  EXPECT_EQ(covariance->layers[1].moment.values[0], 0.002f);
  EXPECT_EQ(covariance->tokens, 2000);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(ImportCommandTest, TooFewTokensAreWarnedOf) {
  options_.npz_files = {absl::StrCat("0=", WriteMomentNpz("few.npz", Diagonal(1), kKeySize, 9))};
  ASSERT_EQ(Run(), kExitOk);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("9 tokens are fewer"), HasSubstr("1024")));
}

TEST_F(ImportCommandTest, WhatDoesNotFitTheModelIsRefused) {
  const std::string good = WriteMomentNpz("good.npz", Diagonal(1), kKeySize, 3000);
  options_.npz_files = {absl::StrCat("6=", good)};
  ExpectRefused(AllOf(HasSubstr("layer 6"), HasSubstr("layers 0 to 5")));
  options_.npz_files = {absl::StrCat("1=", good), absl::StrCat("1=", good)};
  ExpectRefused(HasSubstr("layer 1 is given twice"));
  options_.npz_files = {absl::StrCat("1=", WriteMomentNpz("small.npz", {1}, 1, 3000))};
  ExpectRefused(AllOf(HasSubstr("[1, 1]"), HasSubstr("[1024, 1024]")));
  options_.npz_files = {absl::StrCat("1=", good), "2=no/such.npz"};
  ExpectRefused(HasSubstr("no/such.npz"));
}

}  // namespace
}  // namespace amend::jobs
