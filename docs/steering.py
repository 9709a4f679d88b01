"""The tables and figures of docs/interventions.md: `python docs/steering.py [--model FOLDER]`.

The bundled model without its induction heads, and steered from singular to plural; with `--model`,
a SmolLM2-135M steered from one opinion to the other, with the text that it generates.
"""

import argparse
import pathlib
import random
from typing import Any

import matplotlib
import numpy as np
import torch
import xarray as xr

import lit_tl
from lit_tl.causal.heads import find_heads
from lit_tl.data.tasks import read_task

IMAGES = pathlib.Path(__file__).parent / "images"
LOVE = '"I love this so much, it is wonderful" - "I hate this so much, it is terrible"'
REVIEW = {
    "text": "I went to the restaurant yesterday and the food was",
    "answer": " amazing",
    "foil": " terrible",
}


def accuracy(model: lit_tl.HookedTransformerLIT) -> float:
    """How often the model repeats 20 sequences of 20 random tokens."""
    half = torch.randint(100, 2048, (20, 20), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([torch.zeros(20, 1, dtype=torch.long), half, half], 1)
    logits = model.loaded.runner.run_ids(ids).need_logits()
    return float((logits[:, 21:40].argmax(-1) == ids[:, 22:41]).float().mean())


def print_induction(model: lit_tl.HookedTransformerLIT) -> None:
    """Repeated sequences without the induction heads, and without as many others."""
    scores = find_heads(model)["score"].sel(score_name="induction")
    heads = [(layer, head) for layer in range(4) for head in range(4)]
    ranked = sorted(heads, key=lambda place: -float(scores[place]))
    found = [place for place in ranked if float(scores[place]) > 0.5]
    others = ranked[len(found) :]

    def without(some: list[tuple[int, int]]) -> float:
        return accuracy(model.with_interventions(*(f"L{a}H{b} = zero" for a, b in some)))

    drawn = [without(random.Random(seed).sample(others, len(found))) for seed in range(10)]
    names = ", ".join(f"L{layer}H{head}" for layer, head in found)
    print(
        f"\n| heads at zero | repeated tokens right |\n| --- | --- |\n| none | {without([]):.2f} |"
    )
    print(f"| the induction heads {names} | {without(found):.2f} |")
    print(f"| as many others, 10 draws | median {np.median(drawn):.2f} (from {min(drawn):.2f}) |")


def print_agreement(model: lit_tl.HookedTransformerLIT) -> None:
    """Held-out singular subjects, over the strength of a direction of plural ones."""
    pairs = read_task("agreement").examples
    sets: dict[str, list[dict[str, Any]]] = {"plural": [], "singular": []}
    for pair in pairs[:50]:
        is_plural = pair["template"] == "plural subject"
        own, other = ("plural", "singular") if is_plural else ("singular", "plural")
        sets[own].append({"text": pair["text"]})
        sets[other].append({"text": pair["corrupted_text"]})
    held_out = [pair for pair in pairs[50:] if pair["template"] == "singular subject"]
    print(f"\n| strength, {len(held_out)} held-out prompts | logit difference | singular verbs |")
    print("| --- | --- | --- |")
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = f"resid_post[0] += {strength} * dir(mean(plural) - mean(singular))"
        changed = model.with_interventions(text, data_sets=sets)
        made = changed.predict(held_out, fields=["logit_diff"])
        found = np.array([prediction["logit_diff"] for prediction in made])
        print(f"| {strength} | {found.mean():+.2f} | {(found > 0).mean():.0%} |")


def print_dose(result: xr.Dataset) -> None:
    """Strength, answer, foil and text."""
    print("\n| strength | p(amazing) | p(terrible) | it goes on |\n| --- | --- | --- | --- |")
    for place, strength in enumerate(result["strength"].values):
        answer, foil = result["value"].values[:, place]
        text = str(result["text"].values[place]).replace("\n", " ").strip()
        print(f"| {strength:+.1f} | {answer:.3f} | {foil:.3f} | {text} |")


def draw_dose(result: xr.Dataset, path: pathlib.Path) -> None:
    """The curve, on paper."""
    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
    for row, (name, colour) in enumerate((("amazing", "#00777b"), ("terrible", "#e65100"))):
        axes.plot(
            result["strength"], result["value"].values[row], "o-", color=colour, label=f"“{name}”"
        )
    axes.set_xlabel("strength, as a share of the residual's norm")
    axes.set_ylabel("probability of the next word")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print the tables, and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a folder with SmolLM2-135M")
    folder = parser.parse_args().model
    if folder is None:
        model = lit_tl.HookedTransformerLIT.from_pretrained("lit-tl-tiny")
        print_induction(model)
        print_agreement(model)
        return
    model = lit_tl.HookedTransformerLIT.from_pretrained(folder)
    ask = {"start": -0.6, "stop": 0.6, "steps": 7, "new_tokens": 16}
    changes = f"resid_post[15]@1: += 1.0 * dir({LOVE})"
    result = lit_tl.analyze("Dose curve", model, REVIEW, changes=changes, **ask)
    print_dose(result)
    draw_dose(result, IMAGES / "dose_curve_smollm2.png")


if __name__ == "__main__":
    main()
