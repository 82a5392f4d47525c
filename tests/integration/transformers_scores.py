"""Scores continuations with Hugging Face transformers: JSON on stdin, JSON on stdout.

Run by an interpreter that has torch and transformers, for export_test. In: {"model": folder,
"items": [{"prompt": text, "continuation": text}], "greedy": number of tokens}. Out: one object per
item, in order: token_ids and logprobs of " " + continuation, and the greedy continuation's ids.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    request = json.load(sys.stdin)
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    model = AutoModelForCausalLM.from_pretrained(request["model"]).to(torch.float32).eval()
    results = []
    with torch.no_grad():
        for item in request["items"]:
            prompt = tokenizer(item["prompt"])["input_ids"]
            target = tokenizer(" " + item["continuation"])["input_ids"]
            logprobs = model(torch.tensor([prompt + target])).logits[0].log_softmax(-1)
            places = range(len(prompt) - 1, len(prompt) - 1 + len(target))
            greedy = list(prompt)
            for _ in range(request["greedy"]):
                greedy.append(int(model(torch.tensor([greedy])).logits[0, -1].argmax()))
            results.append(
                {
                    "token_ids": target,
                    "logprobs": [float(logprobs[place, token]) for place, token in zip(places, target)],
                    "greedy_ids": greedy[len(prompt) :],
                }
            )
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
