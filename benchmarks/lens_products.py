"""Time of lenses over the time of their matrix products, in one run.

    python benchmarks/lens_products.py --model FOLDER [--tokens 350] [--prompts 50]

The products are one forward pass and the product of every row (each layer and the output, at each
position) with the unembedding, 512 rows at a time into memory that is reused. A lens grid adds
what is made of them: statistic, ten likeliest tokens of each cell, and the figure.
"""

import logging
import statistics
import time
from typing import Any, Callable

import torch
from absl import app, flags
from gpt2_small_shape import machine

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.data.tasks import read_task

_MODEL = flags.DEFINE_string("model", None, "Folder or name of the model.", required=True)
_TOKENS = flags.DEFINE_integer("tokens", 350, "Length of the prompt of the grid.")
_PROMPTS = flags.DEFINE_integer("prompts", 50, "Prompts of the lens over the data set.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Runs of each, of which the median counts.")
_ROWS = 512


def seconds(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each, in turn, after one run to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(_REPEATS.value + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def products(weight: torch.Tensor, rows: int) -> None:
    """So many rows through the unembedding."""
    x = torch.randn(rows, weight.shape[1], dtype=weight.dtype)
    room = torch.empty(_ROWS, weight.shape[0], dtype=weight.dtype)
    for part in x.split(_ROWS):
        torch.mm(part, weight.T, out=room[: len(part)])


def compare(name: str, model: Any, texts: list[str], work: Callable[..., object]) -> None:
    """Measure one figure and print it."""
    loaded = model.loaded
    prompts = [loaded.prompt({"text": text}) for text in texts]
    rows = sum(map(len, prompts)) * (loaded.runner.shape.n_layers + 1)
    weight = loaded.runner.readout.weight

    def forward() -> None:
        for _ in loaded.runner.run(prompts, logits="none"):
            pass

    def figure(**settings: Any) -> None:
        loaded.results.clear()
        work(**settings)

    with torch.no_grad():
        took = seconds(
            {
                "forward": forward,
                "products": lambda: products(weight, rows),
                "entropy": lambda: figure(statistic="entropy"),
                "forward KL": lambda: figure(statistic="forward KL"),
            }
        )
    base = took["forward"] + took["products"]
    print(
        f"{name}: forward pass {took['forward']:.2f} s, products of {rows} rows "
        f"{took['products']:.2f} s; "
        + ", ".join(
            f"{statistic} {took[statistic]:.2f} s = {took[statistic] / base:.2f} x"
            for statistic in ("entropy", "forward KL")
        )
    )


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    logging.disable(logging.WARNING)
    model = HookedTransformerLIT.from_pretrained(_MODEL.value)
    print(machine())
    long = " ".join(example["text"] for example in read_task("ioi").examples)
    vocabulary = model.loaded.prompter
    ids = vocabulary.from_text(long).ids[: _TOKENS.value]
    text = vocabulary.to_text(ids[1:] if len(ids) == _TOKENS.value else ids)
    compare(
        f"lens grid, {len(ids)} tokens",
        model,
        [text],
        lambda **settings: lit_tl.draw(
            "Lens", model, {"text": text}, lens="logit", **settings
        ).to_json(),
    )
    examples = read_task("ioi").examples[: _PROMPTS.value]
    compare(
        f"lens over {len(examples)} prompts",
        model,
        [example["text"] for example in examples],
        lambda **settings: lit_tl.draw(
            "Lens over the data set", model, examples=examples, lens="logit", **settings
        ),
    )


if __name__ == "__main__":
    app.run(main)
