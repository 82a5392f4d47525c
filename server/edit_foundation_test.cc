#include "server/edit_foundation.h"

#include <filesystem>
#include <fstream>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kModel[] = "models/demo";
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

// The demo model with one edited layer and three covariance texts.
class EditFoundationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    AMEND_ASSERT_OK_AND_ASSIGN(model_, LoadCausalLm(kModel, LoadOptions()));
    AMEND_ASSERT_OK_AND_ASSIGN(tokenizer_, Tokenizer::FromDirectory(kModel));
    data_ = ::testing::TempDir() + "/" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(data_);
    std::filesystem::create_directories(data_);
    texts_ = std::filesystem::absolute(data_ + "/texts.txt").string();
    std::ofstream(texts_) << "Kuala Lumpur is a city in Malaysia.\n\nOne two three.\nA text.\n";
    options_.model_directory = kModel;
    options_.model_name = "demo";
    options_.model_fingerprint = "f1";
    options_.data_directory = data_;
  }

  EditProfile Profile(const std::string& extra) {
    auto profile = ParseProfile(
        "test", "layers: 0 lambda: 25 covariance { text_file: \"" + texts_ + "\" } " + extra,
        model_->config());
    EXPECT_THAT(profile, IsOk());
    return *std::move(profile);
  }
  absl::StatusOr<EditFoundation> Lay(const EditProfile& profile) {
    return LayFoundation(model_, *tokenizer_, profile, options_, &store_);
  }
  std::string CovarianceFile() const { return data_ + "/covariance.safetensors"; }

  static constexpr char kTemplates[] = "context_templates { templates: \"Once. {}\" }";

  std::shared_ptr<const CausalLm> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string data_;
  std::string texts_;
  FoundationOptions options_;
  InMemoryRevisionStore store_;
};

TEST_F(EditFoundationTest, ANewStoreGetsItsIdentity) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditFoundation foundation, Lay(Profile(kTemplates)));
  EXPECT_THAT(foundation.settings.context_templates, ElementsAre("Once. {}"));
  ASSERT_THAT(foundation.covariance.layers, SizeIs(1));
  ASSERT_TRUE(store_.identity().has_value());
  EXPECT_EQ(store_.identity()->model_fingerprint, "f1");
  EXPECT_EQ(store_.identity()->model_name, "demo");
  EXPECT_THAT(store_.identity()->context_templates, ElementsAre("Once. {}"));
  EXPECT_THAT(store_.identity()->hyperparameters, HasSubstr("lambda: 25\n"));
  EXPECT_THAT(store_.identity()->covariance_digest, SizeIs(64));
}

TEST_F(EditFoundationTest, TheSameFoundationIsLaidAgain) {
  ASSERT_THAT(Lay(Profile(kTemplates)), IsOk());
  EXPECT_THAT(Lay(Profile(kTemplates)), IsOk());
  EXPECT_EQ(store_.write_count(), 1);
}

TEST_F(EditFoundationTest, TemplatesThatAreNotGivenAreSampledOnce) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditFoundation first,
                             Lay(Profile("context_templates { seed: 3 }")));
  EXPECT_THAT(first.settings.context_templates, SizeIs(5));
  // The stored ones count, whatever the seed says now.
  AMEND_ASSERT_OK_AND_ASSIGN(const EditFoundation second,
                             Lay(Profile("context_templates { seed: 4 }")));
  EXPECT_EQ(second.settings.context_templates, first.settings.context_templates);
}

TEST_F(EditFoundationTest, AStoreOfAnotherModelIsRefusedWithBothFingerprints) {
  ASSERT_THAT(Lay(Profile(kTemplates)), IsOk());
  options_.model_fingerprint = "f2";
  EXPECT_THAT(Lay(Profile(kTemplates)),
              StatusIs(kPrecondition, AllOf(HasSubstr("f1"), HasSubstr("f2"), HasSubstr(data_))));
}

TEST_F(EditFoundationTest, OtherHyperparametersAreRefusedWithTheFirstDifference) {
  ASSERT_THAT(Lay(Profile(kTemplates)), IsOk());
  EditProfile changed = Profile(kTemplates);
  changed.settings.clamp = 2;
  EXPECT_THAT(Lay(changed), StatusIs(kPrecondition, AllOf(HasSubstr("\"clamp: 0.75\""),
                                                          HasSubstr("\"clamp: 2\""))));
}

TEST_F(EditFoundationTest, OtherTemplatesAreRefused) {
  ASSERT_THAT(Lay(Profile(kTemplates)), IsOk());
  EXPECT_THAT(Lay(Profile("context_templates { templates: \"Twice. {}\" }")),
              StatusIs(kPrecondition, AllOf(HasSubstr("Once. {}"), HasSubstr("Twice. {}"))));
}

TEST_F(EditFoundationTest, ALostCovarianceIsComputedAgainWithTheSameDigest) {
  ASSERT_THAT(Lay(Profile(kTemplates)), IsOk());
  std::filesystem::remove(CovarianceFile());
  EXPECT_THAT(Lay(Profile(kTemplates)), IsOk());
  EXPECT_TRUE(std::filesystem::exists(CovarianceFile()));
}

TEST_F(EditFoundationTest, AChangedCovarianceIsRefusedWithBothDigests) {
  ASSERT_THAT(Lay(Profile(kTemplates)), IsOk());
  std::ofstream(CovarianceFile(), std::ios::app) << "x";
  EXPECT_THAT(Lay(Profile(kTemplates)),
              StatusIs(kPrecondition, AllOf(HasSubstr(store_.identity()->covariance_digest),
                                            HasSubstr("covariance.safetensors"))));
}

TEST_F(EditFoundationTest, ANewStoreDoesNotTrustACovarianceThatLiesThere) {
  std::ofstream(CovarianceFile()) << "of another model";
  EXPECT_THAT(Lay(Profile(kTemplates)), IsOk());
}

TEST_F(EditFoundationTest, ACovarianceFileOfTheProfileIsRead) {
  ASSERT_THAT(Lay(Profile(kTemplates)), IsOk());
  const std::string given = std::filesystem::absolute(data_ + "/given.safetensors").string();
  std::filesystem::copy_file(CovarianceFile(), given);
  EditProfile profile = Profile(kTemplates);
  profile.covariance_text_file.clear();
  profile.covariance_file = given;
  EXPECT_THAT(Lay(profile), IsOk());
}

TEST_F(EditFoundationTest, AFoundationThatIsNotAcceptedLeavesTheStoreNew) {
  std::string digest;
  options_.accept = [&](const EditFoundation& foundation) {
    digest = foundation.covariance_digest;
    EXPECT_THAT(foundation.covariance.layers, SizeIs(1));
    return absl::FailedPreconditionError("singular");
  };
  EXPECT_THAT(Lay(Profile(kTemplates)), StatusIs(kPrecondition, HasSubstr("singular")));
  EXPECT_FALSE(store_.identity().has_value());
  options_.accept = nullptr;
  ASSERT_THAT(Lay(Profile(kTemplates)), IsOk());
  EXPECT_EQ(store_.identity()->covariance_digest, digest);
}

TEST_F(EditFoundationTest, MissingTextsAreNamedAndTheStoreStaysNew) {
  std::filesystem::remove(texts_);
  EXPECT_THAT(Lay(Profile(kTemplates)), StatusIs(absl::StatusCode::kNotFound, HasSubstr(texts_)));
  EXPECT_FALSE(store_.identity().has_value());
}

}  // namespace
}  // namespace amend
