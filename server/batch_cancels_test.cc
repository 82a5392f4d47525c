#include "server/batch_cancels.h"

#include <optional>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> ReasonsOf(const std::vector<BatchCancels::Cancel>& cancels) {
  std::vector<std::string> reasons;
  for (const auto& cancel : cancels) reasons.push_back(cancel.command.reason);
  return reasons;
}

class BatchCancelsTest : public testing::Test {
 protected:
  void Add(const BatchKey& key, const std::string& reason) {
    cancels_.Add({{key, reason, "test"}, [](const absl::StatusOr<LedgerEntry>&) {}});
  }

  BatchCancels cancels_;
};

TEST_F(BatchCancelsTest, ThoseOfOneBatchAreTakenInOrder) {
  Add({"s", 1}, "a");
  Add({"s", 2}, "b");
  Add({"s", 1}, "c");
  EXPECT_EQ(cancels_.Find({"s", 1})->reason, "a");
  EXPECT_FALSE(cancels_.Find({"t", 1}).has_value());
  EXPECT_THAT(ReasonsOf(cancels_.Take({"s", 1})), ElementsAre("a", "c"));
  EXPECT_THAT(cancels_.Take({"s", 1}), IsEmpty());
  EXPECT_EQ(cancels_.size(), 1);
}

TEST_F(BatchCancelsTest, ThoseOfTheBatchAtWorkStay) {
  Add({"s", 1}, "a");
  Add({"s", 2}, "b");
  EXPECT_TRUE(cancels_.HasOthers(BatchKey{"s", 1}));
  EXPECT_THAT(ReasonsOf(cancels_.TakeOthers(BatchKey{"s", 1})), ElementsAre("b"));
  EXPECT_FALSE(cancels_.HasOthers(BatchKey{"s", 1}));
  EXPECT_TRUE(cancels_.HasOthers(std::nullopt));
  EXPECT_EQ(cancels_.size(), 1);
  EXPECT_THAT(ReasonsOf(cancels_.TakeOthers(std::nullopt)), ElementsAre("a"));
}

TEST(CancelledByClientTest, TheReasonIsPartOfTheMessage) {
  const absl::Status status = CancelledByClient({{"s", 0}, "wrong source", ""});
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kCancelled, HasSubstr("wrong source")));
  EXPECT_EQ(ReasonOf(status), "CANCELLED_BY_CLIENT");
}

TEST(BatchConcludedTest, NamesTheBatchAndItsState) {
  LedgerEntry entry;
  entry.key = {"s", 4};
  entry.state = BatchState::kLive;
  const absl::Status status = BatchConcluded(entry);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                               HasSubstr("session \"s\" offset 4 is LIVE already")));
  EXPECT_EQ(ReasonOf(status), "BATCH_CONCLUDED");
}

}  // namespace
}  // namespace amend
