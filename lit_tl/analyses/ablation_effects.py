"""What each head, attention layer and MLP does for the answers of a data set: how far they move
when it alone is ablated."""

import dataclasses
import time
from typing import Iterator, Literal, Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.bootstrap import Bootstrap
from lit_tl.causal.metrics import Measure, measure
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import said_of_left_out
from lit_tl.causal.pairs import PairError, PromptPair, TokenPair
from lit_tl.engine import jobs
from lit_tl.engine.interventions import Array, Draw, Intervention, Replace, Zero
from lit_tl.engine.sites import Site
from lit_tl.engine.variations import variations
from lit_tl.figures.changes import effects_grid
from lit_tl.settings import Settings, setting
from lit_tl.variants.ground import Ground

What = Literal["heads", "attention and MLPs"]
By = Literal["zero", "mean", "resample"]
_BETWEEN = 1.0
"""Seconds between two partial means."""
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationEffectSettings(Settings):
    """What is ablated, and how."""

    ablate: What = setting("heads", "What is ablated, one at a time.")
    by: By = setting("zero", "Its output is 0, its mean over the data set, or other tokens'.")
    metric: Literal["log-probability", "probability", "logit difference"] = setting(
        "log-probability", "What is measured, of all tokens of the answer."
    )
    most: int = setting(20, "How many prompts of the data set.", low=1, high=10_000)


@analysis("Effect of ablation", figure=effects_grid, uses=("examples",), tab="Interventions")
def ablation_effects(subject: Subject, settings: AblationEffectSettings) -> Iterator[xr.Dataset]:
    """How far the answers of the data set move when a part alone is ablated: the mean over prompts,
    with an interval of 95 % by bootstrap."""
    asked = [place for place, each in enumerate(subject.examples) if each.get("answer")]
    if not asked:
        raise ValueError(
            "no prompt of this data set has an answer: choose one such as ioi, or give your "
            "prompts that column"
        )
    asked = asked[: settings.most]
    left_out: list[str] = []
    maps: list[Floats] = []
    last = time.monotonic()
    for place in jobs.each(asked):
        one = Subject(
            model=subject.model, example=subject.examples[place], examples=subject.examples
        )
        try:
            maps.append(_of_one.answer(one, settings)["effect"].values)
        except PairError as error:
            left_out.append(f"prompt {place}: {error}")
            continue
        if time.monotonic() - last > _BETWEEN and place != asked[-1]:
            yield _summary(subject.model, settings, maps, left_out, len(asked))
            last = time.monotonic()
    if not maps:
        raise PairError(f"no prompt can be looked into: {left_out[0]}")
    yield _summary(subject.model, settings, maps, left_out, len(asked))


@analysis(
    "Effect of ablation on a prompt",
    figure=effects_grid,
    uses=("example", "examples"),
    tab="Details",
)
def _of_one(subject: Subject, settings: AblationEffectSettings) -> Iterator[xr.Dataset]:
    """One prompt's part of a mean, kept, so that work that was stopped goes on where it was."""
    example, model = subject.need_example(), subject.model
    layers, columns = _axes(model, settings)
    cells = [(layer, column) for layer in layers for column in range(len(columns))]
    sites = [_site(settings, layer, column) for layer, column in cells]
    ground = model.ground({_HERE: subject.examples})
    changes: list[list[Intervention]] = [[], *_changes(settings, sites, ground)]
    measured = _measure(model, example, settings)
    numbers = np.full(len(changes), np.nan)
    base = measured.pair.clean
    for part in variations(model.runner, base, changes, read=measured.read):
        numbers[list(part.index)] = measured.value(part.logits).double().cpu().numpy()
    effect = (numbers[1:] - numbers[0]).reshape(len(layers), len(columns))
    yield xr.Dataset({"effect": (("layer", "part"), effect)}, attrs={"value": "effect"})


_HERE = "the data set"


def _measure(model: LoadedModel, example: Example, settings: AblationEffectSettings) -> Measure:
    causal = CausalModel(model.runner, model.prompter)
    prompt = model.prompt(example)
    if prompt.truncated:
        raise PairError(f"it is longer than the {len(prompt)} tokens that are read: shorten it")
    text = str(example.get("text") or "")
    pair = PromptPair(text, text, str(example.get("answer") or ""), str(example.get("foil") or ""))
    tokens = TokenPair(clean=prompt, corrupt=prompt, partner=np.arange(len(prompt)))
    return measure(causal, pair, tokens, settings.metric)


def _axes(model: LoadedModel, settings: AblationEffectSettings) -> tuple[list[int], list[str]]:
    runner = model.runner
    if settings.ablate == "heads":
        layers = list(runner.layers("z"))
        columns = [str(head) for head in range(runner.shape.n_heads)]
    else:
        layers, columns = list(runner.layers("mlp_out")), ["attention", "MLP"]
        layers = [layer for layer in layers if layer in runner.layers("attn_out")]
    if not layers:
        raise ValueError(f"{runner.shape.name} shows no {settings.ablate} to ablate")
    return layers, columns


def _site(settings: AblationEffectSettings, layer: int, column: int) -> Site:
    if settings.ablate == "heads":
        return Site("z", layer, head=column)
    return Site("mlp_out" if column else "attn_out", layer)


def _changes(
    settings: AblationEffectSettings, sites: list[Site], ground: Ground
) -> list[list[Intervention]]:
    if settings.by == "zero":
        return [[Zero(site)] for site in sites]
    prompts = ground.data_set(_HERE)
    if settings.by == "mean":
        means = ground.means(prompts, sites)
        return [[Replace(site, Array(means[site]))] for site in sites]
    return [[Draw(site, Array(ground.drawn_values(prompts, site, 0)), 0)] for site in sites]


def _summary(
    model: LoadedModel,
    settings: AblationEffectSettings,
    maps: list[Floats],
    left_out: list[str],
    asked: int,
) -> xr.Dataset:
    values = np.stack(maps)
    mean = values.mean(0)
    low, high = Bootstrap().interval(values)
    layers, columns = _axes(model, settings)
    dims = ("layer", "part")
    data: Mapping[str, object] = {
        "mean": (dims, mean),
        "low": (dims, low),
        "high": (dims, high),
        "agreement": (dims, (np.sign(values) == np.sign(mean)).mean(0)),
    }
    count = f"{len(maps)} prompt{'s' if len(maps) > 1 else ''}."
    said = said_of_left_out(left_out, asked).replace(" pairs ", " prompts ")
    return xr.Dataset(
        data,
        coords={"layer": layers, "part": columns},
        attrs={
            "value": "mean",
            "unit": "nats" if settings.metric == "log-probability" else settings.metric,
            "metric": settings.metric,
            "ablate": settings.ablate,
            "method": f"ablation by {settings.by}, exact",
            "prompts": len(maps),
            "left_out": left_out,
            "note": " ".join(filter(None, [count, said])),
        },
    )
