#include "server/edit_event_hub.h"

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/proto_conversion.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Client {
  std::vector<v1::BatchStage> heard;
};

BatchListener ListenerOf(const std::shared_ptr<Client>& client) {
  return {client, [raw = client.get()](const v1::EditBatchStatus& status) {
            raw->heard.push_back(status.stage());
          }};
}

const BatchKey kKey{"s", 1};

TEST(EditEventHubTest, EveryListenerOfTheBatchHearsOfIt) {
  EditEventHub hub;
  const auto a = std::make_shared<Client>(), b = std::make_shared<Client>();
  ASSERT_THAT(hub.Attach(kKey, ListenerOf(a)), IsOk());
  ASSERT_THAT(hub.Attach(kKey, ListenerOf(b)), IsOk());
  hub.Publish(StatusAt(kKey, 1, v1::SOLVING));
  EXPECT_THAT(a->heard, ElementsAre(v1::SOLVING));
  EXPECT_THAT(b->heard, ElementsAre(v1::SOLVING));
}

TEST(EditEventHubTest, AListenerDoesNotHearOfOtherBatches) {
  EditEventHub hub;
  const auto client = std::make_shared<Client>();
  ASSERT_THAT(hub.Attach(kKey, ListenerOf(client)), IsOk());
  hub.Publish(StatusAt({"s", 2}, 1, v1::SOLVING));
  hub.Publish(StatusAt({"t", 1}, 1, v1::SOLVING));
  EXPECT_THAT(client->heard, IsEmpty());
}

TEST(EditEventHubTest, NobodyWaitsAnyMoreAfterTheLastStatus) {
  EditEventHub hub;
  const auto client = std::make_shared<Client>();
  ASSERT_THAT(hub.Attach(kKey, ListenerOf(client)), IsOk());
  hub.Publish(StatusAt(kKey, 1, v1::LIVE));
  hub.Publish(StatusAt(kKey, 1, v1::LIVE));
  EXPECT_THAT(client->heard, ElementsAre(v1::LIVE));
}

TEST(EditEventHubTest, AListenerWhoseOwnerIsGoneIsNotCalled) {
  EditEventHub hub;
  auto client = std::make_shared<Client>();
  bool called = false;
  ASSERT_THAT(hub.Attach(kKey, {client, [&](const v1::EditBatchStatus&) { called = true; }}),
              IsOk());
  client.reset();
  hub.Publish(StatusAt(kKey, 1, v1::SOLVING));
  EXPECT_FALSE(called);
}

TEST(EditEventHubTest, TooManyListenersAreTurnedDownUntilOneGoes) {
  EditEventHub hub(/*max_listeners_per_batch=*/1);
  auto first = std::make_shared<Client>();
  const auto second = std::make_shared<Client>();
  ASSERT_THAT(hub.Attach(kKey, ListenerOf(first)), IsOk());
  const absl::Status full = hub.Attach(kKey, ListenerOf(second));
  EXPECT_EQ(ReasonOf(full), "TOO_MANY_WATCHERS");
  first.reset();
  EXPECT_THAT(hub.Attach(kKey, ListenerOf(second)), IsOk());
}

TEST(EditEventHubTest, DetachAllForgetsTheBatch) {
  EditEventHub hub;
  const auto client = std::make_shared<Client>();
  ASSERT_THAT(hub.Attach(kKey, ListenerOf(client)), IsOk());
  hub.DetachAll(kKey);
  hub.Publish(StatusAt(kKey, 1, v1::SOLVING));
  EXPECT_THAT(client->heard, IsEmpty());
}

}  // namespace
}  // namespace amend
