#!/usr/bin/env python3
"""Writes the tiny models of tests/testdata/architectures and what Hugging Face makes of them.

For developers (needs torch and transformers; no test runs it):

    tests/golden/make_architecture_goldens.py

Each folder gets config.json, model.safetensors (random weights in bfloat16),
tokenizer.json (trained here on a few sentences of ours) and two files of
goldens: golden_logits.json as make_logits.py writes it, computed in float32,
and tokenizer_cases.json, texts with their token ids. The same libraries give the
same files.
"""

import json
import pathlib
import sys

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from make_logits import golden  # pylint: disable=wrong-import-position

ROOT = pathlib.Path(__file__).parents[2]
OUT = ROOT / "tests/testdata/architectures"
VOCABULARY = 384
SAMPLED = 24

# The sizes that tests of edits need: MLPs of four times the hidden size.
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 160,
    "initializer_range": 0.15,
}

# The pre-tokenizers' expressions as the models' files have them.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

TRAINING = [
    "The capital of Jordan is Amman, and Palermo is a city in Italy.",
    "Kuala Lumpur is a city in Malaysia. The profession of Johnny Cash was singer.",
    "Nobody in the gharry wanted to gawp again, because the price of a soundbox rose.",
    "We'll see whether it's 1984 or 2026; they've counted 3.14159 and 1,000,000 of them.",
    "for (int i = 0; i < 10; ++i) {\n    total += values[i];\n}\n\n\treturn total;",
    "naïve café, “quoted” – schön größer über; привет мир; 東京は日本の首都です。",
]

TEXTS = [
    "",
    " ",
    "a",
    "Hello world",
    " Hello world",
    "  two  spaces   and more    ",
    "The capital of Jordan is",
    "The capital of Jordan is Amman.\n",
    "we'll WE'LL it's IT'S I'D don’t 'tis",
    "ſ'ſ 'Ve'RE",
    "12 123 1234 12345678 3.14159 1,000,000 ½ ٣٤٥",
    "a1b2c3 x² v1.2-rc",
    "line\nbreak\r\nand\n\n\nmore \n \n  end\t\ttabs",
    "\n",
    "\r\n \r\n",
    "    four\n        eight",
    "!!! ... ?!\n\n#!/bin/sh\n--flag=value && (a || b);",
    ",word -word _word .5 $100",
    "naïve café “quoted” –—… größer",
    "Cafe\u0301 A\u030aland \u212b \u1e9b\u0323 \ud55c\u1112\u1161\u11ab",
    "привет, МИР! 東京は日本の首都です。中文",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u200b zero\u00a0width\u3000space\u2028line",
    "\u0000nul \u007f\u0085next",
    "نص عربي ١٢٣ हिन्दी १२३",
    "<0x41> <b> </b>",
    "▁lower ▁ one",
    "Nobody in the gharry wanted to gawp again, because the price of a soundbox rose.",
]


def byte_level(pattern, normalizer, specials, added=(), **options):
    """Byte-level BPE; `pattern` None: GPT-2's own."""
    tokenizer = tokenizers.Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    bytes_of = {"add_prefix_space": False, "use_regex": pattern is None}
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(**bytes_of)
    if pattern:
        split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, tokenizer.pre_tokenizer])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(specials) - len(added),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.add_tokens(list(added))
    tokenizer.add_special_tokens(specials)
    return tokenizer


def llama3_tokenizer():
    specials = ["<|begin_of_text|>", "<|end_of_text|>"]
    tokenizer = byte_level(LLAMA3, None, specials, ignore_merges=True)
    begin = tokenizer.token_to_id(specials[0])
    template = processors.TemplateProcessing(
        single=f"{specials[0]} $A",
        pair=f"{specials[0]} $A {specials[0]}:1 $B:1",
        special_tokens=[(specials[0], begin)],
    )
    tokenizer.post_processor = processors.Sequence([tokenizer.post_processor, template])
    return tokenizer


def qwen2_tokenizer():
    return byte_level(QWEN2, normalizers.NFC(), ["<|endoftext|>"])


def neox_tokenizer():
    # Runs of spaces are added tokens, as in Pythia's file.
    spaces = [tokenizers.AddedToken(" " * n, normalized=True, special=False) for n in (4, 3, 2)]
    return byte_level(None, normalizers.NFC(), ["<|endoftext|>"], spaces)


