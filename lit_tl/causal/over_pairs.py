"""A map over many pairs: its mean, how sure it is, and how many pairs agree."""

import collections
import time
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

import numpy as np
import xarray as xr

from lit_tl.bootstrap import Bootstrap
from lit_tl.causal.metrics import Metric, measure
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import Direction, PairError, Pairs, PromptPair, listed, read_pair
from lit_tl.engine import jobs

_BETWEEN = 1.0
"""Seconds between two partial means."""
_NAMED = 3
"""Pairs whose reason is said."""
_ALIKE = (
    *("component", "layers", "n_layers", "direction", "metric", "unit", "method", "heads"),
    *("sender", "into"),
)
"""Attributes that the maps of all pairs share."""


def one_or_many(
    model: Any,
    pairs: Pairs,
    make: Callable[[PromptPair], xr.Dataset],
    *,
    direction: Direction,
    metric: Metric,
    by_position: bool,
) -> xr.Dataset:
    """The map of one pair, or what those of several have in common; see `over_pairs`."""
    if isinstance(pairs, PromptPair):
        return make(pairs)
    *_, result = over_pairs(
        model, pairs, make, direction=direction, metric=metric, by_position=by_position
    )
    return result


def over_pairs(
    model: Any,
    pairs: Sequence[PromptPair],
    make: Callable[[PromptPair], xr.Dataset],
    *,
    direction: Direction = "denoise",
    metric: Metric = "normalised logit difference",
    by_position: bool = False,
    bootstrap: Optional[Bootstrap] = None,
) -> Iterator[xr.Dataset]:
    """A map of each pair, and what they have in common, as far as it is known.

    A map by position holds pairs whose prompts have the length that most have. What does not fit,
    or can't be looked into, is named and not counted.

    Args:
        model: that reads the pairs.
        pairs: at least one.
        make: the map of one pair, as `patch` or `estimate` gives it.
        direction: of the patch, which says whose positions a map has.
        metric: of the maps.
        by_position: whether the maps have positions.
        bootstrap: of the intervals.

    Returns:
        `mean`, `low` and `high` of an interval, `agreement`: the share of pairs whose effect has
        the mean's sign, counted from the unchanged run's, and `effect` by `pair`. Attribute
        `left_out`: sentences. The interval of a single pair is NaN.

    Raises:
        PairError: no pair can be looked into.
        lit_tl.engine.jobs.Cancelled: the job was cancelled.
    """
    read, pairs = CausalModel.of(model), listed(pairs)
    fitting, left_out = _fitting(read, pairs, direction, metric, by_position)
    draw = bootstrap or Bootstrap()
    maps: list[xr.Dataset] = []
    kept: list[int] = []
    last = time.monotonic()
    for index in jobs.each(fitting):
        try:
            maps.append(make(pairs[index]))
        except PairError as error:
            left_out.append(f"pair {index}: {error}")
            continue
        kept.append(index)
        if time.monotonic() - last > _BETWEEN and index != fitting[-1]:
            yield _summary(maps, kept, left_out, len(pairs), draw)
            last = time.monotonic()
    if not maps:
        raise PairError(f"no pair can be looked into: {left_out[0]}")
    yield _summary(maps, kept, left_out, len(pairs), draw)


def _fitting(
    model: CausalModel,
    pairs: Sequence[PromptPair],
    direction: Direction,
    metric: Metric,
    by_position: bool,
) -> tuple[list[int], list[str]]:
    """Pairs that can be read, and why others can't, as sentences."""
    lengths: dict[int, int] = {}
    left_out: list[str] = []
    for index, pair in enumerate(pairs):
        try:
            measured = measure(model, pair, read_pair(model, pair), metric)
        except PairError as error:
            left_out.append(f"pair {index}: {error}")
            continue
        lengths[index] = len(measured.pair.sides(direction).base)
    if not lengths:
        raise PairError(f"no pair can be looked into: {left_out[0]}")
    if not by_position:
        return list(lengths), left_out
    ((usual, _),) = collections.Counter(lengths.values()).most_common(1)
    left_out += [
        f"pair {index}: it has {length} tokens, and most have {usual}"
        for index, length in lengths.items()
        if length != usual
    ]
    return [index for index, length in lengths.items() if length == usual], left_out


