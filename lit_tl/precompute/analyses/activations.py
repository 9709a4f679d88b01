"""Values inside a model, to files."""

import dataclasses
from typing import Any, Literal, Sequence

import numpy as np
import torch

from lit_tl.analyses.loaded_model import Example
from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import AXES, Site
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.contract import over_rows
from lit_tl.settings import Settings, setting
from lit_tl.store import Column, Described
from lit_tl.store.columns import Record

Pool = Literal["last", "mean", "all"]
SITE_HELP = "Where: resid_post of all layers, resid_post[3] of one, L2H1 a head's z."


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivationSettings(Settings):
    """Which values."""

    site: str = setting("resid_post", SITE_HELP)
    positions: Pool = setting(
        "last", "The last token's value, the mean over tokens, or all tokens'."
    )
    half: bool = setting(False, "Keep 16 bits of each number, and not 32.")


def layers_at(runner: Runner, site: Site) -> list[int]:
    """The layers that a site stands for; empty for one of no layer.

    Raises:
        ValueError: the model has no such site, it has no axis of tokens, or it names positions.
    """
    if "pos" not in AXES[site.component]:
        raise ValueError(f"{site} is a matrix of tokens: choose a site with a value at each token")
    if site.positions is not None:
        raise ValueError(f"{site}: leave the positions out, and set positions")
    if site.component in ("embed", "unembed_in"):
        return []
    there = runner.layers(site.component)
    if not there or (site.layer is not None and site.layer not in there):
        raise ValueError(f"{runner.shape.name} has no {site}")
    return list(there) if site.layer is None else [site.layer]


def widths_at(runner: Runner, site: Site) -> tuple[list[str], list[int]]:
    """The axes of a value at one token, and their lengths, seen on a short prompt."""
    (batch,) = (
        runner.run_ids(torch.tensor([[0, 1]]), observe={"value": Observe(site)}, logits="none"),
    )
    value = batch.observed["value"]
    first = next(iter(value.values())) if isinstance(value, dict) else value
    axes = [str(axis) for axis in site.selected_axes if axis != "pos"]
    return axes, list(first.shape[2:])


def pooled(values: torch.Tensor, seen: Seen, positions: Pool) -> list[torch.Tensor]:
    """A value `[batch, pos, ...]` as one for each prompt, on the host."""
    lengths = seen.lengths.tolist()
    rows = [values[row, :length].float() for row, length in enumerate(lengths)]
    if positions == "all":
        return [row.cpu() for row in rows]
    return [(row[-1] if positions == "last" else row.mean(0)).cpu() for row in rows]


def _columns(model: HookedTransformerLIT, settings: ActivationSettings) -> Described:
    site = Site.parse(settings.site)
    layers = layers_at(model.loaded.runner, site)
    axes, widths = widths_at(model.loaded.runner, site)
    if layers:
        axes, widths = ["layer", *axes], [len(layers), *widths]
    shape: list[Any] = list(widths)
    if settings.positions == "all":
        axes, shape = ["token", *axes], [None, *shape]
    value = Column(kind="number", axes=tuple(axes), shape=tuple(shape), half=settings.half)
    coords = {"layer": layers} if layers else {}
    return Described(
        columns={"value": value, "n_tokens": Column(kind="count")},
        coords=coords,
        note=f"{settings.site}, {settings.positions}",
    )


@over_rows("activations", columns=_columns)
def activations(
    model: HookedTransformerLIT, examples: Sequence[Example], settings: ActivationSettings
) -> Sequence[Record]:
    """Values of chosen sites, at the last token, their mean, or at all tokens."""
    loaded, site = model.loaded, Site.parse(settings.site)
    prompts = [loaded.prompt(example) for example in examples]
    observe = {
        "value": Observe(site, lambda values, seen: pooled(values, seen, settings.positions))
    }
    records: list[Record] = [{} for _ in examples]
    for batch in loaded.runner.run(prompts, observe=observe, logits="none"):
        found = batch.observed["value"]
        by_layer = list(found.values()) if isinstance(found, dict) else [found]
        for row, place in enumerate(batch.index):
            value = np.stack([each[row].numpy() for each in by_layer])
            if settings.positions == "all":
                value = np.moveaxis(value, 1, 0)  # token layer ...
            if not layers_at(loaded.runner, site):
                value = value[:, 0] if settings.positions == "all" else value[0]
            records[place] = {"value": value, "n_tokens": len(batch.prompts[row])}
    return records
