"""A real Prometheus scrapes amendd under load; every query of the dashboard and every recording rule has an answer."""

import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request

import yaml

from deploy import tree
from tests.integration import harness

# Reached through the runfiles: the tree's own files, as a deployment has them.
_RULES = os.path.abspath("deploy/prometheus/rules.yaml")
_DASHBOARD = os.path.abspath("deploy/grafana/amend.json")
_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')
# What rates are taken over: far more than two scrapes.
_WINDOW = "1m"


class Prometheus:
    """Debian's Prometheus on a free port, scraping once a second."""

    def __init__(self, program, folder, target):
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [_RULES],
            "scrape_configs": [{"job_name": "amend", "static_configs": [{"targets": [target]}]}],
        }
        path = os.path.join(folder, "prometheus.yaml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump(config, file)
        storage = os.path.join(folder, "prometheus")
        self.process = subprocess.Popen(
            [program, f"--config.file={path}", f"--storage.tsdb.path={storage}", "--web.listen-address=127.0.0.1:0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = None
        for line in self.process.stderr:
            match = _LISTENING.search(line)
            if match is not None:
                self.address = match.group(1)
            # Only from here on it answers.
            if "Server is ready" in line:
                break

    def query(self, expression):
        """What an instant query gives: a list of series with their values."""
        encoded = urllib.parse.urlencode({"query": expression})
        url = f"http://{self.address}/api/v1/query?{encoded}"
        with urllib.request.urlopen(url, timeout=harness.PATIENCE) as reply:
            return json.load(reply)["data"]["result"]

    def stop(self):
        self.process.kill()
        self.process.wait(harness.PATIENCE)
        self.process.stderr.close()


def dashboard_queries():
    with open(_DASHBOARD, encoding="utf-8") as file:
        board = json.load(file)
    found = [a["expr"] for a in board["annotations"]["list"]]
    found += [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return [q.replace("$__rate_interval", _WINDOW).replace("$instance", ".+") for q in found]


def recorded():
    with open(_RULES, encoding="utf-8") as file:
        groups = yaml.safe_load(file)["groups"]
    return [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]


class PrometheusTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        # Room for 85 tokens: one request can ask for more.
        self.server = self.start(flags=["--kv-cache-mib", "1"])

    def edit_and_withdraw(self):
        """An edit that takes, one that the gate turns down, and the first one taken back."""
        record = harness.facts(1)[0]
        amend = self.server.amend
        amend("edit", "--prompt", record["prompt"], "--subject", record["subject"], "--target", record["target_new"])
        live = self.server.live()
        # A neighbour whose answer the edit itself changes.
        probe = {"prompt": record["prompt"], "answer": record["target_new"]}
        contradiction = {k: record[k] for k in ("prompt", "subject")}
        contradiction.update(target_new=record["ground_truth"], locality_probes=[probe])
        path = harness.write_edits(self.path("contradiction.jsonl"), [contradiction])
        amend("edit", "--file", path, "--min-locality", "1", expect=1)
        amend("withdraw", f"{live}:0", "--reason", "test")

    def generate_and_move(self):
        """Answers, a move back and forth if there is where to go, and a request that asks for too much."""
        self.server.amend("generate", "The capital of Jordan is", "--max-new-tokens", "12")
        live = self.server.live()
        if live > 0:
            self.server.amend("rollback", "--to", "0", "--reason", "test")
            self.server.amend("generate", "The capital of Jordan is", "--max-new-tokens", "12")
            self.server.amend("promote", live)
        self.server.amend("generate", "The capital of Jordan is", "--max-new-tokens", "200", expect=4)

    def test_every_query_of_the_dashboard_has_an_answer(self):
        program = tree.find_tool(self, "prometheus", "run tools/setup")
        prometheus = Prometheus(program, self.folder, self.server.http)
        self.addCleanup(prometheus.stop)
        unanswered = dashboard_queries() + recorded()
        self.assertGreater(len(unanswered), 40)
        end = time.monotonic() + harness.PATIENCE
        # What happens before the first scrape is in no rate.
        while not prometheus.query("up == 1") and time.monotonic() < end:
            self.generate_and_move()
        self.edit_and_withdraw()
        while unanswered and time.monotonic() < end:
            self.generate_and_move()
            unanswered = [query for query in unanswered if not prometheus.query(query)]
        self.assertEqual(unanswered, [])
        self.assertEqual(prometheus.query('ALERTS{alertname="AmendDown"}'), [])
