"""What amendd logs in a session, as JSON and as text, and the trace that an RPC belongs to."""

import re
import signal

import grpc

from amend.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    edit_pb2,
    edit_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    revision_pb2,
    revision_pb2_grpc,
)
from tests.integration import harness, wire

_PAGE = "docs/logs.md"
_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_CALLER = f"00-{_TRACE}-00f067aa0ba902b7-01"
# Of every call; in the text below as in the metadata of answers.
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def documented():
    """The events of the page's table."""
    with open(_PAGE, encoding="utf-8") as file:
        return set(re.findall(r"^\| `(\w+)` \| (?:debug|access|info|warning|error)", file.read(), re.MULTILINE))


def trace_of(metadata):
    """(trace id, span id) of an answer's metadata, which name them once."""
    (value,) = [value for key, value in metadata if key == "traceparent"]
    return _TRACEPARENT.fullmatch(value).groups()


class LogTest(harness.ServerTest):
    def connect(self, server):
        channel = grpc.insecure_channel(server.address)
        self.addCleanup(channel.close)
        return channel

    def edit(self, channel, record, request_id, **kwargs):
        request = edit_pb2.SubmitEditBatchRequest(
            batch={"edits": [wire.edit_of(record)]}, request_id=request_id, **kwargs
        )
        return edit_pb2_grpc.EditServiceStub(channel).SubmitEditBatch(request, timeout=harness.PATIENCE).batch

    def session(self, *flags):
        """A server that lived through everything that a test can ask of it; it has ended."""
        server = self.start(flags=flags)
        channel = self.connect(server)
        first, second, third = harness.facts(3)
        live = self.edit(channel, first, "one")
        self.assertEqual(live.stage, edit_pb2.LIVE)
        # An edit of one subject does not answer a prompt that names none.
        elsewhere = dict(second, rephrase_prompt="Nobody in the")
        rejected = self.edit(channel, elsewhere, "two", thresholds={"generality": 1.0})
        malformed = wire.edit_of(third)
        malformed.subject = "nobody of that prompt"
        stream = wire.EditStream(channel, "malformed")
        stream.send(0, [malformed])
        stream.end()
        stream.rest()
        generation = generation_pb2_grpc.GenerationServiceStub(channel)
        generation.Generate(generation_pb2.GenerateRequest(prompt=first["prompt"], max_new_tokens=3))
        with self.assertRaises(grpc.RpcError):
            generation.Generate(generation_pb2.GenerateRequest(prompt=first["prompt"], temperature=-1))
        # Somebody quotes an edit in a reason.
        rollback = revision_pb2.RollbackRequest(revision=0, reason=f"not {first['target_new']}")
        revision_pb2_grpc.RevisionServiceStub(channel).Rollback(rollback)
        if "json" in flags:
            server.process.send_signal(signal.SIGHUP)
            server.await_event("reloaded")
        self.assertEqual(server.stop(), 0)
        said = [text for record in (first, second, third) for text in (record["prompt"], record["target_new"])]
        return server, said, rejected

    def test_every_line_of_a_session_is_json_and_says_what_happened(self):
        server, said, rejected = self.session("--log-format", "json", "--log-level", "access")
        events = server.events()
        self.assertEqual(len(events), len(server.errors().splitlines()))
        for event in events:
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
            self.assertIn(event["severity"], ("ACCESS", "INFO", "WARNING", "ERROR"))
            self.assertIn(event["event"], documented())
        names = [event["event"] for event in events]
        self.assertEqual(names[0], "starting")
        self.assertEqual(names[-2:], ["draining", "stopped"])
        self.assertLess(names.index("recovered"), names.index("ready"))
        self.assertLess(names.index("ready"), names.index("reloaded"))
        outcomes = {event["session"].rpartition(":")[2]: event for event in server.events("batch_finished")}
        self.assertEqual({event["outcome"] for event in outcomes.values()}, {"live", "rejected", "failed"})
        (failed,) = [event for event in outcomes.values() if event["outcome"] == "failed"]
        self.assertEqual(failed["reason"], "EDIT_INVALID")
        self.assertEqual(failed["severity"], "WARNING")
        self.assertEqual(rejected.stage, edit_pb2.REJECTED)
        self.assertIn("rollback", [event["verb"] for event in server.events("audit")])
        calls = {(call["method"].rpartition("/")[2], call["code"]): call for call in server.events("rpc")}
        self.assertEqual(calls["Generate", "OK"]["revision"], 1)
        self.assertEqual(calls["Generate", "INVALID_ARGUMENT"]["reason"], "GENERATION_INVALID")
        for method in ("SubmitEditBatch", "StreamEdits", "Rollback"):
            self.assertIn((method, "OK"), calls)
        for text in said:
            self.assertNotIn(text, server.errors())

    def test_for_people_every_line_begins_with_the_program(self):
        server, said, _ = self.session()
        for line in server.errors().splitlines():
            self.assertRegex(line, "^amendd: [a-z]")
        self.assertNotIn("amendd: rpc", server.errors())
        for text in said:
            self.assertNotIn(text, server.errors())

    def test_a_call_stays_in_its_callers_trace_and_the_log_has_it(self):
        server = self.start(flags=("--log-format", "json", "--log-level", "access"))
        generate = generation_pb2_grpc.GenerationServiceStub(self.connect(server)).Generate
        request = generation_pb2.GenerateRequest(prompt="The capital of Jordan is", max_new_tokens=1)
        _, call = generate.with_call(request, metadata=[("traceparent", _CALLER)])
        trace, span = trace_of(call.initial_metadata())
        self.assertEqual(trace, _TRACE)
        self.assertEqual(trace_of(call.trailing_metadata()), (trace, span))
        event = server.await_event("rpc")
        self.assertEqual((event["trace_id"], event["span_id"]), (trace, span))

    def test_a_batchs_lines_are_in_the_trace_that_brought_it(self):
        server = self.start(flags=("--log-format", "json", "--log-level", "debug"))
        channel = self.connect(server)
        record = harness.facts(1)[0]
        request = edit_pb2.SubmitEditBatchRequest(
            batch={"edits": [wire.edit_of(record)]}, request_id="one", wait_for=edit_pb2.DURABLE
        )
        # The RPC is over while the batch is solved.
        edit_pb2_grpc.EditServiceStub(channel).SubmitEditBatch(request, metadata=[("traceparent", _CALLER)])
        finished = server.await_event("batch_finished")
        self.assertEqual((finished["outcome"], finished["trace_id"]), ("live", _TRACE))
        (durable,) = server.events("batch_durable")
        self.assertEqual(durable["trace_id"], _TRACE)
        # One that fails, by a stream, whose trace is another.
        malformed = wire.edit_of(record)
        malformed.subject = "nobody of that prompt"
        stream = wire.EditStream(channel, "s", metadata=[("traceparent", _CALLER.replace(_TRACE, "1" * 32))])
        stream.send(0, [malformed])
        stream.end()
        stream.rest()
        self.assertEqual(server.stop(), 0)
        failed = server.events("batch_finished")[-1]
        self.assertEqual((failed["outcome"], failed["trace_id"]), ("failed", "1" * 32))

    def test_a_batch_that_is_solved_after_a_restart_has_no_trace(self):
        flags = ("--log-format", "json")
        server = self.start(flags=flags)
        batch = {"edits": [wire.edit_of(record) for record in harness.facts(3)]}
        request = edit_pb2.SubmitEditBatchRequest(batch=batch, request_id="one", wait_for=edit_pb2.DURABLE)
        edit_pb2_grpc.EditServiceStub(self.connect(server)).SubmitEditBatch(request)
        server.kill()
        self.assertEqual(server.events("batch_finished"), [])
        finished = self.start(flags=flags).await_event("batch_finished")
        self.assertEqual(finished["outcome"], "live")
        self.assertNotIn("trace_id", finished)

    def test_every_answer_has_a_trace_whatever_the_call_and_its_end(self):
        channel = self.connect(self.start())
        traces = set()
        generation = generation_pb2_grpc.GenerationServiceStub(channel)
        for metadata in ([], [("traceparent", "00-nonsense")]):
            with self.assertRaises(grpc.RpcError) as raised:
                generation.Generate(generation_pb2.GenerateRequest(), metadata=metadata)
            traces.add(trace_of(raised.exception.trailing_metadata())[0])
            stream = generation.GenerateStream(
                generation_pb2.GenerateRequest(prompt="The", max_new_tokens=2), metadata=metadata
            )
            list(stream)
            traces.add(trace_of(stream.initial_metadata())[0])
            _, call = admin_pb2_grpc.AdminServiceStub(channel).GetServerInfo.with_call(
                admin_pb2.GetServerInfoRequest(), metadata=metadata
            )
            traces.add(trace_of(call.trailing_metadata())[0])
        self.assertEqual(len(traces), 6)

    def test_a_drained_server_takes_nothing_new_and_lives(self):
        server = self.start(flags=("--log-format", "json"))
        channel = self.connect(server)
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        admin.Drain(admin_pb2.DrainRequest())
        server.await_event("draining")
        with self.assertRaises(grpc.RpcError) as raised:
            generation = generation_pb2_grpc.GenerationServiceStub(channel)
            generation.Generate(generation_pb2.GenerateRequest(prompt="The"))
        self.assertEqual(wire.reason_of(raised.exception), "DRAINING")
        with self.assertRaises(grpc.RpcError) as raised:
            self.edit(channel, harness.facts(1)[0], "late")
        self.assertEqual(wire.reason_of(raised.exception), "DRAINING")
        self.assertEqual(admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).live.revision, 0)
        self.assertEqual(server.stop(), 0)

    def test_a_start_that_fails_is_an_event_too(self):
        server = harness.Amendd(self.path("data"), model=self.path("none"), flags=("--log-format", "json"))
        server.spawn()
        self.assertEqual(server.process.wait(harness.PATIENCE), 1)
        server.process.stdout.close()
        (failed,) = server.events("start_failed")
        self.assertIn(self.path("none"), failed["message"])
