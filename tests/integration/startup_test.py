"""What amendd says when it cannot start: one line that names the matter, and a non-zero exit."""

import itertools
import json
import os
import shutil
import socket
import urllib.error

from tests.integration import harness


def free_port():
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class StartupTest(harness.ServerTest):
    def refused(self, *flags, model=harness.DEMO_MODEL, data="data", listen="127.0.0.1:0"):
        """Runs amendd to its end; returns the exit code and the last line of its complaint."""
        command = [harness.AMENDD, "--model", model, "--data", self.path(data), "--listen", listen]
        result = harness.run([*command, "--http", "127.0.0.1:0", *flags])
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stdout, "")
        self.assertNotIn("Aborted", result.stderr)
        self.assertNotIn("terminate called", result.stderr)
        return result.returncode, result.stderr.strip().splitlines()[-1]

    def copy_model(self):
        copy = self.path("model")
        shutil.copytree(harness.DEMO_MODEL, copy, copy_function=shutil.copyfile)
        return copy

    def test_an_unknown_flag_is_named(self):
        code, _ = self.refused("--frobnicate")
        self.assertEqual(code, 2)

    def test_a_missing_model_folder_is_named(self):
        _, line = self.refused(model=self.path("nowhere"))
        self.assertIn(self.path("nowhere"), line)

    def test_a_model_without_weights_is_named(self):
        model = self.copy_model()
        os.remove(os.path.join(model, "model.safetensors"))
        _, line = self.refused(model=model)
        self.assertIn("safetensors", line)

    def test_cut_off_weights_are_named(self):
        model = self.copy_model()
        weights = os.path.join(model, "model.safetensors")
        os.truncate(weights, os.path.getsize(weights) // 2)
        _, line = self.refused(model=model)
        self.assertIn("model.safetensors", line)

    def test_a_kv_cache_larger_than_the_machine_is_refused_with_both(self):
        code, line = self.refused("--kv-cache-mib", "16777216")
        self.assertEqual(code, 1)
        self.assertIn("16777216 MiB", line)
        self.assertRegex(line, r"may have \d+ MiB \(")
        self.assertFalse(os.path.exists(self.path("data")))

    def test_a_kv_cache_without_room_for_one_block_is_refused_with_both(self):
        model = self.copy_model()
        config_file = os.path.join(model, "config.json")
        with open(config_file, encoding="utf-8") as file:
            config = json.load(file)
        config.update(n_embd=16384, n_head=16)
        with open(config_file, "w", encoding="utf-8") as file:
            json.dump(config, file)
        profile = self.path("any.profile")
        with open(profile, "w", encoding="utf-8") as file:
            file.write("layers: 0 lambda: 25 covariance { text_file: 'covariance_texts.txt' }")
        code, line = self.refused("--kv-cache-mib", "1", "--profile", profile, model=model)
        self.assertEqual(code, 1)
        self.assertIn("kv_cache_mib is 1", line)
        self.assertIn(str(2 * 6 * 16384 * 4 * 16), line)

    def test_a_port_in_use_is_named(self):
        server = self.start()
        _, line = self.refused(data="other", listen=server.address)
        self.assertIn(server.address, line)

    def test_a_store_in_use_is_refused_and_goes_on(self):
        server = self.start()
        _, line = self.refused()
        self.assertIn(self.path("data"), line)
        self.assertEqual(server.live(), 0)

    def test_the_store_of_another_model_is_refused_with_both_fingerprints(self):
        server = self.start()
        fingerprint = server.amend_json("status")[0]["model"]["fingerprint"]
        self.assertEqual(server.stop(), 0)
        model = self.copy_model()
        config_file = os.path.join(model, "config.json")
        with open(config_file, encoding="utf-8") as file:
            config = json.load(file)
        config["layer_norm_epsilon"] = 1e-4
        with open(config_file, "w", encoding="utf-8") as file:
            json.dump(config, file)
        _, line = self.refused(model=model)
        self.assertIn(fingerprint[:8], line)

    def test_it_is_alive_and_not_ready_while_it_starts(self):
        # The start waits for these texts, for as long as nobody writes them.
        texts = self.path("texts")
        os.mkfifo(texts)
        with open(self.path("slow.profile"), "w", encoding="utf-8") as file:
            file.write(
                "layers: [ 0, 1 ] lambda: 25 target { clamp: 4 } context_templates { templates: 'So. {}' }"
                f"covariance {{ text_file: '{texts}' }}"
            )
        ports = [free_port(), free_port()]
        server = harness.Amendd(
            self.path("data"), address=f"127.0.0.1:{ports[0]}", flags=("--profile", self.path("slow.profile"))
        )
        server.command[server.command.index("--http") + 1] = server.http = f"127.0.0.1:{ports[1]}"
        server.spawn()
        self.addCleanup(harness.end_quietly, server)
        with open(texts, "w", encoding="utf-8") as written:
            self.assertEqual(server.get("/healthz"), "ok\n")
            with self.assertRaises(urllib.error.HTTPError) as raised:
                server.get("/readyz")
            self.assertEqual(raised.exception.code, 503)
            raised.exception.close()
            with socket.socket() as client:
                self.assertNotEqual(client.connect_ex(("127.0.0.1", ports[0])), 0)
            with open(os.path.join(harness.DEMO_MODEL, "covariance_texts.txt"), encoding="utf-8") as lines:
                written.writelines(itertools.islice(lines, 400))
        server.wait_ready()
        self.assertEqual(server.get("/readyz"), "ready\n")
        self.assertEqual(server.live(), 0)
        self.assertEqual(server.stop(), 0)

    def test_a_store_is_made_where_there_is_none_and_opens_again(self):
        for _ in range(2):
            server = self.start_as_is("deep/er/data")
            self.assertEqual(server.live(), 0)
            self.assertEqual(server.stop(), 0)
