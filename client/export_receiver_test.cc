#include "client/export_receiver.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend::client {
namespace {

namespace fs = std::filesystem;
namespace v1 = ::amend::v1;

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = ExportReceiver::Kind;

class ExportReceiverTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    out_ = folder_ + "/out";
  }

  static v1::ExportRevisionResponse Start(const std::vector<std::string>& names) {
    v1::ExportRevisionResponse message;
    message.mutable_start()->set_revision(3);
    for (const std::string& name : names) {
      v1::ExportFile* const file = message.mutable_start()->add_files();
      file->set_name(name);
      file->set_size(6);
    }
    return message;
  }
  static v1::ExportRevisionResponse Chunk(int file, const std::string& bytes,
                                          const std::string& whole = "") {
    v1::ExportRevisionResponse message;
    message.mutable_chunk()->set_file(file);
    message.mutable_chunk()->set_bytes(bytes);
    if (!whole.empty()) {
      Sha256 digest;
      digest.Update(whole);
      message.mutable_chunk()->set_sha256(digest.HexDigest());
    }
    return message;
  }
  // What Receive says of each message in turn, up to the first error.
  absl::Status Receive(const std::vector<v1::ExportRevisionResponse>& messages,
                       Kind kind = Kind::kDirectory) {
    auto created = ExportReceiver::Create(out_, kind);
    if (!created.ok()) return created.status();
    receiver_ = *std::move(created);
    for (const auto& message : messages) {
      const absl::Status status = receiver_->Receive(message);
      if (!status.ok()) return status;
    }
    return receiver_->Finish();
  }
  static std::string Read(const std::string& path) {
    std::ostringstream bytes;
    bytes << std::ifstream(path).rdbuf();
    return bytes.str();
  }
  std::vector<std::string> Names() {
    receiver_.reset();
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(folder_)) {
      names.push_back(file.path().filename());
    }
    return names;
  }

  std::string folder_;
  std::string out_;
  std::unique_ptr<ExportReceiver> receiver_;
};

TEST_F(ExportReceiverTest, AFolderAppearsWhenAllOfItIsThere) {
  const absl::Status status = Receive({Start({"a", "b"}), Chunk(0, "one"),
                                       Chunk(0, "two", "onetwo"), Chunk(1, "three!", "three!")});
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(receiver_->revision(), 3);
  EXPECT_EQ(receiver_->bytes(), 12);
  ASSERT_EQ(receiver_->files().size(), 2u);
  EXPECT_EQ(Read(out_ + "/a"), "onetwo");
  EXPECT_EQ(Read(out_ + "/b"), "three!");
  EXPECT_THAT(Names(), testing::ElementsAre("out"));
}

TEST_F(ExportReceiverTest, ASingleFileHasTheNameThatIsAskedFor) {
  const absl::Status status =
      Receive({Start({"x"}), Chunk(0, "onetwo", "onetwo")}, Kind::kSingleFile);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Read(out_), "onetwo");
  EXPECT_THAT(Names(), testing::ElementsAre("out"));
}

TEST_F(ExportReceiverTest, WhatIsThereIsLeftAlone) {
  std::ofstream(out_) << "mine";
  for (const Kind kind : {Kind::kDirectory, Kind::kSingleFile}) {
    const absl::Status status = Receive({}, kind);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(out_));
  }
  fs::remove(out_);
  fs::create_directories(out_);
  EXPECT_TRUE(absl::IsFailedPrecondition(Receive({}, Kind::kSingleFile)));
  EXPECT_TRUE(Receive({Start({})}).ok());  // An empty folder may be there.
}

TEST_F(ExportReceiverTest, AFolderThatIsNotThereIsNamed) {
  out_ = folder_ + "/no/out";
  const absl::Status status = Receive({});
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(out_));
}

TEST_F(ExportReceiverTest, WrongBytesLeaveNothing) {
  const std::vector<std::vector<v1::ExportRevisionResponse>> wrong = {
      {Start({"a"}), Chunk(0, "onetwo", "another")},                   // digest
      {Start({"a"}), Chunk(0, "one", "one")},                          // size
      {Start({"a"}), Chunk(0, "onetwothree", "onetwothree")},          // size
      {Start({"a"}), Chunk(1, "onetwo", "onetwo")},                    // another file
      {Start({"a"}), Chunk(0, "onetwo", "onetwo"), Chunk(1, "more")},  // a file too many
      {Start({"a"}), Start({"a"})},                                    // begun twice
      {Chunk(0, "onetwo")},                                            // not begun
      {Start({"a", "b"}), Chunk(0, "onetwo", "onetwo")},               // a file too few
      {Start({"a"}), Chunk(0, "one")},                                 // cut
      {},                                                              // empty
  };
  for (size_t i = 0; i < wrong.size(); ++i) {
    SCOPED_TRACE(i);
    const absl::Status status = Receive(wrong[i]);
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(Names(), IsEmpty());
  }
}

TEST_F(ExportReceiverTest, AServerDoesNotChooseWhereToWrite) {
  for (const std::string name : {"../a", "/a", "a/b", "..", ".", ""}) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(absl::IsDataLoss(Receive({Start({name}), Chunk(0, "onetwo", "onetwo")})));
    EXPECT_THAT(Names(), IsEmpty());
  }
}

TEST_F(ExportReceiverTest, MoreFilesThanOneAreNoSingleFile) {
  EXPECT_TRUE(absl::IsDataLoss(Receive({Start({"a", "b"})}, Kind::kSingleFile)));
}

}  // namespace
}  // namespace amend::client
