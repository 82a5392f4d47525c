"""What goes out for a token, and what is refused before anything does."""

import os
import tempfile
import unittest

import amend_client
import grpc
from amend_client.security import token_metadata


class TokenTest(unittest.TestCase):
    def test_a_token_is_a_bearer_token(self):
        self.assertEqual(token_metadata(" secret\n", "amend:1", True), (("authorization", "Bearer secret"),))
        self.assertEqual(token_metadata(None, "amend:1", False), ())

    def test_in_clear_text_a_token_stays_on_this_machine(self):
        for address in ("127.0.0.1:1", "localhost:1", "[::1]:1"):
            self.assertTrue(token_metadata("secret", address, False), address)
        for address in ("amend:1", "10.0.0.1:1", "localhost.example.org:1", "[::]:1"):
            with self.assertRaisesRegex(ValueError, "clear text") as raised:
                token_metadata("secret", address, False)
            self.assertNotIn("secret", str(raised.exception))

    def test_both_clients_refuse_it(self):
        for client in (amend_client.Client, amend_client.AsyncClient):
            with self.assertRaises(ValueError):
                client("amend.example.org:1", token="secret")


class TlsTest(unittest.TestCase):
    def test_certificate_and_key_come_together(self):
        with self.assertRaisesRegex(ValueError, "'c.pem'"):
            amend_client.tls(cert="c.pem")

    def test_a_file_that_is_missing_is_named(self):
        with self.assertRaisesRegex(OSError, "no-such-ca"):
            amend_client.tls(ca="no-such-ca")

    def test_files_make_credentials(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ca.pem")
            with open(path, "w", encoding="utf-8") as file:
                file.write("PEM")
            self.assertIsInstance(amend_client.tls(ca=path), grpc.ChannelCredentials)
