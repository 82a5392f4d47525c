"""The rules of Prometheus and the dashboard of Grafana: that they fire, and that they ask for what amendd has."""

import glob
import json
import os
import re
import tempfile
import unittest

import yaml

from deploy import tree

RULES = [rule for group in tree.document("deploy/prometheus/rules.yaml")["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
CASES = tree.document("deploy/prometheus/rules_test.yaml")["tests"]
BOARD = json.loads(tree.text("deploy/grafana/amend.json"))


def exported():
    """The names in the code of the server's metrics, with those that a histogram has."""
    code = "".join(tree.text(path) for path in sorted(glob.glob(tree.path("server/metrics*.cc"))))
    names = set(re.findall(r'"((?:amend|grpc_server|process)_\w+)"', code))
    return names | {name + suffix for name in names for suffix in ("_bucket", "_sum", "_count")}


def asked_for(expression):
    return set(re.findall(r"\b(?:amend|grpc_server|process)_\w+", re.sub(r"\binstance:[\w:]+", "", expression)))


def queries():
    """Every query of the dashboard, as Prometheus gets it."""
    found = [a["expr"] for a in BOARD["annotations"]["list"]]
    found += [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", [])]
    return [q.replace("$__rate_interval", "1m").replace("$instance", ".+") for q in found]


class RulesTest(unittest.TestCase):
    def promtool(self, *arguments):
        return tree.run(tree.find_tool(self, "promtool", "run tools/setup"), *arguments)

    def test_promtool_takes_them(self):
        for command in (["check", "rules", "rules.yaml"], ["check", "config", "prometheus.yaml"]):
            checked = self.promtool(*command[:2], tree.path("deploy/prometheus", command[2]))
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_each_alert_fires_where_its_case_says(self):
        tested = self.promtool("test", "rules", tree.path("deploy/prometheus/rules_test.yaml"))
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)

    def test_each_alert_has_a_case_that_fires_it_and_one_that_does_not(self):
        cases = [test for case in CASES for test in case["alert_rule_test"]]
        fired = {c["alertname"] for c in cases if c["exp_alerts"]}
        quiet = {c["alertname"] for c in CASES[0]["alert_rule_test"] if not c["exp_alerts"]}
        names = {rule["alert"] for rule in ALERTS}
        self.assertEqual((fired, quiet), (names, names))

    def test_each_alert_has_a_section_of_the_runbook(self):
        sections = re.findall(r"^## (Amend\w+)$", tree.text("docs/runbook.md"), re.MULTILINE)
        self.assertEqual(sections, [rule["alert"] for rule in ALERTS])
        for rule in ALERTS:
            self.assertEqual(rule["annotations"]["runbook"], f"docs/runbook.md#{rule['alert'].lower()}")
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"))

    def test_they_ask_for_metrics_that_amendd_has(self):
        for rule in RULES:
            self.assertEqual(asked_for(rule["expr"]) - exported(), set(), rule)

    def test_they_ask_for_records_that_there_are(self):
        records = {rule["record"] for rule in RULES if "record" in rule}
        for rule in RULES:
            self.assertLessEqual(set(re.findall(r"\binstance:[\w:]+", rule["expr"])), records)

    def test_indented_they_are_the_spec_of_a_prometheus_rule(self):
        """As docs/deployment.md makes one for the operator."""
        rules = tree.text("deploy/prometheus/rules.yaml")
        indented = "spec:\n" + "".join(f"  {line}\n" for line in rules.splitlines())
        self.assertEqual(yaml.safe_load(indented)["spec"], yaml.safe_load(rules))


class DashboardTest(unittest.TestCase):
    def test_it_asks_for_metrics_that_amendd_has(self):
        for query in queries():
            self.assertNotEqual(asked_for(query), set(), query)
            self.assertEqual(asked_for(query) - exported(), set(), query)

    def test_it_shows_every_metric_but_these(self):
        shown = set().union(*map(asked_for, queries()))
        families = {n for n in exported() if not n.endswith(("_bucket", "_sum", "_count"))}
        unseen = {f for f in families if not any(s == f or s.startswith(f + "_") for s in shown)}
        # Most servers have no series of these; they are for the alerts.
        alerted = {
            "amend_security_file_refused",
            "amend_security_reloads_total",
            "amend_tls_certificate_expiry_timestamp_seconds",
        }
        self.assertEqual(unseen, {"process_virtual_memory_bytes", "process_max_fds"} | alerted)

    def test_prometheus_can_read_its_queries(self):
        promtool = tree.find_tool(self, "promtool", "run tools/setup")
        rules = [{"record": f"query{i}", "expr": query} for i, query in enumerate(queries())]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=os.environ.get("TEST_TMPDIR")) as file:
            yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            checked = tree.run(promtool, "check", "rules", file.name)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_panels_do_not_overlap(self):
        taken = {}
        for panel in BOARD["panels"]:
            grid = panel["gridPos"]
            self.assertLessEqual(grid["x"] + grid["w"], 24, panel["title"])
            for x in range(grid["x"], grid["x"] + grid["w"]):
                for y in range(grid["y"], grid["y"] + grid["h"]):
                    self.assertIsNone(taken.setdefault((x, y), None), panel["title"])
                    taken[x, y] = panel["title"]

    def test_ids_are_unique(self):
        ids = [panel["id"] for panel in BOARD["panels"]]
        self.assertEqual(len(ids), len(set(ids)))


if __name__ == "__main__":
    unittest.main()
