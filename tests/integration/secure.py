"""What tests of a server with certificates and a policy have in common."""

import hashlib
import os
import time

import grpc

from amend.v1 import revision_pb2, revision_pb2_grpc
from tests.integration import certificates, harness, wire

ROLES = ["READER", "USER", "EDITOR", "PROMOTER", "ADMIN"]

SERVING = b"\x08\x01"


def token_of(role):
    return f"the token of {role}"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def principal(name, roles, limits="", **known_by):
    fields = "".join(f"  {field}: '{value}'\n" for field, value in known_by.items())
    return f"principals {{\n  name: '{name}' roles: [{', '.join(roles)}]\n{fields}  limits {{ {limits} }}\n}}\n"


def every_role(limits=""):
    """A policy with a principal for each role, known by a token and by a certificate's URI."""
    return "".join(
        principal(
            role.lower(), [role], limits, token_sha256=sha256(token_of(role)), certificate_uris=f"urn:amend:{role}"
        )
        for role in ROLES
    )


def bearer(token):
    return [("authorization", f"Bearer {token}")]


def health_of(channel, service):
    """What grpc.health.v1 says of a service, as bytes; there are no stubs for it."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes
    )
    return check(b"\x0a" + bytes([len(service)]) + service.encode(), timeout=harness.PATIENCE)


class SecureTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.authority = certificates.Authority(self.folder)
        self.server_certificate = self.authority.issue("server", certificates.LOCALHOST)

    def write(self, name, text):
        """Replaces a file as a whole."""
        path = self.path(name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)
        return path

    def tls(self):
        return ["--tls-cert", self.server_certificate.cert, "--tls-key", self.server_certificate.key]

    def mtls(self):
        return [*self.tls(), "--tls-client-ca", self.authority.cert]

    def policy(self, text):
        return ["--policy", self.write("policy.textproto", text), "--security-reload-seconds", "0.05"]

    def channel(self, address, ca=None, client=None):
        """With TLS to what `ca`, else the test's authority, has signed."""
        cert, key = client.texts() if client else (None, None)
        credentials = grpc.ssl_channel_credentials((ca or self.authority).text(), key, cert)
        # A connection of its own: certificates are looked at when one is made.
        channel = grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def plain(self, address):
        channel = grpc.insecure_channel(address)
        self.addCleanup(channel.close)
        return channel

    def labels(self, channel, token=None):
        """A call of the role reader."""
        stub = revision_pb2_grpc.RevisionServiceStub(channel)
        return stub.ListLabels(
            revision_pb2.ListLabelsRequest(), timeout=harness.PATIENCE, metadata=bearer(token) if token else None
        )

    def assert_refused(self, code, reason, call, *arguments, **kwargs):
        with self.assertRaises(grpc.RpcError) as raised:
            call(*arguments, **kwargs)
        self.assertEqual(raised.exception.code(), code, raised.exception)
        if reason is not None:
            self.assertEqual(wire.reason_of(raised.exception), reason)
        return raised.exception

    def assert_no_connection(self, channel):
        """The handshake fails, or the connection ends with it."""
        with self.assertRaises(grpc.RpcError) as raised:
            self.labels(channel)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(wire.reason_of(raised.exception), "")

    def wait_until(self, what, *arguments):
        """Asks the server until it says so."""
        end = time.monotonic() + harness.PATIENCE
        while not what(*arguments):
            self.assertLess(time.monotonic(), end, "it did not come")
