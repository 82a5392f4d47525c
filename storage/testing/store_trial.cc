#include "storage/testing/store_trial.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "core/base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "storage/rocksdb_revision_store.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {

void ReadOnlyWatch::OnReadOnly(bool read_only, absl::string_view /*why*/) {
  absl::MutexLock lock(&mutex_);
  writable_ = !read_only;
  if (read_only) ++times_;
}

bool ReadOnlyWatch::read_only() const {
  absl::MutexLock lock(&mutex_);
  return !writable_;
}

int ReadOnlyWatch::times() const {
  absl::MutexLock lock(&mutex_);
  return times_;
}

bool ReadOnlyWatch::WaitUntilWritable() const {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&writable_), absl::Seconds(60));
}

Machine::Machine(DiskPtr its_disk)
    : disk(std::move(its_disk)), env(rocksdb::NewCompositeEnv(disk)) {}

absl::Status Machine::Start() {
  store.reset();
  watch.OnReadOnly(false, "");
  RocksDbRevisionStore::Options options;
  options.path = kTrialPath;
  options.observer = &watch;
  options.env = env.get();
  options.retry_delay = absl::Milliseconds(1);
  AMEND_ASSIGN_OR_RETURN(store, RocksDbRevisionStore::Open(options));
  return absl::OkStatus();
}

StoreTrial::StoreTrial(int restarts) : script_(StoreScript(restarts)) {
  for (int steps = 0; steps <= size(); ++steps) {
    auto state = std::make_unique<InMemoryRevisionStore>();
    for (int i = 0; i < steps; ++i) {
      if (script_[i].write == nullptr) continue;
      EXPECT_THAT(script_[i].write(*state), IsOk());
    }
    states_.push_back(std::move(state));
  }
}

absl::Status StoreTrial::Do(int index, Machine* machine) const {
  const ScriptStep& step = script_[index];
  return step.write == nullptr ? machine->Start() : step.write(*machine->store);
}

int StoreTrial::Shown(const RevisionStore& store, int acknowledged, int begun) const {
  std::string differences;
  for (int steps = acknowledged; steps <= begun; ++steps) {
    const std::string difference = DifferenceOf(store, *states_[steps]);
    if (difference.empty()) return steps;
    absl::StrAppend(&differences, "\nafter step ", steps, ": ", difference);
  }
  ADD_FAILURE() << "the store is in none of the states that it may be in:" << differences;
  return -1;
}

void StoreTrial::CheckDisk(const DiskPtr& disk, int acknowledged, int begun) const {
  Machine machine(disk);
  ASSERT_THAT(machine.Start(), IsOk());
  const int shown = Shown(*machine.store, acknowledged, begun);
  if (shown < 0) return;
  Machine second(disk->AfterPowerCut());
  machine.store.reset();
  ASSERT_THAT(second.Start(), IsOk());
  ASSERT_EQ(DifferenceOf(*second.store, *states_[shown]), "") << "shown, then lost";
  for (int i = shown; i < size(); ++i) {
    if (script_[i].write == nullptr) continue;
    ASSERT_THAT(script_[i].write(*second.store), IsOk()) << script_[i].name;
  }
  Machine third(second.disk->AfterPowerCut());
  second.store.reset();
  ASSERT_THAT(third.Start(), IsOk());
  ASSERT_EQ(DifferenceOf(*third.store, *states_.back()), "") << "acknowledged, then lost";
}

unsigned FromEnvironment(const char* name, unsigned otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : otherwise;
}

}  // namespace amend
