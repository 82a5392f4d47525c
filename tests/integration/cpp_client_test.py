"""The example of the C++ client against the real server: the whole way, again, and across kill -9."""

import os
import subprocess

from tests.integration import harness

QUICKSTART = os.path.abspath("client/examples/quickstart")

_ANSWERS = ["before: Amman", "after: Bangui", "now: Amman"]


class CppClientTest(harness.ServerTest):
    def run_example(self, server, *arguments):
        result = harness.run([QUICKSTART, server.address, *arguments])
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        return result.stdout.splitlines()

    def check_answers(self, lines):
        self.assertEqual([line for line in lines if line.split(":")[0] in ("before", "after", "now")], _ANSWERS)

    def test_it_edits_streams_lists_and_rolls_back(self):
        lines = self.run_example(self.start())
        self.check_answers(lines)
        self.assertEqual(lines[1], "goes on at offset 0")
        for offset in (0, 1):
            stages = [line.split()[-1] for line in lines if line.startswith(f"batch {offset}:")]
            self.assertEqual((stages[0], stages[-1]), ("ACCEPTED", "LIVE"))
        self.assertIn("revision 2 of parent 1", lines)
        self.assertIn("revision 1 of parent 0", lines)
        self.assertIn("rolled back: 2 -> 0", lines)
        self.assertEqual(lines[-1], "an error: LABEL_NOT_FOUND")

    def test_the_same_session_again_does_nothing_twice(self):
        server = self.start()
        self.run_example(server, "s")
        server.amend("promote", "2")
        lines = self.run_example(server, "s")
        self.assertIn("goes on at offset 2", lines)
        self.assertIn("rolled back: 2 -> 0", lines)
        self.assertEqual(len(server.amend_json("revisions")), 2)

    def test_it_goes_on_after_the_server_was_killed(self):
        server = self.start(address=harness.lasting_address())
        with subprocess.Popen([QUICKSTART, server.address], stdout=subprocess.PIPE, text=True) as example:
            lines = []
            for line in example.stdout:
                lines.append(line.rstrip("\n"))
                if lines[-1] == "batch 0: DURABLE":
                    break
            server.kill()
            self.start(address=server.address)
            lines += [line.rstrip("\n") for line in example.stdout]
        self.assertEqual(example.returncode, 0, lines)
        self.assertTrue(any(line.startswith("attempt 1 after: ") for line in lines), lines)
        self.check_answers(lines)
        self.assertIn("rolled back: 2 -> 0", lines)

    def test_a_server_that_is_not_there_is_an_error_in_one_line(self):
        result = harness.run([QUICKSTART, "127.0.0.1:1"])
        self.assertEqual(result.returncode, 1)
        self.assertIn("UNAVAILABLE", result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1)
