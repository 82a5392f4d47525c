#!/usr/bin/env python3
"""Runs the published reference code on the CPU and keeps what it computed.

    reference_run.py --coachhook DIR --easyedit DIR --model DIR --settings FILE.json \\
        --facts FILE.json --covariance FILE.safetensors --out FILE.safetensors --json FILE.json

The settings are what edit_profile.py prints.

Wants reference_requirements.txt and two clones (reference_code.py says which).
Calls their apply_CoachHooK_to_model; given from outside, so that another
program can be given the same, are the key covariance (through their cache of
covariances), the context templates (through their cache of templates) and the
settings. Writes

    batch{b}.target_z           [B, d]
    batch{b}.layer{l}.update    [d_out, d_in], accumulated over the batches so far
    batch{b}.layer{l}.alpha     scalar

and a JSON with seconds and the last loss of every edit. With more than one
batch the time contains a copy of their state after each.
"""

import argparse
import contextlib
import io
import json
import os
import re
import resource
import time

import reference_code

os.environ["TOKENIZERS_PARALLELISM"] = "false"
_LOSS = re.compile(r"^loss ([-+.\w]+) = ", re.MULTILINE)
_FACTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "testdata", "world_facts.json")
_HPARAMS = {"gpt2": "gpt2-xl.yaml", "gptj": "gpt-j-6B.yaml"}


def hyperparameters(memit, easyedit, model, settings, batch):
    """EasyEdit's own settings for the architecture, with the profile's values."""
    file = os.path.join(easyedit, "hparams", "MEMIT", _HPARAMS[model.config.model_type])
    hparams = memit.MEMITHyperParams.from_hparams(file)
    hparams.device = "cpu"
    hparams.batch_size = batch
    hparams.layers = settings["layers"]
    hparams.mom2_update_weight = settings["lambda"]
    hparams.v_lr = settings["learning_rate"]
    hparams.v_num_grad_steps = settings["steps"]
    hparams.clamp_norm_factor = settings["clamp"]
    hparams.kl_factor = settings["kl_factor"]
    hparams.v_weight_decay = settings["weight_decay"]
    loss_layer = settings["loss_layer"]
    hparams.v_loss_layer = model.config.n_layer - 1 if loss_layer == -1 else loss_layer
    return hparams


def give_covariance(memit, model, hparams, path):
    """Puts the covariances where their get_cov looks first."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        for layer in hparams.layers:
            name = model.config._name_or_path.replace("/", "_")
            key = (name, hparams.rewrite_module_tmp.format(layer))
            memit.COV_CACHE[key] = file.get_tensor(f"layer{layer}.covariance").float()


class Clock:
    """Seconds spent in functions of their module, by name, and what they returned."""

    def __init__(self):
        self.seconds = {}
        self.returned = {}

    def watch(self, module, name):
        function = getattr(module, name)

        def watched(*args, **kwargs):
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - start
            self.returned.setdefault(name, []).append(result)
            return result

        setattr(module, name, watched)


def last_losses(log):
    """The loss that each edit's optimisation ended with, read from what they print."""
    blocks = log.split("Computing right vector (v)")[1:]
    return [float(_LOSS.findall(block)[-1]) for block in blocks]


def results(model, hparams, target_z, states):
    """What was computed, as named tensors."""
    import torch

    tensors = {}
    for batch, state in enumerate(states):
        first = batch * hparams.batch_size
        tensors[f"batch{batch}.target_z"] = torch.stack(target_z[first : first + hparams.batch_size]).detach()
        for layer in hparams.layers:
            name = hparams.rewrite_module_tmp.format(layer)
            update = state[name]["new_weight"].weight.detach() - model.get_submodule(name).weight.detach()
            if model.config.model_type == "gpt2":
                update = update.T
            tensors[f"batch{batch}.layer{layer}.update"] = update.contiguous()
            tensors[f"batch{batch}.layer{layer}.alpha"] = torch.tensor(float(state[name]["alpha"]))
    return tensors


def matmul_gflops(size=2048, repeat=5):
    """The speed of the machine now: a float32 product, best of a few."""
    import torch

    left, right = torch.rand(size, size), torch.rand(size, size)
    best = 0
    for _ in range(repeat):
        start = time.perf_counter()
        left @ right
        best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return best


def run(args, settings):
    """(tensors, record) of the whole run."""
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    coachhook, memit = reference_code.load(args.coachhook, args.easyedit)
    with open(args.facts, encoding="utf-8") as file:
        facts = json.load(file)[: args.edits]
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    # The demo model's end of text, which their scripts pad with; of other vocabularies the token
    # that Amend's REFERENCE scope pads with. Hooks see pads, so both sides need the same.
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    hparams = hyperparameters(memit, args.easyedit, model, settings, args.batch)
    give_covariance(memit, model, hparams, args.covariance)
    memit.CONTEXT_TEMPLATES_CACHE = [["{}"], settings["templates"]]
    clock = Clock()
    for name in ("compute_z", "compute_ks", "get_module_input_output_at_words"):
        clock.watch(coachhook, name)
    several = len(facts) > args.batch
    gflops = [matmul_gflops()]
    log = io.StringIO()
    start, cpu_start = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(log):
        states = coachhook.apply_CoachHooK_to_model(
            model,
            tokenizer,
            facts,
            hparams,
            alpha_z=settings["alpha"],
            eval_interval=args.batch if several else None,
        )
    total = time.perf_counter() - start
    cpu = time.process_time() - cpu_start
    gflops.append(matmul_gflops())
    seconds = {
        "total": total,
        "target_values": clock.seconds["compute_z"],
        "keys": clock.seconds["compute_ks"],
        "current_values": clock.seconds["get_module_input_output_at_words"],
    }
    seconds["rest"] = total - sum(clock.seconds.values())
    record = {
        "edits": len(facts),
        "batch": args.batch,
        "threads": args.threads,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "seconds": seconds,
        "processor_seconds": cpu,
        "seconds_per_edit": total / len(facts),
        "matmul_gflops": {"before": gflops[0], "after": gflops[1]},
        "losses": last_losses(log.getvalue()),
        "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    return results(model, hparams, clock.returned["compute_z"], states), record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coachhook", required=True, help="a clone of Syon-Li/CoachHook")
    parser.add_argument("--easyedit", required=True, help="a clone of zjunlp/EasyEdit")
    parser.add_argument("--model", required=True, help="a Hugging Face model directory")
    parser.add_argument("--settings", required=True, help="JSON, as edit_profile.py prints it")
    parser.add_argument("--covariance", required=True, help="safetensors with layer{l}.covariance")
    parser.add_argument("--facts", default=_FACTS, help="a JSON array with CounterFact's field names")
    parser.add_argument("--edits", type=int, default=30)
    parser.add_argument("--batch", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", required=True, help="the safetensors file to write")
    parser.add_argument("--json", required=True, help="the JSON file to write")
    args = parser.parse_args()
    with open(args.settings, encoding="utf-8") as file:
        settings = json.load(file)
    tensors, record = run(args, settings)
    from safetensors.torch import save_file

    save_file(tensors, args.out)
    with open(args.json, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
