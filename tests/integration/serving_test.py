"""The services of a running amendd, through Python stubs."""

import queue
import unittest

import grpc

from amend.v1 import admin_pb2, admin_pb2_grpc, edit_pb2, edit_pb2_grpc
from amend.v1 import generation_pb2, generation_pb2_grpc, revision_pb2, revision_pb2_grpc
from google.rpc import error_details_pb2
from tests.integration import harness

_SERVICES = ["EditService", "RevisionService", "GenerationService", "AdminService"]


def _edit(record):
    return edit_pb2.Edit(
        prompt=record["prompt"],
        subject=record["subject"],
        target_new=record["target_new"],
        paraphrases=[record["rephrase_prompt"]],
        locality_probes=[edit_pb2.Probe(prompt=record["locality_prompt"], answer=record["locality_ground_truth"])],
    )


class Stream:
    """A StreamEdits call whose requests are sent one by one."""

    def __init__(self, channel, session):
        self._requests = queue.Queue()
        self.responses = edit_pb2_grpc.EditServiceStub(channel).StreamEdits(iter(self._requests.get, None))
        self._requests.put(edit_pb2.StreamEditsRequest(start={"session": session}))
        self.started = next(self.responses).started

    def send(self, offset, edits):
        self._requests.put(edit_pb2.StreamEditsRequest(batch={"offset": offset, "batch": {"edits": edits}}))

    def finish(self):
        """Half-closes; returns the statuses of all batches by offset."""
        self._requests.put(edit_pb2.StreamEditsRequest(flush={}))
        self._requests.put(None)
        statuses = {}
        for response in self.responses:
            if response.HasField("batch"):
                statuses.setdefault(response.batch.offset, []).append(response.batch)
        return statuses


class ServingTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.server = self.start()
        self.channel = grpc.insecure_channel(self.server.address)
        self.addCleanup(self.channel.close)

    def generate(self, prompt, **at):
        request = generation_pb2.GenerateRequest(prompt=prompt, max_new_tokens=12, stop=["."], at=at or None)
        return generation_pb2_grpc.GenerationServiceStub(self.channel).Generate(request)

    def _raw(self, method, request):
        """A unary call without a stub."""
        call = self.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        return call(request, timeout=harness.PATIENCE)

    def test_streamed_edits_change_answers_and_rollback_brings_the_old_ones_back(self):
        records = harness.facts(6)
        before = [self.generate(r["prompt"]).text for r in records]
        for record, text in zip(records, before):
            self.assertEqual(text.strip(), record["ground_truth"])
        stream = Stream(self.channel, "s")
        self.assertEqual(stream.started.next_offset, 0)
        self.assertGreater(stream.started.credits, 0)
        stream.send(0, [_edit(r) for r in records[:3]])
        stream.send(1, [_edit(r) for r in records[3:]])
        statuses = stream.finish()
        for offset in (0, 1):
            stages = [s.stage for s in statuses[offset]]
            self.assertEqual(stages, sorted(stages), "stages go forward")
            self.assertIn(edit_pb2.DURABLE, stages)
            self.assertEqual(stages[-1], edit_pb2.LIVE, statuses[offset][-1])
        answers = [self.generate(r["prompt"]) for r in records]
        self.assertEqual([a.text.strip() for a in answers], [r["target_new"] for r in records])
        self.assertEqual({a.revision for a in answers}, {2})

        rollback = revision_pb2.RollbackRequest(revision=0, reason="test")
        revisions = revision_pb2_grpc.RevisionServiceStub(self.channel)
        self.assertEqual(revisions.Rollback(rollback).previous_revision, 2)
        self.assertEqual([self.generate(r["prompt"]).text for r in records], before)
        self.assertEqual(self.generate(records[0]["prompt"], revision=2).text, answers[0].text)

    def test_a_malformed_edit_gets_its_reason_and_the_batches_around_it_go_through(self):
        records = harness.facts(3)
        bad = _edit(records[1])
        bad.subject = "no such subject"
        stream = Stream(self.channel, "s")
        stream.send(0, [_edit(records[0])])
        stream.send(1, [_edit(records[2]), bad])
        stream.send(2, [_edit(records[2])])
        last = {offset: statuses[-1] for offset, statuses in stream.finish().items()}
        self.assertEqual(last[0].stage, edit_pb2.LIVE)
        self.assertEqual(last[2].stage, edit_pb2.LIVE)
        self.assertEqual(last[1].stage, edit_pb2.FAILED)
        (violation,) = [r.violation for r in last[1].edit_results if r.HasField("violation")]
        self.assertEqual(violation.field, "batch.edits[1].subject")
        info = error_details_pb2.ErrorInfo()
        self.assertTrue(any(detail.Unpack(info) for detail in last[1].error.details))
        self.assertEqual((info.reason, info.domain), ("EDIT_INVALID", "amend"))

    def test_the_same_offset_again_gives_the_recorded_outcome(self):
        edits = [_edit(r) for r in harness.facts(2)]
        first = Stream(self.channel, "s")
        first.send(0, edits)
        outcome = first.finish()[0][-1]
        again = Stream(self.channel, "s")
        self.assertEqual(again.started.next_offset, 1)
        again.send(0, edits)
        replayed = again.finish()[0][-1]
        self.assertTrue(replayed.replayed)
        self.assertEqual((replayed.stage, replayed.revision), (outcome.stage, outcome.revision))
        self.assertEqual(self.server.live(), 1)

    def test_a_streamed_generation_is_the_whole_one_in_parts(self):
        request = generation_pb2.GenerateRequest(prompt="The capital of Jordan is", max_new_tokens=8)
        stub = generation_pb2_grpc.GenerationServiceStub(self.channel)
        parts = list(stub.GenerateStream(request))
        whole = stub.Generate(request)
        self.assertEqual("".join(p.text for p in parts), whole.text)
        self.assertEqual([i for p in parts for i in p.token_ids], list(whole.token_ids))
        self.assertEqual(parts[-1].finish_reason, whole.finish_reason)

    def test_an_unknown_revision_is_not_found_with_a_reason(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.generate("The capital of Jordan is", revision=77)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        self.assertIn("77", caught.exception.details())

    def test_server_info_names_the_model(self):
        info = admin_pb2_grpc.AdminServiceStub(self.channel).GetServerInfo(admin_pb2.GetServerInfoRequest())
        self.assertEqual((info.model.architecture, info.model.layers), ("gpt2", 6))
        self.assertEqual(len(info.model.fingerprint), 64)

    def test_reflection_lists_the_services(self):
        call = self.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        # ServerReflectionRequest with list_services (field 7) set to "".
        (response,) = call(iter([b"\x3a\x00"]), timeout=harness.PATIENCE)
        for service in _SERVICES:
            self.assertIn(f"amend.v1.{service}".encode(), response)

    def test_health_is_serving_for_each_service(self):
        for service in ["", *(f"amend.v1.{name}" for name in _SERVICES)]:
            # HealthCheckRequest.service is field 1; the answer's status 1 is SERVING.
            request = b"\x0a" + bytes([len(service)]) + service.encode()
            self.assertEqual(self._raw("/grpc.health.v1.Health/Check", request), b"\x08\x01", service)

    def test_metrics_have_the_documented_names(self):
        self.generate("The capital of Jordan is")
        stream = Stream(self.channel, "s")
        stream.send(0, [_edit(r) for r in harness.facts(1)])
        stream.finish()
        text = self.server.get("/metrics")
        for name in [
            "amend_edit_batches_total{",
            "amend_edits_total{",
            "amend_edit_queue_depth",
            "amend_edit_stage_duration_seconds",
            "amend_gate_score{",
            "amend_edit_time_to_live_seconds",
            "amend_live_revision_info{",
            "amend_num_requests_running",
            "amend_time_to_first_token_seconds",
            "amend_generation_tokens_total",
            "amend_requests_total{",
            "amend_build_info{",
            "grpc_server_handled_total{",
        ]:
            self.assertIn("\n" + name, text)

    def test_readiness_and_liveness_answer(self):
        self.server.get("/healthz")
        self.server.get("/readyz")

    def test_sigterm_ends_it_with_0_also_while_a_client_waits(self):
        stream = Stream(self.channel, "s")
        self.assertEqual(stream.started.session, "s")
        self.assertEqual(self.server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
