#!/usr/bin/python3
"""Times the start of amendd on the demo model by the number of its revisions: performance goal S4.

    bazel run //tests/benchmark/revisions:start_benchmark -- [--revisions 1000] [--edits 30] [--repeat 3]

The same server starts on a store without revisions and on one with many, in
turns; the difference is what the revisions cost. Beside it: reading the store's
bytes once. Both from the page cache and from the disk. Prints a table and one
line of JSON.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

_BUFFER = 1 << 20


def start(data):
    """Seconds to the ready line, and what that says."""
    command = ["server/amendd", "--model", "models/demo", "--data", data]
    command += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        process.send_signal(signal.SIGTERM)
    if process.returncode != 0:
        raise SystemExit(f"amendd ended with {process.returncode}: {line}")
    return seconds, line


def files_of(folder):
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]


def drop_from_cache(folder):
    """The next read of these files comes from the disk."""
    for path in files_of(folder):
        with open(path, "rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_bytes(folder):
    """Seconds to read every byte once, and how many there are."""
    buffer = bytearray(_BUFFER)
    size = 0
    began = time.monotonic()
    for path in files_of(folder):
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                size += count
    return time.monotonic() - began, size


def measure(folder, flags):
    empty, full = os.path.join(folder, "empty"), os.path.join(folder, "full")
    start(empty)
    shutil.copytree(empty, full)
    store = os.path.join(full, "store")
    fill = ["tests/benchmark/revisions/store_benchmark", "--store", store, "--fill-only"]
    fill += ["--revisions", str(flags.revisions), "--edits", str(flags.edits)]
    subprocess.run([*fill, "--layers", "2", "--d-in", "1024", "--d-out", "256"], check=True)
    result = {"revisions": flags.revisions}
    result["start without revisions, s"] = without = min(start(empty)[0] for _ in range(flags.repeat))
    for where, prepare in (("cached", lambda: None), ("from disk", lambda: drop_from_cache(store))):
        raw, started = [], []
        for _ in range(flags.repeat):
            prepare()
            seconds, result["store bytes"] = read_bytes(store)
            raw.append(seconds)
            prepare()
            seconds, line = start(full)
            started.append(seconds)
            if not line.strip().endswith(f"live revision {flags.revisions}"):
                raise SystemExit(f"it serves something else: {line}")
        result[f"reading the bytes once, {where}, s"] = min(raw)
        result[f"start with all revisions, {where}, s"] = min(started)
        result[f"what revisions add over reading, {where}"] = (min(started) - without) / min(raw)
    return result


def main():
    parser = argparse.ArgumentParser(description="Times the start of amendd by the number of its revisions.")
    parser.add_argument("--revisions", type=int, default=1000)
    parser.add_argument("--edits", type=int, default=30, help="of one revision")
    parser.add_argument("--repeat", type=int, default=3, help="the best one counts")
    folder = tempfile.mkdtemp(prefix="amend-start-benchmark-")
    try:
        result = measure(folder, parser.parse_args())
    finally:
        shutil.rmtree(folder)
    for what, value in result.items():
        print(f"{what:48} {value:>14.6g}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
