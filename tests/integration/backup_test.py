"""Backup, verification and restore with the real programs, as an operator would do it."""

import json
import os
import subprocess
import time

from tests.integration import harness


class BackupTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.backups = self.path("backups")
        self.records = harness.facts(12)

    def start(self, data="data", **kwargs):
        return super().start(data, flags=["--backup-dir", self.backups], **kwargs)

    def start_with(self, flags):
        return super().start("data", flags=flags)

    def edits(self, first, last):
        return harness.write_edits(self.path(f"edits{first}.jsonl"), self.records[first:last])

    def answers(self, server):
        return [server.answer(r["prompt"]) for r in self.records[:6]]

    def backup_files(self):
        """Files of the backups that hold records, largest last."""
        files = []
        for folder, _, names in os.walk(self.backups):
            files += [os.path.join(folder, n) for n in names if not folder.endswith("meta") and n != "LOCK"]
        return sorted((f for f in files if os.path.getsize(f) > 0), key=os.path.getsize)


def flip_a_bit(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)[0] ^ 0x10
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte]))


class RestoreDrillTest(BackupTest):
    def test_after_a_crash_the_restored_server_is_what_was_backed_up(self):
        server = self.start()
        server.amend("edit", "--file", self.edits(0, 3))
        then = self.answers(server)
        (backup,) = server.amend_json("store", "backup")
        self.assertEqual((backup["backup"], backup["live"], backup["latest"]), (1, 1, 1))
        server.amend("edit", "--file", self.edits(3, 6))
        self.assertNotEqual(self.answers(server), then)
        server.kill()

        restored = self.path("restored")
        output = harness.amend_store("restore", "--from", self.backups, "--to", restored)
        self.assertIn("live revision 1, newest revision 1", output)
        server = self.start("restored")
        status = server.amend_json("status")[0]
        self.assertEqual((status["live"]["revision"], status["latest_revision"]), (1, 1))
        self.assertEqual(self.answers(server), then)
        # It goes on from there: edits, and backups in the same directory.
        server.amend("edit", "--file", self.edits(6, 9))
        self.assertEqual(server.live(), 2)
        self.assertEqual(server.amend_json("store", "backup")[0]["backup"], 2)

    def test_a_backup_with_a_flipped_bit_is_refused_and_named(self):
        server = self.start()
        server.amend("edit", "--file", self.edits(0, 3))
        server.amend("store", "backup")
        server.stop()
        flip_a_bit(self.backup_files()[-1])
        target = self.path("restored")
        output = harness.amend_store("restore", "--from", self.backups, "--to", target, expect=1)
        self.assertIn(f"backup 1 in {self.backups} is damaged", output)
        self.assertFalse(os.path.exists(target))

    def test_a_data_directory_that_is_not_empty_is_left_alone(self):
        server = self.start()
        server.amend("store", "backup")
        server.stop()
        before = sorted(os.listdir(self.path("data")))
        output = harness.amend_store("restore", "--from", self.backups, "--to", self.path("data"), expect=2)
        self.assertIn("not empty", output)
        self.assertEqual(sorted(os.listdir(self.path("data"))), before)

    def test_backups_made_while_batches_are_solved_are_whole(self):
        server = self.start()
        editing = subprocess.Popen(
            [harness.AMEND, "--server", server.address, "edit", "--file", self.edits(0, 12), "--batch", "2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(editing.wait, harness.PATIENCE)
        made = []
        while not made or (editing.poll() is None and len(made) < 7):
            made += server.amend_json("store", "backup")
            server.answer(self.records[0]["prompt"])
        self.assertEqual(editing.wait(harness.PATIENCE), 0)
        server.stop()
        for backup in made:
            target = self.path(f"restored{backup['backup']}")
            harness.amend_store("restore", "--from", self.backups, "--backup", backup["backup"], "--to", target)
            found = json.loads(harness.amend_store("verify", "--json", "--data", target))
            self.assertEqual(found["damage_count"], 0)
            self.assertEqual(found["digest"], backup["digest"])
            self.assertEqual((found["live"], found["latest"]), (backup["live"], backup["latest"]))
        # What was durable and not solved in the backup is solved after the restore.
        server = self.start("restored1")
        deadline = time.monotonic() + harness.PATIENCE
        while server.amend_json("status")[0]["edit_queue_depth"] > 0 and time.monotonic() < deadline:
            pass
        self.assertEqual(json.loads(server.amend("--json", "store", "verify"))["damage_count"], 0)
        self.assertGreaterEqual(server.live(), made[0]["live"])


class BackupCommandsTest(BackupTest):
    def test_backups_are_numbered_listed_bounded_and_deleted(self):
        server = self.start_with(["--backup-dir", self.backups, "--backups-kept", "2"])
        for _ in range(3):
            server.amend("store", "backup")
        self.assertEqual([b["backup"] for b in server.amend_json("store", "backups")], [3, 2])
        server.amend("store", "delete-backup", "2")
        output = harness.amend_store("backups", "--json", "--from", self.backups)
        self.assertEqual(json.loads(output)["backup"], 3)
        server.amend("store", "delete-backup", "2", expect=4)

    def test_a_server_without_a_backup_directory_says_so(self):
        server = self.start_with([])
        server.amend("store", "backup", expect=4)

    def test_a_backup_directory_that_cannot_be_used_stops_the_start(self):
        with open(self.path("file"), "w", encoding="utf-8"):
            pass
        with self.assertRaisesRegex(AssertionError, "backup directory"):
            self.start_with(["--backup-dir", self.path("file")])


class VerifyTest(BackupTest):
    def test_a_running_store_is_verified_by_its_server_and_a_stopped_one_without(self):
        server = self.start()
        server.amend("edit", "--file", self.edits(0, 3))
        (online,) = server.amend_json("store", "verify")
        self.assertEqual((online["damage_count"], online["live"]), (0, 1))
        self.assertGreater(online["blobs"], 0)
        self.assertIn("in use", harness.amend_store("verify", "--data", self.path("data"), expect=2))
        server.stop()
        offline = json.loads(harness.amend_store("verify", "--json", "--data", self.path("data")))
        self.assertEqual(offline["digest"], online["digest"])

    def test_a_flipped_bit_is_found_and_its_key_named(self):
        server = self.start()
        server.amend("edit", "--file", self.edits(0, 3))
        # A backup moves what only the log holds into files of its own.
        server.amend("store", "backup")
        server.stop()
        store = self.path("data/store")
        tables = [os.path.join(store, f) for f in os.listdir(store) if f.endswith(".sst")]
        # The one with the factors.
        flip_a_bit(max(tables, key=os.path.getsize))
        output = harness.amend_store("verify", "--data", self.path("data"), expect=1)
        self.assertRegex(output, r"damage    factors/1/\d/\w+: cannot be read")
        self.assertRegex(output, r"verdict   \d+ damages")
