#!/usr/bin/python3
"""Seconds per edit of the published reference code against ours.

    bazel build //tests/benchmark/editing/...
    tests/benchmark/editing/compare_with_reference.py --reference-python VENV/bin/python \\
        --coachhook CoachHook --easyedit EasyEdit

Both solve the same edits on the same model with the same settings, context
templates and key covariance, one after the other on an otherwise idle machine.
First what they computed is compared (REFERENCE scope, the paper's); only if it
is the same are times shown, of both scopes. Exit code 1 and no times otherwise.

VENV holds reference_requirements.txt; --coachhook and --easyedit are clones of
what it names. Without --model, models/demo. With --shape, a model of that shape
with random weights is made first (and kept in --work, if that is given).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import comparison  # noqa: E402
import edit_profile  # noqa: E402

REPOSITORY = edit_profile.REPOSITORY
HERE = os.path.dirname(os.path.abspath(__file__))
_SCOPES = ("REFERENCE", "LEVERAGE")
_SHAPE_PROFILES = {
    "gpt2-mini": "gpt2_mini.textproto",
    "gpt2-medium": "gpt2_medium.textproto",
    "gpt2-xl": "gpt2_xl.textproto",
}


def in_repository(*parts):
    return os.path.join(REPOSITORY, *parts)


class Comparison:
    """One comparison; files lie in `work`."""

    def __init__(self, args, work):
        self.args = args
        self.work = work
        self.model = self.model_directory()
        self.profile = args.profile or self.default_profile()
        self.settings = edit_profile.read(self.profile)
        self.covariance = args.covariance or self.computed_covariance()

    def path(self, name):
        return os.path.join(self.work, name)

    def default_profile(self):
        if self.args.shape:
            return os.path.join(HERE, "profiles", _SHAPE_PROFILES[self.args.shape])
        return in_repository("docs", "profiles", "demo_evaluation.textproto")

    def model_directory(self):
        args = self.args
        if not args.shape:
            return args.model or in_repository("models", "demo")
        folder = self.path(f"{args.shape}-{args.seed}")
        if not os.path.exists(os.path.join(folder, "model.safetensors")):
            print(f"making {folder}", flush=True)
            command = [args.reference_python, os.path.join(HERE, "make_random_model.py"), "--shape", args.shape]
            command += ["--seed", str(args.seed), "--tokenizer", args.tokenizer, "--out", folder]
            subprocess.run(command, check=True)
        texts = os.path.join(folder, "covariance_texts.txt")
        if not os.path.exists(texts):
            shutil.copy(in_repository("models", "demo", "covariance_texts.txt"), texts)
        return folder

    def edits(self, threads):
        """What both programs are told about the edits."""
        args = self.args
        flags = ["--model", self.model, "--facts", args.facts, "--edits", str(args.edits)]
        return flags + ["--batch", str(args.batch), "--threads", str(threads)]

    def reference(self):
        """The record of the fastest run of the reference code; its tensors stay in reference.safetensors."""
        settings = self.path("settings.json")
        with open(settings, "w", encoding="utf-8") as file:
            json.dump(self.settings, file)
        record_file = self.path("reference.json")
        command = [self.args.reference_python, os.path.join(HERE, "reference_run.py")]
        command += self.edits(self.args.reference_threads or self.args.threads)
        command += ["--coachhook", self.args.coachhook, "--easyedit", self.args.easyedit, "--settings", settings]
        command += ["--covariance", self.covariance, "--out", self.path("reference.safetensors"), "--json", record_file]
        records = []
        for _ in range(self.args.reference_repeat):
            subprocess.run(command, check=True)
            with open(record_file, encoding="utf-8") as file:
                records.append(json.load(file))
        return min(records, key=lambda record: record["seconds_per_edit"])

    def computed_covariance(self):
        """The key covariance over the model's covariance_texts.txt, computed by us."""
        layers = "-".join(map(str, self.settings["layers"]))
        model = os.path.basename(os.path.abspath(self.model))
        file = self.path(f"covariance-{model}-{layers}.safetensors")
        if not os.path.exists(file):
            print("computing the key covariance", flush=True)
            command = [self.args.covariance_program, "--model", self.model, "--out", file]
            command += ["--layers", layers.replace("-", ","), "--threads", str(self.args.threads)]
            subprocess.run(command, check=True)
        return file

    def ours_once(self, scope, flags):
        """The JSON that our program ends with."""
        profile = self.path(f"{scope}.textproto")
        with open(self.profile, encoding="utf-8") as file:
            text = edit_profile.with_scope(file.read(), scope)
        with open(profile, "w", encoding="utf-8") as file:
            file.write(text)
        command = [self.args.benchmark, "--profile", profile, *flags]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(output.strip().splitlines()[-1])

    def ours(self, scope):
        """Seconds per edit of the fastest run; its tensors stay in SCOPE.safetensors."""
        flags = [*self.edits(self.args.threads), "--covariance", self.covariance, "--out", self.path(f"{scope}.safetensors")]
        runs = []
        for _ in range(self.args.repeat):
            batches = self.ours_once(scope, flags)
            ends = [0] + [batch["edits"] for batch in batches]
            sizes = [end - begin for begin, end in zip(ends, ends[1:])]
            total = sum(size * batch["seconds_per_edit"] for size, batch in zip(sizes, batches))
            runs.append(total / ends[-1])
        return min(runs)

    def verdict(self, reference):
        ours = comparison.ResultFile(self.path("REFERENCE.safetensors"))
        differences = comparison.compare_results(ours, comparison.ResultFile(self.path("reference.safetensors")))
        losses = comparison.losses(ours)
        random_weights = bool(self.args.shape) or self.args.random_weights
        return comparison.judge(differences, losses, reference["losses"], random_weights)

    def run(self):
        """(report, record) of the whole comparison."""
        reference = self.reference()
        seconds = {"reference code": reference["seconds_per_edit"]}
        for scope in _SCOPES:
            seconds[f"ours, {scope} scope"] = self.ours(scope)
        verdict = self.verdict(reference)
        speed = max(reference["matmul_gflops"].values())
        record = {"model": self.model, "edits": self.args.edits, "same": verdict.same, "comparison": verdict.lines}
        if verdict.same:
            record["seconds_per_edit"] = seconds
            record["reference"] = reference
        return comparison.report(verdict, seconds, speed), record


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference-python", required=True, help="Python with reference_requirements.txt")
    parser.add_argument("--coachhook", required=True, help="a clone of Syon-Li/CoachHook")
    parser.add_argument("--easyedit", required=True, help="a clone of zjunlp/EasyEdit")
    built = in_repository("bazel-bin", "tests", "benchmark", "editing")
    parser.add_argument("--benchmark", default=os.path.join(built, "edit_benchmark"), help="our program")
    covariance = os.path.join(built, "write_key_covariance")
    parser.add_argument("--covariance-program", default=covariance, help="not used with --covariance")
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", help="a Hugging Face directory; default: models/demo")
    model.add_argument("--shape", choices=sorted(_SHAPE_PROFILES), help="make a model of this shape")
    parser.add_argument("--seed", type=int, default=0, help="of the weights of --shape")
    parser.add_argument("--tokenizer", default=in_repository("models", "demo"), help="for --shape")
    parser.add_argument("--random-weights", action="store_true", help="--model has no trained weights")
    parser.add_argument("--profile", help="a profile as a text proto; default: the demo model's or the shape's")
    parser.add_argument("--covariance", help="safetensors with layer{l}.covariance; computed if not given")
    facts = in_repository("tests", "testdata", "world_facts.json")
    parser.add_argument("--facts", default=facts, help="a JSON array with CounterFact's field names")
    parser.add_argument("--edits", type=int, default=30)
    parser.add_argument("--batch", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reference-threads", type=int, help="where another number suits the reference code better")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours; the fastest counts")
    parser.add_argument("--reference-repeat", type=int, default=1, help="runs of the reference code")
    parser.add_argument("--work", help="keeps models and results here; default: a folder that is removed")
    parser.add_argument("--json", help="a file to write")
    return parser.parse_args()


def main():
    args = parse_arguments()
    for program in [args.benchmark] + ([] if args.covariance else [args.covariance_program]):
        if not os.access(program, os.X_OK):
            sys.exit(f"no {program}: build //tests/benchmark/editing/...")
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or folder
        os.makedirs(work, exist_ok=True)
        report, record = Comparison(args, work).run()
    print(report)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
            file.write("\n")
    sys.exit(0 if record["same"] else 1)


if __name__ == "__main__":
    main()
