"""Requests that no client should send: each gets the right code and reason, and the server goes on."""

import os
import socket
import threading
import time
import unittest

import grpc

from amend.v1 import admin_pb2, admin_pb2_grpc, edit_pb2, edit_pb2_grpc
from amend.v1 import generation_pb2, generation_pb2_grpc, revision_pb2, revision_pb2_grpc
from tests.integration import harness, wire

_MAX_MESSAGE = 4 << 20


class BadInputTest(harness.ServerTest):
    """All tests share one server, which has to have survived each of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.holder = harness.ServerTest()
        cls.holder.setUp()
        cls.server = cls.holder.start()
        cls.channel = grpc.insecure_channel(cls.server.address)
        cls.edits = edit_pb2_grpc.EditServiceStub(cls.channel)
        cls.revisions = revision_pb2_grpc.RevisionServiceStub(cls.channel)
        cls.generation = generation_pb2_grpc.GenerationServiceStub(cls.channel)
        cls.admin = admin_pb2_grpc.AdminServiceStub(cls.channel)
        cls.records = harness.facts(12)
        (cls.rejected, cls.accepted) = (cls.make_revision(cls.records[0], 1.0), cls.make_revision(cls.records[1], 0.0))

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.holder.doCleanups()
        super().tearDownClass()

    @classmethod
    def make_revision(cls, record, threshold):
        """A staged revision of an edit that cannot pass the gate, or of one that does."""
        edit = wire.edit_of(record)
        if threshold:
            # No edit keeps a probe whose prompt is its own.
            edit.locality_probes[0].CopyFrom(edit_pb2.Probe(prompt=edit.prompt, answer=record["ground_truth"]))
        request = edit_pb2.SubmitEditBatchRequest(
            batch={"edits": [edit]}, promotion=edit_pb2.STAGE_ONLY, thresholds={"locality": threshold}
        )
        return cls.edits.SubmitEditBatch(request, timeout=harness.PATIENCE).batch.revision

    def setUp(self):
        super().setUp()
        self.session = self.id().rpartition(".")[2]
        self.addCleanup(self.assert_serves)

    def assert_serves(self):
        """The server lives, answers from what is live and takes edits."""
        self.assertIsNone(self.server.process.poll(), self.server.errors())
        request = generation_pb2.GenerateRequest(prompt=self.records[2]["prompt"], max_new_tokens=12, stop=["."])
        answer = self.generation.Generate(request, timeout=harness.PATIENCE)
        self.assertEqual(answer.text.strip(), self.records[2]["ground_truth"])
        check = edit_pb2.SubmitEditBatchRequest(
            batch={"edits": [wire.edit_of(self.records[3])]}, validate_only=True
        )
        self.edits.SubmitEditBatch(check, timeout=harness.PATIENCE)

    def refused(self, code, reason, call, *parts):
        """Makes a call that has to fail so; its message holds the parts. Returns the ErrorInfo."""
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        error = caught.exception
        self.assertEqual(error.code(), code, error.details())
        for part in parts:
            self.assertIn(str(part), error.details())
        info = wire.info_of(wire.status_of(error))
        self.assertEqual(info.reason, reason, error.details())
        if reason:
            self.assertEqual(info.domain, "amend")
        return info

    def in_band(self, batches, **start):
        """Streams batches as (offset, edits); returns the last status of each, in the order they were sent."""
        stream = wire.EditStream(self.channel, self.session, **start)
        self.assertEqual(stream.read().started.session, self.session)
        last = []
        for offset, edits in batches:
            stream.send(offset, edits)
            while True:
                status = stream.read().batch
                if status.HasField("error") or status.stage >= edit_pb2.VALIDATED:
                    break
            last.append(status)
        stream.end()
        self.assertEqual(stream.rest(), [])
        return last

    def assert_failed(self, status, code, reason, *parts):
        self.assertEqual(status.error.code, code.value[0], status)
        for part in parts:
            self.assertIn(str(part), status.error.message)
        self.assertEqual(wire.info_of(status.error).reason, reason)

    def submit(self, edits, **fields):
        request = edit_pb2.SubmitEditBatchRequest(batch={"edits": edits}, **fields)
        return self.edits.SubmitEditBatch(request, timeout=harness.PATIENCE).batch

    def raw(self, method, request):
        """A unary call with bytes that no stub would send."""
        call = self.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        return call(request, timeout=harness.PATIENCE)

    # Names and numbers.

    def test_a_session_of_10_kb_is_refused_with_its_length(self):
        stream = wire.EditStream(self.channel, "s" * 10240)
        self.addCleanup(stream.end)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", stream.read, "session", 10240, 128)
        for call in (
            lambda: self.submit([wire.edit_of(self.records[3])], request_id="r" * 10240),
            lambda: self.edits.GetEditBatch(edit_pb2.GetEditBatchRequest(session="s" * 10240)),
            lambda: self.edits.ListEditBatches(edit_pb2.ListEditBatchesRequest(session="s" * 10240)),
        ):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", call, 10240, 128)

    def test_a_negative_offset_is_refused_in_band_and_the_stream_goes_on(self):
        edits = [wire.edit_of(self.records[3])]
        bad, good = self.in_band([(-1, edits), (0, edits)], promotion=edit_pb2.STAGE_ONLY)
        self.assert_failed(bad, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "offset", -1)
        self.assertEqual(good.stage, edit_pb2.VALIDATED, good)
        request = edit_pb2.GetEditBatchRequest(session=self.session, offset=-1)
        self.refused(
            grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", lambda: self.edits.GetEditBatch(request), "offset", -1
        )

    def test_a_gap_names_the_offset_that_is_next(self):
        (status,) = self.in_band([(7, [wire.edit_of(self.records[3])])])
        self.assert_failed(status, grpc.StatusCode.OUT_OF_RANGE, "OFFSET_GAP", self.session, 7, 0)
        self.assertEqual(wire.info_of(status.error).metadata["next_offset"], "0")

    def test_a_negative_revision_is_refused(self):
        for call in (
            lambda: self.revisions.GetRevision(revision_pb2.GetRevisionRequest(revision=-1)),
            lambda: self.revisions.Promote(revision_pb2.PromoteRequest(revision=-1)),
            lambda: self.revisions.Rollback(revision_pb2.RollbackRequest(revision=-1, reason="test")),
        ):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", call, "revision", -1)

    # Sizes.

    def test_an_empty_batch_fails_and_its_offset_is_used_up(self):
        (status,) = self.in_band([(0, [])])
        self.assertEqual(status.stage, edit_pb2.FAILED)
        self.assert_failed(status, grpc.StatusCode.INVALID_ARGUMENT, "EDIT_INVALID", "batch.edits", "empty")
        self.refused(
            grpc.StatusCode.INVALID_ARGUMENT, "EDIT_INVALID", lambda: self.submit([]), "batch.edits", "empty"
        )

    def test_a_batch_of_100000_edits_fails_with_both_numbers(self):
        edits = [edit_pb2.Edit(prompt="a b", subject="a", target_new="c")] * 100_000
        (status,) = self.in_band([(0, edits)])
        self.assertEqual(status.stage, edit_pb2.FAILED)
        self.assert_failed(status, grpc.StatusCode.INVALID_ARGUMENT, "EDIT_INVALID", 100000, "at most 1000")
        self.refused(
            grpc.StatusCode.INVALID_ARGUMENT, "EDIT_INVALID", lambda: self.submit(edits), 100000, "at most 1000"
        )

    def test_a_message_over_4_mib_is_refused_with_both_sizes(self):
        text = "x" * (_MAX_MESSAGE + 1)
        edits = [edit_pb2.Edit(prompt=text, subject="x", target_new="y")]
        # gRPC itself turns it down, before it is parsed: there is no ErrorInfo.
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "", lambda: self.submit(edits), _MAX_MESSAGE)
        request = generation_pb2.GenerateRequest(prompt=text)
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "", lambda: self.generation.Generate(request), _MAX_MESSAGE)
        stream = wire.EditStream(self.channel, self.session)
        self.addCleanup(stream.end)
        self.assertEqual(stream.read().started.next_offset, 0)
        stream.send(0, edits)
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "", stream.read, _MAX_MESSAGE)

    def test_a_target_of_500_tokens_is_refused_with_the_context(self):
        edit = wire.edit_of(self.records[3])
        edit.target_new = " ".join(["one"] * 500)
        (status,) = self.in_band([(0, [edit])])
        self.assertEqual(status.stage, edit_pb2.FAILED)
        self.assert_failed(
            status, grpc.StatusCode.INVALID_ARGUMENT, "EDIT_INVALID", "batch.edits[0].prompt", "the context is 256"
        )

    # Text.

    def test_text_that_is_not_utf8_is_refused(self):
        # Field 1 of Edit, the prompt, is two bytes that UTF-8 never has; Edit is field 1 of EditBatch and that field 1.
        edit = b"\x0a\x02\xff\xfe" + b"\x12\x01a" + b"\x1a\x01b"
        batch = b"\x0a" + bytes([len(edit)]) + edit
        submit = b"\x0a" + bytes([len(batch)]) + batch
        generate = b"\x0a\x02\xff\xfe"
        for method, request in (
            ("/amend.v1.EditService/SubmitEditBatch", submit),
            ("/amend.v1.GenerationService/Generate", generate),
            ("/amend.v1.EditService/ListEditBatches", generate),
            ("/amend.v1.RevisionService/Promote", b"\x12\x02\xff\xfe"),
        ):
            with self.subTest(method=method):
                self.refused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "INVALID_REQUEST",
                    lambda method=method, request=request: self.raw(method, request),
                    f"amend.v1.{method.rpartition('/')[2]}Request",
                    "UTF-8",
                )

    def test_text_that_is_not_utf8_ends_a_stream_and_is_not_taken(self):
        start = edit_pb2.StreamEditsRequest(start={"session": self.session}).SerializeToString()
        # StreamEditsRequest.batch is field 2; of it, offset is 1 and batch is 2.
        batch = b"\x12\x04" + b"\x0a\x02\xff\xfe"
        call = self.channel.stream_stream(
            "/amend.v1.EditService/StreamEdits", request_serializer=bytes, response_deserializer=bytes
        )
        # gRPC takes what it cannot read for the end of the requests.
        responses = list(call(iter([start, b"\x12" + bytes([len(batch)]) + batch, start])))
        self.assertEqual(len(responses), 1)
        request = edit_pb2.GetEditBatchRequest(session=self.session, offset=0)
        self.refused(
            grpc.StatusCode.NOT_FOUND, "BATCH_NOT_FOUND", lambda: self.edits.GetEditBatch(request), self.session
        )

    def test_bytes_that_are_no_message_are_refused(self):
        for method in ("Generate", "GenerateStream"):
            self.refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                "INVALID_REQUEST",
                lambda method=method: self.raw(f"/amend.v1.GenerationService/{method}", b"\xff" * 100),
                "amend.v1.GenerateRequest",
            )

    def test_prompts_with_braces_and_newlines_are_edited_like_others(self):
        subject = self.records[3]["subject"]
        for offset, prompt in enumerate([f"{{}} {{0}} %s {subject} {{is}} a", f"A list:\n- {subject}\n- job:\n"]):
            with self.subTest(prompt=prompt):
                edit = edit_pb2.Edit(prompt=prompt, subject=subject, target_new="singer")
                self.session = f"braces-and-newlines-{offset}"
                (status,) = self.in_band([(0, [edit])], promotion=edit_pb2.STAGE_ONLY)
                self.assertIn(status.stage, (edit_pb2.VALIDATED, edit_pb2.REJECTED), status)
                stored = self.revisions.GetRevision(revision_pb2.GetRevisionRequest(revision=status.revision))
                self.assertEqual(stored.edits[0].prompt, prompt)
                request = generation_pb2.GenerateRequest(prompt=prompt, max_new_tokens=2)
                self.assertGreater(self.generation.Generate(request).usage.generated_tokens, 0)

    def test_a_prompt_with_nul_is_refused_with_its_place(self):
        edit = wire.edit_of(self.records[3])
        edit.prompt = "a\0" + edit.prompt
        (status,) = self.in_band([(0, [edit])])
        self.assert_failed(
            status, grpc.StatusCode.INVALID_ARGUMENT, "EDIT_INVALID", "batch.edits[0].prompt", "NUL at byte 1"
        )

    def test_a_subject_that_is_not_in_its_prompt_is_named(self):
        edit = wire.edit_of(self.records[3])
        edit.subject = "Nobody"
        (status,) = self.in_band([(0, [edit])])
        self.assert_failed(
            status, grpc.StatusCode.INVALID_ARGUMENT, "EDIT_INVALID", "batch.edits[0].subject", "Nobody", edit.prompt
        )
        self.assertEqual(status.edit_results[0].violation.field, "batch.edits[0].subject")

    def test_a_subject_that_is_twice_in_its_prompt_is_counted(self):
        edit = wire.edit_of(self.records[3])
        edit.prompt = f"{edit.subject} and {edit.prompt}"
        (status,) = self.in_band([(0, [edit])])
        self.assert_failed(
            status, grpc.StatusCode.INVALID_ARGUMENT, "EDIT_INVALID", edit.subject, "is 2 times", edit.prompt
        )

    # Labels.

    def test_a_rejected_revision_is_not_promoted(self):
        request = revision_pb2.PromoteRequest(revision=self.rejected)
        info = self.refused(
            grpc.StatusCode.FAILED_PRECONDITION,
            "NOT_VALIDATED",
            lambda: self.revisions.Promote(request),
            f"revision {self.rejected}",
            "rejected",
        )
        self.assertEqual(info.metadata["revision"], str(self.rejected))

    def test_a_rejected_revision_does_not_answer(self):
        request = generation_pb2.GenerateRequest(prompt="a", at={"revision": self.rejected})
        self.refused(
            grpc.StatusCode.NOT_FOUND,
            "REVISION_NOT_FOUND",
            lambda: self.generation.Generate(request),
            f"revision {self.rejected}",
        )

    def test_a_deleted_revision_is_not_promoted(self):
        revision = self.make_revision(self.records[5], 0.0)
        self.revisions.DeleteRevision(revision_pb2.DeleteRevisionRequest(revision=revision))
        for call in (
            lambda: self.revisions.Promote(revision_pb2.PromoteRequest(revision=revision)),
            lambda: self.revisions.SetLabel(revision_pb2.SetLabelRequest(label="x", revision=revision)),
            lambda: self.generation.Generate(
                generation_pb2.GenerateRequest(prompt="a", at={"revision": revision})
            ),
        ):
            self.refused(
                grpc.StatusCode.FAILED_PRECONDITION, "REVISION_DELETED", call, f"revision {revision}", "deleted"
            )

    def test_an_unknown_revision_is_neither_promoted_nor_rolled_back_to(self):
        latest = self.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).latest_revision
        for call in (
            lambda: self.revisions.Promote(revision_pb2.PromoteRequest(revision=1 << 40)),
            lambda: self.revisions.Rollback(revision_pb2.RollbackRequest(revision=1 << 40, reason="test")),
        ):
            info = self.refused(grpc.StatusCode.NOT_FOUND, "REVISION_NOT_FOUND", call, 1 << 40, latest)
            self.assertEqual(info.metadata["latest"], str(latest))

    def test_a_rollback_to_where_the_label_stands_is_refused(self):
        self.refused(
            grpc.StatusCode.FAILED_PRECONDITION,
            "SAME_REVISION",
            lambda: self.revisions.Rollback(revision_pb2.RollbackRequest(revision=0, reason="test")),
            "revision 0",
            "live",
        )

    def test_a_rollback_without_a_reason_is_refused(self):
        self.refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_REQUEST",
            lambda: self.revisions.Rollback(revision_pb2.RollbackRequest(previous=True)),
            "reason",
        )

    def test_of_two_promotions_with_one_etag_exactly_one_wins(self):
        label = "contested"
        self.revisions.Promote(revision_pb2.PromoteRequest(revision=0, label=label))
        for turn in range(20):
            target = self.accepted if turn % 2 == 0 else 0
            etag = str(turn + 1)
            gate, ends = threading.Barrier(2), []

            def promote(target=target, etag=etag, gate=gate, ends=ends):
                gate.wait(harness.PATIENCE)
                request = revision_pb2.PromoteRequest(revision=target, label=label, etag=etag)
                try:
                    ends.append(self.revisions.Promote(request, timeout=harness.PATIENCE))
                except grpc.RpcError as error:
                    ends.append(error)

            threads = [threading.Thread(target=promote) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(harness.PATIENCE)
            won = [end for end in ends if isinstance(end, revision_pb2.PromoteResponse)]
            (lost,) = [end for end in ends if isinstance(end, grpc.RpcError)]
            self.assertEqual([(w.label.revision, w.label.etag) for w in won], [(target, str(turn + 2))])
            self.assertEqual((lost.code(), wire.reason_of(lost)), (grpc.StatusCode.ABORTED, "LIVE_CHANGED"))
            metadata = wire.info_of(wire.status_of(lost)).metadata
            self.assertEqual((metadata["expected"], metadata["actual"]), (etag, str(turn + 2)))

    # Clients that vanish.

    def wait_until_idle(self):
        """No sequence runs or waits: those of clients that are gone have ended."""
        end = time.monotonic() + harness.PATIENCE
        while True:
            info = self.admin.GetServerInfo(admin_pb2.GetServerInfoRequest())
            if info.running_sequences == info.waiting_sequences == 0:
                return
            self.assertLess(time.monotonic(), end, f"still running: {info}")

    def test_generation_ends_when_its_clients_are_gone(self):
        request = generation_pb2.GenerateRequest(prompt="The", max_new_tokens=200, temperature=1.0)
        for _ in range(8):
            call = self.generation.GenerateStream(request)
            next(call)
            call.cancel()
        self.wait_until_idle()

    def test_a_durable_batch_comes_to_its_end_without_its_client(self):
        channel = grpc.insecure_channel(self.server.address, options=[("grpc.use_local_subchannel_pool", 1)])
        stream = wire.EditStream(channel, self.session, promotion=edit_pb2.STAGE_ONLY)
        self.assertEqual(stream.read().started.next_offset, 0)
        stream.send(0, [wire.edit_of(self.records[4])])
        while stream.read().batch.stage != edit_pb2.DURABLE:
            pass
        stream.end(gone=True)
        channel.close()
        (status,) = self.in_band([(0, [wire.edit_of(self.records[4])])], promotion=edit_pb2.STAGE_ONLY)
        self.assertEqual(status.stage, edit_pb2.VALIDATED, status)

    def test_connections_of_strangers_are_dropped(self):
        host, port = self.server.address.rsplit(":", 1)
        for first_bytes in (b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n", os.urandom(4096)):
            with socket.create_connection((host, int(port)), harness.PATIENCE) as stranger:
                stranger.sendall(first_bytes)


if __name__ == "__main__":
    unittest.main()
