"""A random model of a real one's shape, made on the spot: 30 layers of 9 heads, and a byte-level
BPE vocabulary of 49,152 tokens."""

import pathlib
import random
import string

import tokenizers
import torch
import transformers
from tokenizers import decoders, pre_tokenizers, trainers

from lit_tl.data.tasks import read_task

D_VOCAB = 49_152


def make_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Trained on prompts of a task, and filled up with words that nobody writes."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [example["text"] + example["answer"] for example in read_task("ioi").examples]
    inner.train_from_iterator(texts, trainer)
    rng = random.Random(0)
    words: set[str] = set()
    while inner.get_vocab_size() + len(words) < D_VOCAB:
        words.add("".join(rng.choices(string.ascii_lowercase, k=14)))
    inner.add_tokens(sorted(words))
    end = "<|endoftext|>"
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=end, eos_token=end, unk_token=end
    )


def make_folder(folder: pathlib.Path) -> pathlib.Path:
    """The checkpoint."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=D_VOCAB,
        hidden_size=144,
        intermediate_size=288,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
