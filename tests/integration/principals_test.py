"""Limits of principals, AdminService at its own address, and what a real amendd logs."""

import re
import signal

import grpc

from amend.v1 import admin_pb2, admin_pb2_grpc, edit_pb2, edit_pb2_grpc
from amend.v1 import generation_pb2, generation_pb2_grpc, revision_pb2, revision_pb2_grpc
from google.rpc import error_details_pb2
from tests.integration import harness, secure, wire
from tests.integration.secure import ROLES, SERVING, bearer, every_role, health_of, principal, sha256, token_of


class AdminListenerTest(secure.SecureTest):
    def test_admin_service_is_at_its_own_address_alone(self):
        server = self.start(flags=["--admin-listen", "127.0.0.1:0", *self.policy(every_role())])
        admin_address = re.search(r", admin (\S+:\d+),", server.ready_line).group(1)
        self.assertNotEqual(admin_address, server.address)
        admin, main = self.plain(admin_address), self.plain(server.address)
        request, token = admin_pb2.GetServerInfoRequest(), bearer(token_of("ADMIN"))
        info = admin_pb2_grpc.AdminServiceStub(admin).GetServerInfo(request, metadata=token)
        self.assertEqual(info.model.architecture, "gpt2")
        self.assert_refused(
            grpc.StatusCode.UNIMPLEMENTED,
            None,
            admin_pb2_grpc.AdminServiceStub(main).GetServerInfo,
            request,
            metadata=token,
        )
        self.labels(main, token_of("READER"))
        self.assert_refused(grpc.StatusCode.UNIMPLEMENTED, None, self.labels, admin, token_of("READER"))
        self.assert_refused(
            grpc.StatusCode.UNAUTHENTICATED,
            "CREDENTIALS_MISSING",
            admin_pb2_grpc.AdminServiceStub(admin).GetServerInfo,
            request,
        )
        self.assertEqual(health_of(admin, "amend.v1.AdminService"), SERVING)
        self.assertEqual(health_of(main, "amend.v1.EditService"), SERVING)


class LimitsTest(secure.SecureTest):
    def retry_delay(self, error):
        status = wire.status_of(error)
        for detail in status.details:
            info = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                return info.retry_delay.seconds + info.retry_delay.nanos / 1e9
        raise AssertionError(f"no RetryInfo: {status}")

    def exhausted(self, reason, call, *arguments, **kwargs):
        error = self.assert_refused(grpc.StatusCode.RESOURCE_EXHAUSTED, reason, call, *arguments, **kwargs)
        return self.retry_delay(error)

    def test_the_rate_of_requests(self):
        server = self.start(flags=self.policy(every_role("requests_per_second: 0.01 request_burst: 2")))
        channel = self.plain(server.address)
        for _ in range(2):
            self.labels(channel, token_of("READER"))
        delay = self.exhausted("RATE_LIMITED", self.labels, channel, token_of("READER"))
        self.assertGreater(delay, 50)
        self.assertLess(delay, 101)

    def test_generated_tokens_per_minute(self):
        server = self.start(flags=self.policy(every_role("generated_tokens_per_minute: 4")))
        stub = generation_pb2_grpc.GenerationServiceStub(self.plain(server.address))
        request = generation_pb2.GenerateRequest(prompt="Palermo is a city in", max_new_tokens=3, seed=1)
        metadata = bearer(token_of("USER"))
        used = 0
        while used < 4:
            used += stub.Generate(request, metadata=metadata).usage.generated_tokens
        self.assertGreater(self.exhausted("QUOTA_EXCEEDED", stub.Generate, request, metadata=metadata), 0)
        error = self.assert_refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "QUOTA_EXCEEDED",
            lambda: list(stub.GenerateStream(request, metadata=metadata)),
        )
        self.assertGreater(self.retry_delay(error), 0)
        # Scoring generates nothing.
        stub.Tokenize(generation_pb2.TokenizeRequest(text="x"), metadata=metadata)

    def test_tokens_of_a_stream_count_too(self):
        server = self.start(flags=self.policy(every_role("generated_tokens_per_minute: 2")))
        stub = generation_pb2_grpc.GenerationServiceStub(self.plain(server.address))
        request = generation_pb2.GenerateRequest(prompt="Palermo is a city in", max_new_tokens=3, seed=1)
        metadata = bearer(token_of("USER"))
        list(stub.GenerateStream(request, metadata=metadata))
        self.exhausted("QUOTA_EXCEEDED", stub.Generate, request, metadata=metadata)

    def test_calls_in_progress(self):
        server = self.start(flags=self.policy(every_role("concurrent_calls: 1")))
        channel = self.plain(server.address)
        metadata = bearer(token_of("READER"))
        watch = revision_pb2_grpc.RevisionServiceStub(channel).WatchRevisions(
            revision_pb2.WatchRevisionsRequest(), metadata=metadata
        )
        next(watch)
        self.exhausted("QUOTA_EXCEEDED", self.labels, channel, token_of("READER"))
        watch.cancel()
        self.wait_until(self.may_call, channel)

    def may_call(self, channel):
        try:
            self.labels(channel, token_of("READER"))
            return True
        except grpc.RpcError as error:
            self.assertEqual(wire.reason_of(error), "QUOTA_EXCEEDED")
            return False

    def test_edits_per_minute_in_band_and_unary(self):
        server = self.start(flags=self.policy(every_role("edits_per_minute: 2")))
        channel = self.plain(server.address)
        edits = [wire.edit_of(record) for record in harness.facts(3)]
        stub = edit_pb2_grpc.EditServiceStub(channel)
        metadata = bearer(token_of("EDITOR"))
        requests = [
            edit_pb2.StreamEditsRequest(start={"session": "s"}),
            edit_pb2.StreamEditsRequest(batch={"offset": 0, "batch": {"edits": edits[:2]}}),
            edit_pb2.StreamEditsRequest(batch={"offset": 1, "batch": {"edits": edits[2:]}}),
        ]
        statuses = [r.batch for r in stub.StreamEdits(iter(requests), metadata=metadata) if r.HasField("batch")]
        self.assertEqual([b.stage for b in statuses if b.offset == 0][-1], edit_pb2.LIVE)
        (refused,) = [b for b in statuses if b.offset == 1]
        self.assertEqual(wire.info_of(refused.error).reason, "QUOTA_EXCEEDED")
        unary = edit_pb2.SubmitEditBatchRequest(batch={"edits": edits[2:]})
        self.exhausted("QUOTA_EXCEEDED", stub.SubmitEditBatch, unary, metadata=metadata)


