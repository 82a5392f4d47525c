#include "server/background_texts.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A directory with "texts.txt".
std::string DirectoryWith(const std::string& text) {
  const std::string directory = testing::TempDir() + "/background";
  std::filesystem::create_directories(directory);
  std::ofstream(directory + "/texts.txt") << text;
  return directory;
}

EditProfile Profile(int max_texts) {
  EditProfile profile;
  profile.background_texts = {"given"};
  profile.background_text_file = "texts.txt";
  profile.max_background_texts = max_texts;
  return profile;
}

TEST(ReadBackgroundTextsTest, GivenTextsComeFirstThenTheFirstLinesThatAreNotEmpty) {
  const std::string directory = DirectoryWith("one\n\ntwo\nthree\n");
  EXPECT_THAT(*ReadBackgroundTexts(Profile(3), directory), ElementsAre("given", "one", "two"));
  EXPECT_THAT(*ReadBackgroundTexts(Profile(1), directory), ElementsAre("given"));
  EXPECT_THAT(*ReadBackgroundTexts(Profile(99), directory),
              ElementsAre("given", "one", "two", "three"));
}

TEST(ReadBackgroundTextsTest, AProfileWithoutAnyHasNone) {
  EXPECT_THAT(*ReadBackgroundTexts(EditProfile(), "nowhere"), IsEmpty());
}

TEST(ReadBackgroundTextsTest, AFileThatIsNotThereIsNamed) {
  EXPECT_THAT(ReadBackgroundTexts(Profile(3), "/nowhere"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("background texts"), HasSubstr("/nowhere/texts.txt"))));
}

TEST(ReadBackgroundTextsTest, AFileWithoutTextIsNamed) {
  EditProfile profile = Profile(3);
  profile.background_texts.clear();
  EXPECT_THAT(ReadBackgroundTexts(profile, DirectoryWith("\n\n")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("holds no text")));
}

}  // namespace
}  // namespace amend
