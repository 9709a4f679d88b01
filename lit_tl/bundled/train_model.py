"""Train the bundled model and write it, with its tokenizer and a record of the training, to a
folder.

    python -m lit_tl.bundled.train_model --output lit_tl/bundled/tiny_gpt2

One run on two cores takes about half an hour. Nothing is read but this package: the text comes from
`lit_tl.bundled.corpus`.
"""

import dataclasses
import itertools
import json
import math
import pathlib
import time
from typing import Any, Iterator, Optional, Sequence

import tokenizers
import torch
import transformers
from absl import app, flags
from tokenizers import decoders, models, pre_tokenizers, trainers

from lit_tl.bundled import corpus

BOS = "<|endoftext|>"
# Digits are cut into pairs, so that a year is a century and a year in it, as in the greater-than
# task.
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What decides the weights. Learning rates rise linearly, then follow a cosine; matrices in the
    blocks go by Muon (Jordan et al. 2024), embeddings, norms and biases by AdamW."""

    seed: int = 0
    steps: int = 3000
    batch_tokens: int = 4096
    vocab_size: int = 2048
    n_ctx: int = 512
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    initializer_range: float = 0.08
    learning_rate: float = 3e-3
    muon_learning_rate: float = 0.02
    warmup_steps: int = 100
    weight_decay: float = 0.01
    random_token_share: float = 0.15
    short_share: float = 0.6
    """The first part of the run, with rows of a quarter of the context."""


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
    texts = (document.text for document in itertools.islice(corpus.documents(config.seed), 40_000))
    tokenizer.train_from_iterator(itertools.chain(texts, corpus.words_as_text(copies=500)), trainer)
    return tokenizer


Row = tuple[list[int], list[int]]
"""Ids, and labels: the ids again, with IGNORED where no loss is taken."""
IGNORED = -100


def rows(
    tokenizer: tokenizers.Tokenizer, config: TrainConfig, length: int, seed: int
) -> Iterator[Row]:
    """Endless rows of `length`, each a beginning-of-text token followed by whole documents, the
    last one cut.

    Among the documents are sequences of random ids, again and again. No loss is taken where a
    sequence of random ids or words stands for the first time, since nothing predicts it.
    """
    documents = corpus.documents(seed)
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    labels: list[int] = []
    while True:
        block = list(itertools.islice(documents, 512))
        for document, encoding in zip(
            block, tokenizer.encode_batch([document.text for document in block]), strict=True
        ):
            row = list(encoding.ids)
            ignored = sum(end <= document.unpredictable for _, end in encoding.offsets)
            if torch.rand((), generator=generator).item() < config.random_token_share:
                row, ignored = _repeated_random_ids(config, generator)
            ids += [0, *row]
            labels += [IGNORED] * (1 + ignored) + row[ignored:]
            if len(ids) >= length:
                yield ids[:length], labels[:length]
                ids, labels = [], []


def _repeated_random_ids(config: TrainConfig, generator: torch.Generator) -> tuple[list[int], int]:
    """Random ids, again and again: a few of them often, or more of them twice; and the length of
    the first copy."""
    short = torch.rand((), generator=generator).item() < 0.5
    length = int(
        torch.randint(2, 9, (), generator=generator)
        if short
        else torch.randint(9, 48, (), generator=generator)
    )
    copies = int(torch.randint(3, 9, (), generator=generator)) if short else 2
    return torch.randint(
        1, config.vocab_size, (length,), generator=generator
    ).tolist() * copies, length


def batches(tokenizer: tokenizers.Tokenizer, config: TrainConfig) -> Iterator[torch.Tensor]:
    """Ids and labels, `[row, 2, pos]`: short rows first, then the whole context by turns with half
    of it."""
    quarter, half, full = (config.n_ctx // part for part in (4, 2, 1))
    sources = {
        length: rows(tokenizer, config, length, config.seed + 1 + length)
        for length in (quarter, half, full)
    }
    for step in range(config.steps):
        length = quarter if step < config.short_share * config.steps else (half, full)[step % 2]
        yield torch.tensor(list(itertools.islice(sources[length], config.batch_tokens // length)))


def rate(step: int, config: TrainConfig) -> float:
    """The share of the learning rates: a linear warm-up, then a cosine down to a fiftieth."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    finished = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * finished))


