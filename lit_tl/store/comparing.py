"""Two columns of the same prompts: where they differ most, how differences are spread, and how sure
their mean is."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from lit_tl.bootstrap import Bootstrap
from lit_tl.store.filters import FilterError
from lit_tl.store.queries import Queries, Rows

_BINS = 60
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """A column of a store.

    Args:
        queries: of the store.
        column: its name.
    """

    queries: Queries
    column: str


def require_same_prompts(one: Queries, other: Queries) -> None:
    """See that rows of two stores are of the same prompts.

    Raises:
        FilterError: they are not.
    """
    if one is other:
        return
    if len(one) != len(other):
        raise FilterError(
            f"the stores hold {len(one):,} and {len(other):,} prompts: compare stores of the same "
            "data"
        )
    if one.data_digest != other.data_digest:
        raise FilterError("the stores hold other prompts: compare stores of the same data")


def differences(one: Side, other: Side, rows: Rows) -> Floats:
    """`other` less `one`, of some rows; NaN where one of them has no number.

    Raises:
        FilterError: a column holds no numbers, or the stores hold other prompts.
    """
    require_same_prompts(one.queries, other.queries)
    return other.queries.values(other.column, rows) - one.queries.values(one.column, rows)


def largest_first(values: Floats) -> "npt.NDArray[np.int64]":
    """Places by the size of the difference, the largest first; what has none comes last."""
    sizes = np.abs(values)
    return np.argsort(-np.where(np.isfinite(sizes), sizes, -1.0), kind="stable")


def described(values: Floats) -> dict[str, Any]:
    """What differences have in common: their number, mean with a 95 % bootstrap interval, median,
    the share above 0, and a histogram `edges`, `counts`."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"count": 0, "missing": len(values), "edges": [], "counts": []}
    low, high = Bootstrap().interval_of_many(known)
    counts, edges = np.histogram(known, bins=_BINS)
    return {
        "count": len(known),
        "missing": len(values) - len(known),
        "mean": float(known.mean()),
        "low": None if np.isnan(low) else low,
        "high": None if np.isnan(high) else high,
        "median": float(np.median(known)),
        "above": float((known > 0).mean()),
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }
