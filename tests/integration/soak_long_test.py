"""Half an hour of mixed load under edits: runs with tools/test --long alone. AMEND_SOAK_SECONDS shortens it."""

import os
import unittest

from tests.integration import soak_test


class SoakLongTest(soak_test.SoakTest):
    SECONDS = float(os.environ.get("AMEND_SOAK_SECONDS", "1800"))
    EDIT_SECONDS = 5


if __name__ == "__main__":
    unittest.main()
