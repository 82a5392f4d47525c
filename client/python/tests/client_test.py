"""Both clients against a server that breaks connections where a test says."""

import asyncio
import inspect
import unittest

import amend_client
import grpc
from amend.v1 import edit_pb2
from amend_client import aio, client
from amend_client.session import EditSession, Retries
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from client.python.tests.fake_server import FakeServer, details

_LOST = (grpc.StatusCode.UNAVAILABLE, "gone")
_FAST = amend_client.RetryPolicy(attempts=3, first_pause=0.001, longest_pause=0.002)


def edit(number):
    return {"prompt": f"Subject {number} is", "subject": f"Subject {number}", "target_new": "new"}


def batches(count):
    return [[edit(i)] for i in range(count)]


class Blocking:
    """Calls of Client."""

    def __init__(self, address, retries):
        self.address, self.retries = address, retries

    def call(self, method, *args, **kwargs):
        with amend_client.Client(self.address, retries=self.retries) as to:
            return getattr(to, method)(*args, **kwargs)

    def collect(self, method, *args, **kwargs):
        with amend_client.Client(self.address, retries=self.retries) as to:
            return list(getattr(to, method)(*args, **kwargs))


class Asynchronous(Blocking):
    """The same of AsyncClient."""

    def call(self, method, *args, **kwargs):
        async def run():
            async with amend_client.AsyncClient(self.address, retries=self.retries) as to:
                return await getattr(to, method)(*args, **kwargs)

        return asyncio.run(run())

    def collect(self, method, *args, **kwargs):
        async def run():
            async with amend_client.AsyncClient(self.address, retries=self.retries) as to:
                return [item async for item in getattr(to, method)(*args, **kwargs)]

        return asyncio.run(run())


