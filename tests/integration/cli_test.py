"""The amend command against a real amendd."""

from tests.integration import harness


class CliTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.server = self.start()
        self.records = harness.facts(6)
        self.file = harness.write_edits(self.path("edits.jsonl"), self.records)

    def answers(self, *flags):
        return [self.server.answer(r["prompt"], *flags) for r in self.records]

    def test_a_file_of_edits_becomes_live_and_goes_back(self):
        old = [r["ground_truth"] for r in self.records]
        new = [r["target_new"] for r in self.records]
        self.assertEqual(self.answers(), old)
        output = self.server.amend("edit", "--file", self.file, "--batch", "3")
        self.assertIn("6 edits: 6 live", output)
        self.assertEqual(output.count("  passed"), 6)
        self.assertEqual(self.answers(), new)
        listed = self.server.amend_json("revisions", "list")
        self.assertEqual([r["revision"] for r in listed], [2, 1])
        self.assertEqual(listed[0]["labels"], ["live"])
        shown = self.server.amend("revisions", "show", "2")
        self.assertIn(self.records[3]["prompt"], shown)
        self.assertIn("2 -> 0", self.server.amend("rollback", "--to", "0", "--reason", "test"))
        self.assertEqual(self.answers(), old)
        self.assertIn("0 -> 2", self.server.amend("promote", "2"))
        self.assertEqual(self.answers(), new)
        self.assertEqual(self.answers("--revision", "0"), old)

    def test_the_same_command_again_does_nothing_twice(self):
        self.server.amend("edit", "--file", self.file, "--batch", "3")
        output = self.server.amend("edit", "--file", self.file, "--batch", "3")
        self.assertIn("recorded earlier", output)
        self.assertEqual(self.server.live(), 2)

    def test_evaluate_tells_the_edited_model_from_the_unedited_one(self):
        self.server.amend("edit", "--file", self.file)
        (edited,) = self.server.amend_json("evaluate", "--file", self.file)
        (unedited,) = self.server.amend_json("evaluate", "--file", self.file, "--revision", "0")
        self.assertEqual(edited["revision"], 1)
        self.assertGreaterEqual(edited["reliability"]["mean"], 0.9)
        self.assertGreaterEqual(edited["exact_match"]["mean"], 0.8)
        self.assertGreaterEqual(edited["locality"]["mean"], 0.8)
        self.assertLess(unedited["reliability"]["mean"], 0.5)
        self.assertEqual(unedited["exact_match"]["mean"], 0)
        self.assertEqual(unedited["locality"]["mean"], 1)

    def test_a_staged_edit_serves_only_those_who_ask(self):
        record = self.records[0]
        self.server.amend("edit", "--file", self.file, "--stage-only")
        self.assertEqual(self.server.answer(record["prompt"]), record["ground_truth"])
        self.assertEqual(self.server.answer(record["prompt"], "--revision", "1"), record["target_new"])

    def test_one_edit_comes_from_flags(self):
        record = self.records[0]
        flags = ["--prompt", record["prompt"], "--subject", record["subject"], "--target", record["target_new"]]
        self.server.amend("edit", *flags, "--paraphrase", record["rephrase_prompt"])
        self.assertEqual(self.server.answer(record["prompt"]), record["target_new"])

    def test_a_traced_generation_names_the_edit_that_fired(self):
        self.server.amend("edit", "--file", self.file)
        flags = ["--max-new-tokens", "4", "--trace-hooks"]
        (edited,) = self.server.amend_json("generate", self.records[1]["prompt"], *flags)
        fired = {(f["revision"], f["edit_index"]) for f in edited["hook_firings"]}
        self.assertIn((1, 1), fired)

    def test_a_malformed_edit_ends_with_1_and_its_field(self):
        bad = dict(self.records[0], subject="no such subject")
        file = harness.write_edits(self.path("bad.jsonl"), [bad, *self.records[1:]])
        output = self.server.amend("edit", "--file", file, "--batch", "1", expect=1)
        self.assertIn("batch.edits[0].subject", output)
        self.assertIn("5 live, 0 validated, 0 rejected, 1 failed", output)

    def test_an_impossible_threshold_rejects_and_serving_is_untouched(self):
        # A neighbour that shares the edited prompt cannot stay as it was.
        record = dict(self.records[0])
        record["locality_prompt"] = record["prompt"]
        record["locality_ground_truth"] = record["ground_truth"]
        file = harness.write_edits(self.path("impossible.jsonl"), [record])
        output = self.server.amend("edit", "--file", file, "--min-locality", "1", expect=1)
        self.assertIn("1 rejected", output)
        self.assertEqual(self.server.live(), 0)
        self.assertEqual(self.server.answer(record["prompt"]), record["ground_truth"])

    def test_an_edit_that_fails_is_dropped_and_the_others_go_live(self):
        bad = dict(self.records[0])
        bad["locality_prompt"] = bad["prompt"]
        bad["locality_ground_truth"] = bad["ground_truth"]
        file = harness.write_edits(self.path("dropped.jsonl"), [bad, *self.records[1:]])
        output = self.server.amend("edit", "--file", file, "--min-locality", "0.9", "--drop-failing", expect=1)
        self.assertIn("dropped: locality", output)
        self.assertIn("6 edits: 5 live, 0 validated, 0 rejected, 0 failed, 1 dropped", output)
        self.assertEqual(self.server.answer(bad["prompt"]), bad["ground_truth"])
        self.assertEqual(self.answers()[1:], [r["target_new"] for r in self.records[1:]])
        (shown,) = self.server.amend_json("revisions", "show", "1")
        self.assertEqual([e["prompt"] for e in shown["batch"]], [r["prompt"] for r in self.records[1:]])

    def test_a_file_with_a_subject_twice_goes_through_and_the_later_edit_wins(self):
        again = dict(self.records[0], target_new=self.records[1]["target_new"])
        file = harness.write_edits(self.path("twice.jsonl"), [*self.records, again])
        output = self.server.amend("edit", "--file", file, "--min-generality", "0")
        self.assertIn("7 edits in 2 batches", output)
        self.assertIn("7 edits: 7 live", output)
        self.assertIn("supersedes revision 1 edit 0", output)
        self.assertEqual(self.server.answer(again["prompt"]), again["target_new"])

    def test_a_batch_that_is_live_cannot_be_cancelled(self):
        self.server.amend("edit", "--file", self.file, "--session", "s")
        self.server.amend("cancel", "s", "0", expect=4)
        self.server.amend("cancel", "s", "7", expect=4)

    def test_status_says_where_metrics_are(self):
        self.assertIn(f"http://{self.server.http}/metrics", self.server.amend("status"))

    def test_a_stopped_server_is_exit_code_3(self):
        self.server.stop()
        self.server.amend("status", expect=3)
