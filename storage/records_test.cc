#include "storage/records.h"

#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(IsTerminal, IsTrueForEveryStateButDurable) {
  EXPECT_FALSE(IsTerminal(BatchState::kDurable));
  EXPECT_TRUE(IsTerminal(BatchState::kFailed));
  EXPECT_TRUE(IsTerminal(BatchState::kRejected));
  EXPECT_TRUE(IsTerminal(BatchState::kValidated));
  EXPECT_TRUE(IsTerminal(BatchState::kLive));
}

TEST(LedgerEntryEquality, SeesADifferenceInANestedVerdict) {
  LedgerEntry a;
  a.verdicts.resize(1);
  LedgerEntry b = a;
  EXPECT_TRUE(a == b);
  b.verdicts[0].scores.locality = 0.5;
  EXPECT_FALSE(a == b);
}

TEST(RevisionFactorsEquality, SeesADifferenceInOneNumber) {
  RevisionFactors a;
  a.layers.resize(1);
  a.layers[0].keys = {1, 2, {1, 2}};
  RevisionFactors b = a;
  EXPECT_TRUE(a == b);
  b.layers[0].keys.values[1] = 3;
  EXPECT_FALSE(a == b);
}

}  // namespace
}  // namespace amend
