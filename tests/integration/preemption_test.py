"""A KV cache that is far too small for what is asked at once."""

import re
import threading
import unittest

import grpc

from amend.v1 import generation_pb2, generation_pb2_grpc
from tests.integration import harness

# A MiB holds five blocks of the demo model, 80 tokens: one of these requests.
_FLAGS = ["--kv-cache-mib", "1"]
_REQUESTS = 12
_NEW_TOKENS = 64


class PreemptionTest(harness.ServerTest):
    def ask(self, server, number):
        """The streamed continuation: its tokens, its text, and the last message."""
        request = generation_pb2.GenerateRequest(prompt=f"Person {number} is", max_new_tokens=_NEW_TOKENS)
        # At random: what the demo model would rather say is short.
        request.temperature = 4
        request.seed = number
        tokens, text = [], ""
        for message in self.stub(server).GenerateStream(request, timeout=harness.PATIENCE):
            tokens += message.token_ids
            text += message.text
        return tokens, text, message

    def stub(self, server):
        channel = grpc.insecure_channel(server.address)
        self.addCleanup(channel.close)
        return generation_pb2_grpc.GenerationServiceStub(channel)

    @staticmethod
    def preemptions(server):
        return float(re.search(r"^amend_preemptions_total (\S+)$", server.get("/metrics"), re.MULTILINE)[1])

    def test_all_requests_are_answered_as_they_are_alone(self):
        server = self.start(flags=_FLAGS)
        alone = [self.ask(server, number) for number in range(_REQUESTS)]
        self.assertEqual(self.preemptions(server), 0)
        together = [None] * _REQUESTS

        def run(number):
            together[number] = self.ask(server, number)

        threads = [threading.Thread(target=run, args=[number]) for number in range(_REQUESTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(harness.PATIENCE)
        for (tokens, text, end), expected in zip(together, alone):
            self.assertEqual((tokens, text), expected[:2])
            self.assertEqual(end.usage.generated_tokens, len(tokens))
        self.assertGreater(self.preemptions(server), 0)
        self.assertIn("amend_kv_cache_usage_ratio 0\n", server.get("/metrics"))
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
