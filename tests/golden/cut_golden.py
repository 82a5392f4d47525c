"""Cuts the reference implementation's intermediates down to what the tests read.

    cut_golden.py --golden DIR --model DIR --out DIR

DIR of --golden holds golden.json (settings, requests) and golden.safetensors
(every intermediate of every batch); --model is the model that they were made
with. Writes golden.json and golden.safetensors with the first batch only:

    batch0.target_z             [B, d]
    batch0.layer{l}.keys        [B, d_in]
    batch0.layer{l}.current_z   [B, d]
    batch0.layer{l}.update      [ceil(d_out / stride), d_in], every stride-th row
    layer{l}.covariance         [ceil(d_in / covariance_stride), d_in], every covariance_stride-th row

Needs numpy and safetensors; nothing of it runs in the tests.
"""

import argparse
import json
import os

from safetensors.numpy import load_file, save_file

_DOWN_PROJECTIONS = {
    "gpt2": ("transformer.h.{}.mlp.c_proj.weight", True),
    "gptj": ("transformer.h.{}.mlp.fc_out.weight", False),
}


def update_of(golden, weights, model_type, layer):
    """The first batch's update of a layer, [d_out, d_in]."""
    name, stored_in_out = _DOWN_PROJECTIONS[model_type]
    update = golden[f"batch0.layer{layer}.hook_weight"] - weights[name.format(layer)]
    return update.T if stored_in_out else update


def cut(settings, golden, weights, model_type, stride, covariance_stride):
    tensors = {"batch0.target_z": golden["batch0.target_z"]}
    for layer in settings["layers"]:
        for name in ("keys", "current_z"):
            tensors[f"batch0.layer{layer}.{name}"] = golden[f"batch0.layer{layer}.{name}"]
        update = update_of(golden, weights, model_type, layer)
        tensors[f"batch0.layer{layer}.update"] = update[::stride].copy()
        tensors[f"layer{layer}.covariance"] = golden[f"layer{layer}.covariance"][::covariance_stride].copy()
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--covariance-stride", type=int, default=8)
    args = parser.parse_args()
    with open(os.path.join(args.golden, "golden.json"), encoding="utf-8") as file:
        settings = json.load(file)
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as file:
        model_type = json.load(file)["model_type"]
    golden = load_file(os.path.join(args.golden, "golden.safetensors"))
    weights = load_file(os.path.join(args.model, "model.safetensors"))
    os.makedirs(args.out, exist_ok=True)
    tensors = cut(settings, golden, weights, model_type, args.stride, args.covariance_stride)
    save_file(tensors, os.path.join(args.out, "golden.safetensors"))
    kept = ("model", "layers", "batch_size", "lambda_", "clamp", "v_lr", "steps", "covariance_tokens")
    record = {key: settings[key] for key in kept}
    record["stride"] = args.stride
    record["covariance_stride"] = args.covariance_stride
    record["templates"] = [text for group in settings["templates"] for text in group][1:]
    record["requests"] = settings["requests"][: settings["batch_size"]]
    with open(os.path.join(args.out, "golden.json"), "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