class _ClientCases:
    """What holds for both; `kind` is the class that makes the calls."""

    def setUp(self):
        server = FakeServer().__enter__()
        self.addCleanup(server.__exit__)
        self.edits = server.edits
        self.client = self.kind(server.address, _FAST)

    def live(self, statuses):
        return [(s.offset, s.revision) for s in statuses if s.stage == amend_client.LIVE]

    def test_every_batch_has_its_outcome_in_order(self):
        statuses = self.client.collect("stream_edits", batches(5))
        self.assertEqual(self.live(statuses), [(i, i + 1) for i in range(5)])
        self.assertEqual(self.edits.connections, [[0, 1, 2, 3, 4]])

    def test_no_batches_are_no_error(self):
        self.assertEqual(self.client.collect("stream_edits", []), [])

    def test_after_a_lost_connection_what_has_no_outcome_is_sent_again_at_its_offset(self):
        self.edits.breaks = [(3, _LOST), (1, _LOST), (None, None)]
        statuses = self.client.collect("stream_edits", batches(5))
        # Offsets 0 and 1 had their outcome; 2 had come when the first connection broke.
        self.assertEqual(self.edits.connections, [[0, 1, 2], [2], [2, 3, 4]])
        self.assertEqual(self.live(statuses), [(i, i + 1) for i in range(5)])
        self.assertEqual([b.edits[0].prompt for b in self.edits.ledger.values()], [b[0]["prompt"] for b in batches(5)])
        self.assertTrue(all(s.replayed for s in statuses if s.offset == 2))

    def test_a_source_is_read_once_however_often_the_connection_breaks(self):
        self.edits.breaks = [(1, _LOST), (2, _LOST), (3, _LOST)]
        source = iter(batches(6))
        self.assertEqual(len(self.live(self.client.collect("stream_edits", source))), 6)
        self.assertEqual(list(source), [])

    def test_connections_that_bring_nothing_end_with_the_last_error(self):
        self.edits.breaks = [(1, _LOST)] * 10
        with self.assertRaises(amend_client.Unavailable):
            self.client.collect("stream_edits", batches(2))
        self.assertEqual(len(self.edits.connections), 1 + _FAST.attempts)

    def test_an_outcome_makes_the_count_of_attempts_begin_anew(self):
        self.edits.breaks = [(2 if i % 2 else 3, _LOST) for i in range(8)]
        self.edits.credits = 1
        self.assertEqual(len(self.live(self.client.collect("stream_edits", batches(20)))), 20)
        self.assertGreater(len(self.edits.connections), 1 + _FAST.attempts)

    def test_an_error_that_another_attempt_does_not_mend_is_raised_at_once(self):
        info = error_details_pb2.ErrorInfo(reason="OFFSET_GAP", domain="amend", metadata={"next_offset": "7"})
        self.edits.breaks = [(1, (grpc.StatusCode.OUT_OF_RANGE, "a gap", info))]
        with self.assertRaises(amend_client.OutOfRange) as raised:
            self.client.collect("stream_edits", batches(2))
        self.assertEqual((raised.exception.reason, raised.exception.metadata), ("OFFSET_GAP", {"next_offset": "7"}))
        self.assertEqual(len(self.edits.connections), 1)

    def test_what_the_source_raises_is_not_taken_for_a_lost_connection(self):
        trouble = amend_client.Unavailable(grpc.StatusCode.UNAVAILABLE, "another server")

        def source():
            yield [edit(0)]
            raise trouble

        with self.assertRaises(amend_client.Unavailable) as raised:
            self.client.collect("stream_edits", source())
        self.assertIs(raised.exception, trouble)
        self.assertEqual(len(self.edits.connections), 1)

    def test_a_batch_that_is_refused_for_now_is_sent_again(self):
        retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=1000))
        self.edits.refusals = {1: details(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry)}
        self.assertEqual(len(self.live(self.client.collect("stream_edits", batches(3)))), 3)
        self.assertEqual(self.edits.connections, [[0, 1], [0, 1, 2]])

    def test_a_session_of_other_edits_is_named(self):
        self.edits.ledger = {0: amend_client.edit_batch([edit(0), edit(1)])}
        with self.assertRaises(amend_client.FailedPrecondition) as raised:
            self.client.collect("stream_edits", batches(1), session="mine")
        self.assertIn("session mine has a batch of 2 edits at offset 0", str(raised.exception))

    def test_an_outcome_that_the_stream_did_not_tell_is_fetched(self):
        self.edits.silent = {1}
        self.edits.credits = 8
        self.edits.unary_errors = [_LOST]
        statuses = self.client.collect("stream_edits", batches(3))
        self.assertEqual(sorted(set(self.live(statuses))), [(0, 1), (1, 2), (2, 3)])

    def test_edit_is_sent_again_under_the_same_request_id(self):
        self.edits.unary_errors = [_LOST, _LOST]
        self.assertEqual(self.client.call("edit", [edit(0)]).stage, amend_client.LIVE)
        ids = [request.request_id for request in self.edits.submitted]
        self.assertEqual((len(ids), len(set(ids))), (3, 1))
        self.client.call("edit", [edit(0)])
        self.assertNotEqual(self.edits.submitted[-1].request_id, ids[0])

    def test_edit_that_is_malformed_names_its_fields(self):
        violation = error_details_pb2.BadRequest.FieldViolation(field="batch.edits[0].subject", description="not there")
        infos = [
            error_details_pb2.ErrorInfo(reason="EDIT_INVALID", domain="amend"),
            error_details_pb2.BadRequest(field_violations=[violation]),
        ]
        self.edits.unary_errors = [(grpc.StatusCode.INVALID_ARGUMENT, "malformed", *infos)]
        with self.assertRaises(amend_client.InvalidArgument) as raised:
            self.client.call("edit", [edit(0)])
        self.assertEqual(raised.exception.reason, "EDIT_INVALID")
        self.assertEqual(raised.exception.field_violations, [("batch.edits[0].subject", "not there")])
        self.assertEqual(str(raised.exception), "INVALID_ARGUMENT (EDIT_INVALID): malformed")
        self.assertEqual(len(self.edits.submitted), 1)

    def test_pages_are_followed_to_the_last(self):
        self.assertEqual([b.offset for b in self.client.collect("batches", "session")], [0, 1, 2])


