"""CPU time and memory of the lens figure, against one forward pass and one unembedding for each
layer shown.

    python benchmarks/lens_panel.py [--tokenizer FOLDER] [--tokens 64]

GPT-2 small's shape. The lens sweep computes a statistic and the likeliest tokens of every cell.
Memory is the peak of this process over what it held with the model loaded, for a prompt of 512
tokens.
"""

import logging
import resource
import statistics
import time
from typing import Callable

import numpy as np
import torch
import transformers
from absl import app, flags
from gpt2_small_shape import machine, make_folder, prompts

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.lens import LogitLens, PredictionTrajectory, TunedLens

_TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "Folder with vocab.json and merges.txt of a 50,257-token vocabulary."
)
_TOKENS = flags.DEFINE_integer("tokens", 64, "Length of the prompt.")
_REPEATS = 5


def cpu_seconds(work: Callable[[], object]) -> float:
    """Median CPU seconds of this process, all threads, after one run to warm up."""
    work()
    times = []
    for _ in range(_REPEATS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times)


def peak_mb() -> float:
    """The most this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    logging.disable(logging.WARNING)
    folder = make_folder(_TOKENIZER.value)
    short, long = prompts(transformers.AutoTokenizer.from_pretrained(folder), [_TOKENS.value, 512])
    model = HookedTransformerLIT.from_pretrained(folder)
    loaded = model.loaded
    before = peak_mb()
    ids = np.array(loaded.prompt({"text": long}).ids)
    trajectory = PredictionTrajectory.from_lens_and_model(
        LogitLens.from_model(model.model), model.model, ids
    )
    trajectory.entropy()
    print(f"{machine()}; 512 tokens: the peak grew by {peak_mb() - before:.0f} MB over the model")

    tokens = torch.tensor([loaded.prompt({"text": short}).ids])
    weight = (
        model.model.unembed.W_U.T.detach()
        if hasattr(model.model.unembed, "W_U")
        else model.model.unembed.weight.detach()
    )
    hidden = torch.randn(12, tokens.shape[1], weight.shape[-1])

    def arithmetic() -> None:
        with torch.no_grad():
            model.model(tokens)
            for layer in hidden:
                torch.nn.functional.linear(layer, weight)

    def figure() -> None:
        loaded.results.clear()  # or the second figure would cost nothing
        lit_tl.draw("Lens", model, {"text": short}, lens="logit").to_json()

    def sweep() -> None:
        reading = PredictionTrajectory.from_lens_and_model(
            LogitLens.from_model(model.model), model.model, tokens[0].numpy()
        )
        reading.entropy()

    def tuned() -> None:
        reading = PredictionTrajectory.from_lens_and_model(lens, model.model, tokens[0].numpy())
        reading.entropy()

    lens = TunedLens.from_model(model.model)
    base = cpu_seconds(arithmetic)
    print(f"{tokens.shape[1]} tokens, one forward pass and 12 unembeddings: {base:.2f} CPU s")
    for name, work in (
        ("entropy, logit lens", sweep),
        ("entropy, tuned lens", tuned),
        ("the whole figure, logit lens", figure),
    ):
        seconds = cpu_seconds(work)
        print(f"{name:30s} {seconds:6.2f} CPU s   {seconds / base:5.2f} x")


if __name__ == "__main__":
    app.run(main)
