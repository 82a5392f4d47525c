#include "jobs/npz.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "jobs/testing/npz_writer.h"

namespace amend::jobs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class NpzFileTest : public testing::TestWithParam<bool> {};

TEST_P(NpzFileTest, ReadsAnArrayStoredOrDeflated) {
  const std::string content(5000, 'x');
  const std::string path = WriteNpz("read.npz", {{"a", content}, {"b.c", "other"}}, GetParam());
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file, NpzFile::Open(path));
  EXPECT_EQ(*file->Read("a", 5000), content);
  EXPECT_EQ(*file->Read("b.c", 5000), "other");
}

TEST_P(NpzFileTest, TruncatedOrFlippedItIsAnErrorAndNeverACrash) {
  const std::string content = BytesOf<float>({1, 2, 3, 4, 5, 6, 7, 8});
  const std::string path = WriteNpz("good.npz", {{"a", content}}, GetParam());
  const std::string good = ReadFile(path);
  const std::string broken_path = absl::StrCat(path, ".broken");
  const auto read = [&](const std::string& bytes) -> absl::StatusOr<std::string> {
    std::ofstream(broken_path, std::ios::binary | std::ios::trunc) << bytes;
    const auto file = NpzFile::Open(broken_path);
    return file.ok() ? (*file)->Read("a", 1000) : file.status();
  };
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(read(good.substr(0, length)).ok()) << length;
  constexpr uint32_t kSeed = 1;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 1000; ++round) {
    std::string bytes = good;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
    // What is read is what was written, or the damage is seen.
    const auto got = read(bytes);
    if (got.ok()) {
      EXPECT_EQ(*got, content);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(StoredAndDeflated, NpzFileTest, testing::Bool());

TEST(NpzFileErrorTest, AMissingKeyNamesThoseThereAre) {
  const std::string path = WriteNpz("keys.npz", {{"mean.mean", ""}, {"mean.count", ""}});
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file, NpzFile::Open(path));
  EXPECT_THAT(file->Read("mom2.mom2", 1000),
              StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr(path), HasSubstr("mom2.mom2"),
                                                          HasSubstr("mean.count, mean.mean"))));
}

TEST(NpzFileErrorTest, AnArrayThatIsTooLargeIsRefusedBeforeItIsRead) {
  const std::string path = WriteNpz("large.npz", {{"a", std::string(100000, '\0')}}, true);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto file, NpzFile::Open(path));
  EXPECT_THAT(file->Read("a", 99999),
              StatusIs(kInvalid, AllOf(HasSubstr("100000 bytes"), HasSubstr("99999"))));
}

TEST(NpzFileErrorTest, OtherFilesAreRefusedByName) {
  EXPECT_THAT(NpzFile::Open("no/such.npz"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no/such.npz")));
  const std::string path = absl::StrCat(testing::TempDir(), "/text.npz");
  std::ofstream(path) << "not an archive";
  EXPECT_THAT(NpzFile::Open(path), StatusIs(kInvalid, HasSubstr(path)));
}

}  // namespace
}  // namespace amend::jobs
