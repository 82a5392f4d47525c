// Kills a writing process with SIGKILL at random moments and checks what is left: every step that
// was acknowledged is there, and no step is there in part.
//
// Step n of the child, for n = 1, 2, ...: appends batch n - 1 of session "s" and acknowledges it,
// then commits revision n with its factors, the finished batch, the label and an audit record, and
// acknowledges that. So a store that holds "half a step" holds numbers that differ.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/rocksdb_revision_store.h"
#include "storage/testing/store_files.h"

namespace amend {
namespace {

constexpr int kKills = 20;
constexpr int kMaxMillisecondsToLive = 120;

// What the child wrote to the pipe: the acknowledged numbers.
struct Acknowledged {
  int64_t batches = 0;
  int64_t revisions = 0;
};

Matrix Filled(int64_t cols, float value) {
  return {2, cols, std::vector<float>(static_cast<size_t>(2 * cols), value)};
}

RevisionFactors FactorsOf(int64_t number) {
  const auto value = static_cast<float>(number);
  RevisionFactors factors;
  for (int32_t layer = 0; layer < 2; ++layer) {
    factors.layers.push_back({LayerIndex(layer),
                              Filled(10, value),
                              Filled(4000, value + 0.5f),
                              Filled(4000, value + 0.25f),
                              {value, value}});
  }
  return factors;
}

StoreStep StepOf(int64_t number) {
  StoreStep step;
  step.revision.emplace();
  step.revision->revision = Revision(number);
  step.revision->parent = Revision(number - 1);
  step.revision->state = RevisionState::kValidated;
  step.revision->batch = {"s", number - 1};
  step.factors = FactorsOf(number);
  step.ledger.emplace();
  step.ledger->key = {"s", number - 1};
  step.ledger->state = BatchState::kLive;
  step.ledger->revision = Revision(number);
  step.label = LabelMove{"live", Revision(number), number - 1};
  step.audit.emplace();
  step.audit->to = Revision(number);
  return step;
}

// Writes until it is killed. Never returns; exits with 1 when a write fails.
[[noreturn]] void WriteForEver(const std::string& path, int acknowledge) {
  auto opened = RocksDbRevisionStore::Open({path});
  if (!opened.ok()) _exit(1);
  RevisionStore& store = **opened;
  const auto tell = [acknowledge](char what) {
    if (write(acknowledge, &what, 1) != 1) _exit(1);
  };
  tell('o');
  while (true) {
    const int64_t number = store.LatestRevision().value() + 1;
    if (*store.NextOffset("s") < number) {
      LedgerEntry entry;
      entry.key = {"s", number - 1};
      if (!store.AppendLedger(entry).ok()) _exit(1);
      tell('b');
    }
    if (!store.Commit(StepOf(number)).ok()) _exit(1);
    tell('r');
  }
}

// Kills the child `microseconds` after it was started, or after it has opened the store.
void RunAndKill(const std::string& path, int microseconds, bool after_open,
                Acknowledged* acknowledged) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(ends[0]);
    WriteForEver(path, ends[1]);
  }
  close(ends[1]);
  char what = 0;
  if (after_open) {
    ASSERT_EQ(read(ends[0], &what, 1), 1);
    ASSERT_EQ(what, 'o');
  }
  usleep(static_cast<useconds_t>(microseconds));
  ASSERT_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << status;
  while (read(ends[0], &what, 1) == 1) {
    if (what == 'b') ++acknowledged->batches;
    if (what == 'r') ++acknowledged->revisions;
  }
  close(ends[0]);
}

void ExpectWholeSteps(const RevisionStore& store, const Acknowledged& acknowledged) {
  const int64_t latest = store.LatestRevision().value();
  const int64_t batches = *store.NextOffset("s");
  EXPECT_GE(latest, acknowledged.revisions);
  EXPECT_GE(batches, acknowledged.batches);
  // One write may have been under way.
  EXPECT_LE(latest + batches, acknowledged.revisions + acknowledged.batches + 1);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto label, store.GetLabel("live"));
  EXPECT_EQ(label.revision, Revision(latest));
  EXPECT_EQ(label.generation, latest);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto audit, store.ListAudit(INT64_MAX, 1 << 20));
  EXPECT_EQ(static_cast<int64_t>(audit.size()), latest);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto pending, store.PendingBatches());
  EXPECT_EQ(static_cast<int64_t>(pending.size()), batches - latest);
  AMEND_ASSERT_OK_AND_ASSIGN(const auto entries, store.ListLedger("s", 0, 1 << 20));
  ASSERT_EQ(static_cast<int64_t>(entries.size()), batches);
  for (const LedgerEntry& entry : entries) {
    const bool finished = entry.key.offset < latest;
    EXPECT_EQ(entry.sequence, entry.key.offset + 1);
    EXPECT_EQ(entry.state, finished ? BatchState::kLive : BatchState::kDurable);
  }
  EXPECT_FALSE(store.ReadFactors(Revision(latest + 1)).ok());
  for (int64_t number = 1; number <= latest; ++number) {
    EXPECT_THAT(store.GetRevision(Revision(number)), IsOk());
    AMEND_ASSERT_OK_AND_ASSIGN(const auto factors, store.ReadFactors(Revision(number)));
    ASSERT_TRUE(factors == FactorsOf(number)) << number;
  }
}

TEST(RocksDbCrash, EveryAcknowledgedStepIsThereAndNoneInPart) {
  const char* given = std::getenv("AMEND_TEST_SEED");
  const unsigned seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                                         : std::random_device()();
  std::printf("seed %u (AMEND_TEST_SEED repeats it)\n", seed);
  std::mt19937 random(seed);
  const std::string path = NewTestDirectory();
  Acknowledged acknowledged;
  for (int i = 0; i < kKills && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", kill " << i);
    const int live = static_cast<int>(random() % (1000 * kMaxMillisecondsToLive));
    RunAndKill(path, live, i % 4 != 0, &acknowledged);
    const auto store = RocksDbRevisionStore::Open({path});
    ASSERT_THAT(store, IsOk());
    ExpectWholeSteps(**store, acknowledged);
    // A write that was not acknowledged but is there counts from now on.
    acknowledged.revisions = (*store)->LatestRevision().value();
    acknowledged.batches = *(*store)->NextOffset("s");
  }
  std::printf("%d kills, %lld revisions\n", kKills, static_cast<long long>(acknowledged.revisions));
  EXPECT_GT(acknowledged.revisions, 0) << "every child was killed before its first write";
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace amend
