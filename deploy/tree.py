"""What the tests of this folder read and run."""

import os
import pwd
import shutil
import subprocess

import yaml

# Reached through the runfiles, whose links lead back to the tree itself.
ROOT = os.path.dirname(os.path.realpath("WORKSPACE"))

# Far above what anything takes on a busy machine.
PATIENCE = 120


def path(*names):
    return os.path.join(ROOT, *names)


def text(*names):
    with open(path(*names), encoding="utf-8") as file:
        return file.read()


def documents(*names):
    """All documents of a YAML file."""
    return list(yaml.safe_load_all(text(*names)))


def document(*names):
    (only,) = documents(*names)
    return only


def find_tool(test, name, where):
    """The path of a program that only some machines have; without it the test is skipped and says so."""
    # Where tools/setup puts Prometheus. HOME is not what it was there.
    home = pwd.getpwuid(os.getuid()).pw_dir
    tool = shutil.which(name) or shutil.which(name, path=os.path.join(home, ".cache/amend/prometheus/usr/bin"))
    if tool is None:
        test.skipTest(f"no {name}: {where}")
    return tool


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **kwargs)
