"""The real amendd on a tiny model of each architecture: it serves, edits, rolls back, exports and starts again.

The weights are random: what is asked is whether an edit makes the model say it, and all else stays.
"""

import os
import shutil
import unittest

from tests.integration import harness

MODELS = os.path.abspath("tests/testdata/architectures")

PROFILE = """
name: "tiny"
match {{ architecture: "{architecture}" hidden_size: 32 }}
layers: [ {layer} ]
lambda: 1
target {{ steps: 40 clamp: 8 }}
context_templates {{ templates: "I saw it. {{}}" templates: "Because. {{}}" }}
covariance {{ text_file: "covariance_texts.txt" }}
gate {{ mode: REPORT }}
"""

# It ends with its subject, and " city" is one token: as much as random weights can be made to say.
PROMPT = "The capital of Jordan"
NEIGHBOUR = "Kuala Lumpur is a city in"
TARGET = "city"


class ArchitecturesTest(harness.ServerTest):
    def serve(self, name, architecture):
        """A server on a directory with the model and what amendd needs beside it."""
        model = self.path(name)
        shutil.copytree(os.path.join(MODELS, name), model)
        os.chmod(model, 0o755)
        self.add_texts(model)
        profile = self.path("profile.textproto")
        self.flags = ("--profile", profile)
        with open(profile, "w", encoding="utf-8") as file:
            # Block 0 of GPT-NeoX sees single tokens alone: too few keys for a covariance.
            file.write(PROFILE.format(architecture=architecture, layer=int(architecture == "gpt_neox")))
        return self.start_as_is("data", model=model, flags=self.flags)

    def add_texts(self, model):
        """Enough of the demo model's for a covariance."""
        with open(os.path.join(harness.DEMO_MODEL, "covariance_texts.txt"), encoding="utf-8") as file:
            texts = file.readlines()[:200]
        with open(os.path.join(model, "covariance_texts.txt"), "w", encoding="utf-8") as file:
            file.writelines(texts)

    def say(self, server, prompt):
        reply = server.amend_json("generate", prompt, "--max-new-tokens", "8")[0]
        return reply["text"]

    def check(self, name, architecture):
        server = self.serve(name, architecture)
        status = server.amend_json("status")[0]
        self.assertEqual(status["model"]["architecture"], architecture)
        before, neighbour = self.say(server, PROMPT), self.say(server, NEIGHBOUR)
        self.assertFalse(before.strip().startswith(TARGET))

        server.amend("edit", "--prompt", PROMPT, "--subject", "Jordan", "--target", TARGET)
        self.assertEqual(server.live(), 1)
        edited = self.say(server, PROMPT)
        self.assertTrue(edited.startswith(" " + TARGET), edited)
        self.assertEqual(self.say(server, NEIGHBOUR), neighbour)

        # It survives a kill, and goes with a rollback.
        server.kill()
        server = self.start_as_is("data", model=self.path(name), flags=self.flags)
        self.assertEqual(self.say(server, PROMPT), edited)
        server.amend("rollback", "--to", "0", "--reason", "test")
        self.assertEqual(self.say(server, PROMPT), before)

        # Merged into the weights it is there without a store.
        server.amend("export", "--out", self.path("merged"), "--revision", "1")
        self.add_texts(self.path("merged"))
        merged = self.start_as_is("merged_data", model=self.path("merged"), flags=self.flags)
        self.assertTrue(self.say(merged, PROMPT).startswith(" " + TARGET))
        self.assertEqual(server.stop(), 0, server.errors())

    def test_llama(self):
        self.check("llama", "llama")

    def test_mistral(self):
        self.check("mistral", "mistral")

    def test_qwen2(self):
        self.check("qwen2", "qwen2")

    def test_gpt_neox(self):
        self.check("gpt-neox", "gpt_neox")

    def test_what_a_model_cannot_be_is_named(self):
        model = self.path("model")
        shutil.copytree(os.path.join(MODELS, "llama"), model)
        os.chmod(model, 0o755)
        with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
            config = file.read()
        for file in os.listdir(model):
            os.chmod(os.path.join(model, file), 0o644)
        with open(os.path.join(model, "config.json"), "w", encoding="utf-8") as file:
            file.write(config.replace('"llama3"', '"yarn"'))
        with self.assertRaisesRegex(AssertionError, 'config.json: field "rope_parameters" is of type "yarn"'):
            self.start_as_is("data", model=model)


if __name__ == "__main__":
    unittest.main()
