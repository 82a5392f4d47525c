"""TLS, credentials and roles of a real amendd, for clients that have them and clients that do not."""

import os
import shutil

import grpc
from google.protobuf import descriptor_pb2

from amend.v1 import admin_pb2, edit_pb2, edit_pb2_grpc, generation_pb2, revision_pb2, revision_pb2_grpc
from tests.integration import certificates, harness, secure, wire
from tests.integration.secure import ROLES, SERVING, bearer, every_role, health_of, principal, sha256, token_of

_APIS = [admin_pb2, edit_pb2, generation_pb2, revision_pb2]

# What each RPC needs, said a second time: the server's own table is //server/security:rpc_roles.
_ROLE_OF_SERVICE = {"EditService": "EDITOR", "GenerationService": "USER", "AdminService": "ADMIN"}
_READS = {"GetRevision", "ListRevisions", "CompareRevisions", "WatchRevisions", "ListLabels", "ListAuditRecords"}


def role_of(service, method):
    return _ROLE_OF_SERVICE.get(service) or ("READER" if method in _READS else "PROMOTER")


def every_rpc():
    """(service, method) of all descriptors of the API."""
    for api in _APIS:
        for service in descriptor_pb2.FileDescriptorProto.FromString(api.DESCRIPTOR.serialized_pb).service:
            for method in service.method:
                yield service, method


class TlsTest(secure.SecureTest):
    def test_with_tls_clear_text_and_wrong_authorities_are_turned_down(self):
        server = self.start(flags=self.tls())
        self.assertEqual(self.labels(self.channel(server.address)).labels[0].name, "live")
        self.assert_no_connection(self.channel(server.address, ca=certificates.Authority(self.folder, "other")))
        self.assert_no_connection(self.plain(server.address))

    def test_mutual_tls_wants_a_certificate_of_the_authority(self):
        server = self.start(flags=self.mtls())
        good = self.authority.issue("client")
        self.assertEqual(self.labels(self.channel(server.address, client=good)).labels[0].name, "live")
        self.assert_no_connection(self.channel(server.address))
        other = certificates.Authority(self.folder, "other").issue("client")
        self.assert_no_connection(self.channel(server.address, client=other))
        expired = self.authority.issue("expired", days=(-3, -1))
        self.assert_no_connection(self.channel(server.address, client=expired))
        early = self.authority.issue("early", days=(1, 3))
        self.assert_no_connection(self.channel(server.address, client=early))

    def test_a_replaced_certificate_is_used_without_a_restart(self):
        server = self.start(flags=[*self.tls(), "--security-reload-seconds", "0.05"])
        standing = self.channel(server.address)
        self.labels(standing)
        other = certificates.Authority(self.folder, "other")
        renewed = other.issue("renewed", certificates.LOCALHOST)
        shutil.copy(renewed.cert, self.server_certificate.cert)
        shutil.copy(renewed.key, self.server_certificate.key)
        self.wait_until(lambda: self.connects(self.channel(server.address, ca=other)))
        self.assert_no_connection(self.channel(server.address))
        self.labels(standing)
        self.assertIn('amend_security_reloads_total{file="tls",result="ok"} 1', server.get("/metrics"))

    def test_a_broken_certificate_leaves_the_old_one_in_force(self):
        server = self.start(flags=[*self.tls(), "--security-reload-seconds", "0.05"])
        self.write(os.path.relpath(self.server_certificate.cert, self.folder), "nonsense")
        self.wait_until(lambda: 'amend_security_file_refused{file="tls"} 1' in server.get("/metrics"))
        self.labels(self.channel(server.address))
        self.assertIn(self.server_certificate.cert, server.errors())

    def test_an_expired_certificate_of_the_server_is_refused_at_the_start(self):
        self.server_certificate = self.authority.issue("expired", certificates.LOCALHOST, days=(-3, -1))
        self.assert_does_not_start(self.tls(), self.server_certificate.cert, "is valid from")

    def assert_does_not_start(self, flags, *said, **kwargs):
        server = harness.Amendd(self.path("unused"), flags=flags, **kwargs)
        server.spawn()
        self.assertEqual(server.process.wait(harness.PATIENCE), 1, server.errors())
        server.process.stdout.close()
        for words in said:
            self.assertIn(words, server.errors())
        self.assertFalse(os.path.exists(self.path("unused")))

    def test_beyond_loopback_nothing_is_listened_on_without_tls_and_a_policy(self):
        policy = self.policy(every_role())
        everywhere = "0.0.0.0:0"
        self.assert_does_not_start([], "--listen 0.0.0.0:0", "--tls-cert", "--policy", address=everywhere)
        self.assert_does_not_start(self.tls(), "a policy (--policy)", address=everywhere)
        self.assert_does_not_start(policy, "TLS", address=everywhere)
        self.assert_does_not_start(["--admin-listen", "0.0.0.0:0"], "--admin-listen 0.0.0.0:0")

    def test_beyond_loopback_it_listens_with_both_or_when_told_to(self):
        for flags in ([*self.tls(), *self.policy(every_role())], ["--allow-insecure"]):
            server = self.start(address="0.0.0.0:0", flags=flags)
            self.assertTrue(server.address.startswith("0.0.0.0:"))
            self.assertEqual(server.stop(), 0)

    def connects(self, channel):
        try:
            self.labels(channel)
            return True
        except grpc.RpcError:
            return False


