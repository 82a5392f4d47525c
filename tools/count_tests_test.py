import json
import unittest

from tools import count_tests
from tools.count_tests import Counts

GTEST = """<testsuites tests="5" failures="1"><testsuite name="S">
  <testcase name="Passes" status="run" result="completed"/>
  <testcase name="AlsoPasses" status="run" result="completed"/>
  <testcase name="Fails" status="run" result="completed"><failure message="x"/></testcase>
  <testcase name="Skips" status="run" result="skipped"><skipped message=""/></testcase>
  <testcase name="DISABLED_Off" status="notrun" result="suppressed"/>
</testsuite></testsuites>"""
PASSED = '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>'


def result(label, status, uri, attempt=1):
    return json.dumps(
        {
            "id": {"testResult": {"label": label, "run": 1, "shard": 1, "attempt": attempt}},
            "testResult": {
                "status": status,
                "testActionOutput": [{"name": "test.log", "uri": "log"}, {"name": "test.xml", "uri": uri}],
            },
        }
    )


def configured(label, kind="cc_test rule"):
    return json.dumps({"id": {"targetConfigured": {"label": label}}, "configured": {"targetKind": kind}})


def completed(label, success):
    return json.dumps({"id": {"targetCompleted": {"label": label}}, "completed": {"success": True} if success else {}})


class CountCasesTest(unittest.TestCase):
    def test_counts_each_outcome_of_gtest(self):
        self.assertEqual(count_tests.count_cases(GTEST), Counts(passed=2, failed=1, skipped=2))

    def test_counts_an_error_as_a_failure(self):
        xml = '<testsuites><testsuite><testcase name="a"><error message="x"/></testcase></testsuite></testsuites>'
        self.assertEqual(count_tests.count_cases(xml), Counts(0, 1, 0))


class CountRunTest(unittest.TestCase):
    def test_counts_a_target_without_cases_as_one(self):
        self.assertEqual(count_tests.count_run("PASSED", ""), Counts(1, 0, 0))
        self.assertEqual(count_tests.count_run("FAILED", ""), Counts(0, 1, 0))

    def test_a_failed_run_has_a_failure_even_if_its_cases_passed(self):
        self.assertEqual(count_tests.count_run("TIMEOUT", PASSED), Counts(1, 1, 0))

    def test_cut_off_xml_counts_as_one(self):
        self.assertEqual(count_tests.count_run("FAILED", "<testsuites><tests"), Counts(0, 1, 0))


class CountEventsTest(unittest.TestCase):
    def test_sums_over_targets(self):
        files = {"a": GTEST, "b": PASSED}
        events = [result("//:a", "FAILED", "a"), result("//:b", "PASSED", "b")]
        self.assertEqual(count_tests.count_events(events, files.get), Counts(3, 1, 2))

    def test_only_the_last_attempt_counts(self):
        files = {"a": GTEST, "b": PASSED}
        events = [result("//:a", "FAILED", "a"), result("//:a", "PASSED", "b", attempt=2)]
        self.assertEqual(count_tests.count_events(events, files.get), Counts(1, 0, 0))

    def test_a_test_that_did_not_build_is_a_failure(self):
        events = [
            configured("//:a"),
            configured("//:b"),
            configured("//:lib", "cc_library rule"),
            completed("//:a", True),
            completed("//:b", False),
            completed("//:lib", False),
        ]
        self.assertEqual(count_tests.count_events(events), Counts(0, 1, 0))


class VerdictTest(unittest.TestCase):
    def test_all_passed(self):
        self.assertEqual(count_tests.verdict(Counts(3, 0, 0), 0), ("3 passed, 0 failed", True))

    def test_names_skipped_cases(self):
        self.assertEqual(count_tests.verdict(Counts(3, 0, 1), 0), ("3 passed, 0 failed, 1 skipped", True))

    def test_a_failed_build_is_at_least_one_failure(self):
        self.assertEqual(count_tests.verdict(Counts(3, 0, 0), 1), ("3 passed, 1 failed", False))

    def test_nothing_run_is_not_well(self):
        self.assertEqual(count_tests.verdict(Counts(0, 0, 0), 4), ("0 passed, 0 failed", False))
        self.assertEqual(count_tests.verdict(Counts(0, 0, 2), 0), ("0 passed, 0 failed, 2 skipped", False))


if __name__ == "__main__":
    unittest.main()
