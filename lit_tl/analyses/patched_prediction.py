"""What a patched run predicts, beside the clean and the corrupt one."""

import dataclasses
from typing import Iterator, Optional

import numpy as np
import torch
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.pair_of_prompts import AGAINST_HELP, Against, pair_of
from lit_tl.causal.maps import OF_HEADS, Cell, Dim, MapComponent, interventions_of
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
    unit: Optional[int] = setting(None, "The patched head, or neuron of mlp_post.", low=0)
    position: Optional[int] = setting(
        None, "The patched position; without it, a head at all, and all else at the last.", low=0
    )
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
        dims=_dims(settings),
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
    ids = likeliest(log_probs, settings.top_k)
    vocabulary = model.prompter.vocabulary
    yield xr.Dataset(
        {"probability": (("run", "next_token"), log_probs[:, ids].exp().numpy().astype(float))},
        coords={"run": list(order), "next_token": vocabulary.strings(ids)},
        attrs={
            "value": "probability",
            "unit": "probability",
            "method": "exact patching of one part",
            "title": f"Next token: {settings.component} of layer {settings.layer} patched {where}",
        },
    )


def _dims(settings: PatchedPredictionSettings) -> Optional[tuple[Dim, ...]]:
    """The axes of the map that has such a cell; None for the usual ones."""
    if settings.unit is None:
        if settings.component in OF_HEADS:
            raise ValueError(f"{settings.component} is patched by head: give the head as unit")
        return None
    dim: Dim = "head" if settings.component in OF_HEADS else "neuron"
    layer: tuple[Dim, ...] = ("layer",) if dim == "head" else ()
    return (*layer, dim) if settings.position is None else (*layer, dim, "position")


def _cell(setup: Setup, settings: PatchedPredictionSettings) -> tuple[Cell, str]:
    """The cell, and where it is, in words."""
    sides, plan, unit = setup.sides, setup.plan, settings.unit
    kind = "head" if plan.component in OF_HEADS else "neuron"
    if unit is not None and unit >= int(plan.units or 0):
        raise ValueError(f"{kind} {unit} is out of range: {plan.component} has {plan.units}")
    of_unit = "" if unit is None else f"in {kind} {unit}"
    if settings.position is None and unit is not None:
        return Cell((), settings.layer, unit, tuple(sides.spans())), of_unit
    length = len(sides.base)
    position = length - 1 if settings.position is None else settings.position
    if position >= length:
        raise ValueError(f"position {position} is out of range: the prompt has {length} tokens")
    partner = int(sides.partner[position])
    if partner == NONE:
        raise ValueError("this token has no partner in the other prompt, and can't be patched")
    span = (position, position + 1, partner)
    token = setup.model.prompter.vocabulary.string(sides.base.ids[position])
    return Cell((), settings.layer, unit, (span,)), f"{of_unit} at {token!r}".strip()


def likeliest(log_probs: torch.Tensor, count: int) -> list[int]:
    """The likeliest tokens of each run, those of the patched one first."""
    found: list[int] = []
    for row in reversed(log_probs):
        found += row.topk(min(count, row.shape[-1])).indices.tolist()
    ids = list(dict.fromkeys(found))
    best = np.argsort(-log_probs[:, ids].max(0).values.numpy(), kind="stable")
    return [ids[place] for place in best[:count]]
