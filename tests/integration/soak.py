"""Mixed generation under edits and label moves for a while: is anything lost, mixed up or growing?"""

import os
import random
import re
import threading
import time

import grpc

from amend.v1 import edit_pb2, edit_pb2_grpc, generation_pb2, generation_pb2_grpc, revision_pb2, revision_pb2_grpc
from tests.integration import harness, wire

_CLIENTS = 6
# Prompts begin with one of them: sequences share that in the KV cache.
_BEGINNINGS = [" ".join(["The quick brown fox jumps over the lazy dog."] * n) + " " for n in (2, 3)] + [""]


def chosen_seed():
    """AMEND_TEST_SEED, else a new one; printed."""
    seed = int(os.environ.get("AMEND_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"AMEND_TEST_SEED={seed}", flush=True)
    return seed


def _percentiles(seconds):
    ordered = sorted(seconds)
    if not ordered:
        return "none"
    picked = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.9, 0.99)]
    return " / ".join(f"{1e3 * value:.1f}" for value in picked) + " ms"


class Soak:
    """run() once."""

    def __init__(self, server, records, seed):
        self._server = server
        self._records = records
        self._seed = seed
        self._end = threading.Event()
        self._lock = threading.Lock()
        # By revision and prompt: the first answer. All others have to be the same.
        self._answers = {}
        self._revisions = [0]
        self.problems = []
        self.counts = dict.fromkeys(["whole", "streamed", "cancelled", "compared", "edits", "moves", "cached"], 0)
        self.first_token, self.between, self.resident = [], [], []

    def run(self, seconds, edit_seconds):
        threads = [threading.Thread(target=self._guard, args=(self._client, i)) for i in range(_CLIENTS)]
        threads.append(threading.Thread(target=self._guard, args=(self._editor, edit_seconds)))
        for thread in threads:
            thread.start()
        began = time.monotonic()
        while not self._end.wait(min(5, seconds / 10)) and time.monotonic() - began < seconds:
            self.resident.append(self._resident_mib())
        self._end.set()
        for thread in threads:
            thread.join(harness.PATIENCE)
            if thread.is_alive():
                self.problems.append("a client still waits: its stream was lost")
        self.resident.append(self._resident_mib())

    def report(self):
        lines = [f"{name}: {count}" for name, count in self.counts.items()]
        lines.append(f"first token, p50 / p90 / p99: {_percentiles(self.first_token)}")
        lines.append(f"between messages: {_percentiles(self.between)}")
        lines.append("resident MiB: " + " ".join(f"{mib:.0f}" for mib in self.resident))
        return "\n".join(lines + self.problems)

    def grown_mib(self):
        """In the second half."""
        return self.resident[-1] - self.resident[len(self.resident) // 2]

    def _resident_mib(self):
        with open(f"/proc/{self._server.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024

    def _guard(self, run, argument):
        try:
            with grpc.insecure_channel(self._server.address) as channel:
                run(channel, argument)
        except Exception as error:  # pylint: disable=broad-except
            self.problems.append(f"{type(error).__name__}: {error}")
            self._end.set()

    def _count(self, what, by=1):
        with self._lock:
            self.counts[what] += by

    def _client(self, channel, number):
        chance = random.Random(self._seed + number)
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        while not self._end.is_set():
            record = chance.choice(self._records)
            request = generation_pb2.GenerateRequest(max_new_tokens=chance.choice([4, 16, 40]), logprobs=True)
            request.prompt = chance.choice(_BEGINNINGS) + record["prompt"]
            if chance.random() < 0.6:
                request.at.revision = chance.choice(self._revisions)
            kind = chance.random()
            if kind < 0.3:
                answer = stub.Generate(request, timeout=harness.PATIENCE)
                self._compare(request, [answer])
                self._count("whole")
            elif kind < 0.9:
                self._stream(stub, request)
            else:
                stream = stub.GenerateStream(request)
                next(stream)
                stream.cancel()
                self._count("cancelled")

    def _stream(self, stub, request):
        last = time.monotonic()
        gaps, parts = [], []
        for part in stub.GenerateStream(request, timeout=harness.PATIENCE):
            now = time.monotonic()
            gaps.append(now - last)
            last = now
            parts.append(part)
        if parts[-1].finish_reason == generation_pb2.FINISH_REASON_UNSPECIFIED:
            self.problems.append(f"a stream ended without an end: {request}")
        if parts[0].revision != parts[-1].revision:
            self.problems.append(f"a stream began at {parts[0].revision} and ended at {parts[-1].revision}")
        self._compare(request, parts)
        self._count("streamed")
        with self._lock:
            self.first_token.append(gaps[0])
            self.between += gaps[1:]

    def _compare(self, request, parts):
        """The answer of a revision is the first one to the last bit of each log probability, whatever else runs."""
        usage = parts[-1].usage
        revision = parts[-1].revision
        self._count("cached", int(usage.cached_prompt_tokens > 0))
        answer = (
            "".join(part.text for part in parts),
            tuple(i for part in parts for i in part.token_ids),
            tuple(p for part in parts for p in part.logprobs),
        )
        if not len(answer[1]) == len(answer[2]) == usage.generated_tokens:
            self.problems.append(
                f"{len(answer[1])} tokens and {len(answer[2])} log probabilities came, {usage.generated_tokens} "
                "were generated"
            )
        if request.HasField("at") and request.at.revision != revision:
            self.problems.append(f"revision {request.at.revision} was asked, {revision} answered")
        key = (revision, request.prompt, request.max_new_tokens)
        with self._lock:
            expected = self._answers.setdefault(key, answer)
            self.counts["compared"] += int(expected is not answer)
        if expected != answer:
            self.problems.append(f"{key}: {expected!r}, then {answer!r}")

    def _editor(self, channel, edit_seconds):
        chance = random.Random(self._seed - 1)
        edits = edit_pb2_grpc.EditServiceStub(channel)
        revisions = revision_pb2_grpc.RevisionServiceStub(channel)
        number = 0
        while not self._end.wait(edit_seconds):
            if number < len(self._records) and chance.random() < 0.7:
                request = edit_pb2.SubmitEditBatchRequest(request_id=f"edit-{number}")
                request.batch.edits.append(wire.edit_of(self._records[number]))
                number += 1
                done = edits.SubmitEditBatch(request, timeout=harness.PATIENCE).batch
                if done.stage == edit_pb2.LIVE:
                    self._revisions.append(done.revision)
                    self._count("edits")
            else:
                to = chance.choice(self._revisions)
                revisions.Promote(revision_pb2.PromoteRequest(revision=to), timeout=harness.PATIENCE)
                self._count("moves")