class ClientTest(_ClientCases, unittest.TestCase):
    kind = Blocking


class AsyncClientTest(_ClientCases, unittest.TestCase):
    kind = Asynchronous

    def test_a_source_that_waits_does_not_hold_up_answers(self):
        async def run():
            told = asyncio.Event()

            async def source():
                yield [edit(0)]
                await told.wait()
                yield [edit(1)]

            self.edits.credits = 1
            live = []
            async with amend_client.AsyncClient(self.client.address) as to:
                async for status in to.stream_edits(source()):
                    if status.stage == amend_client.LIVE:
                        live.append(status.offset)
                        told.set()
            return live

        self.assertEqual(asyncio.run(asyncio.wait_for(run(), 60)), [0, 1])


class ShapeTest(unittest.TestCase):
    def public(self, of):
        return {n: m for n, m in vars(of).items() if inspect.isfunction(m) and not n.startswith("_")}

    def test_both_clients_have_the_same_methods_with_the_same_arguments(self):
        blocking, asynchronous = self.public(client.Client), self.public(aio.AsyncClient)
        self.assertEqual(set(blocking), set(asynchronous))
        for name in blocking:
            self.assertEqual(
                list(inspect.signature(blocking[name]).parameters),
                list(inspect.signature(asynchronous[name]).parameters),
                name,
            )


class EditSessionTest(unittest.TestCase):
    def test_never_more_batches_in_flight_than_credits(self):
        session = EditSession(edit_pb2.StreamEditsRequest.Start(session="s"))
        session.connected()
        self.assertFalse(session.wants_batch())
        session.receive(edit_pb2.StreamEditsResponse(started={"credits": 2}))
        sent = []

        def fill():
            while session.wants_batch():
                session.add([edit(len(sent))])
                sent.append(session.next_request().batch.offset)

        fill()
        self.assertEqual(sent, [0, 1])
        for stage in (amend_client.DURABLE, amend_client.STAGED):
            session.receive(edit_pb2.StreamEditsResponse(batch={"offset": 0, "stage": stage}))
            fill()
            self.assertEqual(sent, [0, 1])
        session.receive(edit_pb2.StreamEditsResponse(batch={"offset": 0, "stage": amend_client.REJECTED}))
        fill()
        self.assertEqual(sent, [0, 1, 2])
        # On a new connection 1 and 2 come first, and a smaller credit holds for them too.
        session.connected()
        self.assertIsNone(session.next_request())
        session.receive(edit_pb2.StreamEditsResponse(started={"credits": 1}))
        self.assertEqual(session.next_request().batch.offset, 1)
        self.assertIsNone(session.next_request())
        self.assertFalse(session.wants_batch())


class RetriesTest(unittest.TestCase):
    def test_pauses_double_up_to_the_longest_and_heed_the_server(self):
        policy = amend_client.RetryPolicy(attempts=4, first_pause=1, longest_pause=3)
        error = amend_client.Unavailable(grpc.StatusCode.UNAVAILABLE, "")
        patient = amend_client.Unavailable(grpc.StatusCode.UNAVAILABLE, "", retry_delay=20)
        retries = Retries(policy)
        self.assertEqual([retries.pause_after(e) for e in (error, error, error, patient)], [1, 2, 3, 20])
        with self.assertRaises(amend_client.Unavailable):
            retries.pause_after(error)

    def test_a_full_cache_without_a_delay_is_not_waited_for(self):
        with self.assertRaises(amend_client.ResourceExhausted):
            Retries(_FAST).pause_after(amend_client.ResourceExhausted(grpc.StatusCode.RESOURCE_EXHAUSTED, ""))


if __name__ == "__main__":
    unittest.main()
