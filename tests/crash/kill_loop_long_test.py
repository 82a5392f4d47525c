"""Five hundred kills: minutes, so it runs with tools/test --long alone."""

import unittest

from tests.crash import kill_loop
from tests.integration import harness


class KillLoopLongTest(harness.ServerTest):
    def test_whatever_was_acknowledged_survives_each_of_500_kills(self):
        seed = kill_loop.chosen_seed()
        report = kill_loop.KillLoop(self.folder, seed).run(kills=500)
        print(report.text())
        self.assertEqual(report.counts["kills"], 500)


if __name__ == "__main__":
    unittest.main()
