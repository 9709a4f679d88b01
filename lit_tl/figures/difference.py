"""One grid less another: two prompts or two models, cell by cell where they have the same cell."""

import dataclasses
import difflib
import textwrap
from typing import Sequence

import numpy as np
import numpy.typing as npt

from lit_tl.figures.grid import Axis, Colours, Grid, Part


def difference(first: Grid, second: Grid) -> Grid:
    """The first grid less the second, with the axes of the first.

    Tokens are set against each other as a text comparison aligns them; layers and heads where both
    grids have the same ones. Of models of different depth the output alone can be compared. Where a
    cell has no other, there is no number.

    Args:
        first: to be looked at.
        second: of the same analysis and settings.

    Raises:
        ValueError: the grids show different things, or have no cell in common.
    """
    if len(first.parts) != len(second.parts):
        raise ValueError(
            f"grids of {len(first.parts)} and {len(second.parts)} matrices can't be compared"
        )
    parts = tuple(_part(one, other) for one, other in zip(first.parts, second.parts, strict=True))
    if not any(np.isfinite(part.values).any() for part in parts):
        raise ValueError(
            "these two have no cell in common: there is no difference to show, layer by layer or "
            "token by token"
        )
    title = f"{first.title}: difference"
    if first.title != second.title:
        title = f"{first.title} less {second.title}"
    return dataclasses.replace(first, title=title, parts=parts, detail="")


def shortened(text: str) -> str:
    """A prompt in so many words as a sentence can hold."""
    return textwrap.shorten(text, 120, placeholder=" …")


def _part(one: Part, other: Part) -> Part:
    if one.colours.name != other.colours.name:
        raise ValueError(
            f"{one.colours.name} and {other.colours.name} can't be set against each other"
        )
    rows, columns = _places(one.rows, other.rows), _places(one.columns, other.columns)
    values = np.full(np.shape(one.values), np.nan)
    there = np.ix_(rows >= 0, columns >= 0)
    found = np.ix_(rows[rows >= 0], columns[columns >= 0])
    values[there] = np.asarray(one.values, float)[there] - np.asarray(other.values, float)[found]
    colours = Colours(
        name=f"{one.colours.name}, difference", unit=one.colours.unit, kind="diverging"
    )
    return dataclasses.replace(
        one, values=values, colours=colours, top_tokens=None, top_values=None
    )


def _places(axis: Axis, other: Axis) -> "npt.NDArray[np.int64]":
    """For each label of an axis, where the other has it; -1 where it has not."""
    if axis.tokens:
        return aligned(axis.labels, other.labels)
    if list(axis.labels) == list(other.labels):
        return np.arange(len(axis.labels))
    known = {label: place for place, label in enumerate(other.labels) if not label[:1].isdigit()}
    return np.array([known.get(label, -1) for label in axis.labels])


def aligned(tokens: Sequence[str], others: Sequence[str]) -> "npt.NDArray[np.int64]":
    """What a text comparison sets against each other: the same tokens, and as many different ones
    in their place."""
    places = np.full(len(tokens), -1)
    matcher = difflib.SequenceMatcher(None, list(tokens), list(others), autojunk=False)
    for kind, first, last, there, end in matcher.get_opcodes():
        if kind == "equal" or (kind == "replace" and last - first == end - there):
            places[first:last] = np.arange(there, end)
    return places


def rows_of(grid: Grid) -> tuple[list[str], list[list[object]]]:
    """A grid as a table: columns' names, and a row for each cell that has a number."""
    rows: list[list[object]] = []
    names = ["matrix", grid.parts[0].rows.name, grid.parts[0].columns.name]
    for part in grid.parts:
        for row, column in np.argwhere(np.isfinite(part.values)).tolist():
            labels = (_label(part.rows, row), _label(part.columns, column))
            rows.append([part.title, *labels, float(part.values[row, column])])
    return [*names, grid.parts[0].colours.name], rows


def _label(axis: Axis, place: int) -> str:
    return f"{place} {axis.labels[place]}" if axis.tokens else str(axis.labels[place])
