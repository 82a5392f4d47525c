#!/usr/bin/env python3
"""Writes a GPT-2 folder as a .gguf file with llama.cpp's own converter, without its vocabulary.

    convert_for_llama.py --llama-source vendor/llama.cpp --model DIR --dtype float32|bfloat16 --out FILE

The converter knows tokenizers by name, and a model that was made here has none of
those. Prompts are given to llama.cpp as ids, so that it needs none.
"""

import argparse
import os
import sys


def without_vocabulary(model):
    model.gguf_writer.add_tokenizer_model("none")
    model.gguf_writer.add_vocab_size(model.hparams["vocab_size"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama-source", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    sys.path.insert(0, args.llama_source)
    sys.path.insert(1, os.path.join(args.llama_source, "gguf-py"))
    import convert_hf_to_gguf
    from conversion import gpt2

    gpt2.GPT2Model.set_vocab = without_vocabulary
    load = gpt2.ModelBase.load_hparams

    def load_hparams(*positional, **named):
        hparams = load(*positional, **named)
        hparams.setdefault("n_ctx", hparams["n_positions"])
        return hparams

    gpt2.ModelBase.load_hparams = staticmethod(load_hparams)
    outtype = {"float32": "f32", "bfloat16": "bf16"}[args.dtype]
    sys.argv = ["convert_hf_to_gguf.py", args.model, "--outtype", outtype, "--outfile", args.out]
    convert_hf_to_gguf.main()


if __name__ == "__main__":
    main()
