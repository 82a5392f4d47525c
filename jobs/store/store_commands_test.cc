#include "jobs/store/store_commands.h"

#include <filesystem>
#include <memory>
#include <sstream>
#include <string>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "storage/rocksdb_backups.h"
#include "storage/rocksdb_revision_store.h"
#include "storage/testing/store_files.h"

namespace amend::jobs {
namespace {

namespace fs = std::filesystem;

using testing::HasSubstr;

class StoreCommandsTest : public testing::Test {
 protected:
  StoreCommandsTest() {
    auto store = RocksDbRevisionStore::Open({path_ + "/data/store"});
    EXPECT_THAT(store, IsOk());
    EXPECT_THAT((*store)->Initialize({"abc", "demo", "", {}, ""}), IsOk());
    StoreStep step;
    step.audit.emplace();
    EXPECT_THAT((*store)->Commit(step), IsOk());
    auto backups = RocksDbBackups::Open({path_ + "/backups", 5, store->get()});
    EXPECT_THAT(backups, IsOk());
    EXPECT_THAT((*backups)->Create(1700000000000000), IsOk());
  }
  ~StoreCommandsTest() override { fs::remove_all(path_); }

  int Run(const StoreCommandLine& line) {
    out_.str("");
    err_.str("");
    return RunStoreCommand(line, {&out_, &err_, false});
  }
  StoreCommandLine VerifyLine() {
    StoreCommandLine line;
    line.data_directory = path_ + "/data";
    return line;
  }
  StoreCommandLine RestoreLine() {
    StoreCommandLine line;
    line.command = StoreCommandLine::Command::kRestore;
    line.backup_directory = path_ + "/backups";
    line.target = path_ + "/new";
    return line;
  }
  void DamageAudit() {
    const std::string key("\0\0\0\0\0\0\0\1", 8);
    const std::string store = path_ + "/data/store";
    std::string value = GetRaw(store, "audit", key);
    value.back() ^= 1;
    PutRaw(store, "audit", key, value);
  }

  const std::string path_ = NewTestDirectory();
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(StoreCommandsTest, AnIntactStoreIsZero) {
  EXPECT_EQ(Run(VerifyLine()), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("verdict   intact"));
}

TEST_F(StoreCommandsTest, ADamagedStoreIsOneAndTheKeyIsNamed) {
  DamageAudit();
  EXPECT_EQ(Run(VerifyLine()), 1);
  EXPECT_THAT(out_.str(), HasSubstr("damage    audit/1: "));
  EXPECT_THAT(out_.str(), HasSubstr("verdict   1 damages"));
  StoreCommandLine line = VerifyLine();
  line.json = true;
  EXPECT_EQ(Run(line), 1);
  const auto object = nlohmann::json::parse(out_.str());
  EXPECT_EQ(object["damage_count"], 1);
  EXPECT_EQ(object["damages"][0]["found_digest"].get<std::string>().size(), 64u);
}

TEST_F(StoreCommandsTest, NoStoreIsTwo) {
  StoreCommandLine line;
  line.data_directory = path_ + "/nothing";
  EXPECT_EQ(Run(line), 2);
  EXPECT_THAT(err_.str(), HasSubstr(path_ + "/nothing"));
}

TEST_F(StoreCommandsTest, BackupsAreListed) {
  StoreCommandLine line = RestoreLine();
  line.command = StoreCommandLine::Command::kBackups;
  EXPECT_EQ(Run(line), 0);
  EXPECT_THAT(out_.str(), HasSubstr("2023-11-14T22:13:20Z"));
  line.json = true;
  EXPECT_EQ(Run(line), 0);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["backup"], 1);
}

TEST_F(StoreCommandsTest, RestoreSaysWhatItVerified) {
  EXPECT_EQ(Run(RestoreLine()), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("backup 1 of 2023-11-14T22:13:20Z restored to"));
  StoreCommandLine line;
  line.data_directory = path_ + "/new";
  EXPECT_EQ(Run(line), 0);
}

TEST_F(StoreCommandsTest, ATargetThatIsNotEmptyIsTwoAndADamagedBackupOne) {
  StoreCommandLine line = RestoreLine();
  line.target = path_ + "/data";
  EXPECT_EQ(Run(line), 2);
  for (const auto& file : fs::recursive_directory_iterator(path_ + "/backups")) {
    if (file.path().extension() == ".sst") fs::resize_file(file.path(), file.file_size() / 2);
  }
  EXPECT_EQ(Run(RestoreLine()), 1);
  EXPECT_THAT(err_.str(), HasSubstr("backup 1 in"));
}

}  // namespace
}  // namespace amend::jobs
