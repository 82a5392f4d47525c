#include "server/batch_traces.h"

#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(BatchTracesTest, ABatchHasTheTraceThatItCameWithUntilItIsForgotten) {
  BatchTraces traces;
  traces.Remember({"s", 0}, "first");
  traces.Remember({"s", 1}, "second");
  EXPECT_EQ(traces.TraceOf({"s", 0}), "first");
  EXPECT_EQ(traces.TraceOf({"s", 1}), "second");
  traces.Forget({"s", 0});
  EXPECT_EQ(traces.TraceOf({"s", 0}), "");
  EXPECT_EQ(traces.TraceOf({"s", 1}), "second");
}

TEST(BatchTracesTest, NothingIsKnownOfABatchThatCameWithoutATrace) {
  BatchTraces traces;
  traces.Remember({"s", 0}, "");
  EXPECT_EQ(traces.TraceOf({"s", 0}), "");
  traces.Forget({"s", 0});
}

}  // namespace
}  // namespace amend
