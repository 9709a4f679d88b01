"""Activation patching beside TransformerLens' own loop, and beside forward passes, in CPU time.

    python benchmarks/patching.py
    python benchmarks/patching.py --model FOLDER

A model of GPT-2 small's shape with random weights, and pairs of prompts that first differ at token
10 of 15 and at token 2 of 20: exact maps of the residual and of heads, whose numbers are compared.
With `--model`, a model of your own, a pair of 64 tokens that first differs at token 40, and the
time of estimates and of the whole exact map over that of one forward pass of the bridge; and the
memory that a map over 1,000 pairs takes beside the model, 20 pairs again and again.
"""

import random
import resource
import statistics
import time
from typing import Any, Callable

import numpy as np
import torch
from absl import app, flags
from gpt2_small_shape import machine, make_folder
from transformer_lens import patching

from lit_tl.causal.estimates import estimate
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import over_pairs
from lit_tl.causal.pairs import PromptPair
from lit_tl.causal.patching import patch
from lit_tl.models.loading import load_model

_MODEL = flags.DEFINE_string("model", None, "A model of your own, by folder or name.")
_TOKENIZER = flags.DEFINE_string("tokenizer", None, "A folder with vocab.json and merges.txt.")
_RUNS = flags.DEFINE_integer("runs", 3, "How often each is run.", lower_bound=1)
_PAIRS = flags.DEFINE_integer("pairs", 1000, "Of the map over data.", lower_bound=1)
_METRIC = "logit difference"


def cpu(work: Callable[[], Any], runs: int) -> tuple[float, Any]:
    """CPU seconds of all threads, the median of some runs, and what came out last."""
    took, result = [], None
    for _ in range(runs):
        started = time.process_time()
        result = work()
        took.append(time.process_time() - started)
    return statistics.median(took), result


def pair_of(model: CausalModel, length: int, first: int, seed: int = 0) -> PromptPair:
    """Random words, two texts of so many tokens that differ in one."""
    tokenizer, rng = model.runner.tokenizer, random.Random(seed)
    opening = len(model.prompter.opening.ids)
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    pool = [i for i, name in enumerate(names) if name.startswith("Ġ") and name[1:].isalpha()]
    pool = [i for i in pool if names[i].isascii() or names[i][1:].isascii()]
    while True:
        ids = [rng.choice(pool) for _ in range(length - opening)]
        other = list(ids)
        other[first - opening] = rng.choice(pool)
        texts = [tokenizer.decode(each) for each in (ids, other)]
        back = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        if back == [ids, other] and ids != other:
            answers = [tokenizer.decode([each]) for each in rng.sample(pool, 2)]
            return PromptPair(texts[0], texts[1], answers[0], answers[1])


def beside_transformer_lens() -> None:
    """Exact maps, ours and TransformerLens'."""
    own = CausalModel.of(load_model(make_folder(_TOKENIZER.value)))
    for length, first in ((15, 10), (20, 2)):
        for component, name in (
            ("resid_pre", "get_act_patch_resid_pre"),
            ("z", "get_act_patch_attn_head_out_all_pos"),
        ):
            compare(own, pair_of(own, length, first), component, name)


def compare(own: CausalModel, pair: PromptPair, component: str, name: str) -> None:
    """One map, by `patch` and by a function of TransformerLens."""
    model = own.runner.model
    clean, corrupt = (
        torch.tensor([own.prompter.prompt({"text": text}).ids])
        for text in (pair.clean, pair.corrupt)
    )
    answer, foil = (own.prompter.answer(text)[0] for text in (pair.answer, pair.foil))
    _, cache = model.run_with_cache(clean)

    def metric(logits: torch.Tensor) -> torch.Tensor:
        return logits[0, -1, answer] - logits[0, -1, foil]

    def ours() -> Any:
        return patch(own, pair, component, metric=_METRIC)

    ours()
    fast, result = cpu(ours, _RUNS.value)
    slow, expected = cpu(lambda: getattr(patching, name)(model, corrupt, cache, metric), 1)
    apart = np.abs(result["effect"].values - expected.cpu().numpy()).max()
    first = next(i for i, (a, b) in enumerate(zip(clean[0], corrupt[0], strict=True)) if a != b)
    print(
        f"12 layers x {clean.shape[1]} tokens, first difference at {first}, {component:10}"
        f"{fast:7.2f} s, {name} {slow:7.2f} s: {slow / fast:5.1f} times less; numbers differ by "
        f"{apart:.1e}"
    )


def beside_forward_passes() -> None:
    """Estimates and the exact map of a model of one's own."""
    model = load_model(_MODEL.value)
    own = CausalModel.of(model)
    pair = pair_of(own, 64, 40)
    ids = torch.tensor([own.prompter.prompt({"text": pair.clean}).ids])
    forward, _ = cpu(lambda: model(ids), 3 * _RUNS.value)
    print(f"one forward pass of {ids.shape[1]} tokens {forward:6.2f} s")
    for component in ("resid_pre", "z"):
        works: dict[str, Callable[[], Any]] = {
            "attribution patching": lambda c=component: estimate(  # type: ignore[misc]
                own, pair, c, metric=_METRIC, method="attribution patching"
            ),
            "integrated gradients": lambda c=component: estimate(  # type: ignore[misc]
                own, pair, c, metric=_METRIC
            ),
            "exact": lambda c=component: patch(own, pair, c, metric=_METRIC),  # type: ignore[misc]
        }
        for name, work in works.items():
            work()
            took, _ = cpu(work, _RUNS.value)
            print(f"{component:10} {name:22} {took:6.2f} s: {took / forward:5.1f} forward passes")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pairs = [pair_of(own, 16, 8, seed) for seed in range(20)]
    maps = {pair: estimate(own, pair, "z", metric=_METRIC) for pair in pairs}
    several = [pairs[i % len(pairs)] for i in range(_PAIRS.value)]
    *_, result = over_pairs(own, several, lambda pair: maps[pair].copy(deep=True), metric=_METRIC)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"a map over {result.attrs['pairs']} pairs: the peak grew by {after - before:.0f} MB over "
        "what one pair took"
    )


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    print(machine())
    with torch.no_grad():
        beside_forward_passes() if _MODEL.value else beside_transformer_lens()


if __name__ == "__main__":
    app.run(main)
