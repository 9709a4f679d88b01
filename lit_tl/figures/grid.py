"""Matrices to look at: layers, heads and positions against each other. The page, notebooks and
figures on paper are made from them."""

import base64
import dataclasses
import functools
import math
import pathlib
from typing import Any, Literal, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, UInt8

from lit_tl.figures.paper_settings import Paper

Kind = Literal["linear", "log", "root", "diverging"]
"""How numbers become colours. root: steep at first; diverging: around zero."""
FORMATS = ("svg", "pdf", "png")
"""Figures on paper."""
_MAPS: Mapping[Kind, str] = {
    "linear": "YlGnBu",
    "log": "YlGnBu",
    "root": "YlGnBu",
    "diverging": "RdBu_r",
}
"""Matplotlib's colour maps for them, which the colour-blind can tell apart."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One side of a matrix.

    Args:
        name: what it counts.
        labels: one for each row or column.
        tokens: whether the labels are a prompt's tokens.
        roles: of each token of a conversation; empty elsewhere.
        upwards: whether the first is at the bottom.
    """

    name: str
    labels: Sequence[str]
    tokens: bool = False
    upwards: bool = False
    roles: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        reply = {**dataclasses.asdict(self), "labels": [str(label) for label in self.labels]}
        del reply["roles"]
        return {**reply, "roles": list(self.roles)} if self.roles else reply


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colours:
    """What colours show.

    Args:
        name: of the numbers.
        unit: of them.
        kind: how they become colours.
        low: least number; None where the matrix decides.
        high: greatest number. The colours reach further where a number does.
    """

    name: str
    unit: str = ""
    kind: Kind = "linear"
    low: Optional[float] = None
    high: Optional[float] = None

    @property
    def map(self) -> str:
        """Matplotlib's name of the colour map."""
        return _MAPS[self.kind]

    def span(self, values: Sequence[Float[np.ndarray, "rows columns"]]) -> tuple[float, float]:
        """The least and the greatest number that the colours of these matrices show."""
        finite = np.concatenate([part[np.isfinite(part)] for part in values])
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if self.kind == "diverging":
            far = max(abs(low), abs(high), abs(self.high or 0.0)) or 1.0
            return -far, far
        low = low if self.low is None else self.low
        return low, max(high if self.high is None else max(high, self.high), low + 1e-12)

    def to_json(self) -> dict[str, Any]:
        """For the page, with its 256 colours."""
        return {**dataclasses.asdict(self), "table": _text(table(self.map))}


