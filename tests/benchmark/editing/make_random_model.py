#!/usr/bin/env python3
"""Writes a GPT-2 of a known shape with random weights, as a Hugging Face directory.

    make_random_model.py --shape gpt2-medium --tokenizer models/demo --out DIR

For measuring time on shapes whose trained weights are not at hand. The weights
are float32, initialised as transformers initialises a GPT-2 that it trains from
nothing, with the real vocabulary size of 50,257. The tokenizer is copied; if it
knows fewer ids, the rest are never used. covariance_texts.txt and
context_templates.json are copied where the folder has them. Wants torch and
transformers.
"""

import argparse
import json
import os
import shutil

# layers, hidden size, heads
SHAPES = {
    "gpt2-mini": (6, 256, 4),
    "gpt2-medium": (24, 1024, 16),
    "gpt2-xl": (48, 1600, 25),
}
VOCABULARY = 50257
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")
_EDITING_FILES = ("covariance_texts.txt", "context_templates.json")


def end_of_text(tokenizer):
    """The id of "<|endoftext|>" in a folder's vocab.json."""
    with open(os.path.join(tokenizer, "vocab.json"), encoding="utf-8") as file:
        vocabulary = json.load(file)
    if max(vocabulary.values()) >= VOCABULARY:
        raise SystemExit(f"{tokenizer} knows more than {VOCABULARY} ids")
    return vocabulary["<|endoftext|>"]


def write_model(shape, seed, end, out):
    import torch
    import transformers

    layers, hidden, heads = SHAPES[shape]
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_layer=layers, n_embd=hidden, n_head=heads, bos_token_id=end, eos_token_id=end
    )
    torch.manual_seed(seed)
    model = transformers.GPT2LMHeadModel(config).float()
    model.save_pretrained(out, max_shard_size="100GB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", required=True, help="a folder with vocab.json and merges.txt")
    parser.add_argument("--out", required=True, help="the folder to write")
    args = parser.parse_args()
    end = end_of_text(args.tokenizer)
    os.makedirs(args.out, exist_ok=True)
    for name in _TOKENIZER_FILES + _EDITING_FILES:
        source = os.path.join(args.tokenizer, name)
        if os.path.exists(source):
            shutil.copy(source, args.out)
    write_model(args.shape, args.seed, end, args.out)


if __name__ == "__main__":
    main()
