#include "server/retention.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace amend {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kSecond = 1'000'000;
const absl::Time kNow = absl::FromUnixSeconds(1000);

// Revision i + 1 has parent parents[i] and was made at second i + 1.
std::vector<RetentionFacts> Tree(const std::vector<int64_t>& parents) {
  std::vector<RetentionFacts> tree;
  for (size_t i = 0; i < parents.size(); ++i) {
    const auto number = static_cast<int64_t>(i) + 1;
    tree.push_back({Revision(number),
                    Revision(parents[i]),
                    RevisionState::kValidated,
                    {},
                    number * kSecond,
                    false});
  }
  return tree;
}

RetentionPolicy KeepNewest(int count) {
  RetentionPolicy policy;
  policy.keep_newest = count;
  return policy;
}

TEST(RevisionsToDelete, APolicyOfZerosKeepsAll) {
  EXPECT_THAT(RevisionsToDelete(Tree({0, 0, 0}), RetentionPolicy(), kNow), IsEmpty());
}

TEST(RevisionsToDelete, KeepsTheNewest) {
  EXPECT_THAT(RevisionsToDelete(Tree({0, 0, 0, 0}), KeepNewest(2), kNow),
              ElementsAre(Revision(2), Revision(1)));
}

TEST(RevisionsToDelete, KeepsTheYoungOnesBesideTheNewest) {
  RetentionPolicy policy = KeepNewest(1);
  policy.keep_younger = absl::Seconds(998);
  EXPECT_THAT(RevisionsToDelete(Tree({0, 0, 0, 0}), policy, kNow),
              ElementsAre(Revision(2), Revision(1)));
}

TEST(RevisionsToDelete, KeepsWhatHasALabelOrAPinAndWhatAnyOfThemIsBuiltOn) {
  std::vector<RetentionFacts> tree = Tree({0, 1, 0, 3, 0, 0});
  tree[1].labelled = true;
  tree[3].marks.pinned = true;
  EXPECT_THAT(RevisionsToDelete(tree, KeepNewest(1), kNow), ElementsAre(Revision(5)));
}

TEST(RevisionsToDelete, CountsOnlyWhatServesAmongTheNewest) {
  std::vector<RetentionFacts> tree = Tree({0, 0, 0, 0});
  tree[3].state = RevisionState::kRejected;
  tree[2].marks.delete_time_us = 1;
  EXPECT_THAT(RevisionsToDelete(tree, KeepNewest(1), kNow), ElementsAre(Revision(1)));
}

TEST(RevisionsToPurge, WaitsForTheDelay) {
  std::vector<RetentionFacts> tree = Tree({0, 0});
  tree[0].marks.delete_time_us = 900 * kSecond;
  tree[1].marks.delete_time_us = 901 * kSecond;
  EXPECT_THAT(RevisionsToPurge(tree, absl::Seconds(100), kNow), ElementsAre(Revision(1)));
}

TEST(RevisionsToPurge, KeepsWhatADeletedRevisionThatStaysIsBuiltOn) {
  std::vector<RetentionFacts> tree = Tree({0, 1, 2});
  for (RetentionFacts& facts : tree) facts.marks.delete_time_us = 1;
  EXPECT_THAT(RevisionsToPurge(tree, absl::ZeroDuration(), kNow),
              ElementsAre(Revision(3), Revision(2), Revision(1)));
  tree[1].marks.pinned = true;
  EXPECT_THAT(RevisionsToPurge(tree, absl::ZeroDuration(), kNow), ElementsAre(Revision(3)));
}

TEST(RevisionsToPurge, ARejectedRevisionHoldsNothing) {
  std::vector<RetentionFacts> tree = Tree({0, 1});
  tree[0].marks.delete_time_us = 1;
  tree[1].state = RevisionState::kRejected;
  EXPECT_THAT(RevisionsToPurge(tree, absl::ZeroDuration(), kNow), ElementsAre(Revision(1)));
}

// ---- Properties over random trees --------------------------------------------------------------

class RandomTrees : public testing::Test {
 protected:
  int64_t Below(int64_t bound) { return static_cast<int64_t>(random_() % bound); }

  void MakeTree() {
    std::vector<int64_t> parents;
    for (int64_t i = Below(30); i > 0; --i) {
      // Long lines and wide bushes.
      const auto latest = static_cast<int64_t>(parents.size());
      parents.push_back(Below(2) == 0 ? latest : Below(latest + 1));
    }
    tree_ = Tree(parents);
    for (RetentionFacts& facts : tree_) {
      if (Below(5) == 0) facts.state = RevisionState::kRejected;
      facts.create_time_us = Below(1000) * kSecond;
      facts.marks.pinned = Below(8) == 0;
      // Nothing is built on a rejected one.
      while (facts.parent != kBaseRevision && At(facts.parent).state == RevisionState::kRejected) {
        facts.parent = At(facts.parent).parent;
      }
      if (facts.state == RevisionState::kRejected) continue;
      if (Below(3) == 0) facts.marks.delete_time_us = (1 + Below(999)) * kSecond;
      facts.labelled = facts.marks.delete_time_us == 0 && Below(8) == 0;
    }
  }
  const RetentionFacts& At(Revision revision) const { return tree_[revision.value() - 1]; }

