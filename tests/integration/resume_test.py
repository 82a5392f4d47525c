"""kill -9 of the server in the middle of a stream of batches, at a random moment."""

import os
import random
import subprocess
import time

from tests.integration import harness

_BATCH = 2


class ResumeTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("AMEND_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"AMEND_TEST_SEED={self.seed}", flush=True)
        self.random = random.Random(self.seed)
        self.records = harness.facts(10)
        self.file = harness.write_edits(self.path("edits.jsonl"), self.records)
        self.flags = ["edit", "--file", self.file, "--batch", str(_BATCH)]

    def outcome(self, server):
        """What has to be the same however often the server died."""
        listed = server.amend_json("revisions", "list")
        edits = [e for r in reversed(listed) for e in server.amend_json("revisions", "show", r["revision"])[0]["batch"]]
        answers = [server.amend_json("generate", r["prompt"], "--max-new-tokens", "12")[0]["text"] for r in self.records]
        return server.live(), [r["revision"] for r in listed], edits, answers

    def undisturbed(self):
        server = self.start(data="undisturbed")
        started = time.monotonic()
        server.amend(*self.flags)
        seconds = time.monotonic() - started
        outcome = self.outcome(server)
        server.stop()
        self.assertEqual(outcome[0], len(self.records) // _BATCH)
        return outcome, seconds

    def stream(self, address, retries):
        command = [harness.AMEND, "--server", address, *self.flags, "--retries", str(retries)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_the_same_command_after_a_crash_ends_where_an_undisturbed_run_does(self):
        wanted, seconds = self.undisturbed()
        for crash in range(3):
            with self.subTest(seed=self.seed, crash=crash):
                data = f"crash{crash}"
                server = self.start(data=data)
                client = self.stream(server.address, retries=0)
                try:
                    client.wait(self.random.uniform(0, seconds))
                except subprocess.TimeoutExpired:
                    pass
                server.kill()
                output, _ = client.communicate(timeout=harness.PATIENCE)
                self.assertIn(client.returncode, (0, 3), output)
                if client.returncode == 3:
                    self.assertIn("Run the same command again to resume", output)
                again = self.start(data=data)
                self.assertIn("10 edits: 10 live", again.amend(*self.flags))
                self.assertEqual(self.outcome(again), wanted)
                self.assertEqual(again.stop(), 0)

    def test_a_running_client_goes_on_by_itself_when_the_server_is_back(self):
        wanted, seconds = self.undisturbed()
        server = self.start(address=harness.lasting_address())
        client = self.stream(server.address, retries=30)
        try:
            client.wait(self.random.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            pass
        server.kill()
        again = self.start(address=server.address)
        output, _ = client.communicate(timeout=harness.PATIENCE)
        self.assertEqual(client.returncode, 0, f"seed {self.seed}: {output}")
        self.assertEqual(self.outcome(again), wanted)
