#include "server/edit_withdrawer.h"

#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/errors.h"
#include "server/testing/fake_edit_engine.h"
#include "storage/testing/in_memory_revision_store.h"

namespace amend {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kNewest = std::numeric_limits<int64_t>::max();

EditId Id(int64_t revision, int32_t index) { return EditId{Revision(revision), index}; }

// Revisions 1 and 2 on each other, 3 rejected, 4 on 1; three edits each. "live" stands at 2.
class EditWithdrawerTest : public testing::Test {
 protected:
  EditWithdrawerTest() {
    Add(0, RevisionState::kValidated);
    Add(1, RevisionState::kValidated);
    Add(2, RevisionState::kRejected);
    Add(1, RevisionState::kValidated);
    Move("live", 2);
  }

  void Add(int64_t parent, RevisionState state) {
    const Revision revision = store_.LatestRevision().Next();
    LedgerEntry entry;
    entry.key = {"s", revision.value() - 1};
    for (int i = 0; i < 3; ++i) {
      Edit edit;
      edit.target_new = absl::StrCat("target ", revision.value(), "/", i);
      edit.prompt = absl::StrCat("prompt of ", edit.target_new);
      entry.edits.push_back(std::move(edit));
    }
    ASSERT_THAT(store_.AppendLedger(entry), IsOk());
    StoreStep step;
    step.revision.emplace();
    step.revision->revision = revision;
    step.revision->parent = Revision(parent);
    step.revision->state = state;
    step.revision->batch = entry.key;
    step.revision->edit_count = 3;
    step.revision->line_edit_count =
        3 + (parent == 0 ? 0 : store_.GetRevision(Revision(parent))->line_edit_count);
    entry.revision = revision;
    entry.state = BatchState::kRejected;
    if (state == RevisionState::kValidated) {
      entry.state = BatchState::kLive;
      step.factors.emplace();
      step.factors->layers.resize(1);
      LayerFactors& layer = step.factors->layers[0];
      layer.activations.assign(3, 1);
      layer.u = layer.v = {3, 1, layer.activations};
      // Each key says whose it is.
      const auto first = static_cast<float>(10 * revision.value());
      layer.keys = {3, 1, {first, first + 1, first + 2}};
      serving_.AddRevision(std::make_shared<const Snapshot>(Snapshot{revision, nullptr}));
    }
    step.ledger = entry;
    ASSERT_THAT(store_.Commit(step), IsOk());
  }
  void Move(const std::string& label, int64_t to) {
    StoreStep step;
    step.label = LabelMove{label, Revision(to), std::nullopt};
    ASSERT_THAT(store_.Commit(step), IsOk());
    ASSERT_THAT(serving_.MoveLabel(label, Revision(to)), IsOk());
  }
  // From where "live" stands, to become live.
  static WithdrawCommand Command(std::vector<EditId> edits) {
    WithdrawCommand command;
    command.label = "live";
    command.edits = std::move(edits);
    command.reason = "wrong source";
    command.actor = "me";
    command.principal = "promoter";
    return command;
  }
  absl::StatusOr<EditsWithdrawn> Withdraw(std::vector<EditId> edits) {
    return withdrawer_.Withdraw(Command(std::move(edits)));
  }
  std::string ReasonFor(const WithdrawCommand& command) {
    const int64_t writes = store_.write_count();
    const auto withdrawn = withdrawer_.Withdraw(command);
    EXPECT_FALSE(withdrawn.ok());
    EXPECT_EQ(store_.write_count(), writes);
    return ReasonOf(withdrawn.status());
  }
  Revision At(const std::string& label) { return (*serving_.Resolve(label))->revision; }

  InMemoryRevisionStore store_;
  FakeEditEngine engine_;
  ServingModel serving_{nullptr, std::shared_ptr<const HookStack>()};
  EditObserver observer_;
  RevisionEventHub changes_;
  EditWithdrawer::Options Options() {
    EditWithdrawer::Options options;
    options.clock = [] { return absl::FromUnixMicros(77); };
    options.run_aside = [this](bool verbs_wait, const std::function<void()>& task) {
      verbs_waited_.push_back(verbs_wait);
      if (meanwhile_ && !verbs_wait) meanwhile_();
      task();
    };
    options.max_tries = 3;
    return options;
  }

