"""A model of GPT-2 small's shape with random weights, and a tokenizer with 50,257 tokens: what the
benchmarks run on."""

import os
import random
import string
import tempfile
from typing import Any, Optional

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

D_VOCAB = 50_257


def make_tokenizer(folder: Optional[str]) -> transformers.PreTrainedTokenizerFast:
    """The tokenizer in a folder with vocab.json and merges.txt, or else one trained on the spot on
    made-up words."""
    if folder:
        inner = tokenizers.Tokenizer(
            models.BPE.from_file(f"{folder}/vocab.json", f"{folder}/merges.txt")
        )
    else:
        inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if not folder:
        rng = random.Random(0)
        words = [
            "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 9))) for _ in range(30_000)
        ]
        text = (" ".join(rng.choices(words, k=200)) for _ in range(1500))
        trainer = trainers.BpeTrainer(
            vocab_size=D_VOCAB - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        inner.train_from_iterator(text, trainer)
        inner.add_special_tokens(["<|endoftext|>"])
    end = "<|endoftext|>"
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=end, eos_token=end, unk_token=end
    )


def make_folder(tokenizer_folder: Optional[str]) -> str:
    """A checkpoint folder of that model, as a user's own checkpoint would be."""
    folder = tempfile.mkdtemp(prefix="lit_tl-benchmark-")
    tokenizer = make_tokenizer(tokenizer_folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=D_VOCAB, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompts(tokenizer: Any, lengths: list[int], seed: int = 0) -> list[str]:
    """Random texts that are so many tokens long, the beginning-of-text token included."""
    rng = random.Random(seed)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    pool = [
        i
        for i, token in enumerate(tokens)
        if token.startswith("Ġ") and token[1:].isalpha() and token[1:].isascii()
    ]
    texts = []
    for length in lengths:
        ids: list[int] = []
        while len(ids) < length - 1:
            ids = tokenizer.encode(
                tokenizer.decode([*ids, rng.choice(pool)]), add_special_tokens=False
            )[: length - 1]
        texts.append(tokenizer.decode(ids))
    return texts


def machine() -> str:
    """The machine's size, for the report."""
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 2**20
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads"
    )
