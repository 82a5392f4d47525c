#!/usr/bin/python3
"""Prints the settings of a profile (a text proto) as JSON, defaults filled in.

    edit_profile.py docs/profiles/demo_evaluation.textproto > settings.json

Wants Debian's python3-protobuf and protobuf-compiler.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))

# The reference code has this one as a constant.
_STOP_LOSS = 0.05


def _profile_pb2():
    """The generated module, made on the spot where it is not there yet."""
    try:
        return importlib.import_module("amend.v1.profile_pb2")
    except ModuleNotFoundError:
        proto = os.path.join(REPOSITORY, "proto")
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["protoc", "-I", proto, "--python_out", folder, "amend/v1/profile.proto"], check=True, cwd=proto)
            sys.path.insert(0, folder)
            try:
                return importlib.import_module("amend.v1.profile_pb2")
            finally:
                sys.path.remove(folder)


def settings(text):
    """What both programs are given, from a profile's text.

    ValueError for what the reference code cannot be told.
    """
    from google.protobuf import text_format

    profile = text_format.Parse(text, _profile_pb2().Profile())
    target = profile.target
    if not profile.layers:
        raise ValueError("the profile names no layers")
    if not profile.context_templates.templates:
        raise ValueError("the profile gives no context templates: both sides need the same")
    if (target.stop_loss or _STOP_LOSS) != _STOP_LOSS:
        raise ValueError(f"stop_loss is {target.stop_loss}, in the reference code {_STOP_LOSS}")
    return {
        "layers": list(profile.layers),
        "lambda": getattr(profile, "lambda"),
        "alpha": profile.scope.alpha or 2.2,
        "learning_rate": target.learning_rate or 0.5,
        "steps": target.steps or 20,
        "clamp": target.clamp or 0.75,
        "kl_factor": target.kl_factor or 0.0625,
        "weight_decay": target.weight_decay or 0.5,
        "loss_layer": target.loss_layer if target.HasField("loss_layer") else -1,
        "templates": list(profile.context_templates.templates),
    }


def with_scope(text, mode):
    """The profile's text with "REFERENCE" or "LEVERAGE" as its scope."""
    from google.protobuf import text_format

    module = _profile_pb2()
    profile = text_format.Parse(text, module.Profile())
    profile.scope.mode = module.ScopeSettings.Mode.Value(mode)
    return text_format.MessageToString(profile)


def read(path):
    with open(path, encoding="utf-8") as file:
        return settings(file.read())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", help="a profile as a text proto")
    json.dump(read(parser.parse_args().profile), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
