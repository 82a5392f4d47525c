#include "server/revision_watch.h"

#include <memory>
#include <optional>
#include <string>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/testing/edit_server.h"

namespace amend {
namespace {

using Change = v1::WatchRevisionsResponse::RevisionChanged;

// One WatchRevisions call; reads block.
class Watcher {
 public:
  explicit Watcher(v1::RevisionService::Stub* stub)
      : stream_(stub->WatchRevisions(&context_, v1::WatchRevisionsRequest())) {}
  ~Watcher() {
    context_.TryCancel();
    Finish();
  }

  // Empty once there is no more.
  v1::WatchRevisionsResponse Read() {
    v1::WatchRevisionsResponse event;
    stream_->Read(&event);
    return event;
  }
  grpc::Status Finish() {
    if (!status_) {
      v1::WatchRevisionsResponse rest;
      while (stream_->Read(&rest)) {
      }
      status_ = stream_->Finish();
    }
    return *status_;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchRevisionsResponse>> stream_;
  std::optional<grpc::Status> status_;
};

class RevisionWatchTest : public testing::Test {
 protected:
  // An event of about `bytes`.
  static v1::WatchRevisionsResponse Large(size_t bytes) {
    RevisionRecord record;
    record.revision = Revision(1);
    record.batch.session = std::string(bytes, 's');
    return RevisionChangedEvent(Change::PINNED, record);
  }

  EditServer s_;
};

TEST_F(RevisionWatchTest, TellsTheStateThenWhatABatchChanges) {
  ASSERT_THAT(s_.coordinator->Recover(), IsOk());
  s_.Start();
  Watcher watcher(s_.revisions.get());
  const v1::WatchRevisionsResponse state = watcher.Read();
  EXPECT_EQ(state.state().latest_revision(), 0);
  ASSERT_EQ(state.state().labels_size(), 1);
  EXPECT_EQ(state.state().labels(0).name(), "live");
  s_.Run("s", 0, "Rome");
  s_.Run("s", 1, "bad");
  const v1::WatchRevisionsResponse created = watcher.Read();
  EXPECT_EQ(created.revision_changed().change(), Change::CREATED);
  EXPECT_EQ(created.revision_changed().revision().revision(), 1);
  EXPECT_EQ(created.revision_changed().revision().state(), v1::Revision::VALIDATED);
  const v1::WatchRevisionsResponse moved = watcher.Read();
  EXPECT_EQ(moved.label_moved().label().name(), "live");
  EXPECT_EQ(moved.label_moved().label().revision(), 1);
  EXPECT_EQ(moved.label_moved().label().etag(), "1");
  EXPECT_EQ(moved.label_moved().previous_revision(), 0);
  const v1::WatchRevisionsResponse rejected = watcher.Read();
  EXPECT_EQ(rejected.revision_changed().revision().state(), v1::Revision::REJECTED);
}

TEST_F(RevisionWatchTest, AReaderThatIsTooSlowIsEndedAndMayBeginAnew) {
  Watcher slow(s_.revisions.get());
  ASSERT_TRUE(slow.Read().has_state());
  // Far more than connection and queue take.
  for (int i = 0; i < 2000; ++i) s_.changes.Publish(Large(100'000));
  const grpc::Status status = slow.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOfRpc(status), "WATCH_TOO_SLOW");
  Watcher again(s_.revisions.get());
  EXPECT_TRUE(again.Read().has_state());
}

TEST_F(RevisionWatchTest, AReaderThatWentAwayMakesRoomAndDisturbsNobody) {
  Watcher stays(s_.revisions.get());
  EXPECT_TRUE(stays.Read().has_state());
  for (int i = 0; i < 200; ++i) {
    Watcher leaves(s_.revisions.get());
    // Its place may be free only when the server has noticed that the one before left.
    if (!leaves.Read().has_state()) {
      EXPECT_EQ(ReasonOfRpc(leaves.Finish()), "TOO_MANY_WATCHERS");
    }
  }
  s_.changes.Publish(Large(1));
  EXPECT_TRUE(stays.Read().has_revision_changed());
}

TEST_F(RevisionWatchTest, AServerThatStopsSaysSo) {
  Watcher watcher(s_.revisions.get());
  EXPECT_TRUE(watcher.Read().has_state());
  s_.coordinator->Stop();
  const grpc::Status status = watcher.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOfRpc(status), "DRAINING");
}

}  // namespace
}  // namespace amend
