"""Half a minute of mixed load under edits; soak_long_test has half an hour."""

import unittest

from tests.integration import harness, soak

# Room that the process may still take in the second half: revisions, and the allocator's.
_GROWTH_MIB = 128


class SoakTest(harness.ServerTest):
    SECONDS = 25
    EDIT_SECONDS = 1

    def test_nothing_is_lost_mixed_up_or_growing(self):
        # A small KV cache, so that its blocks come and go.
        server = self.start(flags=["--kv-cache-mib", "16"])
        run = soak.Soak(server, harness.facts(120), soak.chosen_seed())
        run.run(self.SECONDS, self.EDIT_SECONDS)
        print(run.report())
        self.assertEqual(run.problems, [])
        for what in ("whole", "streamed", "cancelled", "compared", "cached", "edits"):
            self.assertGreater(run.counts[what], 0, what)
        self.assertLess(run.grown_mib(), _GROWTH_MIB)
        self.assertIn("amend_kv_cache_usage_ratio", server.get("/metrics"))
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
