"""This source tree keeps the rules of tree_rules."""

import os
import unittest

from tests.lint import tree_rules

# Reached through the runfiles, whose links lead back to the tree itself.
ROOT = os.path.dirname(os.path.realpath("WORKSPACE"))
FILES = tree_rules.read_tree(ROOT)


class TreeTest(unittest.TestCase):
    def assert_clean(self, rule):
        found = sorted(rule(FILES))
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_the_tree_was_found(self):
        self.assertIn("tests/lint/tree_rules.py", FILES)
        self.assertIn("tools/test", FILES)


for _rule in tree_rules.CHECKS:
    setattr(TreeTest, "test_" + _rule.__name__, lambda self, rule=_rule: self.assert_clean(rule))


if __name__ == "__main__":
    unittest.main()
