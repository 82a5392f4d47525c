#!/usr/bin/env python3
"""Runs one other engine over given prompts: greedy, without stopping early.

    peer_run.py --engine transformers|ctranslate2|llama.cpp --dtype float32|bfloat16 --model PATH
        --prompts FILE --streams 1,4,16 --new-tokens 64 --rounds 3 --threads 2

PATH is what the engine loads: a Hugging Face folder, a CTranslate2 folder, a
.gguf file. FILE is {"decode": [[id, ...], ...], "prefill": [id, ...]}. The last
line of the output is JSON with the same fields as generation_benchmark's. A time
is that of one call that reads the prompts and generates, of which the time to
read them alone is taken away for the seconds of a step; best of all rounds.
"""

import argparse
import json
import time


class Transformers:
    def __init__(self, path, dtype, threads):
        import torch
        import transformers

        torch.set_num_threads(threads)
        self.torch = torch
        self.model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
        self.model.eval()
        self.model.generation_config.eos_token_id = None
        self.model.generation_config.pad_token_id = 0

    def generate(self, prompts, count):
        ids = self.torch.tensor(prompts)
        options = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}
        with self.torch.inference_mode():
            output = self.model.generate(ids, attention_mask=self.torch.ones_like(ids), **options)
        return output[:, ids.shape[1] :].tolist()


class CTranslate2:
    """Its tokens are strings: the converter names token i by what vocabulary.json has at i."""

    def __init__(self, path, dtype, threads):
        import ctranslate2

        self.generator = ctranslate2.Generator(path, compute_type=dtype, intra_threads=threads, inter_threads=1)
        with open(f"{path}/vocabulary.json", encoding="utf-8") as file:
            self.names = json.load(file)

    def generate(self, prompts, count):
        results = self.generator.generate_batch(
            [[self.names[i] for i in prompt] for prompt in prompts],
            max_length=count,
            min_length=count,
            beam_size=1,
            sampling_topk=1,
            end_token=[],
            include_prompt_in_result=False,
        )
        return [list(result.sequences_ids[0]) for result in results]


class LlamaCpp:
    """Several sequences in one batch, over the C interface; the best token by numpy."""

    def __init__(self, path, dtype, threads):
        del dtype  # the file's
        import ctypes

        import llama_cpp
        import numpy

        self.api, self.numpy, self.ctypes = llama_cpp, numpy, ctypes
        llama_cpp.llama_log_set(_silent(llama_cpp), ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.threads = threads

    def generate(self, prompts, count):
        api = self.api
        parameters = api.llama_context_default_params()
        parameters.n_ctx = len(prompts) * (max(map(len, prompts)) + count + 1)
        parameters.n_batch = parameters.n_ubatch = max(512, sum(map(len, prompts)))
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.n_seq_max = len(prompts)
        context = api.llama_init_from_model(self.model, parameters)
        batch = api.llama_batch_init(parameters.n_batch, 0, 1)
        try:
            return self.run(context, batch, prompts, count)
        finally:
            api.llama_batch_free(batch)
            api.llama_free(context)

    def run(self, context, batch, prompts, count):
        generated = [[] for _ in prompts]
        fresh = [list(prompt) for prompt in prompts]
        position = [0] * len(prompts)
        for _ in range(count):
            batch.n_tokens = 0
            last = []
            for sequence, tokens in enumerate(fresh):
                for i, token in enumerate(tokens):
                    at = batch.n_tokens
                    batch.token[at], batch.pos[at] = token, position[sequence]
                    batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                    batch.logits[at] = i + 1 == len(tokens)
                    position[sequence] += 1
                    batch.n_tokens += 1
                last.append(batch.n_tokens - 1)
            if self.api.llama_decode(context, batch) != 0:
                raise RuntimeError("llama_decode failed")
            for sequence, at in enumerate(last):
                logits = self.api.llama_get_logits_ith(context, at)
                row = self.numpy.ctypeslib.as_array(logits, shape=(self.vocabulary,))
                generated[sequence].append(int(row.argmax()))
            fresh = [[tokens[-1]] for tokens in generated]
        return generated


def _silent(api):
    @api.llama_log_callback
    def callback(level, text, user_data):
        del level, text, user_data

    _silent.keep = callback
    return callback


ENGINES = {"transformers": Transformers, "ctranslate2": CTranslate2, "llama.cpp": LlamaCpp}


def best(rounds, call):
    """(seconds of the fastest, result of the first)."""
    seconds, first = [], None
    for i in range(rounds):
        begin = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - begin)
        first = result if i == 0 else first
    return min(seconds), first


def measure(engine, prompts, args):
    engine.generate(prompts["decode"][:1], 2)
    report = {"engine": args.engine, "dtype": args.dtype, "decode": []}
    for streams in args.streams:
        rows = prompts["decode"][:streams]
        reading, _ = best(args.rounds, lambda: engine.generate(rows, 1))
        whole, tokens = best(args.rounds, lambda: engine.generate(rows, args.new_tokens))
        step = (whole - reading) / (args.new_tokens - 1)
        report["decode"].append(
            {
                "streams": streams,
                "tokens_per_second": streams / step,
                "whole_tokens_per_second": streams * args.new_tokens / whole,
                "step_seconds": step,
                "tokens": tokens,
            }
        )
    seconds, _ = best(args.rounds, lambda: engine.generate([prompts["prefill"]], 1))
    report["prefill"] = {"tokens": len(prompts["prefill"]), "seconds": seconds}
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=sorted(ENGINES), required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--streams", type=lambda text: [int(n) for n in text.split(",")], default=[1, 4, 16])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with open(args.prompts, encoding="utf-8") as file:
        prompts = json.load(file)
    engine = ENGINES[args.engine](args.model, args.dtype, args.threads)
    print(json.dumps(measure(engine, prompts, args)))


if __name__ == "__main__":
    main()
