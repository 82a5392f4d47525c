"""Starts the real amendd and runs the real amend for tests.

A test takes everything from here that touches processes: nothing sleeps to be
right, every wait has an end and says what it waited for.
"""

import atexit
import functools
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

AMENDD = os.path.abspath("server/amendd")
AMEND = os.path.abspath("client/amend")
DEMO_MODEL = os.path.abspath("models/demo")
FACTS = os.path.abspath("tests/testdata/world_facts.json")

# Far above what anything takes on a busy machine.
PATIENCE = 120

_READY = re.compile(r"amendd ready: grpc (\S+:\d+), http (\S+:\d+)")


def lasting_address():
    """An address that a later server can have again, whoever connects meanwhile.

    A port that the kernel chose may be chosen again for somebody's outgoing connection while no server has it: even for
    that of a client which tries to reach the server. Below the kernel's range nobody gets one who does not ask for it.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="utf-8") as file:
        first = int(file.read().split()[0])
    for _ in range(100):
        port = random.randrange(max(1024, first // 2), first)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return f"127.0.0.1:{port}"
            except OSError:
                continue
    raise AssertionError(f"no free port below {first}")


class Amendd:
    """One run of the server. Use start(), or spawn() and wait_ready(), and one of stop(), kill()."""

    def __init__(self, data, model=DEMO_MODEL, address="127.0.0.1:0", http="127.0.0.1:0", flags=()):
        self.command = [AMENDD, "--model", model, "--data", data, "--listen", address]
        self.command += ["--http", http, *flags]
        self.log = tempfile.TemporaryFile(mode="w+")

    def start(self):
        self.spawn()
        return self.wait_ready()

    def spawn(self):
        """Starts the process and returns at once."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def wait_ready(self):
        self.ready_line = _read_line(self.process.stdout, PATIENCE)
        match = _READY.match(self.ready_line)
        if match is None:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no ready line but {self.ready_line!r}: {self.errors()}")
        self.address, self.http = match.groups()
        return self

    def first_live(self):
        """The live revision as the ready line has it: before anything that the start left to solve."""
        return int(self.ready_line.rpartition(" ")[2])

    def errors(self):
        # With an offset of its own: the server's writes go on at theirs.
        with open(f"/proc/self/fd/{self.log.fileno()}", encoding="utf-8") as log:
            return log.read()

    def events(self, name=None):
        """What it has logged so far (--log-format json): all events, or those of this name."""
        events = [json.loads(line) for line in self.errors().splitlines(keepends=True) if line.endswith("\n")]
        return [event for event in events if name in (None, event["event"])]

    def await_event(self, name):
        """The first event of this name, once it is there."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.events(name)
            if found:
                return found[0]
            time.sleep(0.01)
        raise AssertionError(f"no event {name}: {self.errors()}")

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._end()

    def kill(self):
        """kill -9: what a crash or a power cut leaves."""
        self.process.kill()
        return self._end()

    def _end(self):
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=PATIENCE) as reply:
            return reply.read().decode()

    def amend(self, *arguments, expect=0):
        """Runs amend against this server; returns its output."""
        return amend(self.address, *arguments, expect=expect)

    def amend_json(self, *arguments, expect=0):
        """The same with --json: a list of objects."""
        return [json.loads(line) for line in self.amend("--json", *arguments, expect=expect).splitlines()]

    def answer(self, prompt, *arguments):
        """The model's greedy continuation up to the first full stop."""
        flags = ["--max-new-tokens", "12", "--stop", "."]
        return self.amend_json("generate", prompt, *flags, *arguments)[0]["text"].strip()

    def live(self):
        return self.amend_json("status")[0]["live"]["revision"]


def _read_line(stream, seconds):
    """One line, or what there is when the stream ends or the time is over."""
    end = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([stream], [], [], max(0, end - time.monotonic()))
        if not readable:
            break
        byte = os.read(stream.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode().strip()


def run(command, **kwargs):
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **kwargs)


def amend(address, *arguments, expect=0):
    result = run([AMEND, "--server", address, *map(str, arguments)])
    if result.returncode != expect:
        raise AssertionError(
            f"amend {arguments} ended with {result.returncode}, not {expect}:\n{result.stdout}{result.stderr}"
        )
    return result.stdout


def amend_store(*arguments, expect=0):
    """Runs a store command that needs no server; returns its output."""
    result = run([AMEND, "store", *map(str, arguments)])
    if result.returncode != expect:
        raise AssertionError(
            f"amend store {arguments} ended with {result.returncode}, not {expect}:\n{result.stdout}{result.stderr}"
        )
    return result.stdout + result.stderr


def facts(count):
    """Facts of the demo model's world with distinct subjects, of the relation that is edited most surely."""
    with open(FACTS, encoding="utf-8") as file:
        records = json.load(file)
    chosen = {}
    for record in records:
        if record["relation"] == "profession":
            chosen.setdefault(record["subject"], record)
    return list(chosen.values())[:count]


def write_edits(path, records):
    with open(path, "w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")
    return path


@functools.lru_cache(maxsize=None)
def _new_store():
    """A store without revisions, made once: computing the key covariance takes most of a first start."""
    folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store = os.path.join(folder, "data")
    code = Amendd(store).start().stop()
    if code != 0:
        raise AssertionError(f"amendd ended with {code}")
    return store


class ServerTest(unittest.TestCase):
    """A test with folders of its own and servers that do not outlive it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, data="data", **kwargs):
        """A server on the store `data`: what an earlier one left there, else a new one."""
        if not os.path.exists(self.path(data)):
            shutil.copytree(_new_store(), self.path(data))
        return self.start_as_is(data, **kwargs)

    def start_as_is(self, data, **kwargs):
        server = Amendd(self.path(data), **kwargs).start()
        self.addCleanup(end_quietly, server)
        return server


def end_quietly(server):
    if server.process.poll() is None:
        server.kill()