@functools.cache
def table(name: str) -> UInt8[np.ndarray, "256 3"]:
    """The colours of one of Matplotlib's maps: red, green, blue."""
    import matplotlib

    colours = matplotlib.colormaps[name](np.linspace(0, 1, 256))
    return np.round(255 * colours[:, :3]).astype(np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One matrix.

    Args:
        title: what tells it from the others beside it.
        values: the numbers; NaN where there is none.
        rows: the axis down the page.
        columns: the axis across.
        colours: of the cells. Parts that have the same share a scale.
        top_tokens: tokens of each cell, likeliest first; the first of them stands in the cell.
        top_values: their probabilities.
        beside: further numbers of each cell, by name, which its card shows.
        marked: cells that are to be looked at.
        said: of all cells, on their cards.
        reaches: where a change of a cell can be seen, for each row, or once for all.
    """

    title: str = ""
    values: Float[np.ndarray, "rows columns"]
    rows: Axis
    columns: Axis
    colours: Colours
    top_tokens: Optional[npt.NDArray[Any]] = None  # rows columns top
    top_values: Optional[Float[np.ndarray, "rows columns top"]] = None
    beside: Mapping[str, Float[np.ndarray, "rows columns"]] = dataclasses.field(
        default_factory=dict
    )
    marked: Optional[npt.NDArray[np.bool_]] = None
    said: str = ""
    reaches: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Matrices side by side.

    Args:
        title: above them.
        parts: the matrices.
        detail: the analysis that belongs to a column, such as "Lens trajectory".
        facts: what was looked at: model, prompt, settings. A figure on paper says them.
    """

    title: str
    parts: tuple[Part, ...]
    detail: str = ""
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def with_facts(self, facts: Mapping[str, str]) -> "Grid":
        """The same, saying what was looked at."""
        return dataclasses.replace(self, facts={**self.facts, **facts})

    def with_roles(self, roles_of: Mapping[tuple[str, ...], Sequence[str]]) -> "Grid":
        """The same, with the roles of tokens along its axes.

        Args:
            roles_of: by the tokens of a prompt.
        """

        def of(axis: Axis) -> Axis:
            labels = tuple(map(str, axis.labels)) if axis.tokens else ()
            return dataclasses.replace(axis, roles=roles_of.get(labels, axis.roles))

        parts = (
            dataclasses.replace(part, rows=of(part.rows), columns=of(part.columns))
            for part in self.parts
        )
        return dataclasses.replace(self, parts=tuple(parts))

    def minus(self, other: "Grid") -> "Grid":
        """This less another grid of the same analysis; see `lit_tl.figures.difference`.

        Raises:
            ValueError: they have nothing in common.
        """
        from lit_tl.figures.difference import difference

        return difference(self, other)

    def to_json(self) -> dict[str, Any]:
        """For the page: numbers in bytes, every token once."""
        tokens = [part.top_tokens.ravel() for part in self.parts if part.top_tokens is not None]
        strings = np.unique(np.concatenate(tokens).astype(str)) if tokens else np.array([], str)
        return {
            "title": self.title,
            "detail": self.detail,
            "strings": strings.tolist(),
            "parts": [_part(part, strings) for part in self.parts],
        }

    def render(self, kind: str, paper: Optional[Paper] = None) -> bytes:
        """The figure on paper.

        Args:
            kind: svg, pdf or png.
            paper: its width, font and size; None for the usual ones.

        Raises:
            ValueError: there is no such kind or font.
        """
        from lit_tl.figures import paper as on_paper

        if kind not in FORMATS:
            raise ValueError(f"a figure is written as {', '.join(FORMATS)}, and not as {kind!r}")
        return on_paper.render(self, kind, paper)

    def to_html(self) -> str:
        """A page of its own, with the grid as the server's page shows it."""
        from lit_tl.figures import page

        return page.standalone(self)

    def save(self, path: "str | pathlib.Path", paper: Optional[Paper] = None) -> None:
        """Write the figure.

        Args:
            path: that ends in .svg, .pdf, .png or .html.
            paper: its width, font and size; None for the usual ones.

        Raises:
            ValueError: it ends otherwise.
            OSError: it can't be written.
        """
        path = pathlib.Path(path)
        kind = path.suffix.removeprefix(".")
        whole = self.to_html().encode() if kind == "html" else self.render(kind, paper)
        path.write_bytes(whole)

    def show(self) -> None:
        """In a notebook, as an output of the cell; elsewhere in a browser."""
        from lit_tl.figures import page

        page.show(self)

    def _repr_html_(self) -> str:
        from lit_tl.figures import page

        return page.frame(self)


def _part(part: Part, strings: npt.NDArray[Any]) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "title": part.title,
        "rows": part.rows.to_json(),
        "columns": part.columns.to_json(),
        "colours": part.colours.to_json(),
        "values": _text(part.values.astype("<f4")),
    }
    if part.beside:
        reply["beside"] = {
            name: _text(values.astype("<f4")) for name, values in part.beside.items()
        }
    if part.marked is not None and part.marked.any():
        reply["marked"] = _text(part.marked.astype(np.uint8))
    if part.said:
        reply["said"] = part.said
    if part.reaches:
        reply["reaches"] = list(part.reaches)
    if part.top_tokens is not None and part.top_values is not None:
        ids = np.searchsorted(strings, part.top_tokens.astype(str))
        reply["top"] = {
            "count": part.top_tokens.shape[-1],
            "ids": _text(ids.astype("<u4")),
            "values": _text(part.top_values.astype("<f4")),
        }
    return reply


def _text(numbers: npt.NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()


def json_bytes(part_cells: int, top: int) -> int:
    """About how large a grid of so many cells, with so many tokens in each, is as JSON."""
    return math.ceil(part_cells * (4 + 8 * top) * 4 / 3)
