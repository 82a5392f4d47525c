"""amend export: checkpoints that other programs load, this one among them."""

import json
import os
import shutil
import struct
import subprocess
import unittest

import grpc

from amend.v1 import generation_pb2, generation_pb2_grpc
from tests.integration import harness

# A Python with torch and transformers, which the build does not need.
TRANSFORMERS = os.environ.get("AMEND_TRANSFORMERS_PYTHON")
TRANSFORMERS_SCORES = os.path.abspath("tests/integration/transformers_scores.py")

# Log probabilities of two float32 programs that sum in different orders.
TOLERANCE = 1e-3


def read_safetensors(path):
    """Header and data."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), file.read()


def tensors_of(path):
    """The bytes of each tensor."""
    header, data = read_safetensors(path)
    header.pop("__metadata__", None)
    return {name: data[slice(*entry["data_offsets"])] for name, entry in header.items()}


class ExportTest(harness.ServerTest):
    def setUp(self):
        super().setUp()
        self.records = harness.facts(6)
        self.server = self.start()
        file = harness.write_edits(self.path("edits.jsonl"), self.records)
        self.server.amend("edit", "--file", file, "--batch", "3")

    def export(self, name, *flags, server=None):
        output = (server or self.server).amend_json("export", "--out", self.path(name), *flags)
        return output[0]

    def serve_exported(self, name):
        """A server with an empty store on an exported directory, which lacks nothing but texts for the covariance."""
        texts = os.path.join(harness.DEMO_MODEL, "covariance_texts.txt")
        shutil.copyfile(texts, self.path(name + "/covariance_texts.txt"))
        return self.start_as_is("data_of_" + name, model=self.path(name))

    def scores(self, server):
        items = [{"prompt": r["prompt"], "continuation": r["target_new"]} for r in self.records]
        with grpc.insecure_channel(server.address) as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            return stub.Score(generation_pb2.ScoreRequest(items=items)).results

    def test_a_directory_holds_the_edits_and_serves_them_without_a_store(self):
        exported = self.export("merged")
        self.assertEqual(exported["revision"], 2)
        self.assertEqual(
            sorted(f["name"] for f in exported["files"]),
            ["config.json", "merges.txt", "model.safetensors", "tokenizer.json", "vocab.json"],
        )
        header, _ = read_safetensors(self.path("merged/model.safetensors"))
        self.assertEqual(header["__metadata__"]["amend_revision"], "2")
        self.assertEqual(header["__metadata__"]["amend_base_fingerprint"], exported["base_fingerprint"])
        self.assertEqual(exported["base_fingerprint"], self.server.amend_json("status")[0]["model"]["fingerprint"])

        merged = self.serve_exported("merged")
        # Without their scope edits get into each other's way: most take, not all.
        changed = [r["prompt"] for r in self.records if merged.answer(r["prompt"]) == r["target_new"]]
        self.assertGreaterEqual(len(changed), 4, changed)
        self.assertEqual(merged.live(), 0)
        # What that server serves, exported again, is what was given to it.
        self.export("again", server=merged)
        self.assertEqual(
            tensors_of(self.path("again/model.safetensors")), tensors_of(self.path("merged/model.safetensors"))
        )

    def test_the_unedited_revision_has_the_weights_of_the_model(self):
        self.export("base", "--revision", "0")
        base = tensors_of(os.path.join(harness.DEMO_MODEL, "model.safetensors"))
        self.assertEqual(tensors_of(self.path("base/model.safetensors")), base)

    def test_projections_alone_are_those_of_the_directory_and_differ_from_the_base(self):
        self.export("merged")
        self.export("projections.safetensors", "--projections-only", "--label", "live")
        merged = tensors_of(self.path("merged/model.safetensors"))
        base = tensors_of(os.path.join(harness.DEMO_MODEL, "model.safetensors"))
        projections = tensors_of(self.path("projections.safetensors"))
        self.assertEqual(len(projections), 2)
        self.assertEqual(projections, {name: merged[name] for name in projections})
        for name in merged:
            self.assertEqual(merged[name] == base[name], name not in projections, name)

    def test_an_export_that_cannot_be_leaves_nothing(self):
        before = sorted(os.listdir(self.folder))
        self.server.amend("export", "--out", self.path("x"), "--revision", "9", expect=4)
        self.server.amend("export", "--out", self.path("no/x"), expect=2)
        self.server.amend("export", "--out", self.path("data"), expect=2)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    @unittest.skipUnless(TRANSFORMERS, "AMEND_TRANSFORMERS_PYTHON names no Python with transformers")
    def test_transformers_loads_it_and_gives_the_same_numbers(self):
        self.export("merged")
        merged = self.serve_exported("merged")
        request = {
            "model": self.path("merged"),
            "items": [{"prompt": r["prompt"], "continuation": r["target_new"]} for r in self.records],
            "greedy": 6,
        }
        reply = subprocess.run(
            [TRANSFORMERS, TRANSFORMERS_SCORES],
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=10 * harness.PATIENCE,
        )
        theirs = json.loads(reply.stdout)
        ours = self.scores(merged)
        self.assertEqual(len(theirs), len(ours))
        largest = 0
        for record, their, our in zip(self.records, theirs, ours):
            self.assertEqual(their["token_ids"], list(our.token_ids), record["prompt"])
            for a, b in zip(their["logprobs"], our.logprobs):
                largest = max(largest, abs(a - b))
            flags = ["--max-new-tokens", "6"]
            generated = merged.amend_json("generate", record["prompt"], *flags)[0]
            # Ours ends where the text ends.
            tokens = generated["token_ids"]
            self.assertGreater(len(tokens), 0)
            self.assertEqual(their["greedy_ids"][: len(tokens)], tokens, record["prompt"])
        print(f"largest difference of a log probability: {largest:.2e}", flush=True)
        self.assertLess(largest, TOLERANCE)
