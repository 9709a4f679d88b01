"""What a patched run predicts, beside the clean and the corrupt one."""

import dataclasses
from typing import Iterator

import numpy as np
import torch
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.pair_of_prompts import AGAINST_HELP, Against, pair_of
from lit_tl.causal.maps import Cell, MapComponent, interventions_of
from lit_tl.causal.metrics import MetricName
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import NONE, Direction
from lit_tl.causal.patching import Setup, run_source, set_up, values_of
from lit_tl.engine.variations import variations
from lit_tl.figures.causal import prediction_bars
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchedPredictionSettings(Settings):
    """Which cell of a map is patched."""

    against: Against = setting("corrupt text", AGAINST_HELP)
    component: MapComponent = setting("resid_pre", "What is patched.")
    direction: Direction = setting("denoise", "Which run's part is put into the other one.")
    metric: MetricName = setting(
        "normalised logit difference", "Of the map: it says behind which tokens is read."
    )
    layer: int = setting(0, "The patched layer.", low=0, high=10_000)
    place: int = setting(0, "The patched position, or the head of a component of heads.", low=0)
    top_k: int = setting(10, "How many next tokens to show.", low=1, high=30)


@analysis(
    "Patched prediction",
    figure=prediction_bars,
    uses=("example", "counterpart"),
    tab="Details",
)
def patched_prediction(
    subject: Subject, settings: PatchedPredictionSettings
) -> Iterator[xr.Dataset]:
    """The likeliest next tokens of the clean, the corrupt and the patched run."""
    model = CausalModel(subject.model.runner, subject.model.prompter)
    pair = pair_of(subject, settings.against)
    setup = set_up(
        model,
        pair,
        settings.component,
        direction=settings.direction,
        metric=settings.metric,
        dims=None,
        layers=[settings.layer],
    )
    cell, where = _cell(setup, settings)
    source = run_source(setup)
    changes = [[], interventions_of(setup.plan, cell, values_of(source))]
    runs = {1: torch.empty(0), 0: torch.empty(0)}
    for part in variations(model.runner, setup.sides.base, changes, read=setup.measure.read):
        for index, logits in zip(part.index, part.logits, strict=True):
            runs[index] = logits[0]
    base, other = ("corrupt", "clean") if settings.direction == "denoise" else ("clean", "corrupt")
    named = {base: runs[0], other: source.need_logits()[0, 0], "patched": runs[1]}
    order = ("clean", "corrupt", "patched")
    log_probs = torch.stack([named[name].float().log_softmax(-1).cpu() for name in order])
    ids = _likeliest(log_probs, settings.top_k)
    vocabulary = model.prompter.vocabulary
    yield xr.Dataset(
        {"probability": (("run", "next_token"), log_probs[:, ids].exp().numpy().astype(float))},
        coords={"run": list(order), "next_token": vocabulary.strings(ids)},
        attrs={
            "value": "probability",
            "unit": "probability",
            "title": f"Next token: {settings.component} of layer {settings.layer} patched {where}",
        },
    )


def _cell(setup: Setup, settings: PatchedPredictionSettings) -> tuple[Cell, str]:
    """The cell, and where it is, in words."""
    sides, plan = setup.sides, setup.plan
    if plan.units is not None:
        if settings.place >= plan.units:
            raise ValueError(
                f"head {settings.place} is out of range: {settings.component} has {plan.units}"
            )
        spans = tuple(sides.spans())
        return Cell((0, settings.place), settings.layer, settings.place, spans), (
            f"in head {settings.place}"
        )
    if settings.place >= len(sides.base):
        raise ValueError(
            f"position {settings.place} is out of range: the prompt has {len(sides.base)} tokens"
        )
    partner = int(sides.partner[settings.place])
    if partner == NONE:
        raise ValueError("this token has no partner in the other prompt, and can't be patched")
    span = (settings.place, settings.place + 1, partner)
    token = setup.model.prompter.vocabulary.string(sides.base.ids[settings.place])
    return Cell((0, settings.place), settings.layer, None, (span,)), f"at {token!r}"


def _likeliest(log_probs: torch.Tensor, count: int) -> list[int]:
    """The likeliest tokens of each run, those of the patched one first."""
    found: list[int] = []
    for row in reversed(log_probs):
        found += row.topk(min(count, row.shape[-1])).indices.tolist()
    ids = list(dict.fromkeys(found))
    best = np.argsort(-log_probs[:, ids].max(0).values.numpy(), kind="stable")
    return [ids[place] for place in best[:count]]
