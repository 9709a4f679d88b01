"""Grids as they travel, read back."""

import base64
from typing import Any, Mapping, Optional, Sequence

import numpy as np

from lit_tl.figures.grid import Axis, Colours, Grid, Part


def read_grid(content: Mapping[str, Any], facts: Optional[Mapping[str, str]] = None) -> Grid:
    """The grid that `Grid.to_json` has written.

    Args:
        content: as JSON.
        facts: what was looked at.

    Raises:
        ValueError: it is damaged.
    """
    try:
        strings = [str(text) for text in content["strings"]]
        parts = tuple(_part(part, strings) for part in content["parts"])
        if not parts:
            raise ValueError("it has no matrix")
        return Grid(
            title=str(content["title"]),
            parts=parts,
            detail=str(content.get("detail") or ""),
            facts=dict(facts or {}),
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"a grid is damaged: {error}") from error


def _part(part: Mapping[str, Any], strings: Sequence[str]) -> Part:
    rows, columns = _axis(part["rows"]), _axis(part["columns"])
    shape = (len(rows.labels), len(columns.labels))
    top = part.get("top")
    tokens = values = None
    if top is not None:
        size = (*shape, int(top["count"]))
        ids = _numbers(top["ids"], "<u4", size)
        tokens = np.array(strings, dtype=object)[ids]
        values = _numbers(top["values"], "<f4", size)
    marked = part.get("marked")
    return Part(
        title=str(part["title"]),
        values=_numbers(part["values"], "<f4", shape),
        rows=rows,
        columns=columns,
        colours=_colours(part["colours"]),
        top_tokens=tokens,
        top_values=values,
        beside={
            str(name): _numbers(text, "<f4", shape)
            for name, text in (part.get("beside") or {}).items()
        },
        marked=None if marked is None else _numbers(marked, "u1", shape).astype(bool),
        said=str(part.get("said") or ""),
        reaches=[str(each) for each in part.get("reaches") or []],
    )


def _axis(axis: Mapping[str, Any]) -> Axis:
    return Axis(
        name=str(axis["name"]),
        labels=[str(label) for label in axis["labels"]],
        tokens=bool(axis.get("tokens")),
        upwards=bool(axis.get("upwards")),
        roles=[str(role) for role in axis.get("roles") or []],
    )


def _colours(colours: Mapping[str, Any]) -> Colours:
    if colours["kind"] not in ("linear", "log", "root", "diverging"):
        raise ValueError(f"no colours are called {colours['kind']!r}")
    low, high = (None if colours.get(k) is None else float(colours[k]) for k in ("low", "high"))
    return Colours(
        name=str(colours["name"]),
        unit=str(colours.get("unit") or ""),
        kind=colours["kind"],
        low=low,
        high=high,
    )


def _numbers(text: str, kind: str, shape: tuple[int, ...]) -> Any:
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape)
