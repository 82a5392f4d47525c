"""Single edits are taken back from a running amendd: what goes, what stays, also over kill -9, rollbacks and branches."""

import json
import unittest

from tests.integration import harness


class WithdrawTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.records = harness.facts(8)
        self.server = self.start()

    def edit(self, records, *flags, expect=0):
        file = harness.write_edits(self.path(f"edits-{id(records)}.jsonl"), records)
        return self.server.amend("edit", "--file", file, "--batch", "4", *flags, expect=expect)

    def withdraw(self, *arguments, expect=0):
        (outcome,) = self.server.amend_json("withdraw", *arguments, "--reason", "wrong source", expect=expect)
        return outcome

    def answers(self, *flags):
        return [self.server.answer(r["prompt"], *flags) for r in self.records]

    def assert_edited(self, answers, records):
        self.assertEqual([a[: len(r["target_new"])] for a, r in zip(answers, records)], [r["target_new"] for r in records])

    def restart(self):
        self.server.kill()
        self.server = self.start()

    def fired(self):
        """Every edit that fired for any of the prompts and their neighbours."""
        edits = set()
        for record in self.records:
            for prompt in (record["prompt"], record["rephrase_prompt"], record["locality_prompt"]):
                (reply,) = self.server.amend_json("generate", prompt, "--trace-hooks")
                edits |= {(f["revision"], f["edit_index"]) for f in reply["hook_firings"]}
        return edits

    def test_one_edit_goes_and_nothing_else_over_kill_9_and_on_what_is_built_on_it(self):
        probes = [r["locality_prompt"] for r in self.records]
        before = self.answers()
        self.edit(self.records[:4] + self.records[4:])
        edited = self.answers()
        self.assert_edited(edited, self.records)
        neighbours = [self.server.answer(p) for p in probes]
        self.assertIn((1, 1), self.fired())

        outcome = self.withdraw("1:1")
        self.assertEqual((outcome["revision"], outcome["state"], outcome["parent"]), (3, "VALIDATED", 2))
        self.assertEqual((outcome["line_edits"], outcome["reverted"], outcome["broken"]), (7, 1, []))
        wanted = edited[:1] + before[1:2] + edited[2:]
        self.assertEqual(self.answers(), wanted)
        self.assertEqual([self.server.answer(p) for p in probes], neighbours)
        fired = self.fired()
        self.assertNotIn((1, 1), fired)
        self.assertIn((1, 2), fired)

        whole = [self.server.amend_json("generate", r["prompt"])[0] for r in self.records]
        self.restart()
        self.assertEqual(self.server.live(), 3)
        again = [self.server.amend_json("generate", r["prompt"])[0] for r in self.records]
        self.assertEqual([r["text"] for r in again], [r["text"] for r in whole])
        self.assertNotIn((1, 1), self.fired())

        # The same fact anew, on top of the withdrawal; then back over both.
        self.edit([self.records[1]])
        self.assert_edited(self.answers(), self.records)
        self.server.amend("rollback", "--to", "3", "--reason", "test")
        self.assertEqual(self.answers(), wanted)
        self.server.amend("rollback", "--reason", "test")
        self.assertEqual(self.server.live(), 2)
        self.assertEqual(self.answers(), edited)

    def test_what_is_solved_on_a_withdrawal_is_the_same_whether_the_server_died_in_between(self):
        outcomes = []
        for dies in (False, True):
            self.server.stop()
            self.server = self.start(data=f"dies-{dies}")
            self.edit(self.records[:4])
            self.withdraw("1:2", "1:0")
            if dies:
                self.server.kill()
                self.server = self.start(data=f"dies-{dies}")
            self.edit(self.records[4:])
            (revision,) = self.server.amend_json("revisions", "show", "3")
            # A norm is summed up from its parent's where that is known: the last bits of a double may differ.
            norms = {layer: f"{norm:.12g}" for layer, norm in revision["update_norm_ratio"].items()}
            outcomes.append((self.answers(), revision["line_edits"], norms))
        self.assertEqual(outcomes[0], outcomes[1])

    def test_a_branch_is_withdrawn_from_without_moving_the_live_label(self):
        self.edit(self.records[:4])
        self.edit(self.records[4:], "--stage-only")
        live = self.answers()
        outcome = self.withdraw("2:0", "--revision", "2", "--stage-only")
        self.assertEqual((outcome["revision"], outcome["parent"], outcome["label"]["revision"]), (3, 2, 1))
        self.assertEqual(self.answers(), live)
        on_branch = self.answers("--revision", "3")
        self.assertEqual(on_branch[4], live[4])
        self.assert_edited(on_branch[5:], self.records[5:])
        # What lies elsewhere cannot take the label along.
        self.assertIn("NOT_AT_LABEL", self.refused("2:1", "--revision", "2"))
        self.assertIn("EDIT_NOT_ON_LINE", self.refused("2:1"))
        self.assertIn("ALREADY_WITHDRAWN", self.refused("2:0", "--revision", "3", "--stage-only"))
        self.assertIn("EDIT_NOT_FOUND", self.refused("1:4"))
        self.assertIn("EDIT_NOT_FOUND", self.refused("9:0"))
        self.assertIn("LIVE_CHANGED", self.refused("1:0", "--etag", "999"))
        self.server.amend("promote", "3")
        self.restart()
        self.assertEqual(self.answers(), on_branch)

    def refused(self, *arguments):
        command = [harness.AMEND, "--server", self.server.address, "withdraw", *arguments, "--reason", "test"]
        result = harness.run(command)
        self.assertEqual(result.returncode, 4, result.stdout)
        return result.stderr

    def test_an_edit_that_was_superseded_goes_only_together_with_its_successor(self):
        before = self.answers()
        corrected = [dict(r) for r in self.records]
        for record, other in zip(corrected, self.records[1:] + self.records[:1]):
            record["target_new"] = other["target_new"]
        self.edit(self.records)
        edited = self.answers()
        self.edit(corrected)
        live = self.answers()
        # Most corrections do not stand without what they corrected; each of those is named.
        broken = []
        for i in range(4):
            command = ["--json", "withdraw", f"1:{i}", "--reason", "test", "--dry-run"]
            result = harness.run([harness.AMEND, "--server", self.server.address, *command])
            self.assertIn(result.returncode, (0, 1), result.stderr)
            if result.returncode == 1:
                self.assertIn({"revision": 3, "edit_index": i}, json.loads(result.stdout)["broken"])
                broken.append(i)
        self.assertTrue(broken)
        i = broken[0]

        turned_down = self.withdraw(f"1:{i}", expect=1)
        self.assertEqual((turned_down["revision"], turned_down["state"]), (5, "REJECTED"))
        self.assertEqual(self.server.live(), 4)
        self.assertEqual(self.answers(), live)

        # The later one alone gives the earlier one back; both together the unedited model.
        self.withdraw(f"3:{i}")
        self.assertEqual(self.server.answer(self.records[i]["prompt"]), edited[i])
        self.server.amend("rollback", "--to", "4", "--reason", "test")
        self.withdraw(f"1:{i}", f"3:{i}")
        self.assertEqual(self.answers(), live[:i] + before[i : i + 1] + live[i + 1 :])

    def test_a_dry_run_tells_the_verdict_and_changes_nothing(self):
        self.edit(self.records[:4])
        outcome = self.withdraw("1:3", "--dry-run")
        self.assertEqual((outcome["revision"], outcome["state"], outcome["reverted"]), (0, "VALIDATED", 1))
        self.assertEqual(len(self.server.amend_json("revisions")), 1)
        self.assertEqual(self.server.live(), 1)


if __name__ == "__main__":
    unittest.main()
