"""The part of tools/quickstart that needs the binaries: plays the main job and checks each step.

    quickstart.py AMENDD AMEND
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

MODEL = "models/demo"
EDITS = "models/demo/quickstart_edits.jsonl"
BATCH = 6
# Seconds; far above what a step takes.
PATIENCE = 120


class Broken(Exception):
    """Something did not hold."""


def check(holds, what):
    if not holds:
        raise Broken(what)


def title(text):
    print(f"\n== {text}", flush=True)


class Server:
    """amendd on free ports of this machine, with a store of its own."""

    def __init__(self, binary, store):
        self._binary = binary
        self._store = store
        self._process = None
        self.address = "127.0.0.1:0"

    def start(self):
        log = open(os.path.join(self._store, "amendd.log"), "a", encoding="utf-8")
        command = [self._binary, "--model", MODEL, "--data", os.path.join(self._store, "data")]
        command += ["--listen", self.address, "--http", "127.0.0.1:0"]
        with log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self._process.stdout.readline().strip()
        ready = re.match(r"amendd ready: grpc (\S+:\d+), http (\S+:\d+)", line)
        if ready is None:
            with open(log.name, encoding="utf-8") as file:
                raise Broken(f"amendd did not start: {line}\n{file.read()}")
        self.address, self.http = ready.groups()
        print(line)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def stop(self):
        if self._process is None or self._process.poll() is not None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            return -1


class Amend:
    """The amend command against one server."""

    def __init__(self, binary, server):
        self._binary = binary
        self._server = server

    def _command(self, arguments):
        return [self._binary, "--server", self._server.address, *map(str, arguments)]

    def show(self, *arguments):
        """Runs it as a user would: the command and what it prints, as it comes. Returns that."""
        print("$ amend " + " ".join(f'"{a}"' if " " in str(a) else str(a) for a in arguments), flush=True)
        # One pipe for both: no progress bar, and nothing out of order.
        process = subprocess.Popen(
            self._command(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines = []
        for line in process.stdout:
            print("  " + line, end="", flush=True)
            lines.append(line)
        check(process.wait(PATIENCE) == 0, f"amend {arguments[0]} ended with {process.returncode}")
        return "".join(lines)

    def read(self, *arguments):
        """Runs it with --json; returns the first object."""
        command = self._command(["--json", *arguments])
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        check(result.returncode == 0, f"amend {arguments[0]}: {result.stderr}")
        return json.loads(result.stdout.splitlines()[0])

    def answer(self, prompt):
        """The greedy continuation, up to the end of the sentence."""
        text = self.read("generate", prompt, "--max-new-tokens", 12, "--stop", ".")["text"]
        return text.strip()

    def live(self):
        return self.read("status")["live"]["revision"]


def show_answers(amend, prompts):
    answers = {}
    for prompt in prompts:
        answers[prompt] = amend.answer(prompt)
        print(f"  {prompt} -> {answers[prompt]}", flush=True)
    return answers


def expect(answers, wanted):
    for prompt, answer in wanted.items():
        check(answers[prompt] == answer, f'"{prompt}" gives "{answers[prompt]}", not "{answer}"')


def edit(amend, edits):
    title(f"{len(edits)} edits in a stream, {BATCH} to a batch, with the gate's verdict on each")
    output = amend.show("edit", "--file", EDITS, "--batch", BATCH)
    for stage in ("durable", "solving", "live as revision"):
        check(stage in output, f"no batch was {stage}")
    check(output.count("  passed\n") == len(edits), "an edit did not pass the gate")
    revision = amend.live()
    check(revision == -(-len(edits) // BATCH), f"revision {revision} is live")
    return revision


def show_effect(amend, edits, shown, neighbours):
    title("Asked again, and in other words")
    rephrased = [e["paraphrases"][0] for e in shown]
    targets = {e["prompt"]: e["target_new"] for e in shown}
    targets.update({p: e["target_new"] for p, e in zip(rephrased, shown)})
    expect(show_answers(amend, targets), targets)
    right = sum(amend.answer(e["prompt"]) == e["target_new"] for e in edits)
    print(f"  {right} of {len(edits)} edited prompts give the new answer")
    check(right == len(edits), "an edit is live and its prompt still gives another answer")
    title("Neighbours: what nobody edited")
    expect(show_answers(amend, neighbours), neighbours)
    return targets


def roll_back(amend, revision, old, new):
    title("Every batch is a revision")
    listed = amend.show("revisions")
    check(len(listed.splitlines()) == 1 + revision, "not all revisions are listed")
    title("Back to the unedited model, at once")
    amend.show("rollback", "--to", 0, "--reason", "quickstart")
    expect(show_answers(amend, old), old)
    title("And forward again")
    amend.show("promote", revision)
    expect(show_answers(amend, new), new)


def crash(server, amend, new, neighbours, revision):
    title("kill -9, and a new start on the same store")
    server.kill()
    server.start()
    check(amend.live() == revision, f"revision {amend.live()} is live, not {revision}")
    expect(show_answers(amend, new), new)
    expect({p: amend.answer(p) for p in neighbours}, neighbours)


def show_metrics(server):
    title(f"Metrics: http://{server.http}/metrics")
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=PATIENCE) as reply:
        lines = reply.read().decode().splitlines()
    for name in ("amend_live_revision_info", "amend_generation_tokens_total", "amend_requests_total"):
        found = [line for line in lines if line.startswith(name)]
        check(found, f"no metric {name}")
        print("  " + found[0])


def play(server, amend):
    with open(EDITS, encoding="utf-8") as file:
        edits = [json.loads(line) for line in file]
    # One of each relation: the file has them first.
    shown = edits[:3]
    title("The demo model, served from an empty store")
    server.start()
    title("What it knows")
    old = show_answers(amend, [e["prompt"] for e in shown])
    probes = [e["locality_probes"][0] for e in shown]
    neighbours = {p["prompt"]: amend.answer(p["prompt"]) for p in probes}
    expect(neighbours, {p["prompt"]: p["answer"] for p in probes})
    check(all(old[e["prompt"]] != e["target_new"] for e in shown), "the model knows an edit already")

    revision = edit(amend, edits)
    show_effect(amend, edits, shown, neighbours)
    new = {e["prompt"]: e["target_new"] for e in shown}
    roll_back(amend, revision, old, new)
    crash(server, amend, new, neighbours, revision)
    show_metrics(server)
    check(server.stop() == 0, "amendd did not stop cleanly")


def main():
    amendd, amend = sys.argv[1:]
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    store = tempfile.mkdtemp(prefix="amend-quickstart-")
    server = Server(amendd, store)
    try:
        play(server, Amend(amend, server))
    except (Broken, OSError, ValueError, KeyboardInterrupt) as error:
        print(f"\nquickstart: FAILED: {error or type(error).__name__}", file=sys.stderr)
        return 1
    finally:
        server.stop()
        shutil.rmtree(store, ignore_errors=True)
    print(f"\nAll of it held, in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
