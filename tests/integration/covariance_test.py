"""amend covariance: the real programs, killed in the middle at random moments and run again."""

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import zipfile

from tests.integration import harness

_KEY_SIZE = 1024


class CovarianceTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def command(self, out, *flags):
        texts = os.path.join(harness.DEMO_MODEL, "covariance_texts.txt")
        command = [harness.AMEND, "covariance", "compute", "--model", harness.DEMO_MODEL, "--text", texts]
        return command + ["--layers", "0,1", "--out", self.path(out), "--threads", "1", *flags]

    def compute(self, out, *flags, expect=0):
        result = harness.run(self.command(out, *flags))
        self.assertEqual(result.returncode, expect, result.stderr)
        return result


class ResumeTest(CovarianceTest):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("AMEND_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"AMEND_TEST_SEED={self.seed}", flush=True)
        self.random = random.Random(self.seed)

    def test_killed_at_random_moments_it_ends_with_the_bytes_of_an_undisturbed_run(self):
        started = time.monotonic()
        self.compute("undisturbed")
        seconds = time.monotonic() - started
        for kills in (1, 2, 4):
            with self.subTest(seed=self.seed, kills=kills):
                out = f"killed{kills}"
                for _ in range(kills):
                    process = subprocess.Popen(
                        self.command(out, "--checkpoint-seconds", "0"), stderr=subprocess.PIPE, text=True
                    )
                    try:
                        process.communicate(timeout=self.random.uniform(0, seconds))
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.communicate(timeout=harness.PATIENCE)
                    if os.path.exists(self.path(out)):
                        break
                if not os.path.exists(self.path(out)):
                    self.compute(out, "--checkpoint-seconds", "0")
                self.assertEqual(self.read(out), self.read("undisturbed"))
                self.assertEqual(self.read(out + ".settling.json"), self.read("undisturbed.settling.json"))
                self.assertNotIn(out + ".partial", os.listdir(self.folder))

    def test_sigterm_leaves_a_checkpoint_and_says_how_to_go_on(self):
        self.compute("undisturbed")
        process = subprocess.Popen(
            self.command("stopped", "--checkpoint-seconds", "0"), stderr=subprocess.PIPE, text=True
        )
        end = time.monotonic() + harness.PATIENCE
        while not os.path.exists(self.path("stopped.partial")) and time.monotonic() < end:
            self.assertIsNone(process.poll(), "it ended before its first checkpoint")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=harness.PATIENCE)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM, errors)
        self.assertIn("the same command goes on", errors)
        result = self.compute("stopped")
        self.assertIn("resuming after", result.stderr)
        self.assertEqual(self.read("stopped"), self.read("undisturbed"))


class CommandTest(CovarianceTest):
    def test_a_store_is_made_with_the_file(self):
        self.compute("covariance.safetensors")
        with open(self.path("profile.textproto"), "w", encoding="utf-8") as file:
            file.write(
                'name: "imported" layers: [ 0, 1 ] lambda: 25 target { steps: 30 clamp: 4 }\n'
                f'covariance {{ covariance_file: "{self.path("covariance.safetensors")}" }}\n'
            )
        server = harness.Amendd(self.path("data"), flags=["--profile", self.path("profile.textproto")]).start()
        self.assertIn("amendd ready", server.ready_line)
        self.assertEqual(server.stop(), 0)

    def test_it_is_the_covariance_that_amendd_computes(self):
        self.compute("covariance.safetensors")
        server = harness.Amendd(self.path("data"), flags=["--threads", "1"]).start()
        self.assertEqual(server.stop(), 0)
        tensors = [_tensor_bytes(self.path(name)) for name in ("covariance.safetensors", "data/covariance.safetensors")]
        self.assertEqual(tensors[0], tensors[1])

    def test_what_is_wrong_is_told_and_ends_with_two(self):
        self.compute("out", "--tokens", "100")
        self.assertIn("--overwrite", self.compute("out", expect=2).stderr)
        self.assertIn("--tokens", self.compute("new", "--tokens", "0", expect=2).stderr)
        self.assertIn("no/folder", self.compute("no/folder/out", expect=2).stderr)

    def test_memits_statistics_are_imported(self):
        count = 3000
        name = self.path("transformer.h.1.mlp.c_proj_float32_mom2_100000.npz")
        row = [0.0] * _KEY_SIZE
        rows = []
        for i in range(_KEY_SIZE):
            row[i] = 2.0 * count
            rows.append(struct.pack(f"<{_KEY_SIZE}f", *row))
            row[i] = 0.0
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("mom2.constructor.npy", _npy("<U4", "()", "mom2".encode("utf-32-le")))
            archive.writestr("mom2.count.npy", _npy("<i8", "()", struct.pack("<q", count)))
            archive.writestr("mom2.mom2.npy", _npy("<f4", f"({_KEY_SIZE}, {_KEY_SIZE})", b"".join(rows)))
        out = self.path("imported")
        command = [harness.AMEND, "covariance", "import", "--model", harness.DEMO_MODEL, "--npz", name, "--out", out]
        result = harness.run(command)
        self.assertEqual(result.returncode, 0, result.stderr)
        header, data = _tensor_bytes(out)
        self.assertEqual(header["layer1.covariance"]["shape"], [_KEY_SIZE, _KEY_SIZE])
        self.assertEqual(struct.unpack("<2f", data[:8]), (2.0, 0.0))


def _npy(dtype, shape, elements):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + elements


def _tensor_bytes(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        return header, file.read()


if __name__ == "__main__":
    unittest.main()
