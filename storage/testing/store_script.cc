#include "storage/testing/store_script.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace amend {
namespace {

constexpr int64_t kWideEnoughForABlob = 4200;
constexpr int kManyRecords = 1000;

LedgerEntry Batch(const std::string& session, int64_t offset, BatchState state) {
  LedgerEntry entry;
  entry.key = {session, offset};
  entry.state = state;
  entry.edits.resize(2);
  for (size_t i = 0; i < entry.edits.size(); ++i) {
    entry.edits[i].prompt = absl::StrCat("Prompt ", i, " of ", session, " ", offset);
    entry.edits[i].subject = "Prompt";
    entry.edits[i].target_new = "target";
  }
  entry.actor = "editor";
  entry.receive_time_us = 1000 + offset;
  return entry;
}

Matrix Filled(int64_t rows, int64_t cols, double value) {
  return {rows, cols, std::vector<float>(rows * cols, static_cast<float>(value))};
}

RevisionFactors FactorsOf(int64_t revision) {
  RevisionFactors factors;
  const auto value = static_cast<double>(revision);
  factors.layers.push_back({LayerIndex(2),
                            Filled(2, 8, value),
                            Filled(1, kWideEnoughForABlob, .5),
                            Filled(1, kWideEnoughForABlob, value + .25),
                            {static_cast<float>(value), 1}});
  return factors;
}

// The end of a batch: its revision, verdict and audit record.
StoreStep EndOf(const BatchKey& key, int64_t revision, int64_t parent, BatchState state) {
  const bool rejected = state == BatchState::kRejected;
  StoreStep step;
  step.revision.emplace();
  step.revision->revision = Revision(revision);
  step.revision->parent = Revision(parent);
  step.revision->state = rejected ? RevisionState::kRejected : RevisionState::kValidated;
  step.revision->batch = key;
  step.revision->edit_count = 2;
  step.revision->actor = "editor";
  step.revision->gate.passed = !rejected;
  step.revision->gate.scores.reliability = rejected ? 0.25 : 0.75;
  if (!rejected) step.factors = FactorsOf(revision);
  step.ledger = Batch(key.session, key.offset, state);
  step.ledger->revision = Revision(revision);
  step.ledger->gate = step.revision->gate;
  step.ledger->verdicts.resize(2);
  step.audit = AuditRecord{"coordinator",
                           rejected ? "reject" : "validate",
                           "live",
                           Revision(parent),
                           Revision(revision),
                           key.session,
                           2000 + revision};
  return step;
}

StoreStep Move(int64_t from, int64_t to, int64_t generation, const std::string& verb) {
  StoreStep step;
  step.label = LabelMove{"live", Revision(to), generation};
  step.audit = AuditRecord{"somebody", verb, "live", Revision(from), Revision(to), "why", 3000};
  return step;
}

// Revision 4 is revision 1 without its first edit, and live.
StoreStep Withdrawal() {
  StoreStep step = Move(1, 4, 3, "withdraw");
  step.revision.emplace();
  step.revision->revision = Revision(4);
  step.revision->parent = Revision(1);
  step.revision->state = RevisionState::kValidated;
  step.revision->gate.passed = true;
  step.revision->withdrawn = {EditId{Revision(1), 0}};
  return step;
}

StoreStep SetCanary(int64_t to) {
  StoreStep step;
  step.label = LabelMove{"canary", Revision(to), std::nullopt};
  step.audit = AuditRecord{"somebody", "set_label", "canary", Revision(0), Revision(to), "", 4000};
  return step;
}

StoreStep DeleteCanary(int64_t from) {
  StoreStep step;
  step.label_deletion = LabelDeletion{"canary", std::nullopt};
  step.audit =
      AuditRecord{"somebody", "delete_label", "canary", Revision(from), Revision(0), "", 4001};
  return step;
}

StoreStep Mark(int64_t revision, const std::string& verb, const RevisionMarks& marks) {
  StoreStep step;
  step.marks = MarkChange{Revision(revision), marks};
  step.audit =
      AuditRecord{"somebody", verb, "", Revision(revision), Revision(revision), "why", 5000};
  return step;
}

// Compares answers; keeps the first difference.
struct Comparison {
  template <typename T>
  void Compare(const std::string& what, const absl::StatusOr<T>& found,
               const absl::StatusOr<T>& expected) {
    if (!difference.empty()) return;
    if (losses != nullptr && absl::IsDataLoss(found.status())) {
      ++*losses;
    } else if (found.status() != expected.status()) {
      difference = absl::StrCat(what, ": found ", found.status().ToString(), ", not ",
                                expected.status().ToString());
    } else if (found.ok() && !(*found == *expected)) {
      difference = absl::StrCat(what, " differs");
    }
  }

