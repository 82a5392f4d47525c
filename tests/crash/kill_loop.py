"""Kills amendd with SIGKILL, again and again, under mixed traffic, and checks what each start finds.

    bazel run //tests/crash:kill_loop -- --kills 500

One store lives through some kills; then the next begins anew. The seed of a run
is printed; it fixes the moments and the edits, not how threads interleave.
"""

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from amend.v1 import edit_pb2
from tests.crash import checks, clients, log as logs
from tests.integration import harness

# Few steps on one layer: a batch takes tens of milliseconds, and some fail the gate.
PROFILE = """
name: "kill-loop"
layers: [ 0 ]
lambda: 25
target { steps: 3 clamp: 4 }
context_templates { templates: "The people who live in Tolyatti. {}" }
covariance { text_file: "covariance_texts.txt" max_tokens_per_text: 4 }
"""

_FACTS = 60
# Revisions whose answers are compared after each start, beside the live one.
_ASKED = 6
# Every so often all batches are brought to their end before the checks.
_FINISH_EVERY = 4

# (share, name) of the moments to kill at: before the server is ready, while it solves what an earlier one
# left, at a random time of the traffic, or at something that a client heard or did.
_MOMENTS = [(15, "startup"), (15, "replay"), (35, "traffic"), (35, "event")]
# What an "event" may be, as the log calls it.
_EVENTS = ["DURABLE", "SOLVING", "STAGED", "STAGED", "STAGED", "LIVE", "VALIDATED", "REJECTED", "FAILED"]
_EVENTS += ["move sent", "moved", "canary sent", "canary moved"]
_EVENTS += ["withdraw sent", "withdrawn", "delete sent", "delete", "undelete", "pin", "purge sent", "purge"]


class Report:
    """What a run did and met."""

    def __init__(self):
        self.counts = collections.Counter()

    def add(self, what, count=1):
        self.counts[what] += count

    def text(self):
        return "\n".join(f"  {what}: {count}" for what, count in sorted(self.counts.items()))


