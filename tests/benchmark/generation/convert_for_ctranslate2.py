#!/usr/bin/env python3
"""Writes a GPT-2 folder as CTranslate2's own converter does, in float32.

    convert_for_ctranslate2.py --model DIR --out DIR

The converter wants as many names of tokens as the model has embeddings. A model
that was made here has more: the rest gets names that nobody uses.
"""

import argparse


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    from ctranslate2.converters import transformers

    get_vocabulary = transformers.GPT2Loader.get_vocabulary

    def with_all(self, model, tokenizer):
        names = get_vocabulary(self, model, tokenizer)
        return names + [f"<unused{i}>" for i in range(len(names), model.config.vocab_size)]

    transformers.GPT2Loader.get_vocabulary = with_all
    transformers.TransformersConverter(args.model).convert(args.out, quantization="float32")


if __name__ == "__main__":
    main()