  int* const losses;
  std::string difference;
};

}  // namespace

std::vector<ScriptStep> StoreScript(int restarts) {
  std::vector<ScriptStep> script;
  const auto add = [&script](std::string name, std::function<absl::Status(RevisionStore&)> write) {
    script.push_back({std::move(name), std::move(write)});
  };
  const auto append = [&add](const LedgerEntry& entry) {
    add(absl::StrCat("append ", entry.key.session, " ", entry.key.offset),
        [entry](RevisionStore& store) { return store.AppendLedger(entry).status(); });
  };
  const auto commit = [&add](const std::string& name, const StoreStep& step) {
    add(name, [step](RevisionStore& store) { return store.Commit(step); });
  };
  const auto restart = [&](int number) {
    if (number <= restarts) script.push_back({"restart", nullptr});
  };
  add("initialize", [](RevisionStore& store) {
    return store.Initialize({"fingerprint", "model", "parameters", {"{}"}, "digest"});
  });
  append(Batch("s", 0, BatchState::kDurable));
  append(Batch("s", 1, BatchState::kDurable));
  restart(1);
  StoreStep live = EndOf({"s", 0}, 1, 0, BatchState::kLive);
  live.label = LabelMove{"live", Revision(1), 0};
  live.audit->verb = "promote";
  commit("commit revision 1, live", live);
  restart(2);
  commit("reject revision 2", EndOf({"s", 1}, 2, 1, BatchState::kRejected));
  append(Batch("t", 0, BatchState::kDurable));
  restart(3);
  commit("stage revision 3", EndOf({"t", 0}, 3, 1, BatchState::kValidated));
  restart(4);
  StoreStep promote = Move(1, 3, 1, "promote");
  promote.ledger = EndOf({"t", 0}, 3, 1, BatchState::kLive).ledger;
  commit("promote revision 3", promote);
  restart(5);
  commit("roll back to revision 1", Move(3, 1, 2, "rollback"));
  append(Batch("t", 1, BatchState::kFailed));
  restart(6);
  commit("withdraw an edit: revision 4", Withdrawal());
  append(Batch("t", 2, BatchState::kDurable));
  commit("stage revision 5", EndOf({"t", 2}, 5, 3, BatchState::kValidated));
  commit("set label canary", SetCanary(5));
  commit("delete label canary", DeleteCanary(5));
  commit("pin revision 5", Mark(5, "pin", {true, 0, 0}));
  commit("unpin revision 5", Mark(5, "unpin", {}));
  commit("delete revision 5", Mark(5, "delete", {false, 4100, 0}));
  restart(7);
  commit("undelete revision 5", Mark(5, "undelete", {}));
  commit("delete revision 5 again", Mark(5, "delete", {false, 4200, 0}));
  commit("purge revision 5", Mark(5, "purge", {false, 4200, 4300}));
  add("reclaim space", [](RevisionStore& store) {
    std::atomic<bool> cancelled{false};
    return store.ReclaimSpace(&cancelled);
  });
  append(Batch("s", 2, BatchState::kDurable));
  return script;
}

std::string DifferenceOf(const RevisionStore& found, const RevisionStore& expected, int* losses) {
  if (!(found.identity() == expected.identity())) return "the identity differs";
  const int64_t latest = expected.LatestRevision().value();
  if (found.LatestRevision() != expected.LatestRevision()) {
    return absl::StrCat("the latest revision is ", found.LatestRevision().value(), ", not ",
                        latest);
  }
  Comparison all{losses, ""};
  for (int64_t i = 1; i <= latest + 1; ++i) {
    const Revision revision(i);
    all.Compare(absl::StrCat("revision ", i), found.GetRevision(revision),
                expected.GetRevision(revision));
    all.Compare(absl::StrCat("factors of revision ", i), found.ReadFactors(revision),
                expected.ReadFactors(revision));
  }
  for (const char* session : {"s", "t", "u"}) {
    all.Compare(absl::StrCat("the next offset of ", session), found.NextOffset(session),
                expected.NextOffset(session));
    all.Compare(absl::StrCat("session ", session), found.ListLedger(session, 0, kManyRecords),
                expected.ListLedger(session, 0, kManyRecords));
  }
  all.Compare("the pending batches", found.PendingBatches(), expected.PendingBatches());
  all.Compare("the labels", found.ListLabels(), expected.ListLabels());
  all.Compare("the audit trail", found.ListAudit(INT64_MAX, kManyRecords),
              expected.ListAudit(INT64_MAX, kManyRecords));
  return all.difference;
}

}  // namespace amend
