"""Labels, branches, deletion, retention, watching and the audit trail, through the real amend and amendd."""

import json
import os
import subprocess
import unittest

import grpc

from amend.v1 import generation_pb2, generation_pb2_grpc, revision_pb2, revision_pb2_grpc
from tests.integration import harness


class RevisionsTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.server = self.start()
        self.records = harness.facts(6)

    def restart(self, **kwargs):
        self.server.kill()
        self.server = self.start_as_is("data", **kwargs)

    def edit(self, *records, flags=()):
        """Edits in one batch; returns the revision that it became."""
        name = f"{len(os.listdir(self.folder))}.jsonl"
        file = harness.write_edits(self.path(name), records)
        self.server.amend("edit", "--file", file, *flags)
        return self.server.amend_json("revisions", "list", "--limit", "1")[0]["revision"]

    def stage(self, *records):
        return self.edit(*records, flags=["--stage-only"])

    def revision(self, number):
        return self.server.amend_json("revisions", "show", number)[0]

    def refused(self, *arguments):
        """The reason for which the server refuses a command."""
        (error,) = self.server.amend_json(*arguments, expect=4)
        return error["error"]["reason"]

    def generation_refused(self, revision):
        return self.refused("generate", self.records[0]["prompt"], "--revision", revision)

    def labels(self):
        return {label["name"]: label["revision"] for label in self.server.amend_json("labels")}

    def test_a_canary_serves_who_asks_for_it_until_it_is_deleted(self):
        first, second = self.records[:2]
        self.edit(first)
        staged = self.stage(second)
        self.assertIn("new, at revision 2", self.server.amend("label", "set", "canary", staged, "--etag", "0"))
        self.assertEqual(self.refused("label", "set", "canary", 1, "--etag", "0"), "LIVE_CHANGED")
        self.assertEqual(self.server.answer(second["prompt"]), second["ground_truth"])
        self.assertEqual(self.server.answer(second["prompt"], "--label", "canary"), second["target_new"])
        self.restart()
        self.assertEqual(self.labels(), {"canary": 2, "live": 1})
        self.assertEqual(self.server.answer(second["prompt"], "--label", "canary"), second["target_new"])
        self.assertIn("revision 2 -> 1", self.server.amend("label", "set", "canary", 1, "--etag", "1"))
        self.assertEqual(self.server.answer(second["prompt"], "--label", "canary"), second["ground_truth"])
        self.server.amend("label", "delete", "canary", "--reason", "over")
        self.assertEqual(self.refused("label", "delete", "canary"), "LABEL_NOT_FOUND")
        self.assertEqual(self.refused("generate", "x", "--label", "canary"), "LABEL_NOT_FOUND")
        self.assertEqual(self.refused("label", "delete", "live"), "INVALID_REQUEST")
        self.assertEqual(self.labels(), {"live": 1})

    def test_edits_after_a_rollback_are_a_branch_and_both_can_be_served(self):
        base, left, right = self.records[:3]
        self.edit(base)
        self.edit(left)
        self.server.amend("rollback", "--to", "1", "--reason", "test")
        self.edit(right)
        parents = {r["revision"]: r["parent"] for r in self.server.amend_json("revisions", "list")}
        self.assertEqual(parents, {1: 0, 2: 1, 3: 1})
        head, *differences = self.server.amend_json("compare", 2, 3)
        self.assertEqual((head["common_ancestor"], head["removed"], head["added"]), (1, 1, 1))
        self.assertEqual([(d["change"], d["prompt"]) for d in differences],
                         [("removed", left["prompt"]), ("added", right["prompt"])])
        self.assertEqual(self.server.answer(left["prompt"]), left["ground_truth"])
        self.restart()
        self.server.amend("promote", "2")
        self.assertEqual(self.server.answer(left["prompt"]), left["target_new"])
        self.assertEqual(self.server.answer(right["prompt"]), right["ground_truth"])
        self.assertEqual(self.server.answer(base["prompt"]), base["target_new"])
        self.assertEqual(self.edit(self.records[3]), 4)
        self.assertEqual(self.revision(4)["parent"], 2)

    def test_a_deleted_revision_comes_back_and_a_purged_one_leaves_its_record(self):
        record = self.records[0]
        self.assertEqual(self.stage(record), 1)
        self.assertEqual(self.server.answer(record["prompt"], "--revision", "1"), record["target_new"])
        reliability = self.revision(1)["reliability"]
        self.assertIn("(deleted)", self.server.amend("delete", 1, "--reason", "not wanted"))
        self.assertEqual(self.generation_refused(1), "REVISION_DELETED")
        self.assertEqual(self.refused("promote", 1), "REVISION_DELETED")
        self.restart()
        self.assertEqual(self.generation_refused(1), "REVISION_DELETED")
        self.server.amend("undelete", 1)
        self.assertEqual(self.server.answer(record["prompt"], "--revision", "1"), record["target_new"])
        self.server.amend("pin", 1)
        self.assertEqual(self.refused("delete", 1), "REVISION_PINNED")
        self.server.amend("unpin", 1)
        self.server.amend("delete", 1)
        self.assertEqual(self.server.amend_json("purge"), [])
        self.assertEqual(self.server.amend_json("purge", "--now", "--dry-run"), [{"revision": 1, "purged": False}])
        self.assertEqual(self.server.amend_json("purge", "--now"), [{"revision": 1, "purged": True}])
        for _ in range(2):
            self.assertEqual(self.generation_refused(1), "REVISION_PURGED")
            for verb in ["promote", "undelete", "pin", "validate"]:
                self.assertEqual(self.refused(verb, 1), "REVISION_PURGED")
            shown = self.revision(1)
            self.assertEqual(shown["state"], "VALIDATED")
            self.assertIn("purge_time", shown)
            self.assertEqual(shown["reliability"], reliability)
            self.assertEqual(shown["batch"][0]["prompt"], record["prompt"])
            self.restart()
        self.assertNotIn("not served", self.server.errors())
        self.assertEqual(self.edit(record), 2)
        self.assertEqual(self.server.answer(record["prompt"]), record["target_new"])

    def test_what_stays_is_never_taken_with_what_goes(self):
        self.assertEqual(self.edit(self.records[0]), 1)
        self.assertEqual(self.edit(self.records[1]), 2)
        self.assertEqual(self.refused("delete", 2), "REVISION_LABELLED")
        self.assertEqual(self.refused("delete", 0), "UNEDITED_MODEL")
        self.assertEqual(self.refused("delete", 7), "REVISION_NOT_FOUND")
        self.server.amend("delete", 1)
        self.assertEqual(self.server.amend_json("purge", "--now"), [])
        self.assertEqual(self.refused("rollback", "--to", "1", "--reason", "test"), "REVISION_DELETED")
        self.restart()
        self.assertEqual(self.server.answer(self.records[0]["prompt"]), self.records[0]["target_new"])
        self.assertEqual(self.server.live(), 2)

    def test_the_retention_policy_takes_old_branches_and_keeps_the_rest(self):
        for record in self.records[:3]:
            self.stage(record)
        self.server.amend("pin", 1)
        self.restart(flags=["--keep-revisions", "1", "--purge-delay-seconds", "0"])
        # Comes after the first sweep.
        self.assertEqual(self.server.amend_json("purge", "--dry-run"), [])
        self.assertEqual(self.generation_refused(2), "REVISION_PURGED")
        for number in (1, 3):
            record = self.records[number - 1]
            self.assertEqual(self.server.answer(record["prompt"], "--revision", number), record["target_new"])
        purge = self.server.amend_json("audit", "--limit", "1")[0]
        self.assertEqual((purge["actor"], purge["verb"], purge["to"]), ("retention", "purge", 2))

    def test_a_running_generation_keeps_its_revision_to_the_end(self):
        self.stage(self.records[0])
        with grpc.insecure_channel(self.server.address) as channel:
            generation = generation_pb2_grpc.GenerationServiceStub(channel)
            request = generation_pb2.GenerateRequest(prompt=self.records[0]["prompt"], max_new_tokens=48)
            request.at.revision = 1
            whole = generation.Generate(request).text
            stream = generation.GenerateStream(request)
            text = next(stream).text
            revisions = revision_pb2_grpc.RevisionServiceStub(channel)
            revisions.DeleteRevision(revision_pb2.DeleteRevisionRequest(revision=1))
            purged = revisions.PurgeRevisions(revision_pb2.PurgeRevisionsRequest(without_delay=True))
            self.assertEqual(list(purged.revisions), [1])
            self.assertEqual(text + "".join(part.text for part in stream), whole)
            with self.assertRaises(grpc.RpcError) as caught:
                generation.Generate(request)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_validate_measures_again_and_changes_nothing(self):
        # A neighbour that shares the edited prompt cannot stay as it was.
        record = dict(self.records[0])
        record["locality_prompt"] = record["prompt"]
        record["locality_ground_truth"] = record["ground_truth"]
        self.edit(record, flags=["--min-locality", "0"])
        (good,) = self.server.amend_json("validate", 1)
        self.assertTrue(good["passed"])
        self.assertEqual(good["reliability"], self.revision(1)["reliability"])
        (bad,) = self.server.amend_json("validate", 1, "--min-locality", "1", expect=1)
        self.assertFalse(bad["passed"])
        self.assertIn("locality", bad["failures"][0])
        self.assertEqual(self.revision(1)["state"], "VALIDATED")
        self.assertEqual(self.server.live(), 1)
        self.assertEqual(self.refused("validate", 0), "UNEDITED_MODEL")
        self.assertEqual(self.refused("validate", 9), "REVISION_NOT_FOUND")

    def test_watch_tells_where_things_stand_and_then_every_change(self):
        self.edit(self.records[0])
        command = [harness.AMEND, "--server", self.server.address, "--json", "watch", "--events", "8"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
            self.addCleanup(watch.kill)
            state = json.loads(watch.stdout.readline())
            self.assertEqual((state["event"], state["latest_revision"]), ("state", 1))
            self.assertEqual([(l["name"], l["revision"]) for l in state["labels"]], [("live", 1)])
            self.edit(self.records[1])
            self.server.amend("label", "set", "canary", 1)
            self.server.amend("label", "delete", "canary")
            self.server.amend("rollback", "--to", "1", "--reason", "test")
            self.server.amend("delete", 2)
            self.server.amend("undelete", 2)
            self.server.amend("pin", 2)
            events = [json.loads(line)["event"] for line in watch.stdout]
            self.assertEqual(watch.wait(harness.PATIENCE), 0)
        self.assertEqual(events, ["created", "label_moved", "label_moved", "label_deleted", "label_moved",
                                  "deleted", "undeleted", "pinned"])

    def test_the_audit_trail_has_every_verb_with_its_reason_also_after_a_restart(self):
        self.edit(self.records[0])
        self.edit(self.records[1])
        self.server.amend("rollback", "--to", "1", "--reason", "wrong source")
        self.server.amend("label", "set", "canary", 2, "--reason", "look at it")
        self.restart()
        self.server.amend("label", "delete", "canary")
        for verb in ["pin", "unpin", "delete", "undelete", "delete"]:
            self.server.amend(verb, 2, "--reason", f"to {verb}")
        self.server.amend("purge", "--now", "--reason", "space")
        audit = self.server.amend_json("audit")
        self.assertEqual([r["verb"] for r in audit], ["purge", "delete", "undelete", "delete", "unpin", "pin",
                                                      "delete_label", "set_label", "rollback", "promote", "promote"])
        self.assertEqual([r["sequence"] for r in audit], list(range(11, 0, -1)))
        self.assertEqual(audit[0]["reason"], "space")
        self.assertEqual((audit[8]["label"], audit[8]["from"], audit[8]["to"], audit[8]["reason"]),
                         ("live", 2, 1, "wrong source"))
        for record in audit:
            self.assertNotEqual(record["actor"], "")
            self.assertNotEqual(record["time"], "-")
        self.assertEqual(self.server.amend_json("audit", "--limit", "3"), audit[:3])

    def test_of_two_promotions_at_once_exactly_one_wins(self):
        for record in self.records[:2]:
            self.stage(record)
        etag = self.server.amend_json("status")[0]["live"]["etag"]
        command = [harness.AMEND, "--server", self.server.address, "promote", "--etag", etag]
        both = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for n in (1, 2)]
        errors = [process.communicate(timeout=harness.PATIENCE)[1] for process in both]
        codes = [process.returncode for process in both]
        self.assertEqual(sorted(codes), [0, 4])
        self.assertIn("LIVE_CHANGED", errors[codes.index(4)])
        self.assertEqual(self.server.live(), codes.index(0) + 1)


if __name__ == "__main__":
    unittest.main()