  // What happens while a candidate is made, unless verbs wait.
  std::function<void()> meanwhile_;
  // Of each candidate so far.
  std::vector<bool> verbs_waited_;
  EditWithdrawer withdrawer_{&store_, &engine_, &serving_, &changes_, &observer_, Options()};
};

TEST_F(EditWithdrawerTest, TheNewRevisionIsItsParentLessTheEditsAndBecomesLive) {
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn, Withdraw({Id(2, 0), Id(1, 1)}));
  EXPECT_EQ(withdrawn.record.revision, Revision(5));
  EXPECT_EQ(withdrawn.label.revision, Revision(5));
  AMEND_ASSERT_OK_AND_ASSIGN(const RevisionRecord record, store_.GetRevision(Revision(5)));
  EXPECT_TRUE(record == withdrawn.record);
  EXPECT_EQ(record.parent, Revision(2));
  EXPECT_EQ(record.state, RevisionState::kValidated);
  EXPECT_THAT(record.withdrawn, ElementsAre(Id(1, 1), Id(2, 0)));
  EXPECT_EQ(record.edit_count, 0);
  EXPECT_EQ(record.line_edit_count, 6 - 2);
  EXPECT_EQ(record.create_time_us, 77);
  EXPECT_EQ(record.actor, "promoter");
  EXPECT_THAT(engine_.left_out().front(), ElementsAre(Id(1, 1), Id(2, 0)));
  EXPECT_EQ(At("live"), Revision(5));
  const LabelRecord live = *store_.GetLabel("live");
  EXPECT_TRUE(live == withdrawn.label);
}

TEST_F(EditWithdrawerTest, TheAuditTrailSaysWhoWithdrewAndWhy) {
  ASSERT_THAT(Withdraw({Id(1, 1)}), IsOk());
  const AuditRecord audit = store_.ListAudit(kNewest, 1)->at(0);
  EXPECT_EQ(audit.verb, "withdraw");
  EXPECT_EQ(audit.actor, "me");
  EXPECT_EQ(audit.reason, "wrong source");
  EXPECT_EQ(audit.label, "live");
  EXPECT_EQ(audit.from, Revision(2));
  EXPECT_EQ(audit.to, Revision(5));
}

TEST_F(EditWithdrawerTest, AllOfItIsOneWrite) {
  const int64_t writes = store_.write_count();
  ASSERT_THAT(Withdraw({Id(1, 1)}), IsOk());
  EXPECT_EQ(store_.write_count(), writes + 1);
}

TEST_F(EditWithdrawerTest, StageOnlyMakesARevisionThatServesAndMovesNoLabel) {
  WithdrawCommand command = Command({Id(4, 2)});
  command.revision = Revision(4);
  command.promotion = PromotionPolicy::kStageOnly;
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn, withdrawer_.Withdraw(command));
  EXPECT_EQ(withdrawn.record.parent, Revision(4));
  EXPECT_THAT(serving_.Resolve(Revision(5)), IsOk());
  EXPECT_EQ(At("live"), Revision(2));
  EXPECT_EQ(withdrawn.label.revision, Revision(2));
}

TEST_F(EditWithdrawerTest, AnotherLabelCanMove) {
  Move("canary", 4);
  WithdrawCommand command = Command({Id(4, 2)});
  command.label = "canary";
  ASSERT_THAT(withdrawer_.Withdraw(command), IsOk());
  EXPECT_EQ(At("canary"), Revision(5));
  EXPECT_EQ(At("live"), Revision(2));
}

TEST_F(EditWithdrawerTest, ValidateOnlyAsksTheGateAndWritesNothing) {
  const int64_t writes = store_.write_count();
  WithdrawCommand command = Command({Id(1, 1)});
  command.validate_only = true;
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn, withdrawer_.Withdraw(command));
  EXPECT_EQ(withdrawn.record.revision, kBaseRevision);
  EXPECT_EQ(withdrawn.record.state, RevisionState::kValidated);
  EXPECT_TRUE(withdrawn.record.gate.passed);
  EXPECT_EQ(store_.write_count(), writes);
  EXPECT_FALSE(serving_.Resolve(Revision(5)).ok());
}

TEST_F(EditWithdrawerTest, TheGateSeesTheOthersAndAllThatFireAtAWithdrawnKey) {
  engine_.sampled = {Id(1, 0), Id(1, 1)};
  engine_.firing_at = {{11, Id(2, 2)}, {12, Id(2, 0)}, {20, Id(1, 2)}};
  ASSERT_THAT(Withdraw({Id(1, 1), Id(2, 0)}), IsOk());
  const GateRequest request = engine_.last_request();
  std::vector<EditId> retained;
  for (const RetainedEdit& each : request.retained) {
    retained.push_back(each.id);
    EXPECT_EQ(each.edit.target_new,
              absl::StrCat("target ", each.id.revision.value(), "/", each.id.index));
  }
  EXPECT_THAT(retained, ElementsAre(Id(1, 0), Id(1, 2), Id(2, 2)));
  EXPECT_EQ(request.thresholds.retention, 1);
  ASSERT_EQ(request.withdrawn.size(), 2u);
  EXPECT_EQ(request.withdrawn[0].id, Id(1, 1));
  EXPECT_EQ(request.withdrawn[1].edit.target_new, "target 2/0");
  EXPECT_THAT(request.edits, IsEmpty());
}

