"""Which part does it, for every pair of prompts."""

import dataclasses
from typing import Any, Literal, Sequence

import xarray as xr

from lit_tl.analyses.loaded_model import Example
from lit_tl.causal.estimates import estimate
from lit_tl.causal.maps import MapComponent, plan
from lit_tl.causal.metrics import MetricName
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import Direction, PromptPair
from lit_tl.causal.patching import patch
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.contract import over_rows
from lit_tl.settings import Settings, setting
from lit_tl.store import Column, Described
from lit_tl.store.columns import Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredCauseSettings(Settings):
    """What is patched, and what is measured."""

    component: MapComponent = setting(
        "z", "What is patched: heads whole, other parts at each position."
    )
    direction: Direction = setting(
        "denoise", "Put the clean run's part into the corrupt run, or the other way round (noise)."
    )
    metric: MetricName = setting(
        "normalised logit difference", "What is measured; normalised: 0 corrupt, 1 clean."
    )
    method: Literal["exact", "integrated gradients", "attribution patching"] = setting(
        "integrated gradients", "Patch each part, or estimate all of them from gradients."
    )


def _columns(model: HookedTransformerLIT, settings: StoredCauseSettings) -> Described:
    chosen = plan(CausalModel.of(model), settings.component, None, None)
    coords: dict[str, Any] = {"layer": list(chosen.layers)}
    count = len(chosen.layers)
    if chosen.units is None:
        effect = Column(kind="number", axes=("position", "layer"), shape=(None, count))
    else:
        coords["head"] = list(range(chosen.units))
        effect = Column(kind="number", axes=("layer", "head"), shape=(count, chosen.units))
    single = Column(kind="number")
    return Described(
        columns={"effect": effect, "clean": single, "corrupt": single},
        coords=coords,
        note=f"{settings.metric}, {settings.direction}, {settings.method}",
    )


@over_rows("causes", columns=_columns)
def causes(
    model: HookedTransformerLIT, examples: Sequence[Example], settings: StoredCauseSettings
) -> Sequence[Record]:
    """Effect of patching each head of a pair; of other parts, each layer at each position."""
    of = CausalModel.of(model)
    ask: dict[str, Any] = {"direction": settings.direction, "metric": settings.metric}
    records = []
    for example in examples:
        pair = PromptPair.of(example)
        if settings.method == "exact":
            found = patch(of, pair, settings.component, **ask)
        else:
            found = estimate(of, pair, settings.component, method=settings.method, **ask)
        records.append(_record(found))
    return records


def _record(found: xr.Dataset) -> Record:
    effect = found["effect"]
    if "position" in effect.dims:
        effect = effect.transpose("position", "layer")
    return {
        "effect": effect.values,
        "clean": found.attrs["clean"],
        "corrupt": found.attrs["corrupt"],
    }