class Store:
    """One data directory, the servers that run on it one after the other, and the log of it all."""

    def __init__(self, data, profile, seed, report):
        self._data = data
        self._flags = ("--profile", profile, "--threads", "1")
        self._random = random.Random(seed)
        self._report = report
        self.log = logs.Log()
        records = harness.facts(_FACTS)
        self._edits = clients.Edits(records, self._random.random())
        self._prompts = [r["prompt"] for r in records[:3]] + ["The capital of Jordan is"]
        self._start_seconds = 1.0
        self._server = None

    def cycle(self, finish):
        """A start, the checks, traffic, a kill; or a start alone, killed."""
        new = not os.path.exists(os.path.join(self._data, "store"))
        moment = self._random.choices([m for _, m in _MOMENTS], [share for share, _ in _MOMENTS])[0]
        if new and self._report.counts["kills at first startup"] < 2 * (1 + self._report.counts["stores"]):
            # What it makes then: the covariance, the solver's factors, RocksDB's files, the identity.
            moment = "first startup"
        self._server = harness.Amendd(self._data, flags=self._flags)
        self._server.spawn()
        if moment in ("startup", "first startup"):
            self._die_within(self._random.uniform(0, self._start_seconds))
        elif moment == "replay":
            self._ready()
            self._die_within(self._random.uniform(0, 0.3))
        else:
            self._ready()
            traffic = self._traffic()
            self._check(traffic, finish)
            traffic.start()
            if moment == "traffic":
                self._die_within(self._random.uniform(0, 1.2), traffic)
            else:
                event = self._random.choice(_EVENTS)
                happened = self.log.wait_for(event, self._random.randint(1, 4), 3)
                self._report.add(f"kills at {event}" if happened else "kills after waiting in vain")
                self._die_within(self._random.choice([0, self._random.uniform(0, 0.03)]), traffic)
            traffic.join()
            self._count_open()
        self._report.add(f"kills at {moment}")
        self._report.add("kills")
        self._raise_violations()

    def finish(self):
        """A last start: every batch comes to its end, and every revision answers as it did."""
        self._server = harness.Amendd(self._data, flags=self._flags)
        self._server.spawn()
        self._ready()
        traffic = self._traffic()
        state = self._check(traffic, finish=True)
        self._ask(traffic, state, [r for r in state.revisions if r in self.log.served])
        traffic.channel.close()
        self._report.add("revisions", len(state.revisions))
        self._report.add("batches", len(state.batches()))
        self._report.add("label moves", state.generation)
        cancelled = [b for b in state.batches().values() if b.error.code == checks.CANCELLED]
        self._report.add("batches cancelled", len(cancelled))
        partly = [b for b in state.batches().values() if b.stage == edit_pb2.LIVE and checks.dropped(b)]
        self._report.add("live batches of which edits were dropped", len(partly))
        self._report.add("moves of the label canary", self.log.count("canary moved"))
        self._report.add("revisions that withdraw edits", sum(bool(r.withdrawn) for r in state.revisions.values()))
        for verb in ("withdraw", "pin", "unpin", "delete", "undelete", "purge"):
            self._report.add(f"audit records of {verb}", sum(record.verb == verb for record in state.audit))
        self._report.add("audit records", len(state.audit))
        for gone in ("deleted", "purged"):
            self._report.add(f"requests that a {gone} revision refused", self.log.count(f"asked {gone}"))
        code = self._server.stop()
        if code != 0:
            self.log.violated(f"the server ended with {code}: {self._server.errors()}")
        self._raise_violations()

    def close(self):
        if self._server is not None and self._server.process.poll() is None:
            self._server.kill()

    def _ready(self):
        began = time.monotonic()
        self._server.wait_ready()
        seconds = time.monotonic() - began
        self._start_seconds = max(0.05, seconds)
        self._report.add("starts")

    def _traffic(self):
        seed = self._random.random()
        return clients.Traffic(self._server.address, self.log, self._edits, self._prompts, seed)

    def _die_within(self, seconds, traffic=None):
        """The server runs for so long and is killed. It never ends by itself."""
        try:
            self._server.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        if traffic is not None:
            traffic.over.set()
        code = self._server.kill()
        errors = self._server.errors()
        if code != -9:
            self.log.violated(f"the server ended by itself, with {code}: {errors}")
        self._check_errors(errors)

    def _check_errors(self, errors):
        strange = [line for line in errors.splitlines() if not line.startswith("amendd: ") or "not served" in line]
        if strange:
            self.log.violated("stderr of the server: " + "\n".join(strange))

    def _count_open(self):
        batches = self.log.batches.values()
        self._report.add("batches open at a kill", sum(b.outcome is None for b in batches))
        self._report.add("batches open and durable at a kill", sum(b.durable and b.outcome is None for b in batches))
        moves = sum(m.generation is None and not m.refused for m in self.log.moves)
        self._report.add("promotions and rollbacks open at a kill", moves)
        self._report.add("moves of the label canary open at a kill", len(self.log.canary) - 1)
        for verb in self.log.verbs:
            if verb.records is None and verb.name in ("withdraw", "pin", "unpin", "delete", "undelete", "purge"):
                self._report.add(f"verb open at a kill: {verb.name}")

    def _check(self, traffic, finish):
        """Holds the server against the log."""
        log = self.log
        if finish:
            self._finish_batches(traffic)
        state = checks.read(traffic.edits, traffic.revisions, log.sessions())
        self._count_found(state)
        for check in checks.ALL:
            for violation in check(state, log):
                log.violated(violation)
        for violation in checks.check_first_live(self._server.first_live(), state, log):
            log.violated(violation)
        self._raise_violations()
        fresh = [number for number in state.revisions if number not in log.detailed]
        for number in fresh:
            for violation in checks.check_details(number, traffic.revisions, state, log):
                log.violated(violation)
            for violation in checks.check_withdrawn(number, traffic.generation, state, log):
                log.violated(violation)
        log.detailed.update(fresh)
        checks.settle(state, log)
        noted = sorted(log.served)
        self._ask(traffic, state, self._random.sample(noted, min(_ASKED, len(noted))))
        self._report.add("checks")
        self._raise_violations()
        return state

    def _count_found(self, state):
        """What the kill left, that no client knew."""
        for key, status in state.batches().items():
            batch = self.log.batches[key]
            if not batch.durable and batch.outcome is None:
                self._report.add("batches found durable without an acknowledgement")
            if batch.outcome is None and logs.is_last(status):
                self._report.add("outcomes found that nobody was told")
            if not logs.is_last(status):
                self._report.add("batches found to be solved by the start")
        verbs = sum(m.generation is not None for m in self.log.moves)
        if state.generation > self.log.generation and verbs < len(self.log.moves):
            self._report.add("labels found further than was told")

    def _finish_batches(self, traffic):
        for session in self.log.sessions():
            unfinished = self.log.unfinished(session)
            if unfinished and clients.is_unary(session):
                clients.finish_request(traffic, unfinished[0])
            elif unfinished:
                clients.finish_session(traffic, session, unfinished[0].staged)

    def _ask(self, traffic, state, revisions):
        """What a revision said before the kill it says again, to the last bit of each log probability."""
        for revision in {*revisions, state.live}:
            for prompt in self.log.noted(revision) or self._prompts[:1]:
                clients.generate(traffic, prompt, revision)
                self._report.add("answers compared")

    def _raise_violations(self):
        if self.log.violations:
            errors = self._server.errors()
            raise AssertionError("\n".join(self.log.violations) + f"\nstderr of the last server: {errors}")


