"""Activation patching, cell by cell: an estimate at once, exact values behind it."""

import dataclasses
from typing import Any, Iterator, Literal, Optional

import numpy as np
import numpy.typing as npt
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.pair_of_prompts import (
    AGAINST_HELP,
    Against,
    MapSettings,
    pair_of,
    pairs_in,
)
from lit_tl.causal.estimates import estimate_steps
from lit_tl.causal.maps import OF_HEADS, MapComponent
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import over_pairs
from lit_tl.causal.pairs import PairError, PromptPair
from lit_tl.causal.patching import patch_steps
from lit_tl.engine import jobs
from lit_tl.figures.causal import over_data_grid, patch_grid
from lit_tl.settings import setting

Method = Literal["exact", "estimate"]
_APART = 0.2
"""Exact value and estimate disagree where they differ by more than this share of the largest
change."""
_NAMED = 5
"""Neurons that are named beside their map."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchSettings(MapSettings):
    """What is patched of a pair, and how."""

    against: Against = setting("corrupt text", AGAINST_HELP)
    method: Method = setting("exact", "Exact values, or an estimate by integrated gradients.")


def _cells(subject: Subject, settings: PatchSettings) -> tuple[int, int]:
    shape = subject.model.runner.shape
    tokens = max(len(subject.model.prompt(subject.need_example())), 1)
    if settings.layers == "all":
        return shape.n_layers * (shape.n_heads if settings.component in OF_HEADS else tokens), 0
    return shape.n_heads * tokens if settings.has_positions else 4 * shape.d_model, 0


@analysis(
    "Activation patching",
    figure=patch_grid,
    uses=("example", "counterpart"),
    tab="Causes",
    cells=_cells,
)
def activation_patching(subject: Subject, settings: PatchSettings) -> Iterator[xr.Dataset]:
    """What the answer does when one part of one run is put into the other: how far it changes.

    An estimate from gradients comes first; exact values take its place. Cells where the two
    disagree are marked.
    """
    pair = pair_of(subject, settings.against)
    model = CausalModel(subject.model.runner, subject.model.prompter)
    job = jobs.current()
    estimate: Optional[xr.Dataset] = None
    missing = ""
    with job.part(0.0, 1.0 if settings.method == "estimate" else 0.1):
        try:
            for estimate in _estimates(model, pair, settings):
                yield _combined(estimate, None)
        except ValueError as error:
            if settings.method == "estimate" or isinstance(error, PairError):
                raise
            missing = f"No estimate: {error}."  # a model without gradients
    if settings.method == "estimate":
        return
    with job.part(0.1, 1.0):
        for exact in patch_steps(model, pair, settings.component, **settings.asked):
            yield _combined(exact, estimate, missing)


def _estimates(
    model: CausalModel, pair: PromptPair, settings: PatchSettings
) -> Iterator[xr.Dataset]:
    """Attribution patching, and then integrated gradients where a path leads through the
    embeddings; along the activations where none does and nothing exact follows."""
    try:
        yield from estimate_steps(model, pair, settings.component, **settings.asked)
    except PairError as error:
        if "no path" not in str(error):
            raise
        if settings.method == "estimate":
            yield from estimate_steps(
                model, pair, settings.component, path="activations", **settings.asked
            )
        else:
            yield from estimate_steps(
                model, pair, settings.component, method="attribution patching", **settings.asked
            )


def _combined(own: xr.Dataset, estimate: Optional[xr.Dataset], missing: str = "") -> xr.Dataset:
    """The change of each cell, with the estimate beside exact values."""
    unchanged = own.attrs["corrupt" if own.attrs["direction"] == "denoise" else "clean"]
    dims = own["effect"].dims
    change = own["effect"].values - unchanged
    guessed: npt.NDArray[np.float64] = np.full(change.shape, np.nan)
    is_exact = np.isfinite(change) & own.attrs["method"].startswith("exact")
    apart = np.zeros(change.shape, bool)
    if estimate is not None:
        guessed = estimate["effect"].values - unchanged
        most = np.nanmax(np.abs(change), initial=0.0)
        with np.errstate(invalid="ignore"):
            apart = is_exact & (np.abs(change - guessed) > _APART * most)
        change = np.where(np.isfinite(change), change, guessed)
    attrs = {
        **own.attrs,
        "value": "change",
        "unchanged": unchanged,
        "estimated_by": estimate.attrs["method"] if estimate is not None else "",
        "note": " ".join(
            filter(None, [_said(own), _largest(dims, change), own.attrs["note"], missing])
        ),
    }
    return xr.Dataset(
        {
            "effect": (dims, change + unchanged),
            "estimate": (dims, guessed + unchanged),
            "exact": (dims, is_exact),
            "apart": (dims, apart),
            "change": (dims, change),
        },
        coords=own.coords,
        attrs=attrs,
    )


def _largest(dims: tuple[Any, ...], change: npt.NDArray[np.float64]) -> str:
    """The neurons that change most, as a sentence; of other maps none."""
    if dims != ("neuron",):
        return ""
    order = np.argsort(-np.abs(np.nan_to_num(change)))[:_NAMED]
    named = ", ".join(f"{neuron} ({change[neuron]:+.3g})" for neuron in order)
    return f"Largest neurons: {named}."


def _said(own: xr.Dataset) -> str:
    """What was measured of the two runs, and how."""
    clean, corrupt = own.attrs["clean_metric"], own.attrs["corrupt_metric"]
    name = own.attrs["metric"].replace("normalised ", "")
    return f"{name}: clean {clean:.3g}, corrupt {corrupt:.3g}. Method: {own.attrs['method']}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchOverDataSettings(MapSettings):
    """What is patched, over how many pairs."""

    component: MapComponent = setting("z", "What is patched.")
    method: Method = setting("estimate", "Exact values, or an estimate by integrated gradients.")
    most: int = setting(20, "How many pairs of the data set.", low=1, high=10_000)


@analysis(
    "Patching over data",
    figure=over_data_grid,
    uses=("examples",),
    tab="Causes",
)
def patching_over_data(subject: Subject, settings: PatchOverDataSettings) -> Iterator[xr.Dataset]:
    """The mean of activation patching over the pairs of the data set, with an interval of 95 % by
    bootstrap, and the share of pairs that agree in sign."""
    model = CausalModel(subject.model.runner, subject.model.prompter)
    pairs = pairs_in(list(subject.examples), settings.most)
    of_map = {
        field.name: getattr(settings, field.name) for field in dataclasses.fields(MapSettings)
    }
    of_pair = PatchSettings(**of_map, method=settings.method)

    def make(pair: PromptPair) -> xr.Dataset:
        # Kept one by one, so that work that was stopped goes on where it was.
        example = {
            "text": pair.clean,
            "corrupted_text": pair.corrupt,
            "answer": pair.answer,
            "foil": pair.foil,
        }
        one = Subject(model=subject.model, example=example)
        return _one_pair.answer(one, of_pair)

    for result in over_pairs(
        model,
        pairs,
        make,
        direction=settings.direction,
        metric=settings.metric,
        by_position=settings.has_positions,
    ):
        unchanged = result.attrs["corrupt" if settings.direction == "denoise" else "clean"]
        result = result.drop_vars("effect")
        result["change"] = result["mean"] - unchanged
        done = f"{result.attrs['pairs']} pair{'s' if result.attrs['pairs'] > 1 else ''}."
        result.attrs |= {
            "value": "change",
            "unchanged": unchanged,
            "note": " ".join(filter(None, [done, result.attrs["note"]])),
        }
        yield result.drop_vars("pair")


@analysis("Patching of a pair", figure=patch_grid, uses=("example",), tab="Details")
def _one_pair(subject: Subject, settings: PatchSettings) -> Iterator[xr.Dataset]:
    """One pair's part of a mean."""
    pair = pair_of(subject, "corrupt text")
    model = CausalModel(subject.model.runner, subject.model.prompter)
    if settings.method == "estimate":
        *_, result = _estimates(model, pair, settings)
    else:
        *_, result = patch_steps(model, pair, settings.component, **settings.asked)
    yield result
