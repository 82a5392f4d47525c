"""Counts the test cases of one `bazel test`, from its build event file.

Prints `N passed, N failed` (and `, N skipped` if any were). Exits with 1 when
something failed or did not build, and when nothing ran.
"""

import argparse
import collections
import json
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree

Counts = collections.namedtuple("Counts", ["passed", "failed", "skipped"])

# What Bazel exits with when no test was selected.
_NO_TESTS = 4


def count_cases(xml_text):
    """Counts the cases of one test.xml, in gtest's dialect or Bazel's own."""
    passed = failed = skipped = 0
    for case in ElementTree.fromstring(xml_text).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif (
            case.find("skipped") is not None
            or case.get("status") == "notrun"
            or case.get("result") in ("skipped", "suppressed")
        ):
            skipped += 1
        else:
            passed += 1
    return Counts(passed, failed, skipped)


def count_run(status, xml_text):
    """Counts one run of a test target that ended in Bazel's `status`."""
    ok = status in ("PASSED", "FLAKY")
    try:
        counts = count_cases(xml_text)
    except ElementTree.ParseError:
        counts = Counts(0, 0, 0)
    if ok and not any(counts):
        return Counts(1, 0, 0)
    if not ok and counts.failed == 0:  # Crashed or timed out outside a case.
        return counts._replace(failed=1)
    return counts


def read_file_uri(uri):
    try:
        with open(urllib.parse.unquote(urllib.parse.urlparse(uri).path), encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def count_events(lines, read=read_file_uri):
    """Sums the last attempt of each run, and tests that did not build."""
    runs = {}
    tests = set()
    built = set()
    for line in lines:
        event = json.loads(line)
        event_id = event.get("id", {})
        test_id = event_id.get("testResult")
        if test_id and "testResult" in event:
            key = (test_id["label"], test_id.get("run"), test_id.get("shard"))
            outputs = {o["name"]: o.get("uri", "") for o in event["testResult"].get("testActionOutput", [])}
            runs[key] = (event["testResult"].get("status"), outputs.get("test.xml", ""))
        elif event.get("configured", {}).get("targetKind", "").endswith("_test rule"):
            tests.add(event_id["targetConfigured"]["label"])
        elif event.get("completed", {}).get("success"):
            built.add(event_id["targetCompleted"]["label"])
    counts = [count_run(status, read(uri)) for status, uri in runs.values()]
    passed, failed, skipped = (sum(column) for column in zip(*counts)) if counts else (0, 0, 0)
    return Counts(passed, failed + len(tests - built), skipped)


def verdict(counts, exit_code):
    """The line to print and whether all is well, given Bazel's exit code."""
    # A build that fails outside the tests fails no test case: it counts as one.
    if exit_code not in (0, _NO_TESTS) and counts.failed == 0:
        counts = counts._replace(failed=1)
    line = f"{counts.passed} passed, {counts.failed} failed"
    if counts.skipped:
        line += f", {counts.skipped} skipped"
    return line, exit_code == 0 and counts.failed == 0 and counts.passed > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exit_code", type=int, required=True, help="what `bazel test` exited with")
    parser.add_argument("events", help="its --build_event_json_file")
    arguments = parser.parse_args()
    with open(arguments.events, encoding="utf-8") as file:
        counts = count_events(file)
    line, ok = verdict(counts, arguments.exit_code)
    print(line)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