class KillLoop:
    """The loop over stores and kills, in a folder of its own."""

    def __init__(self, folder, seed, kills_per_store=25):
        self._folder = folder
        self._random = random.Random(seed)
        self._kills_per_store = kills_per_store
        self.report = Report()
        self._profile = os.path.join(folder, "profile.textproto")
        with open(self._profile, "w", encoding="utf-8") as file:
            file.write(PROFILE)
        self._new = os.path.join(folder, "new")
        server = harness.Amendd(self._new, flags=("--profile", self._profile)).start()
        assert server.stop() == 0, server.errors()

    def run(self, kills, seconds=float("inf")):
        """Until so many kills, or the time is over. Raises AssertionError at the first violation."""
        end = time.monotonic() + seconds
        while self.report.counts["kills"] < kills and time.monotonic() < end:
            data = os.path.join(self._folder, f"store{self.report.counts['stores']}")
            if self._random.random() < 0.7:
                shutil.copytree(self._new, data)
            store = Store(data, self._profile, self._random.random(), self.report)
            try:
                for cycle in range(min(self._kills_per_store, kills - self.report.counts["kills"])):
                    store.cycle(finish=cycle % _FINISH_EVERY == _FINISH_EVERY - 1)
                    if time.monotonic() > end:
                        break
                store.finish()
            finally:
                store.close()
            # After a violation it stays for a look.
            shutil.rmtree(data)
            self.report.add("stores")
        return self.report


def chosen_seed():
    """AMEND_TEST_SEED, else a new one; printed."""
    seed = int(os.environ.get("AMEND_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"AMEND_TEST_SEED={seed}", flush=True)
    return seed


def main():
    parser = argparse.ArgumentParser(description="Kills amendd under traffic and checks each start.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after this time, whatever was done")
    parser.add_argument("--kills-per-store", type=int, default=25)
    parser.add_argument("--folder", help="where stores are made; a violation leaves its store there")
    flags = parser.parse_args()
    seed = chosen_seed()
    folder = tempfile.mkdtemp(prefix="amend-kill-loop-", dir=flags.folder)
    began = time.monotonic()
    loop = KillLoop(folder, seed, flags.kills_per_store)
    try:
        loop.run(flags.kills, flags.seconds)
    except AssertionError as error:
        print(f"{loop.report.text()}\nVIOLATION, store kept in {folder}:\n{error}", flush=True)
        return 1
    shutil.rmtree(folder)
    counts = loop.report.counts
    print(f"{loop.report.text()}\n{counts['kills']} kills in {time.monotonic() - began:.0f} s, no violation")
    print(json.dumps({"seed": seed, **counts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
