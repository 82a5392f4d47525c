"""/metrics of a real server: it is what docs/metrics.md says, promtool finds nothing, and no client can add to it."""

import os
import random
import re
import string

import grpc

import amend_client
from deploy import tree
from tests.integration import harness, wire

_PAGE = "docs/metrics.md"
_SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$")


def families(text):
    """{name: (type, labels)} of an exposition; `le` of histograms is not a label of ours."""
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    labels = {name: set() for name in types}
    for line in text.splitlines():
        match = _SERIES.match(line)
        if match:
            name = match.group(1)
            if name not in types:
                name = re.sub(r"_(bucket|sum|count)$", "", name)
            labels[name] |= set(re.findall(r"(\w+)=\"", match.group(2) or "")) - {"le"}
    return {name: (types[name], frozenset(labels[name])) for name in types}


def series(text):
    """The name and labels of each series."""
    return {line.rpartition(" ")[0] for line in text.splitlines() if _SERIES.match(line)}


def documented():
    """The same as families() from the page's tables: | `name` | type | `label`, ... | what |"""
    with open(_PAGE, encoding="utf-8") as file:
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", file.read(), re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


class MetricsTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("AMEND_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"AMEND_TEST_SEED={self.seed}", flush=True)
        self.random = random.Random(self.seed)
        self.server = self.start()
        self.client = amend_client.Client(self.server.address, retries=amend_client.NO_RETRIES)
        self.addCleanup(self.client.close)

    def one_of_everything(self):
        """What makes each family have a series."""
        edits = [wire.edit_of(record) for record in harness.facts(2)]
        self.client.edit(edits[:1])
        self.client.edit(edits[1:], thresholds=amend_client.GateThresholds(max_perplexity_change=0, reliability=1))
        list(self.client.stream("The capital of Jordan is", max_new_tokens=4))
        with self.assertRaises(amend_client.InvalidArgument):
            self.client.generate("", max_new_tokens=4)
        self.client.rollback(reason="a test", to=0)

    def test_the_page_lists_what_the_server_shows(self):
        self.one_of_everything()
        shown = families(self.server.get("/metrics"))
        self.maxDiff = None
        self.assertEqual(documented(), shown)

    def test_promtool_finds_nothing(self):
        promtool = tree.find_tool(self, "promtool", "run tools/setup")
        self.one_of_everything()
        checked = harness.run([promtool, "check", "metrics"], input=self.server.get("/metrics"))
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))

    def word(self):
        return "zq" + "".join(self.random.choices(string.ascii_letters + string.digits, k=12))

    def fuzz(self):
        """Whatever of a client's own words may reach the server. Every word begins with zq."""
        word, client = self.word, self.client
        record = harness.facts(1)[0]
        calls = [
            lambda: client.edit([{"prompt": word(), "subject": word(), "target_new": word()}], request_id=word()),
            lambda: list(client.stream_edits([[{"prompt": word(), "subject": "", "target_new": ""}]], session=word())),
            lambda: client.edit([wire.edit_of(record)], request_id=word(), validate_only=True),
            lambda: client.generate(word(), at=word()),
            lambda: client.generate(word(), max_new_tokens=1, stop=[word()]),
            lambda: client.generate(word(), top_p=-1.0),
            lambda: client.generate(word() * 400, max_new_tokens=1),
            lambda: client.generate(word(), at=self.random.randrange(1 << 40)),
            lambda: client.set_label(word(), 0, reason=word()),
            lambda: client.delete_label(word()),
            lambda: client.rollback(reason=word(), label=word()),
            lambda: client.promote(self.random.randrange(5, 1 << 40), reason=word(), etag=word()),
            lambda: client.batch(word()),
            lambda: client.cancel_batch(word(), reason=word()),
            lambda: self.call_unknown(f"/{word()}/{word()}"),
            lambda: self.call_unknown(f"/amend.v1.EditService/{word()}"),
            lambda: self.call_unknown("/amend.v1.GenerationService/Generate", word().encode()),
        ]
        for call in calls:
            try:
                call()
            except (amend_client.AmendError, grpc.RpcError):
                pass

    def call_unknown(self, path, request=b""):
        with grpc.insecure_channel(self.server.address) as channel:
            channel.unary_unary(path)(request, metadata=(("zq-" + self.word().lower(), self.word()),))

    def test_no_word_of_a_client_becomes_a_label_and_no_load_adds_series(self):
        self.one_of_everything()
        for _ in range(3):
            self.fuzz()
        before = series(self.server.get("/metrics"))
        for _ in range(20):
            self.fuzz()
        text = self.server.get("/metrics")
        self.assertNotIn("zq", text, f"seed {self.seed}")
        added = {s for s in series(text) - before if not s.startswith("amend_live_revision_info")}
        self.assertEqual(added, set(), f"seed {self.seed}")
        self.assertLess(len(before), 1500)
