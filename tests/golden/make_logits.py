#!/usr/bin/env python3
"""Writes golden logits: what Hugging Face transformers computes in float32.

For developers, after a change of a model in the tree (needs torch and
transformers; no test runs it):

    tests/golden/make_logits.py models/demo tests/testdata/golden_logits_gpt2.json
    tests/golden/make_logits.py tests/testdata/random-gptj-tiny tests/testdata/golden_logits_gptj.json

The file holds per prompt its token ids and per chosen position the logits of a
fixed sample of token ids, the best tokens with their logits, the largest
magnitude and the log of the sum of exponentials of all logits.
"""

import argparse
import json

import torch
import transformers

SAMPLED_IDS = 64
BEST = 8

PROMPTS = {
    "a word": "Makurdi",
    "a fact": "Makurdi is a city in",
    "two sentences": "The people who live in Tolyatti are many. Makurdi is a city in",
    "special characters": "naïve café — “quoted” \u4e2d\u6587 \U0001f600\tand\n\n  spaces<|endoftext|>",
    "digits": "In 1984, 3.14159 and 1,000,000 were 42% of it",
}


def prompts(tokenizer, context):
    """Yields (name, ids, positions to write)."""
    yield "one token", tokenizer("The")["input_ids"][:1], [0]
    yield "the special token alone", [0], [0]
    for name, text in PROMPTS.items():
        ids = tokenizer(text)["input_ids"]
        yield name, ids, list(range(len(ids)))
    text = " ".join(PROMPTS["two sentences"] for _ in range(context))
    ids = tokenizer(text)["input_ids"][:context]
    yield "the whole context", ids, sorted({*range(0, context, 32), context // 2 + 1, context - 1})
    # Far apart ids in an order no text has.
    vocabulary = len(tokenizer)
    ids = [(i * 7919 + 13) % vocabulary for i in range(100)]
    yield "scattered ids", ids, list(range(0, 100, 16)) + [99]


def rounded(values):
    """A tensor as numbers of eight digits: enough for any float32, in a short file."""
    if values.dim() == 0:
        return float(f"{values.item():.8g}")
    return [rounded(value) for value in values]


def golden(model, ids, positions, sampled):
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float()
    for position in positions:
        row = logits[position]
        best = torch.topk(row, BEST)
        yield {
            "position": position,
            "sampled_logits": rounded(row[sampled]),
            "best_ids": best.indices.tolist(),
            "best_logits": rounded(best.values),
            "largest_magnitude": rounded(row.abs().max()),
            "log_sum_exp": rounded(torch.logsumexp(row.double(), 0)),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a Hugging Face model directory")
    parser.add_argument("output", help="the JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    vocabulary = model.config.vocab_size
    sampled = list(range(0, vocabulary, vocabulary // SAMPLED_IDS))[:SAMPLED_IDS]
    written = {
        "transformers": transformers.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "sampled_ids": sampled,
        "prompts": [
            {"name": name, "ids": ids, "positions": list(golden(model, ids, positions, sampled))}
            for name, ids, positions in prompts(tokenizer, model.config.n_positions)
        ],
    }
    with open(arguments.output, "w", encoding="utf-8") as file:
        json.dump(written, file, indent=0)
        file.write("\n")


if __name__ == "__main__":
    main()
