#!/usr/bin/python3
"""Times the start of amendd on the demo model by the number of its revisions: performance goal S4.

    bazel run //tests/benchmark/revisions:start_benchmark -- [--revisions 1000] [--edits 30] [--repeat 3]

The same server starts on a store without revisions and on one with many, and
the store's bytes are read once, in turns; the difference of the starts is what
the revisions cost. Both from the page cache and from the disk. Beside the time
stands the processor time, which other work on the machine changes less. The
best of all turns counts. Prints a table and one line of JSON.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

_BUFFER = 1 << 20


def start(data):
    """Seconds to the ready line, processor seconds of the whole run, and what the line says."""
    command = ["server/amendd", "--model", "models/demo", "--data", data]
    command += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    used = processor_seconds(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        process.send_signal(signal.SIGTERM)
    if process.returncode != 0:
        raise SystemExit(f"amendd ended with {process.returncode}: {line}")
    return seconds, processor_seconds(resource.RUSAGE_CHILDREN) - used, line


def processor_seconds(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def files_of(folder):
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]


def drop_from_cache(folder):
    """The next read of these files comes from the disk."""
    for path in files_of(folder):
        with open(path, "rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_bytes(folder):
    """Seconds to read every byte once, processor seconds, and how many bytes there are."""
    buffer = bytearray(_BUFFER)
    size = 0
    used = processor_seconds(resource.RUSAGE_SELF)
    began = time.monotonic()
    for path in files_of(folder):
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                size += count
    return time.monotonic() - began, processor_seconds(resource.RUSAGE_SELF) - used, size


def measure(folder, flags):
    empty, full = os.path.join(folder, "empty"), os.path.join(folder, "full")
    start(empty)
    shutil.copytree(empty, full)
    store = os.path.join(full, "store")
    fill = ["tests/benchmark/revisions/store_benchmark", "--store", store, "--fill-only"]
    fill += ["--revisions", str(flags.revisions), "--edits", str(flags.edits)]
    subprocess.run([*fill, "--layers", "2", "--d-in", "1024", "--d-out", "256"], check=True)
    result = {"revisions": flags.revisions}
    for where, prepare in (("cached", lambda: None), ("from disk", lambda: drop_from_cache(store))):
        turns = []
        for _ in range(flags.repeat):
            without = start(empty)
            prepare()
            raw = read_bytes(store)
            result["store bytes"] = raw[2]
            prepare()
            full_start = start(full)
            if not full_start[2].strip().endswith(f"live revision {flags.revisions}"):
                raise SystemExit(f"it serves something else: {full_start[2]}")
            turns.append((without, raw, full_start))
        for place, unit in ((0, "s"), (1, "processor s")):
            without, raw, with_all = (min(turn[what][place] for turn in turns) for what in range(3))
            result[f"reading the bytes once, {where}, {unit}"] = raw
            result[f"start without revisions, {where}, {unit}"] = without
            result[f"start with all revisions, {where}, {unit}"] = with_all
            result[f"what revisions add over reading, {where}, {unit}"] = (with_all - without) / raw
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
        print(f"{what:56} {value:>14.6g}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
