"""Integrated gradients beside the fixed rule of 32 Gauss-Legendre nodes, on prompts of a model.

    python benchmarks/integrated_gradients.py --model FOLDER [--output docs/integrated_gradients.md]

For each prompt: by how much the scores do not add up, after how many evaluations and seconds, and
how their order compares with that of a run which has converged.
"""

import dataclasses
import os
import pathlib
import sys
import time

import numpy as np
import torch
from scipy.stats import spearmanr

from lit_tl import flags
from lit_tl.engine.requests import Targets
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.lit.salience_maps import explained
from lit_tl.salience.integrated import integrated_gradients
from lit_tl.salience.methods import Explained, gradients
from lit_tl.settings import Settings, required, setting

PROMPTS = (
    "The capital of France is",
    "one two three one two",
    "When Mary and John went to the store, John gave a drink to",
    "The cat sat on the",
    "def add(a, b):\n    return a +",
    "Monday Tuesday Wednesday",
    "The opposite of hot is",
    "2 + 2 =",
    "Once upon a time there was a little",
    "The author of Romeo and Juliet is William",
    "The keys to the cabinet",
    "Paris is in France. Tokyo is in",
    "To be or not to",
    "Water boils at 100 degrees",
)
CONVERGED = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The flags."""

    model: str = required("The model.")
    output: str = setting("docs/integrated_gradients.md", "The page to write.")
    budget: int = setting(500, "Evaluations of the converged run.", low=17)


def fixed_rule(one: Explained, nodes: int = 32) -> np.ndarray:
    """The scores of Gauss-Legendre quadrature."""
    _, end = gradients(one)
    start = one.baseline()
    places, weights = np.polynomial.legendre.leggauss(nodes)
    prompts = [
        dataclasses.replace(
            one.prompt,
            token_embeddings=(start + 0.5 * (place + 1) * (end - start)).astype(np.float32),
        )
        for place in places
    ]
    total = np.zeros_like(end)

    def take(index: list[int], values: np.ndarray, gradient: np.ndarray, _: np.ndarray) -> None:
        total[:] += np.einsum("bpd,b->pd", gradient, 0.5 * weights[index])

    one.evaluate(prompts, take)
    scores: np.ndarray = (total * (end - start)).sum(-1)
    return scores


def row(model: HookedTransformerLIT, text: str, budget: int) -> tuple[str, bool]:
    """A line of the table, and whether the gap is within 5 %."""
    prompt = model.loaded.prompt({"text": text})
    (batch,) = model.loaded.runner.run([prompt])
    token = int(batch.last_logits()[0].argmax())
    targets = Targets(example=[0], pos=[len(prompt) - 1], token=[token], weight=[1.0])
    one = explained(model.loaded, prompt, targets)
    started = time.perf_counter()
    *_, answer = integrated_gradients(one)
    seconds = time.perf_counter() - started
    *_, converged = integrated_gradients(one, tolerance=CONVERGED, budget=budget)
    fixed = fixed_rule(one)
    scale = max(abs(answer.change), 1.0)
    cells = [
        f"`{text!r}`",
        str(len(prompt)),
        f"{answer.change:.2f}",
        f"{answer.share:.1%}",
        str(answer.evaluations),
        f"{seconds:.1f}",
        f"{spearmanr(answer.scores, converged.scores)[0]:.2f}",
        f"{abs(fixed.sum() - answer.change) / scale:.0%}",
        f"{spearmanr(fixed, converged.scores)[0]:.2f}",
    ]
    return f"| {' | '.join(cells)} |", answer.share <= 0.05


def main() -> None:
    """The command."""
    config, _ = flags.read(Config, sys.argv)
    model = HookedTransformerLIT.from_pretrained(config.model)
    names = ["prompt", "tokens", "nats to add up to", "gap", "evaluations", "seconds"]
    names += ["rank correlation", "32 nodes: gap", "32 nodes: rank correlation"]
    lines = [f"| {' | '.join(names)} |", "| --- |" + " --- |" * (len(names) - 1)]
    within = 0
    for text in PROMPTS:
        line, is_within = row(model, text, config.budget)
        print(line, flush=True)
        lines.append(line)
        within += is_within
    shape = model.loaded.runner.shape
    head = f"""# Integrated gradients

Made by `python benchmarks/integrated_gradients.py`, on a model of {shape.n_layers} layers and
d_model {shape.d_model}, {os.cpu_count()} cores, torch {torch.__version__.split("+")[0]}.

The target is the likeliest next token. The gap is how far the scores are from what they should add
up to, as a share of it, or of 1 nat where it is smaller. Rank correlation is Spearman's, with a run
whose gap is within {CONVERGED:.0%}, of at most {config.budget} evaluations. Beside it, the fixed
rule of 32 Gauss-Legendre nodes.

Within 5 %: {within} of {len(PROMPTS)}.

"""
    pathlib.Path(config.output).write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
