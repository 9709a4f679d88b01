"""What drives a neuron, a head or a direction most, among many prompts."""

import dataclasses
from typing import Any, Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch

from lit_tl.analyses.loaded_model import Example
from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.sites import Site
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.analyses.activations import layers_at
from lit_tl.precompute.contract import Numbered, over_rows
from lit_tl.settings import Settings, setting
from lit_tl.store import Column, Described, Part, Store
from lit_tl.store.columns import Record
from lit_tl.variants.changes import Without
from lit_tl.variants.directions import vector_of
from lit_tl.variants.text import parse_change

_AROUND = 8
"""Tokens that are kept before and behind the one with the largest value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopExampleSettings(Settings):
    """What is driven, and how many prompts are kept of each."""

    site: str = setting(
        "mlp_post",
        "Neurons: mlp_post, mlp_post[3], mlp_post[3].n12. Heads, by the norm of what they write: "
        "result, result[3]. With a direction, its site: resid_post[12].",
    )
    direction: str = setting(
        "", 'A direction in place of single units: dir("love" - "hate"), as of changes.'
    )
    count: int = setting(10, "How many prompts to keep of each.", low=1, high=1000)


Measure = Callable[[torch.Tensor, Seen], Any]


def _columns(model: HookedTransformerLIT, settings: TopExampleSettings) -> Described:
    site = Site.parse(settings.site)
    layers_at(model.loaded.runner, site)
    _measure(model, site, settings)
    return Described(
        columns={
            "layer": Column(kind="count"),
            "unit": Column(kind="count"),
            "value": Column(kind="number"),
            "position": Column(kind="count"),
            "token": Column(kind="text"),
            "around": Column(kind="text", axes=("token",), shape=(None,)),
            "around_from": Column(kind="count"),
        },
        note=f"{settings.site} {settings.direction}".strip(),
    )


def _measure(model: HookedTransformerLIT, site: Site, settings: TopExampleSettings) -> Measure:
    """From values at a site to the largest of each unit and where it is, `[2, batch, unit]`."""
    loaded = model.loaded
    if settings.direction:
        if site.layer is None:
            raise ValueError(f"a direction is one of a layer: give site={site.component}[3]")
        change = parse_change(f"{site} without {settings.direction}")
        assert isinstance(change.action, Without)
        unit = torch.from_numpy(vector_of(change.action.direction, site, loaded.ground()))
        return lambda values, seen: _largest(
            (values.float() @ unit.to(values.device))[..., None], seen
        )
    if site.component == "result":
        return lambda values, seen: _largest(_as_units(values.float().norm(dim=-1)), seen)
    if site.component in ("mlp_post", "mlp_pre"):
        return lambda values, seen: _largest(_as_units(values.float()), seen)
    raise ValueError(
        f"{site} has no units: give mlp_post for neurons, result for heads, or a direction"
    )


def _as_units(values: torch.Tensor) -> torch.Tensor:
    return values if values.ndim == 3 else values[..., None]


def _largest(values: torch.Tensor, seen: Seen) -> torch.Tensor:
    """Over tokens, of `[batch, pos, unit]`."""
    lengths = seen.lengths.to(values.device)
    real = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    largest = values.masked_fill(~real[..., None], -torch.inf).max(1)
    return torch.stack([largest.values.double(), largest.indices.double()]).cpu()


def _fold(kept: Numbered, more: Numbered, settings: TopExampleSettings) -> Numbered:
    """Of each unit the prompts with the largest values; of equal ones those that come first."""
    entries: dict[tuple[int, int], list[tuple[int, Record]]] = {}
    for row, record in [*kept, *_entries(more, settings.count)]:
        entries.setdefault((record["layer"], record["unit"]), []).append((row, record))
    best = []
    for key in sorted(entries):
        ordered = sorted(entries[key], key=lambda entry: (-entry[1]["value"], entry[0]))
        best += ordered[: settings.count]
    return best


def _entries(records: Numbered, count: int) -> list[tuple[int, Record]]:
    """Of each unit, the prompts of a batch that may be among the largest."""
    found: list[tuple[int, Record]] = []
    if not records:
        return found
    for place, layer in enumerate(records[0][1]["layers"]):
        values = np.stack([record["largest"][place, 0] for _, record in records])  # prompt unit
        order = np.argsort(-values, axis=0, kind="stable")[:count]
        for unit, rank in np.ndindex(order.shape[1], order.shape[0]):
            at = order[rank, unit]
            row, record = records[at]
            where = int(record["largest"][place, 1, unit])
            first = max(0, where - _AROUND)
            tokens = record["tokens"]
            found.append(
                (
                    row,
                    {
                        "layer": layer,
                        "unit": record["first_unit"] + unit,
                        "value": float(values[at, unit]),
                        "position": where,
                        "token": tokens[where],
                        "around": tokens[first : where + _AROUND + 1],
                        "around_from": first,
                    },
                )
            )
    return found


def _finish(store: Store, part: Part, settings: TopExampleSettings) -> pa.Table:
    """The best of all files."""
    tables = [table for _, table in store.tables(part)]
    every = pa.concat_tables(tables)
    every = every.filter(pa.compute.is_null(every["error"]))
    order = [
        ("layer", "ascending"),
        ("unit", "ascending"),
        ("value", "descending"),
        ("row", "ascending"),
    ]
    ordered = every.sort_by(order)
    layer, unit = ordered["layer"].to_numpy(), ordered["unit"].to_numpy()
    new = np.ones(len(ordered), bool)
    new[1:] = (layer[1:] != layer[:-1]) | (unit[1:] != unit[:-1])
    starts = np.flatnonzero(new)
    rank = np.arange(len(ordered)) - np.repeat(starts, np.diff([*starts, len(ordered)]))
    kept = rank < settings.count
    ranked = ordered.drop_columns(["error"]).add_column(2, "rank", pa.array(rank))
    return ranked.filter(pa.array(kept))


@over_rows("top_examples", columns=_columns, fold=_fold, finish=_finish)
def top_examples(
    model: HookedTransformerLIT, examples: Sequence[Example], settings: TopExampleSettings
) -> Sequence[Record]:
    """The prompts and tokens at which a neuron, a head or a direction is largest."""
    loaded, site = model.loaded, Site.parse(settings.site)
    prompts = [loaded.prompt(example) for example in examples]
    layers = layers_at(loaded.runner, site)
    observe = {"largest": Observe(site, _measure(model, site, settings))}
    records: list[Record] = [{} for _ in examples]
    for batch in loaded.runner.run(prompts, observe=observe, logits="none"):
        found = batch.observed["largest"]
        by_layer: Mapping[int, Any] = found if isinstance(found, dict) else {layers[0]: found}
        stacked = torch.stack(list(by_layer.values())).numpy()  # layer 2 batch unit
        if not np.isfinite(stacked).all():
            raise ValueError("values of this prompt are no numbers")
        for row, place in enumerate(batch.index):
            records[place] = {
                "layers": list(by_layer),
                "largest": stacked[:, :, row],
                "first_unit": site.neuron or site.head or 0,
                "tokens": loaded.prompter.vocabulary.strings(batch.prompts[row].ids),
            }
    return records
