"""Clients that connect and say nothing, that read nothing, and that vanish."""

import resource
import signal
import socket
import subprocess
import unittest

import grpc

from amend.v1 import admin_pb2, admin_pb2_grpc, generation_pb2, generation_pb2_grpc
from tests.integration import harness

_SILENT = 1000
_VANISHING = 30
# A client connection's first bytes in HTTP/2, and an empty SETTINGS frame.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"


class SilentClientsTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        # The server inherits it.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        self.server = self.start()
        self.channel = grpc.insecure_channel(self.server.address)
        self.addCleanup(self.channel.close)
        self.generation = generation_pb2_grpc.GenerationServiceStub(self.channel)

    def generate(self):
        request = generation_pb2.GenerateRequest(prompt="The capital of Jordan is", max_new_tokens=4)
        return self.generation.Generate(request, timeout=harness.PATIENCE)

    def await_idle(self):
        """Until no sequence runs or waits; each look is a call that the server answers."""
        admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        for _ in range(100_000):
            info = admin.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=harness.PATIENCE)
            if info.running_sequences == 0 and info.waiting_sequences == 0:
                return
        self.fail(f"{info.running_sequences} sequences run, {info.waiting_sequences} wait")

    def test_a_thousand_clients_that_say_nothing_keep_nobody_from_being_answered(self):
        expected = self.generate().text
        host, port = self.server.address.rsplit(":", 1)
        for i in range(_SILENT):
            silent = socket.create_connection((host, int(port)), timeout=harness.PATIENCE)
            self.addCleanup(silent.close)
            if i % 2 == 0:
                silent.sendall(_PREFACE)
        self.assertEqual(self.generate().text, expected)
        with grpc.insecure_channel(self.server.address) as another:
            stub = generation_pb2_grpc.GenerationServiceStub(another)
            request = generation_pb2.GenerateRequest(prompt="The capital of Jordan is", max_new_tokens=4)
            self.assertEqual(stub.Generate(request, timeout=harness.PATIENCE).text, expected)
        self.assertEqual(self.server.stop(), 0)

    def test_clients_that_are_killed_in_a_stream_leave_nothing_behind(self):
        expected = self.generate().text
        flags = ["--stream", "--max-new-tokens", "200", "--temperature", "1"]
        command = [harness.AMEND, "--server", self.server.address, "generate", "The", *flags]
        for seed in range(_VANISHING):
            client = subprocess.Popen([*command, "--seed", str(seed)], stdout=subprocess.PIPE)
            # Its first bytes: the stream runs.
            self.assertTrue(client.stdout.read(1))
            client.send_signal(signal.SIGKILL)
            client.wait(harness.PATIENCE)
            client.stdout.close()
        self.await_idle()
        self.assertIn("amend_kv_cache_usage_ratio 0\n", self.server.get("/metrics"))
        self.assertEqual(self.generate().text, expected)

    def test_a_stream_that_nobody_reads_lets_others_go_on(self):
        expected = self.generate().text
        request = generation_pb2.GenerateRequest(prompt="The", max_new_tokens=200, temperature=1)
        streams = [self.generation.GenerateStream(request) for _ in range(70)]
        for stream in streams:
            self.addCleanup(stream.cancel)
        self.assertEqual(self.generate().text, expected)
        for stream in streams:
            stream.cancel()
        self.await_idle()


if __name__ == "__main__":
    unittest.main()
