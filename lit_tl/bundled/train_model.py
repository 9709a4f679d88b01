"""Train the bundled model and write it, with its tokenizer and a record of the training, to a folder.

    python -m lit_tl.bundled.train_model --output lit_tl/bundled/tiny_gpt2

One run on two cores takes about half an hour. Nothing is read but this package: the text comes from `lit_tl.bundled.corpus`.
"""

import dataclasses
import itertools
import json
import math
import pathlib
import time
from typing import Iterator, Sequence

import tokenizers
import torch
import transformers
from absl import app, flags
from tokenizers import decoders, models, pre_tokenizers, trainers

from lit_tl.bundled import corpus

BOS = "<|endoftext|>"
# Digits are cut into pairs, so that a year is a century and a year in it, as in the greater-than task.
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What decides the weights. Tokens per step: `batch_tokens`; the learning rate rises linearly, then follows a cosine."""

    seed: int = 0
    steps: int = 2400
    batch_tokens: int = 8192
    vocab_size: int = 2048
    n_ctx: int = 512
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    initializer_range: float = 0.08
    learning_rate: float = 4e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    random_token_share: float = 0.12


def train_tokenizer(config: TrainConfig) -> tokenizers.Tokenizer:
    """A byte-level BPE: any text can be encoded and comes back unchanged."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = itertools.islice(corpus.documents(config.seed), 40_000)
    tokenizer.train_from_iterator(itertools.chain(texts, corpus.words_as_text(copies=150)), trainer)
    return tokenizer


def rows(tokenizer: tokenizers.Tokenizer, config: TrainConfig, length: int, seed: int) -> Iterator[list[int]]:
    """Endless rows of `length` ids, each a beginning-of-text token followed by whole documents, the last one cut."""
    texts = corpus.documents(seed)
    generator = torch.Generator().manual_seed(seed)
    bos = tokenizer.token_to_id(BOS)
    row: list[int] = []
    while True:
        for encoding in tokenizer.encode_batch(list(itertools.islice(texts, 512))):
            ids = encoding.ids
            if torch.rand((), generator=generator).item() < config.random_token_share:
                ids = _repeated_random_ids(config, generator)
            row += [bos, *ids]
            if len(row) >= length:
                yield row[:length]
                row = []


def _repeated_random_ids(config: TrainConfig, generator: torch.Generator) -> list[int]:
    """Random ids, again and again: a few of them often, or more of them twice."""
    short = torch.rand((), generator=generator).item() < 0.5
    length = int(torch.randint(2, 9, (), generator=generator) if short else torch.randint(9, 48, (), generator=generator))
    copies = int(torch.randint(3, 9, (), generator=generator)) if short else 2
    return torch.randint(1, config.vocab_size, (length,), generator=generator).tolist() * copies


def batches(tokenizer: tokenizers.Tokenizer, config: TrainConfig) -> Iterator[torch.Tensor]:
    """Seven batches of half-length rows, then one of full-length rows."""
    half, full = config.n_ctx // 2, config.n_ctx
    sources = {length: rows(tokenizer, config, length, config.seed + 1 + length) for length in (half, full)}
    for length in itertools.cycle([half] * 7 + [full]):
        yield torch.tensor(list(itertools.islice(sources[length], config.batch_tokens // length)))


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def build_model(config: TrainConfig) -> transformers.GPT2LMHeadModel:
    """A GPT-2 with random weights; id 0 begins and ends a text."""
    torch.manual_seed(config.seed)
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.n_ctx,
            n_embd=config.d_model,
            n_layer=config.n_layers,
            n_head=config.n_heads,
            initializer_range=config.initializer_range,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def train(config: TrainConfig, output: pathlib.Path) -> None:
    """Train and write to `output`; prints the loss in nats per token as it goes."""
    started = time.monotonic()
    tokenizer = train_tokenizer(config)
    model = build_model(config)
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
    recent: list[float] = []
    for step, batch in zip(range(config.steps), batches(tokenizer, config)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        recent = [*recent[-49:], loss.item()]
        if step % 50 == 49:
            minutes = (time.monotonic() - started) / 60
            print(f"step {step + 1}/{config.steps}  loss {sum(recent) / len(recent):.4f}  {minutes:.1f} min", flush=True)
        if step % 200 == 199 or step == config.steps - 1:
            save(model, tokenizer, config, recent, time.monotonic() - started, output)


def save(
    model: transformers.GPT2LMHeadModel,
    tokenizer: tokenizers.Tokenizer,
    config: TrainConfig,
    losses: Sequence[float],
    seconds: float,
    output: pathlib.Path,
) -> None:
    """Write a folder that Hugging Face's `from_pretrained` reads, and `training.json` beside it."""
    model.save_pretrained(output)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=BOS, unk_token=BOS, model_max_length=config.n_ctx
    ).save_pretrained(output)
    record = {
        "config": dataclasses.asdict(config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "final_loss_nats": round(sum(losses) / len(losses), 4),
        "seconds": round(seconds),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    (output / "training.json").write_text(json.dumps(record, indent=2) + "\n")


_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the model to.", required=True)
_STEPS = flags.DEFINE_integer("steps", TrainConfig.steps, "Optimizer steps.")
_SEED = flags.DEFINE_integer("seed", TrainConfig.seed, "Seed of the text, the first weights and the order.")


def main(argv: Sequence[str]) -> None:
    """Read the flags and train."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    train(TrainConfig(steps=_STEPS.value, seed=_SEED.value), pathlib.Path(_OUTPUT.value))


if __name__ == "__main__":
    app.run(main)