class PolicyTest(secure.SecureTest):
    def test_tokens_right_wrong_and_missing(self):
        server = self.start(flags=self.policy(every_role()))
        channel = self.plain(server.address)
        self.labels(channel, token_of("READER"))
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        self.assert_refused(unauthenticated, "CREDENTIALS_MISSING", self.labels, channel)
        self.assert_refused(unauthenticated, "CREDENTIALS_UNKNOWN", self.labels, channel, "nonsense")
        self.assert_refused(unauthenticated, "CREDENTIALS_UNKNOWN", self.labels, channel, sha256(token_of("READER")))

    def test_a_certificate_makes_a_principal_and_a_token_counts_before_it(self):
        server = self.start(flags=[*self.mtls(), *self.policy(every_role())])
        reader = self.authority.issue("reader", "URI:urn:amend:READER")
        channel = self.channel(server.address, client=reader)
        self.labels(channel)
        self.assert_refused(grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING", self.labels, channel, token_of("USER"))
        nobody = self.authority.issue("nobody", "URI:urn:amend:nobody")
        self.assert_refused(
            grpc.StatusCode.UNAUTHENTICATED,
            "CREDENTIALS_UNKNOWN",
            self.labels,
            self.channel(server.address, client=nobody),
        )

    def test_a_certificate_that_is_optional_may_be_a_token(self):
        server = self.start(flags=[*self.mtls(), "--tls-client-cert-optional", *self.policy(every_role())])
        self.labels(self.channel(server.address), token_of("READER"))
        self.labels(self.channel(server.address, client=self.authority.issue("r", "URI:urn:amend:READER")))
        other = certificates.Authority(self.folder, "other").issue("r", "URI:urn:amend:READER")
        self.assert_no_connection(self.channel(server.address, client=other))

    def test_a_changed_policy_is_in_force_without_a_restart_and_a_malformed_one_is_not(self):
        server = self.start(flags=self.policy(every_role()))
        channel = self.plain(server.address)
        self.write("policy.textproto", principal("new", ["READER"], token_sha256=sha256("new")))
        self.wait_until(lambda: 'reloads_total{file="policy",result="ok"} 1' in server.get("/metrics"))
        self.labels(channel, "new")
        self.assert_refused(
            grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_UNKNOWN", self.labels, channel, token_of("READER")
        )
        self.write("policy.textproto", "principals { nam: 'x' }")
        self.wait_until(lambda: 'amend_security_file_refused{file="policy"} 1' in server.get("/metrics"))
        self.labels(channel, "new")
        self.assertIn("policy.textproto", server.errors())
        self.write("policy.textproto", every_role())
        self.wait_until(lambda: 'amend_security_file_refused{file="policy"} 0' in server.get("/metrics"))
        self.labels(channel, token_of("READER"))

    def test_a_malformed_policy_at_the_start_is_refused(self):
        server = harness.Amendd(self.path("unused"), flags=self.policy("principals { nam: 'x' }"))
        server.spawn()
        self.assertEqual(server.process.wait(harness.PATIENCE), 1)
        server.process.stdout.close()
        self.assertIn("policy.textproto: line 1", server.errors())

    def test_every_rpc_and_role(self):
        """What is refused leaves no trace, and a role's own RPCs get to the service."""
        server = self.start(flags=self.policy(every_role()))
        channel = self.plain(server.address)
        seen = 0
        for service, method in every_rpc():
            for role in [*ROLES, None]:
                with self.subTest(rpc=f"{service.name}/{method.name}", role=role):
                    code, reason = self.call(channel, service, method, role)
                    if role is None:
                        self.assertEqual((code, reason), (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"))
                    elif role == role_of(service.name, method.name):
                        self.assertNotIn(reason, {"ROLE_MISSING", "CREDENTIALS_MISSING", "CREDENTIALS_UNKNOWN"})
                        self.assertNotIn(code, {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN})
                    else:
                        self.assertEqual((code, reason), (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING"))
                    seen += 1
        self.assertGreater(seen, 150)
        self.assertEqual(server.stop(), 0)

    def call(self, channel, service, method, role):
        """(code, reason) of a call with an empty request; a stream that goes on is ended."""
        path = f"/amend.v1.{service.name}/{method.name}"
        metadata = bearer(token_of(role)) if role else None
        kind = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, True): channel.stream_stream,
        }[(method.client_streaming, method.server_streaming)]
        rpc = kind(path, request_serializer=bytes, response_deserializer=bytes)
        try:
            if not method.server_streaming:
                rpc(b"", timeout=harness.PATIENCE, metadata=metadata)
                return grpc.StatusCode.OK, ""
            request = iter([b""]) if method.client_streaming else b""
            stream = rpc(request, timeout=harness.PATIENCE, metadata=metadata)
            for _ in stream:
                stream.cancel()
                return grpc.StatusCode.OK, ""
            return grpc.StatusCode.OK, ""
        except grpc.RpcError as error:
            return error.code(), wire.reason_of(error)

    def test_whether_something_exists_is_not_told_to_who_may_not_ask(self):
        server = self.start(flags=self.policy(every_role()))
        stub = revision_pb2_grpc.RevisionServiceStub(self.plain(server.address))
        request = revision_pb2.GetRevisionRequest(revision=77)
        self.assert_refused(
            grpc.StatusCode.NOT_FOUND,
            "REVISION_NOT_FOUND",
            stub.GetRevision,
            request,
            metadata=bearer(token_of("READER")),
        )
        denied = self.assert_refused(
            grpc.StatusCode.PERMISSION_DENIED,
            "ROLE_MISSING",
            stub.GetRevision,
            request,
            metadata=bearer(token_of("USER")),
        )
        self.assertNotIn("77", denied.details())

    def test_health_is_open(self):
        server = self.start(flags=self.policy(every_role()))
        self.assertEqual(health_of(self.plain(server.address), "amend.v1.EditService"), SERVING)

    def test_the_actor_is_the_principal(self):
        server = self.start(flags=self.policy(every_role()))
        channel = self.plain(server.address)
        revisions = revision_pb2_grpc.RevisionServiceStub(channel)
        request = revision_pb2.SetLabelRequest(label="canary", revision=0, reason="a test")
        revisions.SetLabel(request, metadata=bearer(token_of("PROMOTER")))
        records = revisions.ListAuditRecords(
            revision_pb2.ListAuditRecordsRequest(), metadata=bearer(token_of("READER"))
        ).records
        self.assertEqual([r.actor for r in records], ["promoter"])

    def test_a_batch_and_its_revision_are_their_senders_and_stay_so(self):
        flags = self.policy(every_role() + principal("second", ["EDITOR"], token_sha256=sha256("second")))
        server = self.start(flags=flags)
        channel = self.plain(server.address)
        edits = edit_pb2_grpc.EditServiceStub(channel)
        first, second = ([wire.edit_of(record)] for record in harness.facts(2))
        submit = edit_pb2.SubmitEditBatchRequest(batch={"edits": first}, request_id="r")
        requests = [
            edit_pb2.StreamEditsRequest(start={"session": "s"}),
            edit_pb2.StreamEditsRequest(batch={"offset": 0, "batch": {"edits": second}}),
        ]
        # Who sends the same again is not its sender.
        for token in (token_of("EDITOR"), "second"):
            batch = edits.SubmitEditBatch(submit, metadata=bearer(token)).batch
            self.assertEqual((batch.replayed, batch.actor), (token == "second", "editor"))
            streamed = list(edits.StreamEdits(iter(requests), metadata=bearer(token)))
            self.assertEqual(streamed[-1].batch.actor, "editor")
        revision_pb2_grpc.RevisionServiceStub(channel).WithdrawEdits(
            revision_pb2.WithdrawEditsRequest(edits=[{"revision": 2, "edit_index": 0}], reason="a test"),
            metadata=bearer(token_of("PROMOTER")),
        )
        self.check_senders(channel)
        server.kill()
        self.check_senders(self.plain(self.start(flags=flags).address))

    def check_senders(self, channel):
        senders = ["promoter", "editor", "editor"]
        reader = bearer(token_of("READER"))
        stub = revision_pb2_grpc.RevisionServiceStub(channel)
        listed = stub.ListRevisions(revision_pb2.ListRevisionsRequest(), metadata=reader).revisions
        self.assertEqual([r.actor for r in listed], senders)
        for number, sender in zip((3, 2, 1), senders):
            revision = stub.GetRevision(revision_pb2.GetRevisionRequest(revision=number), metadata=reader)
            self.assertEqual(revision.actor, sender)
        records = stub.ListAuditRecords(revision_pb2.ListAuditRecordsRequest(), metadata=reader).records
        self.assertEqual([r.actor for r in records], senders)
        batch = edit_pb2_grpc.EditServiceStub(channel).GetEditBatch(
            edit_pb2.GetEditBatchRequest(session="s", offset=0), metadata=bearer(token_of("EDITOR"))
        )
        self.assertEqual(batch.actor, "editor")
