#include "core/base/types.h"

#include <sstream>
#include <type_traits>

#include "absl/container/flat_hash_set.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

TEST(StrongIntTest, DoesNotMixWithOtherIntegers) {
  static_assert(!std::is_convertible_v<int64_t, Revision>);
  static_assert(!std::is_convertible_v<Revision, int64_t>);
  static_assert(!std::is_constructible_v<LayerIndex, Revision>);
}

TEST(StrongIntTest, DefaultIsZero) { EXPECT_EQ(Revision(), kBaseRevision); }

TEST(StrongIntTest, NextIsOneMoreAndLeavesTheValueAlone) {
  const Revision revision(7);
  EXPECT_EQ(revision.Next(), Revision(8));
  EXPECT_EQ(revision.value(), 7);
}

TEST(StrongIntTest, IsOrderedByValue) {
  EXPECT_LT(Revision(-1), kBaseRevision);
  EXPECT_LE(Revision(2), Revision(2));
  EXPECT_GT(Revision(3), Revision(2));
  EXPECT_GE(Revision(3), Revision(3));
  EXPECT_NE(Revision(3), Revision(2));
}

TEST(StrongIntTest, PrintsItsValue) {
  std::ostringstream out;
  out << LayerIndex(5);
  EXPECT_EQ(out.str(), "5");
}

TEST(StrongIntTest, IsHashable) {
  absl::flat_hash_set<Revision> set = {Revision(1), Revision(2), Revision(1)};
  EXPECT_THAT(set, testing::UnorderedElementsAre(Revision(1), Revision(2)));
}

TEST(EditIdTest, IsOrderedByRevisionThenIndex) {
  EXPECT_LT((EditId{Revision(1), 9}), (EditId{Revision(2), 0}));
  EXPECT_LT((EditId{Revision(2), 0}), (EditId{Revision(2), 1}));
  EXPECT_FALSE((EditId{Revision(2), 1}) < (EditId{Revision(2), 1}));
}

TEST(EditIdTest, PrintsRevisionAndIndex) {
  EXPECT_EQ((EditId{Revision(12), 3}).ToString(), "12/3");
}

TEST(EditIdTest, IsHashable) {
  absl::flat_hash_set<EditId> set = {{Revision(1), 0}, {Revision(1), 1}, {Revision(1), 0}};
  EXPECT_EQ(set.size(), 2u);
}

}  // namespace
}  // namespace amend
