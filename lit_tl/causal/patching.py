"""Activation patching: put a part of one run into another, and see what it does to the answer.

Exact patching runs the model once for each cell. Cells before the first token that differs change
nothing and are not run; the others go on from the unchanged run, at the patched layer and position
(`lit_tl.engine.variations`), which costs `(layers left) x (positions left)` of a pass.

What a position means: the residual of a model with learned position embeddings says where it
stands, so that a patch between positions that are not the same carries the other place along. With
rotary embeddings, `q` and `k` are patched before they are turned, and take the place of the run
that they are put into. Prompts of one length avoid the question.
"""

import dataclasses
import time
from typing import Any, Iterator, Mapping, Optional, Sequence

import numpy as np
import torch
import xarray as xr

from lit_tl.causal.maps import (
    Plan,
    check_units,
    has_positions,
    interventions_of,
    observation,
    plan,
)
from lit_tl.causal.metrics import (
    Measure,
    Metric,
    Scale,
    measure,
    require_numbers,
    scale_between,
)
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import one_or_many
from lit_tl.causal.pairs import (
    NONE,
    Direction,
    PairError,
    Pairs,
    PromptPair,
    Sides,
    check_direction,
    read_pair,
)
from lit_tl.engine.one_pass import LastLogits
from lit_tl.engine.requests import Batch, Observe
from lit_tl.engine.variations import variations

_BETWEEN = 0.5
"""Seconds between two parts of a map."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """What every map of a pair begins with.

    Args:
        model: that is patched.
        sides: what runs, and what is put into it.
        measure: what is measured.
        plan: the cells.
        direction: of the patch.
    """

    model: CausalModel
    sides: Sides
    measure: Measure
    plan: Plan
    direction: Direction

    def empty_map(self, unchanged: float) -> Any:
        """A map without cells: what is before the first difference has the unchanged run's number,
        and what has no partner has none."""
        filled = np.full(self.plan.shape(self.sides), np.nan)
        if "position" in self.plan.dims:
            same = [
                p for p in range(self.sides.first) if self.sides.partner[p] != NONE
            ]  # position is the last axis
            filled[..., same] = unchanged
        return filled


def set_up(
    model: Any,
    pair: PromptPair,
    component: str,
    *,
    direction: Direction,
    metric: Metric,
    dims: Optional[Sequence[str]],
    layers: Optional[Sequence[int]],
) -> Setup:
    """Read a pair and plan a map.

    Raises:
        PairError: the pair does not suit the metric or the component.
        ValueError: there is no such component, map, layer, direction or metric.
    """
    check_direction(direction)
    of = CausalModel.of(model)
    chosen = plan(of, component, dims, layers)
    measured = measure(of, pair, read_pair(of, pair), metric)
    sides = measured.pair.sides(direction)
    if not sides.positions():
        raise PairError(
            "no token behind the first difference has a partner in the other prompt, so that "
            "nothing can be patched: choose prompts that differ in a word, or give an alignment"
        )
    if component == "pattern" and not np.array_equal(sides.partner, np.arange(len(sides.source))):
        raise PairError(
            "attention patterns say which positions are looked at, and can't be put into a prompt "
            "with other positions: choose z, or prompts of one length"
        )
    return Setup(model=of, sides=sides, measure=measured, plan=chosen, direction=direction)


def patch(
    model: Any,
    pairs: Pairs,
    component: str = "resid_pre",
    *,
    direction: Direction = "denoise",
    metric: Metric = "normalised logit difference",
    dims: Optional[Sequence[str]] = None,
    layers: Optional[Sequence[int]] = None,
) -> xr.Dataset:
    """Exact activation patching: the metric of a run in which one part is another run's.

    Args:
        model: of ours, of TransformerLens or of Hugging Face, or a `Runner`.
        pairs: a pair, clean and corrupt, with answer and foil where the metric needs them; or
            several, whose mean is asked for.
        component: what is patched: `resid_pre`, `resid_mid`, `resid_post`, `attn_out`, `mlp_out`
            by layer and position; `z`, `q`, `k`, `v`, `pattern` by layer and head; the neurons of
            `mlp_post` of one layer.
        direction: `denoise` patches the clean run's part into the corrupt run, `noise` the other
            way round.
        metric: its name, or a function from logits after the prompt `[run, d_vocab]` to a number
            for each run.
        dims: the axes of the map: `("layer", "head", "position")` patches one position of a head
            at a time, `("neuron",)` the neurons of one layer. None for the usual ones.
        layers: only these.

    Returns:
        Of one pair `effect`, with the axes of the map; positions are those of the prompt that runs.
        NaN where a position has no partner in the other prompt. Of several `mean`, `low`, `high`,
        `agreement` and the `effect` of each; see `over_pairs`.

    Raises:
        PairError: the pair does not suit the metric or the component.
        ValueError: there is no such component, map, layer or metric.
    """
    ask: dict[str, Any] = {"direction": direction, "metric": metric, "dims": dims, "layers": layers}
    of = CausalModel.of(model)

    def make(pair: PromptPair) -> xr.Dataset:
        *_, result = patch_steps(of, pair, component, **ask)
        return result

    by_position = has_positions(component, dims)
    return one_or_many(of, pairs, make, direction=direction, metric=metric, by_position=by_position)


def patch_steps(
    model: Any,
    pair: PromptPair,
    component: str = "resid_pre",
    *,
    direction: Direction = "denoise",
    metric: Metric = "normalised logit difference",
    dims: Optional[Sequence[str]] = None,
    layers: Optional[Sequence[int]] = None,
    resume: bool = True,
) -> Iterator[xr.Dataset]:
    """`patch` of one pair, as it fills in: maps with more and more cells, the last with all.
    `resume=False` takes a whole pass for each cell."""
    setup = set_up(
        model, pair, component, direction=direction, metric=metric, dims=dims, layers=layers
    )
    runner, sides, chosen = setup.model.runner, setup.sides, setup.plan
    source_run = run_source(setup)
    source, source_logits = values_of(source_run), source_run.need_logits()[0]
    cells = list(chosen.cells(sides))
    # The first change is none at all: what the unchanged run measures.
    changes = [[], *(interventions_of(chosen, cell, source) for cell in cells)]
    parts = variations(runner, sides.base, changes, read=setup.measure.read, resume=resume)
    waiting: list[tuple[Sequence[int], torch.Tensor]] = []
    unchanged: Optional[torch.Tensor] = None
    bound, scale, filled = setup.measure, None, None
    resumed, last = True, time.monotonic()
    for part in parts:
        resumed &= part.resumed
        waiting.append((part.index, part.logits))
        for index, logits in waiting if unchanged is None else ():
            if 0 in index:
                unchanged = logits[list(index).index(0)]
        if unchanged is None:
            continue
        if scale is None or filled is None:
            bound, scale = scale_between(setup.measure, direction, unchanged, source_logits)
            base = scale.corrupt if direction == "denoise" else scale.clean
            filled = setup.empty_map(scale.of(base))
        for index, logits in waiting:
            numbers = require_numbers(bound.name, bound.value(logits)).float().cpu().numpy()
            for place, number in zip(index, numbers, strict=True):
                if place:
                    filled[cells[place - 1].index] = scale.of(float(number))
        waiting = []
        if time.monotonic() - last > _BETWEEN:
            last = time.monotonic()
            yield as_result(setup, filled, scale, _method(resumed))
    assert filled is not None
    assert scale is not None
    yield as_result(setup, filled, scale, _method(resumed))


def _method(resumed: bool) -> str:
    return "exact patching" if resumed else "exact patching, a whole pass for each cell"


def run_source(setup: Setup, more: Mapping[str, Observe] = {}) -> Batch:
    """The run whose values are put into the other one; see `values_of`.

    Args:
        setup: of the map.
        more: what else to look at.
    """
    (batch,) = setup.model.runner.run(
        [setup.sides.source],
        observe={"value": observation(setup.plan), **more},
        logits=LastLogits(setup.measure.read),
    )
    check_units(setup.plan, values_of(batch), setup.model.runner.shape.name)
    return batch


def values_of(batch: Batch) -> dict[int, torch.Tensor]:
    """The component's values of a run of one prompt, by layer."""
    return {layer: value[0] for layer, value in batch.observed["value"].items()}


