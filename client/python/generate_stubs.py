#!/usr/bin/python3
"""Makes amend/v1 of this package from proto/amend/v1, with Debian's protoc. Run it after a change to a proto.

The result is committed; stubs_test holds it to the protos. docs/decisions/0021
says why.
"""

import glob
import os
import subprocess

_ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def generate(root, out):
    """Writes *_pb2.py, *_pb2.pyi and, where there is a service, *_pb2_grpc.py below `out`."""
    protos = sorted(glob.glob(os.path.join(root, "proto/amend/v1/*.proto")))
    command = ["protoc", "-I" + os.path.join(root, "proto"), "-I" + os.path.join(root, "third_party/googleapis")]
    command += ["--python_out=" + out, "--pyi_out=" + out, "--grpc_out=" + out]
    command.append("--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin")
    subprocess.run(command + protos, check=True)
    for proto in protos:
        with open(proto, encoding="utf-8") as file:
            if "\nservice " not in file.read():
                name = os.path.splitext(os.path.basename(proto))[0]
                os.remove(os.path.join(out, "amend/v1", name + "_pb2_grpc.py"))


if __name__ == "__main__":
    generate(_ROOT, os.path.dirname(os.path.abspath(__file__)))
