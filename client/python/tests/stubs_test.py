"""The committed stubs are what the protos give."""

import os
import tempfile
import unittest

from client.python import generate_stubs


def read(folder):
    found = {}
    for name in os.listdir(folder):
        if "_pb2" in name:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found[name] = file.read()
    return found


class StubsTest(unittest.TestCase):
    def test_the_committed_stubs_are_those_of_the_protos(self):
        with tempfile.TemporaryDirectory() as out:
            generate_stubs.generate(os.getcwd(), out)
            made = read(os.path.join(out, "amend/v1"))
        committed = read("client/python/amend/v1")
        self.assertEqual(sorted(committed), sorted(made))
        stale = [name for name in made if made[name] != committed[name]]
        self.assertEqual(stale, [], "run client/python/generate_stubs.py")


if __name__ == "__main__":
    unittest.main()