def without_partner(count: int) -> str:
    """How many tokens have no partner, as a sentence; empty for none."""
    if not count:
        return ""
    return f"{count} token{'s have' if count > 1 else ' has'} no partner, and no number."


def as_result(setup: Setup, values: Any, scale: Scale, method: str) -> xr.Dataset:
    """A map as a data set, with what was measured and how."""
    sides, chosen = setup.sides, setup.plan
    strings = setup.model.prompter.vocabulary.strings
    coords = chosen.coordinates(sides)
    if "position" in chosen.dims:
        coords["token"] = ("position", strings(sides.base.ids))
        coords["partner"] = ("position", sides.partner)
    unaligned = int((sides.partner == NONE).sum())
    notes = [
        setup.measure.sentence,
        without_partner(unaligned),
    ]
    heads = "key-value head" if chosen.component in ("k", "v") else "head"
    return xr.Dataset(
        {"effect": (chosen.dims, np.array(values))},
        coords=coords,
        attrs={
            "value": "effect",
            "component": chosen.component,
            "layers": list(chosen.layers),
            "n_layers": setup.model.runner.shape.n_layers,
            "direction": setup.direction,
            "metric": setup.measure.name,
            "unit": setup.measure.unit,
            "method": method,
            "clean": scale.of(scale.clean),
            "corrupt": scale.of(scale.corrupt),
            "clean_metric": scale.clean,
            "corrupt_metric": scale.corrupt,
            "heads": heads,
            "tokens": strings(sides.base.ids),
            "source_tokens": strings(sides.source.ids),
            "note": " ".join(filter(None, notes)),
        },
    )
