"""What pyproject.toml says is true."""

import inspect
import os
import re
import unittest

import amend_client

_PACKAGE = "client/python"


def _text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class PackageTest(unittest.TestCase):
    def setUp(self):
        self.project = _text(f"{_PACKAGE}/pyproject.toml")

    def test_the_version_is_the_servers(self):
        version = re.search(r'"(\d+\.\d+\.\d+[^"]*)"', _text("server/version.h")).group(1)
        self.assertIn(f'version = "{version}"', self.project)

    def test_every_package_is_installed_and_typed(self):
        packages = re.search(r"packages = \[(.*)\]", self.project).group(1).replace('"', "").split(", ")
        with_code = {
            os.path.relpath(folder, _PACKAGE).replace("/", ".")
            for folder, _, names in os.walk(_PACKAGE)
            if any(name.endswith(".py") for name in names)
        }
        self.assertEqual(set(packages), with_code - {".", "tests", "examples"})
        for package in packages:
            self.assertTrue(os.path.exists(os.path.join(_PACKAGE, *package.split("."), "py.typed")), package)

    def test_every_name_that_is_imported_is_exported(self):
        imported = {n for n, m in vars(amend_client).items() if not n.startswith("_") and not inspect.ismodule(m)}
        self.assertEqual(set(amend_client.__all__), imported)



if __name__ == "__main__":
    unittest.main()
