#!/usr/bin/python3
"""What streaming over gRPC costs beside decoding: performance goal S5.

    bazel run //tests/benchmark/serving:rpc_cost -- [--model DIR] [--streams 16] [--requests 300] [--tokens 100]

Starts amendd, loads it with `amend bench` and reads the processor time of each of its
threads. The one that used most is the scheduler's, which decodes; the others are gRPC's. Prints a table
and one line of JSON. Needs a machine with a core to spare: times of the client are not counted.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile

_TICKS = os.sysconf("SC_CLK_TCK")


def thread_seconds(pid):
    """Processor time of each thread of a process."""
    seconds = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        seconds[thread] = (int(fields[11]) + int(fields[12])) / _TICKS
    return seconds


def bench(address, arguments):
    command = ["client/amend", "--server", address, "--json", "bench", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="models/demo")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=100)
    options = parser.parse_args()
    load = ["--streams", options.streams, "--max-new-tokens", options.tokens, "--temperature", 1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["server/amendd", "--model", options.model, "--data", folder + "/data"]
        command += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--decode-threads", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            address = re.search(r"grpc (\S+),", server.stdout.readline()).group(1)
            bench(address, [*load, "--requests", options.streams])
            before = thread_seconds(server.pid)
            report = bench(address, [*load, "--requests", options.requests])
            after = thread_seconds(server.pid)
            server.send_signal(signal.SIGTERM)
    used = sorted((seconds - before.get(thread, 0) for thread, seconds in after.items()), reverse=True)
    per_token = {"decode": used[0] / report["tokens"], "rpc": sum(used[1:]) / report["tokens"]}
    print(f"{report['tokens']} tokens, {options.streams} streams, {report['tokens_per_second']:.0f} tokens/s")
    print(f"scheduler thread:   {1e6 * per_token['decode']:8.1f} us of a core per token")
    print(f"all other threads:  {1e6 * per_token['rpc']:8.1f} us of a core per token")
    print(f"ratio:              {per_token['rpc'] / per_token['decode']:8.3f}")
    print(json.dumps({**per_token, "tokens_per_second": report["tokens_per_second"]}))


if __name__ == "__main__":
    main()
