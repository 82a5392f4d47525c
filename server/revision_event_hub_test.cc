#include "server/revision_event_hub.h"

#include <thread>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using Change = v1::WatchRevisionsResponse::RevisionChanged;

class RevisionEventHubTest : public testing::Test {
 protected:
  using Events = std::vector<v1::WatchRevisionsResponse>;

  static RevisionListener ListenerOf(const std::shared_ptr<Events>& events) {
    Events* const raw = events.get();
    return {events,
            [raw](const v1::WatchRevisionsResponse& event) {
              raw->push_back(event);
              return true;
            },
            [](const absl::Status&) {}};
  }
  static v1::WatchRevisionsResponse Created(int64_t number) {
    RevisionRecord record;
    record.revision = Revision(number);
    record.state = RevisionState::kValidated;
    return RevisionChangedEvent(Change::CREATED, record);
  }

  RevisionEventHub hub_{/*max_listeners=*/2};
};

TEST_F(RevisionEventHubTest, AListenerGetsTheStateFirst) {
  hub_.SetState({{"canary", Revision(2), 7}, {"live", Revision(1), 4}}, Revision(3));
  const auto events = std::make_shared<Events>();
  ASSERT_THAT(hub_.Attach(ListenerOf(events)), IsOk());
  ASSERT_EQ(events->size(), 1u);
  const auto& state = events->front().state();
  EXPECT_EQ(state.latest_revision(), 3);
  ASSERT_EQ(state.labels_size(), 2);
  EXPECT_EQ(state.labels(0).name(), "canary");
  EXPECT_EQ(state.labels(0).etag(), "7");
  EXPECT_EQ(state.labels(1).revision(), 1);
}

TEST_F(RevisionEventHubTest, TheStateOfALateListenerHasWhatTheEarlyOneHeardAsEvents) {
  hub_.SetState({{"live", kBaseRevision, 0}}, kBaseRevision);
  const auto early = std::make_shared<Events>();
  ASSERT_THAT(hub_.Attach(ListenerOf(early)), IsOk());
  hub_.Publish(Created(1));
  hub_.Publish(LabelMovedEvent({"live", Revision(1), 1}, kBaseRevision));
  hub_.Publish(LabelMovedEvent({"canary", Revision(1), 1}, std::nullopt));
  hub_.Publish(LabelDeletedEvent({"canary", Revision(1), 1}));
  ASSERT_EQ(early->size(), 5u);
  EXPECT_EQ((*early)[2].label_moved().previous_revision(), 0);
  EXPECT_FALSE((*early)[3].label_moved().has_previous_revision());
  const auto late = std::make_shared<Events>();
  ASSERT_THAT(hub_.Attach(ListenerOf(late)), IsOk());
  EXPECT_EQ((*late)[0].state().latest_revision(), 1);
  ASSERT_EQ((*late)[0].state().labels_size(), 1);
  EXPECT_EQ((*late)[0].state().labels(0).revision(), 1);
}

TEST_F(RevisionEventHubTest, AChangedRevisionComesWithItsLabels) {
  hub_.SetState({{"canary", Revision(1), 1}, {"live", kBaseRevision, 0}}, Revision(1));
  const auto events = std::make_shared<Events>();
  ASSERT_THAT(hub_.Attach(ListenerOf(events)), IsOk());
  RevisionRecord record;
  record.revision = Revision(1);
  record.marks.pinned = true;
  hub_.Publish(RevisionChangedEvent(Change::PINNED, record));
  EXPECT_THAT(events->back().revision_changed().revision().labels(), ElementsAre("canary"));
  EXPECT_TRUE(events->back().revision_changed().revision().pinned());
}

// Whenever a listener comes, its state and its events together are all that was published.
TEST_F(RevisionEventHubTest, NoChangeIsLostOrDoubledBetweenStateAndEvents) {
  constexpr int64_t kRevisions = 2000;
  hub_.SetState({{"live", kBaseRevision, 0}}, kBaseRevision);
  std::thread publisher([&] {
    for (int64_t i = 1; i <= kRevisions; ++i) hub_.Publish(Created(i));
  });
  std::vector<std::shared_ptr<Events>> listeners;
  for (int i = 0; i < 2; ++i) {
    listeners.push_back(std::make_shared<Events>());
    EXPECT_THAT(hub_.Attach(ListenerOf(listeners.back())), IsOk());
  }
  publisher.join();
  for (const auto& events : listeners) {
    int64_t next = events->front().state().latest_revision() + 1;
    for (size_t i = 1; i < events->size(); ++i) {
      ASSERT_EQ((*events)[i].revision_changed().revision().revision(), next++);
    }
    EXPECT_EQ(next, kRevisions + 1);
  }
}

TEST_F(RevisionEventHubTest, OneListenerTooManyIsTurnedDownUntilAnotherGoes) {
  auto first = std::make_shared<Events>();
  const auto second = std::make_shared<Events>();
  ASSERT_THAT(hub_.Attach(ListenerOf(first)), IsOk());
  ASSERT_THAT(hub_.Attach(ListenerOf(second)), IsOk());
  const auto third = std::make_shared<Events>();
  const absl::Status refused = hub_.Attach(ListenerOf(third));
  EXPECT_THAT(refused, StatusIs(StatusCode::kResourceExhausted));
  EXPECT_EQ(ReasonOf(refused), "TOO_MANY_WATCHERS");
  first.reset();
  EXPECT_THAT(hub_.Attach(ListenerOf(third)), IsOk());
}

TEST_F(RevisionEventHubTest, WhoWantsNoMoreIsForgotten) {
  int calls = 0;
  const auto owner = std::make_shared<int>();
  const RevisionListener listener{owner,
                                  [&](const v1::WatchRevisionsResponse&) { return ++calls < 2; },
                                  [](const absl::Status&) {}};
  ASSERT_THAT(hub_.Attach(listener), IsOk());
  for (int i = 1; i <= 3; ++i) hub_.Publish(Created(i));
  EXPECT_EQ(calls, 2);
}

TEST_F(RevisionEventHubTest, CloseTellsAllAndTurnsDownWhoComesLater) {
  absl::Status told;
  const auto owner = std::make_shared<int>();
  const RevisionListener listener{owner, [](const v1::WatchRevisionsResponse&) { return true; },
                                  [&](const absl::Status& status) { told = status; }};
  ASSERT_THAT(hub_.Attach(listener), IsOk());
  hub_.Close(absl::UnavailableError("down"));
  EXPECT_THAT(told, StatusIs(StatusCode::kUnavailable));
  EXPECT_THAT(hub_.Attach(listener), StatusIs(StatusCode::kUnavailable));
}

}  // namespace
}  // namespace amend