def build_optimizers(
    model: transformers.GPT2LMHeadModel, config: TrainConfig
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the rest."""
    matrices = [p for name, p in model.named_parameters() if ".h." in name and p.dim() == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(
            matrices, lr=config.muon_learning_rate, momentum=0.95, weight_decay=config.weight_decay
        ),
        torch.optim.AdamW(
            rest, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
        ),
    ]


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


def train(
    config: TrainConfig, output: pathlib.Path, start_from: Optional[pathlib.Path] = None
) -> None:
    """Train and write to `output`, from the start or from the weights and tokenizer of an earlier
    run; prints the loss in nats per token as it goes."""
    started = time.monotonic()
    earlier = None
    if start_from is None:
        tokenizer, model = train_tokenizer(config), build_model(config)
    else:
        tokenizer = tokenizers.Tokenizer.from_file(str(start_from / "tokenizer.json"))
        model = transformers.GPT2LMHeadModel.from_pretrained(start_from)
        earlier = json.loads((start_from / "training.json").read_text())
    optimizers = build_optimizers(model, config)
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(opt, lambda step: rate(step, config))
        for opt in optimizers
    ]
    recent: list[float] = []
    for step, batch in enumerate(batches(tokenizer, config)):
        loss = model(batch[:, 0], labels=batch[:, 1]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        model.zero_grad(set_to_none=True)
        recent = [*recent[-49:], loss.item()]
        if step % 50 == 49:
            minutes = (time.monotonic() - started) / 60
            print(
                f"step {step + 1}/{config.steps}  loss {sum(recent) / len(recent):.4f}  "
                f"{minutes:.1f} min",
                flush=True,
            )
        if step % 200 == 199 or step == config.steps - 1:
            save(model, tokenizer, output)
            write_record(config, step + 1, recent, time.monotonic() - started, earlier, output)


def save(
    model: transformers.GPT2LMHeadModel, tokenizer: tokenizers.Tokenizer, output: pathlib.Path
) -> None:
    """Write a folder that Hugging Face's `from_pretrained` reads."""
    model.save_pretrained(output)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=BOS,
        unk_token=BOS,
        model_max_length=model.config.n_positions,
    ).save_pretrained(output)


def write_record(
    config: TrainConfig,
    steps: int,
    losses: Sequence[float],
    seconds: float,
    earlier: Optional[dict[str, Any]],
    output: pathlib.Path,
) -> None:
    """Write `training.json`: settings, steps done, the mean loss of the last 50 of them, time,
    versions, and the earlier run."""
    record = {
        "config": dataclasses.asdict(config),
        "steps_done": steps,
        "final_loss_nats": round(sum(losses) / len(losses), 4),
        "seconds": round(seconds),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "earlier_run": earlier,
    }
    (output / "training.json").write_text(json.dumps(record, indent=2) + "\n")


_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the model to.", required=True)
_STEPS = flags.DEFINE_integer("steps", TrainConfig.steps, "Optimizer steps.")
_START_FROM = flags.DEFINE_string("start_from", None, "Folder of an earlier run to go on from.")
_RATE = flags.DEFINE_float(
    "muon_learning_rate", TrainConfig.muon_learning_rate, "Highest learning rate of Muon."
)
_SHORT = flags.DEFINE_float(
    "short_share", TrainConfig.short_share, "Part of the run with short rows."
)
_SEED = flags.DEFINE_integer(
    "seed", TrainConfig.seed, "Seed of the text, the first weights and the order."
)


def main(argv: Sequence[str]) -> None:
    """Read the flags and train."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    start_from = pathlib.Path(_START_FROM.value) if _START_FROM.value else None
    config = TrainConfig(
        steps=_STEPS.value,
        seed=_SEED.value,
        muon_learning_rate=_RATE.value,
        short_share=_SHORT.value,
    )
    train(config, pathlib.Path(_OUTPUT.value), start_from)


if __name__ == "__main__":
    app.run(main)
