"""amendd at the end of its memory: what does not fit is refused with a reason, and the process lives.

A limit of the running process (RLIMIT_DATA) stands for a machine that has no more: it is set above what the server
has, so that what fails is the work that is asked of it.
"""

import resource
import time
import unittest

import grpc

from amend.v1 import admin_pb2, admin_pb2_grpc, edit_pb2, generation_pb2, generation_pb2_grpc, revision_pb2
from amend.v1 import revision_pb2_grpc
from google.rpc import error_details_pb2
from tests.integration import harness, wire

_MIB = 1 << 20
# core/base/memory_reserve.h
_RESERVE = 64 * _MIB
_MARGIN = 32 * _MIB

_PROMPTS = 200
_LONG = " the" * 200


def data_bytes(pid):
    """What counts against RLIMIT_DATA."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))


class MemoryTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.records = harness.facts(60)
        self.server = self.start()
        self.channel = grpc.insecure_channel(self.server.address)
        self.addCleanup(self.channel.close)
        self.generation = generation_pb2_grpc.GenerationServiceStub(self.channel)
        # Threads and buffers that come with the first of each are there then.
        self.assertEqual(self.edit("first", 0, self.records[:2]).stage, edit_pb2.LIVE)
        self.before = self.answers()

    def limit(self, room):
        """So many bytes more than it has now may the server have; None: as many as there are."""
        pid = self.server.process.pid
        bytes_ = resource.RLIM_INFINITY if room is None else data_bytes(pid) + room
        resource.prlimit(pid, resource.RLIMIT_DATA, (bytes_, resource.RLIM_INFINITY))

    def generate(self, prompt="The capital of Jordan is", **kwargs):
        request = generation_pb2.GenerateRequest(prompt=prompt, max_new_tokens=8, logprobs=True, **kwargs)
        return self.generation.Generate.future(request, timeout=harness.PATIENCE)

    def score(self, items=8):
        item = generation_pb2.ScoreRequest.Item(prompt=" the" * 240, continuation=" of")
        return self.generation.Score.future(generation_pb2.ScoreRequest(items=[item] * items), timeout=harness.PATIENCE)

    def tokenize(self, text):
        return self.generation.Tokenize.future(generation_pb2.TokenizeRequest(text=text), timeout=harness.PATIENCE)

    def export(self):
        stub = revision_pb2_grpc.RevisionServiceStub(self.channel)
        return stub.ExportRevision(revision_pb2.ExportRevisionRequest(), timeout=harness.PATIENCE)

    def answers(self):
        """What it says now, with log probabilities."""
        generated = [self.generate(record["prompt"]).result() for record in self.records[:4]]
        scores = self.score().result().results
        return [(g.text, list(g.logprobs)) for g in generated], [list(s.logprobs) for s in scores]

    def edit(self, session, offset, records):
        """The last status of a batch."""
        stream = wire.EditStream(self.channel, session)
        stream.read()
        stream.send(offset, [wire.edit_of(record) for record in records])
        self.stages = []
        while True:
            status = stream.read().batch
            self.stages.append(status.stage)
            if status.HasField("error") or status.stage in (edit_pb2.LIVE, edit_pb2.REJECTED, edit_pb2.FAILED):
                stream.end()
                return status

    def assert_out_of_memory(self, status, retry=True):
        """`status`: a google.rpc.Status."""
        self.assertEqual(status.code, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], status)
        self.assertEqual(wire.info_of(status).reason, "OUT_OF_MEMORY", status)
        has_retry = any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
        self.assertEqual(has_retry, retry, status)

    def refused(self, call):
        """Whether a call was refused for memory; any other error fails the test."""
        error = call.exception()
        if error is None:
            return False
        self.assertIsInstance(error, grpc.RpcError)
        self.assertNotEqual(error.code(), grpc.StatusCode.UNAVAILABLE, f"{error}\n{self.server.errors()}")
        self.assert_out_of_memory(wire.status_of(error))
        return True

    def await_memory(self):
        """Until it begins something again: it looks at most ten times a second."""
        self.limit(None)
        end = time.monotonic() + harness.PATIENCE
        while self.refused(self.tokenize("x")):
            self.assertLess(time.monotonic(), end)

    def starve(self):
        """Leaves it nothing to begin with, however much it gives back, and the reserve for all else."""
        end = time.monotonic() + harness.PATIENCE
        while time.monotonic() < end:
            self.limit(_MARGIN // 2)
            while not self.refused(self.tokenize("x")):
                self.limit(_MARGIN // 2)
            # The reserve is released now. To be had back, it and the margin have to fit.
            self.limit(_RESERVE + _MARGIN // 2)
            looked = time.monotonic() + 0.5
            while self.refused(self.tokenize("x")):
                if time.monotonic() > looked:
                    return
        self.fail("it always found memory")

    def assert_as_before(self):
        self.await_memory()
        self.assertIsNone(self.server.process.poll(), self.server.errors())
        self.assertEqual(self.answers(), self.before)

    def test_of_many_long_prompts_each_is_answered_or_refused(self):
        expected = self.generate(_LONG).result()
        self.limit(_MARGIN + 4 * _MIB)
        calls = [self.generate(f"{i}{_LONG}") for i in range(_PROMPTS)]
        refused = sum([self.refused(call) for call in calls])
        self.assertGreater(refused, 0)
        self.assert_as_before()
        self.assertEqual(self.generate(_LONG).result().text, expected.text)
        calls = [self.generate(f"{i}{_LONG}") for i in range(_PROMPTS)]
        self.assertEqual([self.refused(call) for call in calls], [False] * _PROMPTS)

    def test_a_batch_that_does_not_fit_fails_with_a_reason_and_changes_nothing(self):
        self.limit(_MARGIN + 4 * _MIB)
        status = self.edit("large", 0, self.records[2:32])
        self.assertIn(edit_pb2.DURABLE, self.stages)
        self.assertEqual(status.stage, edit_pb2.FAILED)
        # No RetryInfo: this offset has come to its end, the edits may be sent again at the next.
        self.assert_out_of_memory(status.error, retry=False)
        self.assert_as_before()
        self.assertEqual(self.server.live(), 1)
        self.assertEqual(self.edit("large", 1, self.records[2:32]).stage, edit_pb2.LIVE)
        after = self.answers()
        self.assertEqual(self.server.stop(), 0)
        self.server = self.start()
        self.channel = grpc.insecure_channel(self.server.address)
        self.addCleanup(self.channel.close)
        self.generation = generation_pb2_grpc.GenerationServiceStub(self.channel)
        self.assertEqual(self.server.live(), 2)
        self.assertEqual(self.answers(), after)

    def test_without_memory_nothing_is_begun_and_what_takes_little_goes_on(self):
        self.starve()
        for call in (
            self.generate(),
            self.generate("x" * (4 * _MIB - 1000)),
            self.tokenize("x" * (4 * _MIB - 1000)),
            self.score(256),
        ):
            self.assertTrue(self.refused(call))
        with self.assertRaises(grpc.RpcError) as raised:
            list(self.export())
        self.assert_out_of_memory(wire.status_of(raised.exception))
        status = self.edit("starved", 0, self.records[2:4])
        self.assertEqual(status.stage, edit_pb2.BATCH_STAGE_UNSPECIFIED)
        self.assert_out_of_memory(status.error)
        # Whoever mends things is heard.
        admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.assertEqual(admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).live.revision, 1)
        self.server.amend("rollback", "--to", "0", "--reason", "tight")
        self.server.amend("promote", "1")
        self.assert_as_before()
        self.assertEqual(self.edit("starved", 0, self.records[2:4]).stage, edit_pb2.LIVE)
        self.assertGreater(len(list(self.export())), 1)


if __name__ == "__main__":
    unittest.main()