def _summary(
    maps: Sequence[xr.Dataset],
    kept: Sequence[int],
    left_out: Sequence[str],
    asked: int,
    bootstrap: Bootstrap,
) -> xr.Dataset:
    first = maps[0]
    values = np.stack([each["effect"].values for each in maps]).astype(float)
    unchanged = np.array([_unchanged(each) for each in maps])
    moved = values - unchanged.reshape(-1, *[1] * (values.ndim - 1))
    there = np.isfinite(values)
    count = there.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, values, 0.0).sum(0) / count
        sign = np.sign(np.where(there, moved, 0.0).sum(0) / count)
        agreement = ((np.sign(np.where(there, moved, np.nan)) == sign) & there).sum(0) / count
    low, high = bootstrap.interval(values)
    dims = first["effect"].dims
    alike = [name for name in first.coords if name not in ("token", "partner")]
    return xr.Dataset(
        {
            "mean": (dims, mean),
            "low": (dims, low),
            "high": (dims, high),
            "agreement": (dims, agreement),
            "effect": (("pair", *dims), values.astype(np.float32)),
        },
        coords={**{name: first[name] for name in alike}, "pair": list(kept)},
        attrs={
            **{name: first.attrs[name] for name in _ALIKE if name in first.attrs},
            "value": "mean",
            "interval": bootstrap.share,
            "clean": float(np.mean([each.attrs["clean"] for each in maps])),
            "corrupt": float(np.mean([each.attrs["corrupt"] for each in maps])),
            "pairs": len(maps),
            "asked": asked,
            "left_out": list(left_out),
            "note": " ".join(
                filter(
                    None,
                    [
                        said_of_left_out(left_out, asked),
                        said_of_each([each.attrs["note"] for each in maps]),
                    ],
                )
            ),
        },
    )


def mean_of_shares(
    each: Mapping[int, xr.Dataset], left_out: Sequence[str], asked: int
) -> xr.Dataset:
    """What the attributions of many answers have in common: `mean`, `low`, `high`, `agreement`, and
    `share` by `pair`.

    Args:
        each: of a pair, by its place; of the same parts.
        left_out: why others do not count.
        asked: how many there were.
    """
    first = next(iter(each.values()))
    values = np.stack([one["share"].values for one in each.values()]).astype(float)
    mean, dims = values.mean(0), first["share"].dims
    low, high = Bootstrap().interval(values)
    notes = [one.attrs["note"] for one in each.values()]
    said = [said_of_left_out(left_out, asked), said_of_each(notes)]
    return xr.Dataset(
        {
            "mean": (dims, mean),
            "low": (dims, low),
            "high": (dims, high),
            "agreement": (dims, (np.sign(values) == np.sign(mean)).mean(0)),
            "share": (("pair", *dims), values),
        },
        coords={**first.coords, "pair": list(each)},
        attrs={
            "value": "mean",
            "unit": first.attrs["unit"],
            "method": first.attrs["method"],
            "logit": float(np.mean([one.attrs["logit"] for one in each.values()])),
            "remainder": float(np.mean([one.attrs["remainder"] for one in each.values()])),
            "pairs": len(each),
            "asked": asked,
            "left_out": list(left_out),
            "note": " ".join(filter(None, said)),
        },
    )


def said_of_left_out(left_out: Sequence[str], asked: int) -> str:
    """How many pairs do not count, and why, as sentences; empty for none."""
    if not left_out:
        return ""
    more = len(left_out) - _NAMED
    return (
        f"{len(left_out)} of {asked} pairs {'is' if len(left_out) == 1 else 'are'} left out: "
        f"{'; '.join(left_out[:_NAMED])}{f'; and {more} more' if more > 0 else ''}."
    )


def said_of_each(notes: Sequence[str]) -> str:
    """What is to be said of single pairs, once."""
    there = [note for note in notes if note]
    if not there:
        return ""
    if len(there) == len(notes) and len(set(there)) == 1:
        return there[0]
    return f"Of {len(there)} pair{'s' if len(there) > 1 else ''}, as: {there[0]}"


def _unchanged(result: xr.Dataset) -> float:
    """What a map without a change holds: of edges, which are changes themselves, 0."""
    if "component" not in result.attrs and "sender" not in result.attrs:
        return 0.0
    name = "corrupt" if result.attrs["direction"] == "denoise" else "clean"
    return float(result.attrs[name])