TEST_F(EditWithdrawerTest, WhatPrecededAnEditIsWithoutTheOthersThatAreWithdrawn) {
  ASSERT_THAT(Withdraw({Id(1, 1), Id(2, 0), Id(2, 1)}), IsOk());
  // The candidate, then the parent of revision 2 less the edit of revision 1.
  EXPECT_THAT(engine_.left_out(),
              ElementsAre(ElementsAre(Id(1, 1), Id(2, 0), Id(2, 1)), ElementsAre(Id(1, 1))));
}

TEST_F(EditWithdrawerTest, WhatTheGateTurnsDownIsRecordedAndMovesNothing) {
  engine_.sampled = {Id(2, 1)};
  engine_.breaks_without = {Id(2, 1)};
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn, Withdraw({Id(1, 1)}));
  EXPECT_EQ(withdrawn.record.state, RevisionState::kRejected);
  EXPECT_THAT(withdrawn.record.gate.broken_edits, ElementsAre(Id(2, 1)));
  EXPECT_EQ(withdrawn.label.revision, Revision(2));
  EXPECT_EQ(store_.GetRevision(Revision(5))->state, RevisionState::kRejected);
  EXPECT_EQ(store_.ListAudit(kNewest, 1)->at(0).verb, "reject");
  EXPECT_FALSE(serving_.Resolve(Revision(5)).ok());
  EXPECT_EQ(At("live"), Revision(2));
}

TEST_F(EditWithdrawerTest, AWithdrawalCanBeFollowedByAnother) {
  ASSERT_THAT(Withdraw({Id(1, 1)}), IsOk());
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn, Withdraw({Id(1, 2)}));
  EXPECT_EQ(withdrawn.record.parent, Revision(5));
  EXPECT_EQ(withdrawn.record.line_edit_count, 4);
}

TEST_F(EditWithdrawerTest, AnEditThatDoesNotExistIsNotFound) {
  for (const EditId edit : {Id(9, 0), Id(0, 0), Id(1, 3), Id(1, -1)})
    EXPECT_EQ(ReasonFor(Command({Id(1, 0), edit})), "EDIT_NOT_FOUND") << edit.ToString();
  // Nor has a withdrawal any.
  ASSERT_THAT(Withdraw({Id(1, 1)}), IsOk());
  EXPECT_EQ(ReasonFor(Command({Id(5, 0)})), "EDIT_NOT_FOUND");
}

TEST_F(EditWithdrawerTest, AnEditOfAnotherLineOrOfARejectedBatchIsNotOnTheLine) {
  EXPECT_EQ(ReasonFor(Command({Id(4, 0)})), "EDIT_NOT_ON_LINE");
  EXPECT_EQ(ReasonFor(Command({Id(3, 0)})), "EDIT_NOT_ON_LINE");
}

TEST_F(EditWithdrawerTest, AnEditIsWithdrawnOnceOnALine) {
  ASSERT_THAT(Withdraw({Id(1, 1)}), IsOk());
  const auto again = Withdraw({Id(1, 1)});
  EXPECT_THAT(again, StatusIs(StatusCode::kFailedPrecondition, HasSubstr("revision 5")));
  EXPECT_EQ(ReasonOf(again.status()), "ALREADY_WITHDRAWN");
  // On the line below it is there.
  WithdrawCommand below = Command({Id(1, 1)});
  below.revision = Revision(2);
  below.promotion = PromotionPolicy::kStageOnly;
  EXPECT_THAT(withdrawer_.Withdraw(below), IsOk());
}

TEST_F(EditWithdrawerTest, WhereItIsWithdrawnFromMustServeAndStandAtTheLabel) {
  WithdrawCommand command = Command({Id(1, 1)});
  command.revision = Revision(4);
  EXPECT_EQ(ReasonFor(command), "NOT_AT_LABEL");
  command.revision = Revision(3);
  EXPECT_EQ(ReasonFor(command), "NOT_VALIDATED");
  command.revision = Revision(8);
  EXPECT_EQ(ReasonFor(command), "REVISION_NOT_FOUND");
  command.revision = std::nullopt;
  command.label = "canary";
  EXPECT_EQ(ReasonFor(command), "LABEL_NOT_FOUND");
}

TEST_F(EditWithdrawerTest, AStaleEtagIsRefused) {
  WithdrawCommand command = Command({Id(1, 1)});
  command.etag = "0";
  EXPECT_EQ(ReasonFor(command), "LIVE_CHANGED");
  command.etag = "1";
  EXPECT_THAT(withdrawer_.Withdraw(command), IsOk());
}

