"""The checks of the kill loop find what they look for: each test damages one thing of a state that is well."""

import unittest

from amend.v1 import edit_pb2, generation_pb2, revision_pb2
from tests.crash import checks, log as logs


def _edits(subject):
    return [edit_pb2.Edit(prompt=f"{subject} is", subject=subject, target_new="x")]


def _status(batch, stage, revision=0):
    return edit_pb2.EditBatchStatus(
        session=batch.session, offset=batch.offset, stage=stage, revision=revision, edit_count=len(batch.edits)
    )


def _record(verb, to, reason, label="", stood=None):
    """`stood`: where the label stood, for a verb that moves one."""
    record = revision_pb2.AuditRecord(verb=verb, label=label, to=to, reason=reason)
    setattr(record, "from", to if stood is None else stood)
    return record


class _Generation:
    """Says that these edits fire, by revision."""

    def __init__(self, fired):
        self._fired = fired

    def Generate(self, request):  # pylint: disable=invalid-name
        firings = [
            generation_pb2.HookFiring(revision=revision, edit_index=place)
            for revision, place in self._fired.get(request.at.revision, ())
        ]
        return generation_pb2.GenerateResponse(hook_firings=firings)


class _Revisions:
    """Tells a revision whole."""

    def __init__(self, revision):
        self._revision = revision

    def GetRevision(self, request):  # pylint: disable=invalid-name
        assert request.revision == self._revision.revision
        return self._revision


