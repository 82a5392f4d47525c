#!/usr/bin/python3
"""Tokens per second of llama.cpp, CTranslate2 and Hugging Face transformers beside ours.

    bazel build //tests/benchmark/generation:generation_benchmark
    tests/benchmark/generation/compare_with_peers.py --peer-python VENV/bin/python \\
        --llama-source llama_cpp_python-0.3.36/vendor/llama.cpp --work DIR

All run the same prompts on the same model, one after the other on an otherwise
idle machine: 1, 4 and 16 sequences of 16 + 64 tokens, greedy, then a prompt of
512 tokens; first float32, then bfloat16. In float32 ours has to generate what
transformers does, or exit code 1 and no times; how far the others go along is
shown too (with random weights the best two tokens are often so near that a
rounding decides). Read bandwidth and the speed of one dense product are measured
in the same runs.

VENV holds peer_requirements.txt. The model is gpt2-medium's shape with random
weights (--shape), made in --work once, or --model. --engines picks some; --json
keeps everything.
"""

import argparse
import json
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
OURS = "amend"
ENGINES = (OURS, "llama.cpp", "ctranslate2", "transformers")
# CTranslate2 has no bfloat16 for a CPU.
REFUSED = {("ctranslate2", "bfloat16")}


class Comparison:
    """Files lie in `work`."""

    def __init__(self, args):
        self.args = args
        self.work = args.work
        os.makedirs(self.work, exist_ok=True)
        self.model = args.model or self.random_model()
        self.prompts = self.write_prompts()

    def path(self, name):
        return os.path.join(self.work, name)

    def peer(self, *command):
        subprocess.run([self.args.peer_python, *command], check=True)

    def random_model(self):
        folder = self.path(f"{self.args.shape}-0")
        if not os.path.exists(os.path.join(folder, "model.safetensors")):
            script = os.path.join(HERE, "..", "editing", "make_random_model.py")
            tokenizer = os.path.join(REPOSITORY, "models", "demo")
            self.peer(script, "--shape", self.args.shape, "--tokenizer", tokenizer, "--out", folder)
        return folder

    def write_prompts(self):
        with open(os.path.join(self.model, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        generator = random.Random(20240607)

        def prompt(length):
            return [generator.randrange(config["vocab_size"]) for _ in range(length)]

        streams = max(self.args.streams)
        prefill = min(self.args.prefill, config["n_positions"] - 1)
        prompts = {"decode": [prompt(self.args.prompt_tokens) for _ in range(streams)], "prefill": prompt(prefill)}
        path = self.path("prompts.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(prompts, file)
        return path

    def converted(self, engine, dtype):
        """What the engine loads, made once."""
        name = os.path.basename(os.path.normpath(self.model))
        if engine == "llama.cpp":
            target = self.path(f"{name}-{dtype}.gguf")
            if not os.path.exists(target):
                script = os.path.join(HERE, "convert_for_llama.py")
                flags = ["--llama-source", self.args.llama_source, "--model", self.model]
                self.peer(script, *flags, "--dtype", dtype, "--out", target)
            return target
        if engine == "ctranslate2":
            target = self.path(f"{name}-ctranslate2")
            if not os.path.exists(target):
                script = os.path.join(HERE, "convert_for_ctranslate2.py")
                self.peer(script, "--model", self.model, "--out", target)
            return target
        return self.model

    def run(self, engine, dtype):
        """The report of one engine."""
        args = self.args
        flags = ["--dtype", dtype, "--prompts", self.prompts, "--new-tokens", str(args.new_tokens)]
        flags += ["--streams", ",".join(map(str, args.streams)), "--rounds", str(args.rounds)]
        flags += ["--threads", str(args.threads), "--model", self.converted(engine, dtype)]
        if engine == OURS:
            command = [args.benchmark, *flags]
        else:
            command = [args.peer_python, os.path.join(HERE, "peer_run.py"), "--engine", engine, *flags]
        environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        return {"engine": engine, **json.loads(output.strip().splitlines()[-1])}


def agreement(report, reference):
    """Tokens of all sequences that are the same, up to each one's first difference; and how many there are."""
    same = total = 0
    for ours, theirs in zip(report["decode"], reference["decode"]):
        for row, expected in zip(ours["tokens"], theirs["tokens"]):
            pairs = list(zip(row, expected))
            same += next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
            total += len(expected)
    return same, total


def table(reports):
    streams = [case["streams"] for case in reports[0]["decode"]]
    header = "engine        dtype    " + "".join(f"{n:>6} streams" for n in streams) + "   prompt, s"
    lines = ["tokens per second", header]
    for report in reports:
        speeds = "".join(f"{case['tokens_per_second']:14.1f}" for case in report["decode"])
        lines.append(f"{report['engine']:<13} {report['dtype']:<8} {speeds}{report['prefill']['seconds']:12.3f}")
    for report in reports:
        if report["engine"] != OURS:
            continue
        shares = ", ".join(f"{case['of_bandwidth']:.0%}" for case in report["decode"])
        lines.append(
            f"ours in {report['dtype']}: weights at {shares} of the {report['bandwidth'] / 1e9:.1f} GB/s that"
            f" memory gives; the prompt at {report['prefill']['of_product']:.0%} of one dense product"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--llama-source", help="llama.cpp as llama-cpp-python's source package holds it")
    parser.add_argument("--work", required=True, help="a folder for models and prompts; kept")
    parser.add_argument("--shape", default="gpt2-medium")
    parser.add_argument("--model", help="a GPT-2 folder, instead of --shape")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES))
    parser.add_argument("--dtypes", type=lambda text: text.split(","), default=["float32", "bfloat16"])
    parser.add_argument("--streams", type=lambda text: [int(n) for n in text.split(",")], default=[1, 4, 16])
    parser.add_argument("--prompt-tokens", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument(
        "--benchmark",
        default=os.path.join(REPOSITORY, "bazel-bin", "tests", "benchmark", "generation", "generation_benchmark"),
    )
    args = parser.parse_args()
    comparison = Comparison(args)
    reports = []
    for dtype in args.dtypes:
        for engine in args.engines:
            if (engine, dtype) in REFUSED:
                continue
            print(f"running {engine} in {dtype}", file=sys.stderr, flush=True)
            reports.append(comparison.run(engine, dtype))
    failed = False
    references = {report["dtype"]: report for report in reports if report["engine"] == "transformers"}
    for report in reports:
        reference = references.get(report["dtype"])
        if reference is None or report is reference:
            continue
        same, total = agreement(report, reference)
        print(f"{report['engine']} in {report['dtype']}: {same} of {total} tokens as transformers")
        failed = failed or (report["engine"] == OURS and report["dtype"] == "float32" and same != total)
    if failed:
        print("other tokens than transformers: no times")
        return 1
    print(table(reports))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(reports, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
