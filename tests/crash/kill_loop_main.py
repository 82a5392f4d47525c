#!/usr/bin/python3
"""Runs kill_loop.py by hand, with the folders of a python_test: bazel run //tests/crash:kill_loop -- --help"""

import os
import sys

sys.path[:0] = [os.path.abspath(root) for root in (".", "proto", "third_party/googleapis")]

from tests.crash import kill_loop  # pylint: disable=wrong-import-position

sys.exit(kill_loop.main())