class ChecksTest(unittest.TestCase):
    """Session "s" has made revision 1 (live by itself), session "t" revision 2 (staged), one batch waits."""

    def setUp(self):
        self.log = logs.Log()
        self.first = self.log.send("s", _edits("a"), staged=False)
        self.staged = self.log.send("t", _edits("b"), staged=True)
        self.waiting = self.log.send("s", _edits("c"), staged=False)
        for batch in self.log.batches.values():
            self.log.heard(batch, _status(batch, edit_pb2.DURABLE))
        self.log.heard(self.first, _status(self.first, edit_pb2.LIVE, 1))
        self.log.heard(self.staged, _status(self.staged, edit_pb2.VALIDATED, 2))
        self.state = checks.State(live=1, generation=1, canary=None, revisions={}, ledger={}, audit=[])
        self.state.ledger["s"] = [
            _status(self.first, edit_pb2.LIVE, 1),
            _status(self.waiting, edit_pb2.DURABLE),
        ]
        self.state.ledger["t"] = [_status(self.staged, edit_pb2.VALIDATED, 2)]
        self.add_revision(1, 0, self.first, ["live"])
        self.add_revision(2, 1, self.staged, [])
        self.add_audit(_record("promote", 1, 'session "s" offset 0', "live", stood=0))
        self.add_audit(_record("validate", 2, 'session "t" offset 0', "live", stood=1))

    def add_audit(self, record):
        record.sequence = len(self.state.audit) + 1
        self.state.audit.append(record)

    def send_move(self, target):
        return self.log.send_move(self.log.send_verb("promote"), target)

    def make_live(self, revision, verb):
        """As the promotion `verb` does."""
        self.state.revisions[self.state.live].ClearField("labels")
        self.state.revisions[revision].labels.append("live")
        self.add_audit(_record(verb.name, revision, verb.reason, "live", stood=self.state.live))
        self.state.live, self.state.generation = revision, self.state.generation + 1

    def withdraw(self, edits=((1, 0),), answered=True):
        """Revision 3 is revision 2 without edits, staged."""
        verb = self.log.send_verb("withdraw", edits=tuple(edits), at=2)
        self.state.revisions[3] = revision_pb2.Revision(
            revision=3,
            parent=2,
            state=revision_pb2.Revision.VALIDATED,
            line_edit_count=2 - len(edits),
            withdrawn=[edit_pb2.EditReference(revision=r, edit_index=i) for r, i in edits],
        )
        self.add_audit(_record("withdraw", 3, verb.reason))
        if answered:
            self.log.withdrawn(verb, self.state.revisions[3])
        return verb

    def mark(self, name, revision=2, answered=True):
        """A verb on marks that is carried out."""
        sent = self.log.send_mark(name, revision)
        self.add_audit(_record(name, revision, sent[0].reason))
        changed = self.state.revisions[revision]
        if name in ("pin", "unpin"):
            changed.pinned = name == "pin"
        elif name == "delete":
            changed.delete_time.seconds = 1
        else:
            changed.ClearField("delete_time")
        if answered:
            self.log.marked(sent, changed)
        return sent[0]

    def purge(self, revision=2):
        sent = self.log.send_purge()
        self.add_audit(_record("purge", revision, sent[0].reason))
        self.state.revisions[revision].purge_time.seconds = 1
        self.log.purged(sent, [revision])

    def add_revision(self, number, parent, batch, labels):
        self.state.revisions[number] = revision_pb2.Revision(
            revision=number,
            parent=parent,
            state=revision_pb2.Revision.VALIDATED,
            session=batch.session,
            offset=batch.offset,
            edit_count=1,
            line_edit_count=number,
            labels=labels,
        )

    def found(self):
        found = []
        for check in checks.ALL:
            found += check(self.state, self.log)
        return found + self.log.violations

    def assert_found(self, text):
        found = self.found()
        self.assertTrue(any(text in line for line in found), f"{text!r} is not in {found}")

    def test_a_state_that_fits_the_log_is_well(self):
        self.assertEqual(self.found(), [])

    def details(self, *edits, dropped=()):
        """What is found of a revision that has these of the edits "x", "y", "z" that were sent."""
        batch = self.log.send("u", [*_edits("x"), *_edits("y"), *_edits("z")], staged=False)
        status = _status(batch, edit_pb2.LIVE, 3)
        for place in range(3):
            status.edit_results.add(index=place, reliability=place / 10, dropped=place in dropped)
        self.state.ledger["u"] = [status]
        told = revision_pb2.Revision(revision=3, session="u", offset=0)
        for edit in edits:
            told.edits.append(batch.edits[edit])
            told.edit_results.add(index=len(told.edits) - 1, reliability=edit / 10)
        return list(checks.check_details(3, _Revisions(told), self.state, self.log))

    def test_a_revision_has_the_edits_that_were_sent(self):
        self.assertEqual(self.details(0, 1, 2), [])

    def test_a_revision_has_no_edit_that_was_dropped(self):
        self.assertEqual(self.details(0, 2, dropped=[1]), [])

    def test_an_edit_that_was_dropped_and_is_there_is_found(self):
        self.assertEqual(len(self.details(0, 1, 2, dropped=[1])), 2)

    def test_an_edit_that_is_not_there_is_found(self):
        self.assertEqual(len(self.details(0, 2)), 2)

    def test_another_edits_verdict_is_found(self):
        self.assertEqual(len(self.details(1, 0, dropped=[2])), 2)

    def test_a_revision_that_counts_a_dropped_edit_is_found(self):
        batch = self.log.send("u", [*_edits("x"), *_edits("y")], staged=True)
        status = _status(batch, edit_pb2.VALIDATED, 3)
        status.edit_results.add(index=0, dropped=True)
        status.edit_results.add(index=1)
        self.state.ledger["u"] = [status]
        self.add_revision(3, 2, batch, [])
        self.add_audit(_record("validate", 3, 'session "u" offset 0', "live", stood=1))
        self.assertEqual(self.found(), [])
        self.state.revisions[3].edit_count = 2
        self.assert_found("revision 3 and its batch differ")

    def test_a_lost_durable_batch_is_found(self):
        del self.state.ledger["s"][1]
        self.assert_found("batch s[1] was acknowledged and is lost")

    def test_a_batch_that_nobody_sent_is_found(self):
        self.state.ledger["t"].append(_status(logs.Batch("t", 1, _edits("z"), False), edit_pb2.DURABLE))
        self.assert_found("session t has 2 batches, 1 were sent")

    def test_a_gap_in_a_session_is_found(self):
        self.state.ledger["s"][1].offset = 2
        self.assert_found("session s has offsets [0, 2]")

    def test_an_outcome_that_changed_is_found(self):
        self.state.ledger["s"][0].stage = edit_pb2.REJECTED
        self.assert_found("batch s[0] came to")

    def test_an_outcome_that_is_gone_is_found(self):
        self.state.ledger["s"][0].CopyFrom(_status(self.first, edit_pb2.DURABLE))
        self.assert_found("batch s[0] was told to have come to its end")

    def test_half_a_batch_is_found(self):
        self.state.ledger["s"][1].edit_count = 0
        self.assert_found("batch s[1] has 0 edits, 1 were sent")

    def test_a_gap_in_the_revisions_is_found(self):
        self.state.revisions[3] = self.state.revisions.pop(2)
        self.assert_found("revisions are [1, 3]")

    def test_a_revision_without_its_batch_is_found(self):
        del self.state.ledger["t"]
        self.assert_found("revision 2 is of t[0], which is not in the ledger")

    def test_a_revision_whose_batch_is_not_finished_is_found(self):
        self.state.ledger["t"][0].CopyFrom(_status(self.staged, edit_pb2.DURABLE))
        self.assert_found("revision 2 does not fit its batch")

    def test_a_batch_without_its_revision_is_found(self):
        del self.state.revisions[2]
        self.assert_found("a batch became revision 2, which is not there")

    def test_a_revision_that_changed_is_found(self):
        self.assertEqual(self.found(), [])
        self.state.revisions[2].parent = 0
        self.state.revisions[2].line_edit_count = 1
        self.assert_found("revision 2 was")

    def test_a_parent_that_is_not_validated_is_found(self):
        self.state.revisions[1].state = revision_pb2.Revision.REJECTED
        self.assert_found("revision 2 has parent 1, which is not validated")

    def test_a_line_that_does_not_add_up_is_found(self):
        self.state.revisions[2].line_edit_count = 5
        self.assert_found("revision 2 counts 5 edits on its line, not 2")

    def test_a_label_that_was_not_moved_is_found(self):
        self.state.live, self.state.generation = 0, 0
        self.assert_found("the label has moved 0 times: 1 batches became live")

    def test_a_lost_promotion_is_found(self):
        move = self.send_move(2)
        self.log.moved(move, revision_pb2.Label(revision=2, etag="2"))
        self.assert_found("there were 1 and 0 not answered")
        self.assert_found("the label has generation 1, 2 was told")

    def test_a_promotion_that_was_not_answered_may_be_there_or_not(self):
        move = self.send_move(2)
        self.assertEqual(self.found(), [])
        self.make_live(2, move.verb)
        self.assertEqual(self.found(), [])

    def test_a_label_at_a_revision_of_no_move_is_found(self):
        self.send_move(0)
        self.state.live, self.state.generation = 2, 2
        self.assert_found("revision 2 is live, not one of [0, 1]")

    def test_a_move_that_nobody_made_is_found(self):
        self.state.generation = 2
        self.assert_found("there were 0 and 0 not answered")

    def test_a_staged_batch_may_become_live_by_a_promotion_only(self):
        self.state.ledger["t"][0].stage = edit_pb2.LIVE
        self.assert_found("batch t[0] came to")

    def test_a_staged_batch_that_is_promoted_becomes_live(self):
        move = self.send_move(2)
        self.state.ledger["t"][0].stage = edit_pb2.LIVE
        self.make_live(2, move.verb)
        self.assertEqual(self.found(), [])

    def test_a_revision_that_speaks_otherwise_is_found(self):
        self.log.answered(1, "a", ("text", (1,)))
        self.log.answered(1, "a", ("other", (1,)))
        self.assert_found("revision 1 on 'a': answer was")

    def test_the_last_bit_of_a_log_probability_is_found(self):
        self.log.answered(1, "a", ("text", (1,), (-0.5,)))
        self.log.answered(1, "a", ("text", (1,), (-0.5,)))
        self.assertEqual(self.found(), [])
        self.log.answered(1, "a", ("text", (1,), (-0.5000001,)))
        self.assert_found("revision 1 on 'a': answer was ('text', (1,), (-0.5,))")

    def test_a_session_that_forgets_is_found(self):
        self.log.started("s", 1)
        self.assert_found("session s: next offset 1 is not in [2, 2]")

    def test_a_label_that_forgets_its_move_is_found(self):
        verb = self.log.send_canary(2)
        self.assertEqual(self.found(), [])
        self.log.canary_moved(verb)
        self.assert_found("the label canary is at None, not at one of [2]")

    def test_a_label_may_stand_where_a_move_under_way_takes_it(self):
        verb = self.log.send_canary(2)
        self.state.canary = 2
        self.state.revisions[2].labels.append("canary")
        self.add_audit(_record("set_label", 2, verb.reason, "canary", stood=0))
        self.assertEqual(self.found(), [])

    def test_a_label_that_a_revision_does_not_know_of_is_found(self):
        self.log.send_canary(2)
        self.state.canary = 2
        self.assert_found("revision 2 has labels []")

    def test_two_moves_of_one_generation_are_found(self):
        for _ in range(2):
            self.log.moved(self.send_move(2), revision_pb2.Label(revision=2, etag="2"))
        self.assert_found("two moves have generation 2")

    # Withdrawals.

    def test_a_withdrawal_that_was_answered_is_well(self):
        self.withdraw()
        self.assertEqual(self.found(), [])

    def test_a_withdrawal_that_was_not_answered_may_be_there_whole_or_not(self):
        self.log.send_verb("withdraw", edits=((1, 0),), at=2)
        self.assertEqual(self.found(), [])
        del self.log.verbs[:]
        self.withdraw(answered=False)
        self.assertEqual(self.found(), [])

    def test_a_withdrawal_that_goes_live_moves_the_label(self):
        self.log.send_move(self.withdraw(), None)
        self.state.audit[-1].CopyFrom(_record("withdraw", 3, self.log.verbs[0].reason, "live", stood=1))
        self.state.audit[-1].sequence = 3
        self.state.revisions[1].ClearField("labels")
        self.state.revisions[3].labels.append("live")
        self.state.live, self.state.generation = 3, 2
        self.assertEqual(self.found(), [])
        self.state.audit[-1].label = ""
        self.assert_found("the audit trail leaves the labels at {'live': 1} after 1 moves")

    def test_a_lost_withdrawal_is_found(self):
        self.withdraw()
        del self.state.revisions[3]
        self.assert_found("revision 3 is lost and was made by")

    def test_a_withdrawal_without_its_record_is_found(self):
        self.withdraw(answered=False)
        self.state.audit.pop()
        self.log.verbs[0].records = [3]
        self.assert_found("the audit trail has revisions [] for")

    def test_a_withdrawal_of_other_edits_than_asked_for_is_found(self):
        verb = self.withdraw()
        verb.edits = ((2, 0),)
        self.assert_found("and was made by")

    def test_an_answer_of_other_edits_than_asked_for_is_found(self):
        verb = self.withdraw()
        verb.edits = ((2, 0),)
        self.log.withdrawn(verb, self.state.revisions[3])
        self.assert_found("((2, 0),) were withdrawn, and revision 3 withdraws")

    def test_a_withdrawal_somewhere_else_than_asked_for_is_found(self):
        verb = self.withdraw()
        verb.at = 1
        self.assert_found("revision 3 has parent 2 and was made by")

    def test_an_edit_that_is_withdrawn_where_it_is_not_is_found(self):
        self.withdraw(edits=((1, 1),))
        self.assert_found("revision 3 withdraws edit 1 of revision 1, not on its line")

    def test_a_withdrawal_that_does_not_count_is_found(self):
        self.withdraw()
        self.state.revisions[3].line_edit_count = 2
        self.assert_found("revision 3 counts 2 edits on its line, not 1")

    def test_a_withdrawn_edit_that_still_fires_is_found(self):
        self.withdraw()
        both = {2: {(1, 0), (2, 0)}, 3: {(2, 0)}}
        self.assertEqual(list(checks.check_withdrawn(3, _Generation(both), self.state, self.log)), [])
        stays = {2: {(1, 0)}, 3: {(1, 0)}}
        (found,) = checks.check_withdrawn(3, _Generation(stays), self.state, self.log)
        self.assertIn("edit 0 of revision 1, withdrawn by 3: fires at 3: True", found)

    def test_a_withdrawal_that_the_gate_turned_down_is_not_asked(self):
        self.withdraw()
        self.state.revisions[3].state = revision_pb2.Revision.REJECTED
        self.assertEqual(list(checks.check_withdrawn(3, None, self.state, self.log)), [])

    def test_an_edit_that_fires_nowhere_is_found(self):
        self.withdraw()
        (found,) = checks.check_withdrawn(3, _Generation({}), self.state, self.log)
        self.assertIn("fires at 2: False", found)

    # Marks.

    def test_marks_that_were_answered_are_well(self):
        for name in ("pin", "unpin", "delete", "undelete", "delete"):
            self.mark(name)
            self.assertEqual(self.found(), [])
        self.purge()
        self.assertEqual(self.found(), [])

    def test_a_deletion_that_was_not_answered_may_be_there_or_not(self):
        self.log.send_mark("delete", 2)
        self.assertEqual(self.found(), [])
        del self.log.verbs[:]
        self.mark("delete", answered=False)
        self.assertEqual(self.found(), [])

    def test_a_forgotten_deletion_is_found(self):
        self.mark("delete")
        self.state.revisions[2].ClearField("delete_time")
        self.assert_found("revision 2 is Marks(state='there', pinned=False), not one of {Marks(state='deleted'")

    def test_a_forgotten_pin_is_found(self):
        self.mark("pin")
        self.state.revisions[2].pinned = False
        was = "Marks(state='there', pinned=True)"
        self.assert_found(f"revision 2 is Marks(state='there', pinned=False), not one of {{{was}}}")

    def test_a_purged_revision_that_comes_back_is_found(self):
        self.mark("delete")
        self.purge()
        self.state.revisions[2].ClearField("purge_time")
        self.assert_found("revision 2 is Marks(state='deleted', pinned=False), not one of {Marks(state='purged'")

    def test_a_mark_that_nobody_made_is_found(self):
        self.state.revisions[2].pinned = True
        self.assert_found("revision 2 is Marks(state='there', pinned=True), not one of")
        self.assert_found("the audit trail leaves revision 2 as Marks(state='there', pinned=False)")

    def test_a_purged_ancestor_of_a_kept_revision_is_found(self):
        self.mark("delete", revision=1)
        self.purge(revision=1)
        self.assert_found("revision 2 is there and its parent 1 was purged")
        self.assert_found("revision 1 has labels ['live'] and is purged")

    def test_the_purge_of_a_pinned_revision_is_found(self):
        self.mark("delete")
        self.mark("pin")
        self.purge()
        self.assert_found("revision 2 was purged and is pinned or was not deleted")
        self.assert_found("revision 2 was purged and is {Marks(state='deleted', pinned=True)}")

    def test_an_answer_that_does_not_do_what_was_asked_for_is_found(self):
        self.log.marked(self.log.send_mark("pin", 2), self.state.revisions[2])
        self.assert_found("pin made revision 2, which was {Marks(state='there', pinned=False)}, Marks(state='there'")

    def test_a_refusal_without_its_reason_is_found(self):
        self.log.mark_refused(self.log.send_mark("delete", 2), 2, "REVISION_PINNED")
        self.assert_found("was refused: REVISION_PINNED")

    def test_a_deleted_revision_that_answers_is_found(self):
        self.mark("delete")
        self.log.asked(2, self.log.seen_marks(2), "deleted")
        self.assertEqual(self.found(), [])
        self.log.asked(2, self.log.seen_marks(2), "there")
        self.assert_found("revision 2 was asked and is there, not one of ['deleted']")

    def test_a_purged_revision_that_answers_is_found(self):
        self.mark("delete")
        self.purge()
        self.log.asked(2, self.log.seen_marks(2), "there")
        self.assert_found("revision 2 was asked and is there, not one of ['purged']")

    def test_a_revision_that_refuses_for_no_reason_is_found(self):
        self.log.asked(2, self.log.seen_marks(2), "deleted")
        self.assert_found("revision 2 was asked and is deleted, not one of ['there']")

    def test_a_revision_that_is_deleted_and_brought_back_meanwhile_may_refuse_and_answer(self):
        seen = self.log.seen_marks(2)
        self.mark("delete")
        self.mark("undelete")
        self.log.asked(2, seen, "deleted")
        self.log.asked(2, seen, "there")
        self.assertEqual(self.found(), [])
        self.log.asked(2, seen, "purged")
        self.assert_found("revision 2 was asked and is purged")

    # The audit trail.

    def test_a_gap_in_the_audit_trail_is_found(self):
        self.state.audit[1].sequence = 3
        self.assert_found("the audit trail has the sequences [1, 3]")

    def test_a_record_that_changed_or_is_gone_is_found(self):
        checks.settle(self.state, self.log)
        self.state.audit = [revision_pb2.AuditRecord.FromString(r.SerializeToString()) for r in self.state.audit]
        self.assertEqual(self.found(), [])
        self.state.audit[0].actor = "somebody else"
        self.assert_found("the audit trail had")
        self.state.audit = []
        self.assert_found("and now has\nNone")

    def test_a_verb_without_its_record_is_found(self):
        self.mark("delete")
        self.state.audit.pop()
        self.assert_found("the audit trail has revisions [] for")

    def test_two_records_of_one_verb_are_found(self):
        verb = self.mark("pin")
        self.add_audit(_record("pin", 2, verb.reason))
        self.assert_found("the audit trail has revisions [2, 2] for")
        self.assert_found("revision 2 was Marks(state='there', pinned=True) before")

    def test_a_record_of_a_verb_that_was_refused_is_found(self):
        verb = self.log.send_verb("delete")
        self.log.answered_verb(verb, [])
        self.add_audit(_record("delete", 2, verb.reason))
        self.assert_found("the audit trail has revisions [2] for")

    def test_a_record_of_nothing_is_found(self):
        self.add_audit(_record("pin", 2, "somebody"))
        self.assert_found("the audit trail has records of nothing that was sent: somebody")

    def test_a_verdict_without_its_record_is_found(self):
        self.state.audit.pop()
        self.assert_found('the audit trail has [] for session "t" offset 0')

    def test_a_cancel_without_its_record_is_found(self):
        status = self.state.ledger["s"][1]
        status.stage = edit_pb2.FAILED
        status.error.code = checks.CANCELLED
        self.assert_found('the audit trail has [] for session "s" offset 1')
        self.add_audit(_record("cancel", 0, f'session "s" offset 1: {logs.CANCEL_REASON}'))
        self.assertEqual(self.found(), [])

    def test_a_record_from_where_the_label_did_not_stand_is_found(self):
        setattr(self.state.audit[0], "from", 7)
        self.assert_found("the label live stood at 0 before")


if __name__ == "__main__":
    unittest.main()