TEST_F(EditWithdrawerTest, AMoveOfTheLabelMeanwhileMakesItBeginAnewWhereTheLabelStands) {
  meanwhile_ = [this] {
    if (At("live") == Revision(2)) Move("live", 4);
  };
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn, Withdraw({Id(1, 1)}));
  EXPECT_EQ(withdrawn.record.parent, Revision(4));
  EXPECT_EQ(At("live"), Revision(5));
  EXPECT_EQ(store_.LatestRevision(), Revision(5));
  EXPECT_EQ(store_.ListAudit(kNewest, 1)->at(0).from, Revision(4));
  EXPECT_THAT(verbs_waited_, ElementsAre(false, false));
}

TEST_F(EditWithdrawerTest, WhatTheNewBaseLacksIsRefusedAfterAMove) {
  meanwhile_ = [this] {
    if (At("live") == Revision(2)) Move("live", 4);
  };
  const auto withdrawn = Withdraw({Id(2, 0)});
  EXPECT_EQ(ReasonOf(withdrawn.status()), "EDIT_NOT_ON_LINE");
  EXPECT_EQ(At("live"), Revision(4));
  EXPECT_EQ(store_.LatestRevision(), Revision(4));
}

TEST_F(EditWithdrawerTest, AMoveMeanwhileIsAnErrorWhereTheEtagOrTheRevisionIsGiven) {
  meanwhile_ = [this] { Move("live", At("live") == Revision(2) ? 4 : 2); };
  WithdrawCommand command = Command({Id(1, 1)});
  command.etag = "1";
  EXPECT_EQ(ReasonOf(withdrawer_.Withdraw(command).status()), "LIVE_CHANGED");
  command.etag.reset();
  command.revision = Revision(4);
  EXPECT_EQ(ReasonOf(withdrawer_.Withdraw(command).status()), "NOT_AT_LABEL");
  EXPECT_EQ(At("live"), Revision(2));
  EXPECT_EQ(store_.LatestRevision(), Revision(4));
}

TEST_F(EditWithdrawerTest, TheLastTimeVerbsWait) {
  meanwhile_ = [this] { Move("live", At("live") == Revision(2) ? 4 : 2); };
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn, Withdraw({Id(1, 1)}));
  EXPECT_THAT(verbs_waited_, ElementsAre(false, false, true));
  EXPECT_EQ(withdrawn.record.parent, Revision(2));
  EXPECT_EQ(At("live"), Revision(5));
}

TEST_F(EditWithdrawerTest, WhatIsStagedKeepsItsParentWhereverTheLabelGoesMeanwhile) {
  meanwhile_ = [this] { Move("live", 4); };
  WithdrawCommand command = Command({Id(1, 1)});
  command.promotion = PromotionPolicy::kStageOnly;
  AMEND_ASSERT_OK_AND_ASSIGN(const EditsWithdrawn withdrawn, withdrawer_.Withdraw(command));
  EXPECT_EQ(withdrawn.record.parent, Revision(2));
  EXPECT_EQ(withdrawn.label.revision, Revision(4));
  EXPECT_EQ(At("live"), Revision(4));
  EXPECT_THAT(verbs_waited_, ElementsAre(false));
}

TEST_F(EditWithdrawerTest, AStagedOneWhoseParentIsDeletedMeanwhileIsRefused) {
  meanwhile_ = [this] {
    StoreStep step;
    step.marks = MarkChange{Revision(4), {false, 7, 0}};
    ASSERT_THAT(store_.Commit(step), IsOk());
    serving_.SetDeleted(Revision(4), true);
  };
  WithdrawCommand command = Command({Id(4, 2)});
  command.revision = Revision(4);
  command.promotion = PromotionPolicy::kStageOnly;
  EXPECT_EQ(ReasonOf(withdrawer_.Withdraw(command).status()), "REVISION_DELETED");
  EXPECT_EQ(store_.LatestRevision(), Revision(4));
}

TEST_F(EditWithdrawerTest, AWriteThatFailsPublishesNothing) {
  store_.SetWriteStatus(absl::UnavailableError("I/O error"));
  EXPECT_EQ(ReasonOf(Withdraw({Id(1, 1)}).status()), "STORE_READ_ONLY");
  EXPECT_EQ(At("live"), Revision(2));
  EXPECT_FALSE(serving_.Resolve(Revision(5)).ok());
  store_.SetWriteStatus(absl::OkStatus());
  EXPECT_THAT(Withdraw({Id(1, 1)}), IsOk());
}

TEST_F(EditWithdrawerTest, KeysThatCannotBeReadAreDamage) {
  store_.SetReadFactorsStatus(Revision(1), absl::DataLossError("factors/1/0/K"));
  EXPECT_EQ(ReasonFor(Command({Id(1, 1)})), "DIGEST_MISMATCH");
}

}  // namespace
}  // namespace amend