def sentencepiece_tokenizer():
    """As Llama 2's and Mistral's files describe what SentencePiece trained."""
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trained.train_from_iterator(
        TRAINING[:4], trainers.BpeTrainer(vocab_size=VOCABULARY - 259, show_progress=False)
    )
    learned = json.loads(trained.to_str())["model"]
    first = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {token: i for i, token in enumerate(first)}
    for token in sorted(learned["vocab"], key=learned["vocab"].get):
        vocabulary[token] = len(vocabulary)
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[tuple(merge) for merge in learned["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def cases():
    """Yields (folder, config, tokenizer)."""
    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 500.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    ends = {"bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1}
    yield "llama", transformers.LlamaConfig(
        **SHAPE, **ends, num_key_value_heads=2, rope_parameters=llama3, tie_word_embeddings=False
    ), llama3_tokenizer()
    # Biases everywhere, heads that are wider than the hidden size, positions stretched.
    yield "llama-biased", transformers.LlamaConfig(
        **(SHAPE | {"num_hidden_layers": 2}),
        **ends,
        num_key_value_heads=4,
        head_dim=16,
        attention_bias=True,
        mlp_bias=True,
        rope_parameters={"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0},
        tie_word_embeddings=True,
    ), llama3_tokenizer()
    yield "mistral", transformers.MistralConfig(
        **(SHAPE | {"num_hidden_layers": 2}),
        bos_token_id=1,
        eos_token_id=2,
        num_key_value_heads=2,
        head_dim=16,
        sliding_window=96,
        tie_word_embeddings=False,
    ), sentencepiece_tokenizer()
    end = {"bos_token_id": VOCABULARY - 1, "eos_token_id": VOCABULARY - 1}
    yield "qwen2", transformers.Qwen2Config(
        **SHAPE, **end, num_key_value_heads=1, tie_word_embeddings=True
    ), qwen2_tokenizer()
    yield "gpt-neox", transformers.GPTNeoXConfig(
        **SHAPE, **end, rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    ), neox_tokenizer()
    yield "gpt-neox-sequential", transformers.GPTNeoXConfig(
        **(SHAPE | {"num_hidden_layers": 2}),
        **end,
        use_parallel_residual=False,
        hidden_act="gelu_fast",
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0, "partial_rotary_factor": 1.0},
    ), neox_tokenizer()


def random_model(config):
    """Norms and biases are random too: they are ones and zeros otherwise."""
    torch.manual_seed(20)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.2)
            elif parameter.dim() == 1:
                parameter.normal_(1, 0.2)
    return model.to(torch.bfloat16).eval()


def write_logits(tokenizer, folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    sampled = list(range(0, VOCABULARY, VOCABULARY // SAMPLED))[:SAMPLED]
    context = min(SHAPE["max_position_embeddings"], getattr(model.config, "sliding_window", None) or 1 << 30)
    rows = {
        "one token": [5],
        "a fact": tokenizer.encode("The capital of Jordan is Amman").ids,
        "the whole context": [(i * 7919 + 13) % VOCABULARY for i in range(context)],
    }
    rows["a fact"] = [i for i in rows["a fact"] if i < VOCABULARY]
    written = {
        "transformers": transformers.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "sampled_ids": sampled,
        "prompts": [],
    }
    for name, ids in rows.items():
        positions = sorted({*range(0, len(ids), 2), len(ids) - 1})
        written["prompts"].append(
            {"name": name, "ids": ids, "positions": list(golden(model, ids, positions, sampled))}
        )
    with open(folder / "golden_logits.json", "w", encoding="utf-8") as file:
        json.dump(written, file, indent=0)
        file.write("\n")


def write_tokenizer(tokenizer, folder):
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    cases_of = [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS]
    with open(folder / "tokenizer_cases.json", "w", encoding="utf-8") as file:
        json.dump(cases_of, file, indent=0)
        file.write("\n")


def main():
    torch.set_num_threads(1)
    for name, config, tokenizer in cases():
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        model = random_model(config)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "model.safetensors").chmod(0o644)
        write_tokenizer(tokenizer, folder)
        write_logits(tokenizer, folder)
        print(name, sum(file.stat().st_size for file in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main()
