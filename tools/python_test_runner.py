#!/usr/bin/python3
"""Runs the unittest cases of one file and reports them to Bazel, one by one."""

import importlib.util
import os
import sys
import time
import unittest
import xml.etree.ElementTree as ElementTree

# Where imports are looked for, in the workspace.
_ROOTS = [".", "proto", "third_party/googleapis", "client/python"]


class _XmlResult(unittest.TextTestResult):
    """Writes what Bazel reads as test.xml, beside the usual text."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.suite = ElementTree.Element("testsuite", name="unittest")

    def startTest(self, test):
        super().startTest(test)
        module, _, name = test.id().rpartition(".")
        self._case = ElementTree.SubElement(self.suite, "testcase", name=name, classname=module)
        self._started = time.monotonic()

    def stopTest(self, test):
        self._case.set("time", "%.3f" % (time.monotonic() - self._started))
        super().stopTest(test)

    def _note(self, test, kind, text):
        case = self._case
        if not hasattr(test, "_testMethodName"):  # Failed in setUpClass or on import.
            case = ElementTree.SubElement(self.suite, "testcase", name=str(test))
        ElementTree.SubElement(case, kind, message=text.strip().rpartition("\n")[2]).text = text

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, "failure", self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, "error", self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failure", self._exc_info_to_string(err, test))

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note(test, "failure", "unexpected success")


def main():
    path = sys.argv[1]
    sys.path[:0] = [os.path.abspath(root) for root in _ROOTS]
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    if suite.countTestCases() == 0:
        sys.exit(f"no test cases in {path}")
    result = unittest.TextTestRunner(resultclass=_XmlResult, verbosity=2).run(suite)
    if "XML_OUTPUT_FILE" in os.environ:
        suites = ElementTree.Element("testsuites")
        suites.append(result.suite)
        ElementTree.ElementTree(suites).write(os.environ["XML_OUTPUT_FILE"], encoding="utf-8")
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
