"""The checks of the kill loop find what they look for: each test damages one thing of a state that is well."""

import unittest

from amend.v1 import edit_pb2, revision_pb2
from tests.crash import checks, log as logs


def _edits(subject):
    return [edit_pb2.Edit(prompt=f"{subject} is", subject=subject, target_new="x")]


def _status(batch, stage, revision=0):
    return edit_pb2.EditBatchStatus(
        session=batch.session, offset=batch.offset, stage=stage, revision=revision, edit_count=len(batch.edits)
    )


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
        self.state = checks.State(live=1, generation=1, canary=None, revisions={}, ledger={})
        self.state.ledger["s"] = [
            _status(self.first, edit_pb2.LIVE, 1),
            _status(self.waiting, edit_pb2.DURABLE),
        ]
        self.state.ledger["t"] = [_status(self.staged, edit_pb2.VALIDATED, 2)]
        self.add_revision(1, 0, self.first, ["live"])
        self.add_revision(2, 1, self.staged, [])

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
        for check in (checks.check_ledger, checks.check_revisions, checks.check_live, checks.check_canary):
            found += check(self.state, self.log)
        return found + self.log.violations

    def assert_found(self, text):
        found = self.found()
        self.assertTrue(any(text in line for line in found), f"{text!r} is not in {found}")

    def test_a_state_that_fits_the_log_is_well(self):
        self.assertEqual(self.found(), [])

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
        move = self.log.send_move(2)
        self.log.moved(move, revision_pb2.Label(revision=2, etag="2"))
        self.assert_found("there were 1 and 0 that were not answered")
        self.assert_found("the label has generation 1, 2 was told")

    def test_a_promotion_that_was_not_answered_may_be_there_or_not(self):
        self.log.send_move(2)
        self.assertEqual(self.found(), [])
        self.state.live, self.state.generation = 2, 2
        self.state.revisions[1].ClearField("labels")
        self.state.revisions[2].labels.append("live")
        self.assertEqual(self.found(), [])

    def test_a_label_at_a_revision_of_no_move_is_found(self):
        self.log.send_move(0)
        self.state.live, self.state.generation = 2, 2
        self.assert_found("revision 2 is live, not one of [0, 1]")

    def test_a_move_that_nobody_made_is_found(self):
        self.state.generation = 2
        self.assert_found("there were 0 and 0 that were not answered")

    def test_a_staged_batch_may_become_live_by_a_promotion_only(self):
        self.state.ledger["t"][0].stage = edit_pb2.LIVE
        self.assert_found("batch t[0] came to")

    def test_a_staged_batch_that_is_promoted_becomes_live(self):
        self.log.send_move(2)
        self.state.ledger["t"][0].stage = edit_pb2.LIVE
        self.state.live, self.state.generation = 2, 2
        self.state.revisions[1].ClearField("labels")
        self.state.revisions[2].labels.append("live")
        self.assertEqual(self.found(), [])

    def test_a_revision_that_speaks_otherwise_is_found(self):
        self.log.answered(1, "a", ("text", (1,)))
        self.log.answered(1, "a", ("other", (1,)))
        self.assert_found("revision 1 on 'a': answer was")

    def test_the_last_bit_of_a_log_probability_is_found_where_nothing_else_ran(self):
        self.log.answered(1, "a", ("text", (1,)))
        self.log.answered(1, "a", ("text", (1,)), (-0.5,))
        self.assertEqual(self.found(), [])
        self.log.answered(1, "a", ("text", (1,)), (-0.5000001,))
        self.assert_found("revision 1 on 'a': logprobs was (-0.5,)")

    def test_a_session_that_forgets_is_found(self):
        self.log.started("s", 1)
        self.assert_found("session s: next offset 1 is not in [2, 2]")

    def test_a_label_that_forgets_its_move_is_found(self):
        self.log.send_canary(2)
        self.assertEqual(self.found(), [])
        self.log.canary_moved()
        self.assert_found("the label canary is at None, not at one of [2]")

    def test_a_label_may_stand_where_a_move_under_way_takes_it(self):
        self.log.send_canary(2)
        self.state.canary = 2
        self.state.revisions[2].labels.append("canary")
        self.assertEqual(self.found(), [])

    def test_a_label_that_a_revision_does_not_know_of_is_found(self):
        self.log.send_canary(2)
        self.state.canary = 2
        self.assert_found("revision 2 has labels []")

    def test_two_moves_of_one_generation_are_found(self):
        for _ in range(2):
            self.log.moved(self.log.send_move(2), revision_pb2.Label(revision=2, etag="2"))
        self.assert_found("two moves have generation 2")


if __name__ == "__main__":
    unittest.main()
