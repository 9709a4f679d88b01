"""The tables and the figure of docs/causal.md: `python docs/causal_tables.py [--model FOLDER]`.

How near estimates come to exact patching, the heads that move a name by three ways, and how
faithful circuits are, on pairs of the shipped tasks `ioi` and `agreement`.
"""

import argparse
import pathlib
from typing import Any, Sequence

import numpy as np
import xarray as xr

from lit_tl.causal.circuits import circuit
from lit_tl.causal.estimates import estimate
from lit_tl.causal.heads import find_heads
from lit_tl.causal.logit_attribution import logit_attribution
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PromptPair, read_pair
from lit_tl.causal.patching import patch
from lit_tl.data.tasks import read_task
from lit_tl.models.loading import load_model

IMAGES = pathlib.Path(__file__).parent / "images"
COMPONENTS = ("resid_pre", "attn_out", "mlp_out", "z", "q", "k", "v")
METHODS: dict[str, dict[str, Any]] = {
    "attribution patching": {"method": "attribution patching"},
    "integrated gradients, 5 steps": {},
    "integrated gradients, 20 steps": {"steps": 20},
}


def pairs_of(model: CausalModel, task: str, count: int) -> list[PromptPair]:
    """The first pairs of a task whose prompts have one length."""
    pairs = [PromptPair.of(example) for example in read_task(task).examples]
    alike = []
    for pair in pairs:
        tokens = read_pair(model, pair)
        if len(tokens.clean) == len(tokens.corrupt):
            alike.append(pair)
    return alike[:count]


def correlation(exact: xr.Dataset, guessed: xr.Dataset) -> float:
    """Over the cells that patching may change."""
    unchanged = exact.attrs["corrupt"]
    one, two = exact["effect"].values.ravel(), guessed["effect"].values.ravel()
    there = np.isfinite(one) & (one != unchanged)
    return float(np.corrcoef(one[there], two[there])[0, 1])


def print_correlations(model: CausalModel, task: str, pairs: Sequence[PromptPair]) -> None:
    """A row for each method, a column for each component: the median over pairs, and the least."""
    print(f"\n| {task}, {len(pairs)} pairs | " + " | ".join(COMPONENTS) + " |")
    print("| --- |" + " --- |" * len(COMPONENTS))
    exact = {name: [patch(model, pair, name) for pair in pairs] for name in COMPONENTS}
    for title, ask in METHODS.items():
        cells = []
        for name in COMPONENTS:
            found = [
                correlation(own, estimate(model, pair, name, **ask))
                for own, pair in zip(exact[name], pairs, strict=True)
            ]
            cells.append(f"{np.median(found):.2f} ({min(found):.2f})")
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


def print_heads(model: CausalModel, pairs: Sequence[PromptPair]) -> None:
    """The heads that each way puts first."""
    exact = patch(model, list(pairs), "z")["mean"].values
    guessed = estimate(model, list(pairs), "z")["mean"].values
    direct = np.mean(
        [
            logit_attribution(model, pair.clean, pair.answer, pair.foil, by="head")["share"].values
            for pair in pairs
        ],
        axis=0,
    )
    found = find_heads(model, [pair.clean for pair in pairs])["score"]
    copying = found.sel(score_name="copying").values
    induction = found.sel(score_name="induction").values
    union: list[tuple[int, int]] = []
    for values in (exact, guessed, direct):
        order = np.argsort(-np.abs(values).ravel())[:6]
        union += [tuple(map(int, np.unravel_index(at, values.shape))) for at in order]  # type: ignore[misc]
    print("\n| head | exact | estimate | direct, logits | copying, logits | induction |")
    print("| --- | --- | --- | --- | --- | --- |")
    for layer, head in sorted(set(union), key=lambda at: -abs(exact[at])):
        at = (layer, head)
        print(
            f"| L{layer}H{head} | {exact[at]:.3f} | {guessed[at]:.3f} | {direct[at]:.2f} | "
            f"{copying[at]:.2f} | {induction[at]:.2f} |"
        )


def draw_circuits(model: CausalModel, pairs: Sequence[PromptPair], name: str) -> None:
    """Faithfulness over sizes, with random circuits."""
    import matplotlib.pyplot as plt

    result = circuit(model, list(pairs), random=5)
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    size = 100 * result["size"].values
    random = result["random_faithfulness"].values
    axes.fill_between(size, random.min(0), random.max(0), color="0.85")
    axes.plot(size, random.mean(0), ":", color="0.4", label="random edges, 5 draws")
    axes.plot(size, result["faithfulness"].values, "o-", color="#00777b", label="greedy, EAP-IG")
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
    axes.set_xlabel("edges in the circuit, %")
    axes.set_ylabel("share of the logit difference")
    axes.set_title(f"IOI, {len(pairs)} pairs: CPR {result.attrs['cpr']:.3f}")
    axes.legend()
    figure.savefig(IMAGES / f"{name}.png", dpi=130)
    print("\n| edges | " + " | ".join(str(count) for count in result["edges"].values) + " |")
    print("| --- |" + " --- |" * len(size))
    for title, values in (("circuit", result["faithfulness"].values), ("random", random.mean(0))):
        print(f"| {title} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    print(f"CPR {result.attrs['cpr']:.3f}, CMD {result.attrs['cmd']:.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lit-tl-tiny")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--name", default="circuit_faithfulness", help="of the figure")
    asked = parser.parse_args()
    model = CausalModel.of(load_model(asked.model))
    for task in ("ioi", "agreement"):
        print_correlations(model, task, pairs_of(model, task, asked.pairs))
    ioi = pairs_of(model, "ioi", asked.pairs)
    print_heads(model, ioi)
    draw_circuits(model, ioi, asked.name)


if __name__ == "__main__":
    main()
