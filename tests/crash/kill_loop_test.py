"""A short run of the kill loop; kill_loop_long_test has the long one."""

import unittest

from tests.crash import kill_loop
from tests.integration import harness


class KillLoopTest(harness.ServerTest):
    def test_whatever_was_acknowledged_survives_each_of_twelve_kills(self):
        seed = kill_loop.chosen_seed()
        report = kill_loop.KillLoop(self.folder, seed, kills_per_store=12).run(kills=12)
        print(report.text())
        self.assertEqual(report.counts["kills"], 12)


if __name__ == "__main__":
    unittest.main()