  // Every revision that has factors and is not in `gone`, with all that it is built on.
  std::set<Revision> Needed(const std::set<Revision>& gone) const {
    std::set<Revision> needed;
    for (const RetentionFacts& facts : tree_) {
      if (facts.state == RevisionState::kRejected || gone.count(facts.revision) > 0) continue;
      if (facts.marks.purge_time_us != 0) continue;
      for (Revision at = facts.revision; at != kBaseRevision; at = At(at).parent) needed.insert(at);
    }
    return needed;
  }

  const uint64_t seed_ = [] {
    const char* given = std::getenv("AMEND_TEST_SEED");
    const uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
    std::printf("seed %llu (AMEND_TEST_SEED repeats it)\n", static_cast<unsigned long long>(seed));
    return seed;
  }();
  std::mt19937_64 random_{seed_};
  std::vector<RetentionFacts> tree_;
};

TEST_F(RandomTrees, NeverAnAncestorOfAKeptOneIsPurgedNorOneWithALabelOrAPin) {
  for (int round = 0; round < 2000; ++round) {
    MakeTree();
    const absl::Duration delay = absl::Seconds(Below(1000));
    std::set<Revision> gone;
    // Also when the purge ends in the middle.
    for (const Revision revision : RevisionsToPurge(tree_, delay, kNow)) {
      const RetentionFacts& facts = At(revision);
      EXPECT_TRUE(facts.marks.delete_time_us != 0 && !facts.labelled && !facts.marks.pinned);
      EXPECT_LE(absl::FromUnixMicros(facts.marks.delete_time_us) + delay, kNow);
      gone.insert(revision);
      EXPECT_EQ(Needed(gone).count(revision), 0u)
          << "revision " << revision.value() << " in round " << round;
    }
  }
}

TEST_F(RandomTrees, WhateverMayBePurgedIs) {
  for (int round = 0; round < 2000; ++round) {
    MakeTree();
    const auto purged = RevisionsToPurge(tree_, absl::ZeroDuration(), kNow);
    for (const Revision revision : purged) tree_[revision.value() - 1].marks.purge_time_us = 1;
    EXPECT_THAT(RevisionsToPurge(tree_, absl::ZeroDuration(), kNow), IsEmpty());
    for (const RetentionFacts& facts : tree_) {
      if (facts.marks.delete_time_us == 0 || facts.marks.purge_time_us != 0) continue;
      EXPECT_TRUE(facts.marks.pinned || Needed({facts.revision}).count(facts.revision) > 0)
          << "revision " << facts.revision.value() << " in round " << round;
    }
  }
}

TEST_F(RandomTrees, ThePolicyDeletesNothingThatItKeepsNorWhatThatIsBuiltOn) {
  for (int round = 0; round < 2000; ++round) {
    MakeTree();
    RetentionPolicy policy = KeepNewest(static_cast<int>(Below(6)));
    policy.keep_younger = absl::Seconds(Below(1200));
    const auto go = RevisionsToDelete(tree_, policy, kNow);
    const std::set<Revision> deleted(go.begin(), go.end());
    int newer = 0;
    std::set<Revision> kept;
    for (auto it = tree_.rbegin(); it != tree_.rend(); ++it) {
      const bool serves = it->state == RevisionState::kValidated && it->marks.delete_time_us == 0;
      const bool young = absl::FromUnixMicros(it->create_time_us) + policy.keep_younger > kNow;
      const bool held = it->labelled || it->marks.pinned;
      if (it->state != RevisionState::kRejected && held) kept.insert(it->revision);
      if (serves && (young || newer < policy.keep_newest)) kept.insert(it->revision);
      if (serves) ++newer;
      EXPECT_TRUE(serves || deleted.count(it->revision) == 0);
    }
    const bool keeps_all = policy.keep_newest == 0 && policy.keep_younger == absl::ZeroDuration();
    std::set<Revision> needed;
    for (const Revision revision : kept) {
      for (Revision at = revision; at != kBaseRevision; at = At(at).parent) needed.insert(at);
    }
    for (const RetentionFacts& facts : tree_) {
      const bool serves =
          facts.state == RevisionState::kValidated && facts.marks.delete_time_us == 0;
      EXPECT_EQ(deleted.count(facts.revision) > 0,
                serves && !keeps_all && needed.count(facts.revision) == 0)
          << "revision " << facts.revision.value() << " in round " << round;
    }
  }
}

}  // namespace
}  // namespace amend