class RevocationTest(secure.SecureTest):
    def setUp(self):
        super().setUp()
        self.kept = principal("kept", ["READER", "EDITOR"], token_sha256=sha256("kept"))
        flags = [*self.policy(every_role() + self.kept), "--tls-client-cert-optional", *self.mtls()]
        self.server = self.start(flags=flags)
        self.tls_channel = self.channel(self.server.address)

    def revoke(self, text):
        self.write("policy.textproto", text + self.kept)
        self.wait_until(lambda: 'reloads_total{file="policy",result="ok"} 1' in self.server.get("/metrics"))

    def watch(self, metadata=None, channel=None):
        stub = revision_pb2_grpc.RevisionServiceStub(channel or self.tls_channel)
        watch = stub.WatchRevisions(revision_pb2.WatchRevisionsRequest(), metadata=metadata)
        self.assertTrue(next(watch).HasField("state"))
        return watch

    def assert_ends(self, code, reason, stream):
        self.assert_refused(code, reason, list, stream)

    def test_a_revoked_principals_streams_end_and_those_of_others_go_on(self):
        by_token = self.watch(bearer(token_of("READER")))
        certificate = self.authority.issue("reader", "URI:urn:amend:READER")
        by_certificate = self.watch(channel=self.channel(self.server.address, client=certificate))
        kept = self.watch(bearer("kept"))
        export = revision_pb2_grpc.RevisionServiceStub(self.tls_channel).ExportRevision(
            revision_pb2.ExportRevisionRequest(), metadata=bearer(token_of("PROMOTER"))
        )
        self.assertTrue(next(export).HasField("start"))
        # The promoter stays and has another role; the reader is gone.
        self.revoke(principal("promoter", ["USER"], token_sha256=sha256(token_of("PROMOTER"))))
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        self.assert_ends(unauthenticated, "CREDENTIALS_UNKNOWN", by_token)
        self.assert_ends(unauthenticated, "CREDENTIALS_UNKNOWN", by_certificate)
        self.assert_ends(grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING", export)
        edits = edit_pb2_grpc.EditServiceStub(self.tls_channel)
        request = edit_pb2.SubmitEditBatchRequest(batch={"edits": [wire.edit_of(harness.facts(1)[0])]})
        edits.SubmitEditBatch(request, metadata=bearer("kept"))
        self.assertEqual(next(kept).revision_changed.revision.actor, "kept")
        kept.cancel()

    def test_a_revoked_principals_generation_ends(self):
        # A client that takes little at a time, so that the generation waits for it.
        options = [("grpc.http2.lookahead_bytes", 64), ("grpc.http2.bdp_probe", 0)]
        credentials = grpc.ssl_channel_credentials(self.authority.text())
        with grpc.secure_channel(self.server.address, credentials, options) as channel:
            stream = generation_pb2_grpc.GenerationServiceStub(channel).GenerateStream(
                generation_pb2.GenerateRequest(prompt="The", max_new_tokens=200, temperature=1),
                metadata=bearer(token_of("USER")),
            )
            next(stream)
            self.revoke("")
            self.assert_ends(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_UNKNOWN", stream)

    def test_what_was_acknowledged_to_a_revoked_editor_is_solved(self):
        stream = wire.EditStream(self.tls_channel, "s", metadata=bearer(token_of("EDITOR")))
        self.assertTrue(stream.read().HasField("started"))
        stream.send(0, [wire.edit_of(harness.facts(1)[0])])
        while stream.read().batch.stage != edit_pb2.DURABLE:
            pass
        self.revoke("")
        # The requests go on: it is the server that ends the call.
        self.assert_refused(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_UNKNOWN", self.read_all, stream)
        stub = edit_pb2_grpc.EditServiceStub(self.tls_channel)
        self.wait_until(lambda: self.batch(stub).stage == edit_pb2.LIVE)
        self.assertEqual(self.batch(stub).actor, "editor")
        stream.end()

    def read_all(self, stream):
        while True:
            stream.read()

    def batch(self, stub):
        return stub.GetEditBatch(edit_pb2.GetEditBatchRequest(session="s", offset=0), metadata=bearer("kept"))


class LogTest(secure.SecureTest):
    def test_no_text_of_clients_is_in_the_log(self):
        """Prompts, targets, reasons and tokens that begin with a word of their own are looked for in all output."""
        canary = "zqcanary"
        policy = every_role() + principal("all", ROLES, token_sha256=sha256(canary + "token"))
        server = self.start(flags=self.policy(policy))
        channel = self.plain(server.address)
        metadata = bearer(canary + "token")
        edits = edit_pb2_grpc.EditServiceStub(channel)
        generation = generation_pb2_grpc.GenerationServiceStub(channel)
        revisions = revision_pb2_grpc.RevisionServiceStub(channel)
        edit = wire.edit_of(harness.facts(1)[0])
        edit.paraphrases.append(f"{canary} paraphrase")
        bad = edit_pb2.Edit(prompt=f"{canary} prompt", subject=f"{canary} absent", target_new=canary)
        odd = edit_pb2.Edit(prompt=f"{canary} prompt", subject=canary, target_new=f"{canary} target")
        generate = generation_pb2.GenerateRequest(prompt=f"{canary} says", max_new_tokens=2, stop=[canary])
        calls = [
            (edits.SubmitEditBatch, edit_pb2.SubmitEditBatchRequest(batch={"edits": [edit]})),
            (edits.SubmitEditBatch, edit_pb2.SubmitEditBatchRequest(batch={"edits": [bad]})),
            (edits.SubmitEditBatch, edit_pb2.SubmitEditBatchRequest(request_id="a-name", batch={"edits": [odd]})),
            (edits.GetEditBatch, edit_pb2.GetEditBatchRequest(session=canary)),
            (generation.Generate, generate),
            (generation.Score, generation_pb2.ScoreRequest(items=[{"prompt": canary, "continuation": canary}])),
            (generation.Tokenize, generation_pb2.TokenizeRequest(text=canary)),
            (revisions.Promote, revision_pb2.PromoteRequest(revision=99, reason=canary)),
            (revisions.SetLabel, revision_pb2.SetLabelRequest(label="a-label", revision=0, reason=canary)),
            (revisions.GetRevision, revision_pb2.GetRevisionRequest(label=canary)),
        ]
        ended = []
        for method, request in calls:
            for credentials in (metadata, bearer(canary + "wrong")):
                try:
                    method(request, timeout=harness.PATIENCE, metadata=credentials)
                    ended.append(grpc.StatusCode.OK)
                except grpc.RpcError as error:
                    ended.append(error.code())
        self.assertIn(grpc.StatusCode.OK, ended)
        self.assertIn(grpc.StatusCode.INVALID_ARGUMENT, ended)
        self.assertEqual(ended[1::2], [grpc.StatusCode.UNAUTHENTICATED] * len(calls))
        self.write("policy.textproto", f"principals {{ token_sha256: '{canary}' }}")
        self.wait_until(lambda: 'amend_security_file_refused{file="policy"} 1' in server.get("/metrics"))
        metrics = server.get("/metrics")
        server.process.send_signal(signal.SIGTERM)
        output = server.process.stdout.read()
        self.assertEqual(server.process.wait(harness.PATIENCE), 0)
        server.process.stdout.close()
        for text in (server.ready_line, output, server.errors(), metrics):
            self.assertNotIn(canary, text)
        self.assertIn("policy.textproto", server.errors())
