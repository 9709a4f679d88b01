"""Grids at paper size, drawn by Matplotlib: title, what was looked at, cells, labels, a scale."""

import io
import textwrap
import threading
from typing import Any, Callable, Optional

import matplotlib
import numpy as np
from matplotlib import colors, font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from lit_tl.figures.grid import Axis, Colours, Grid, Part
from lit_tl.figures.paper_settings import Paper
from lit_tl.figures.tokens import visible

_MOST_VECTOR_CELLS = 20_000  # more become an image inside the figure
_CELL = {"width": 0.24, "height": 0.085}  # inches that a text in a cell wants
_LINE = 0.15  # inches, of what was looked at
_LEAST = 0.4  # inches, of a matrix
_POINTS = 72.0
_LOCK = threading.Lock()  # Matplotlib's settings belong to the process
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.size": 7,
    "text.parse_math": False,
    "axes.linewidth": 0.5,
    "path.simplify": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "text.color": "black",
}


def render(grid: Grid, kind: str, paper: Optional[Paper] = None) -> bytes:
    """A figure as a file's bytes.

    Args:
        grid: what to draw.
        kind: svg, pdf or png (300 dots an inch).
        paper: its sizes; None for the usual ones.

    Raises:
        ValueError: the font is not installed.
    """
    sizes = paper or Paper()
    return written(lambda: _figure(grid, sizes), kind, sizes, grid.title)


def written(draw: Callable[[], Figure], kind: str, paper: Paper, title: str) -> bytes:
    """A figure of Matplotlib as a file's bytes, on white, with texts that can be edited.

    Args:
        draw: makes the figure, under the settings of this module.
        kind: svg, pdf or png (300 dots an inch).
        paper: its sizes.
        title: for the file's metadata.

    Raises:
        ValueError: the font is not installed.
    """
    settings: Any = {**_SETTINGS, **_fonts(paper)}
    with _LOCK, matplotlib.rc_context(settings):
        figure = draw()
        file = io.BytesIO()
        metadata = {"Title": title} | ({"Date": None} if kind == "svg" else {})
        figure.savefig(file, format=kind, dpi=300, metadata=metadata)
    return file.getvalue()


def _fonts(paper: Paper) -> dict[str, Any]:
    if paper.font not in ("serif", "sans-serif", "monospace"):
        try:
            font_manager.findfont(paper.font, fallback_to_default=False)
        except ValueError as error:
            raise ValueError(
                f"the font {paper.font!r} is not installed where the figure is drawn: install it "
                "there, or take serif, sans-serif or monospace"
            ) from error
    return {"font.family": paper.font, "font.size": paper.font_size}


def _figure(grid: Grid, paper: Paper) -> Figure:
    scale = paper.scale
    facts = [line for name, value in grid.facts.items() for line in _wrapped(name, value, paper)]
    rows = max(len(part.rows.labels) for part in grid.parts)
    cells = min(max(rows * 0.13, 1.2), paper.inches)
    letters = max(12, int(80 * paper.inches / (7.0 * scale)))
    title = textwrap.wrap(grid.title, letters, max_lines=3, placeholder=" …")
    named = any(part.title for part in grid.parts)
    of_title, of_line = 0.19 * scale, _LINE * scale
    head = 0.3 + of_title * len(title) + of_line * len(facts) + (0.16 * scale if named else 0.0)
    below = (1.0 if any(part.columns.tokens for part in grid.parts) else 0.45) * scale
    figure = Figure(figsize=(paper.inches, cells + head + below))
    height = figure.get_figheight()
    for i, line in enumerate(title):
        place = 1 - (0.2 + of_title * i) / height
        figure.text(0.02, place, line, fontsize=10 * scale, weight="bold", va="center")
    for i, line in enumerate(facts):
        place = 1 - (0.22 + of_title * len(title) + of_line * i) / height
        figure.text(0.02, place, line, va="center")
    left, gap, bar = 0.62 * scale, 0.35 * scale, 0.8 * scale
    room = paper.inches - left - bar - gap * (len(grid.parts) - 1) - 0.1
    width = room / len(grid.parts)
    if width < _LEAST:
        raise ValueError(
            f"{paper.width_mm:g} mm leave no room for {len(grid.parts)} matrices with letters of "
            f"{paper.font_size:g} points: make the figure wider, or the letters smaller"
        )
    spans = _spans(grid)
    for place, part in enumerate(grid.parts):
        box = (
            (left + place * (width + gap)) / paper.inches,
            below / height,
            width / paper.inches,
            cells / height,
        )
        axes = figure.add_axes(box)
        mesh = _cells(axes, part, spans[place], (width, cells))
        _label(axes, part, (width, cells), paper, first=place == 0)
        if place == len(grid.parts) - 1 or part.colours != grid.parts[place + 1].colours:
            thin = 0.08 / paper.inches
            beside = figure.add_axes((box[0] + box[2] + thin, box[1], thin, box[3]))
            _scale(figure, beside, mesh, part.colours, paper)
    return figure


def _scale(figure: Figure, beside: Axes, mesh: Any, colours: Colours, paper: Paper) -> None:
    """What the colours mean."""
    scale = figure.colorbar(mesh, cax=beside)
    scale.set_label(" ".join(filter(None, (colours.name, _bracketed(colours)))))
    scale.outline.set_linewidth(0.5)
    scale.ax.tick_params(width=0.5, length=2, labelsize=6 * paper.scale)
    if colours.kind == "log":  # Matplotlib would write powers as mathematics
        scale.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}"))
        scale.ax.yaxis.set_minor_formatter(NullFormatter())


def _bracketed(colours: Colours) -> str:
    return f"({colours.unit})" if colours.unit else ""


def _wrapped(name: str, value: str, paper: Paper) -> list[str]:
    shown = "".join(visible(c) if c in "\n\r\t" else c for c in value)
    letters = max(20, int(130 * paper.inches / (7.0 * paper.scale)))
    return textwrap.wrap(f"{name}: {shown}", letters, max_lines=3, placeholder=" …")


def _spans(grid: Grid) -> list[tuple[float, float]]:
    """Of each part; parts with the same colours share theirs."""
    return [
        part.colours.span([other.values for other in grid.parts if other.colours == part.colours])
        for part in grid.parts
    ]


def _norm(colours: Colours, span: tuple[float, float]) -> colors.Normalize:
    low, high = span
    if colours.kind == "log":
        low = max(low, 1e-30)
        return colors.LogNorm(low, max(high, low * (1 + 1e-9)), clip=True)
    if colours.kind == "root":
        return colors.PowerNorm(0.5, low, high, clip=True)
    return colors.Normalize(low, high, clip=True)


def _cells(axes: Axes, part: Part, span: tuple[float, float], size: tuple[float, float]) -> Any:
    values = np.ma.masked_invalid(part.values)
    colour_map = colors.ListedColormap(matplotlib.colormaps[part.colours.map](np.arange(256) / 255))
    colour_map.set_bad("#f1f3f4")
    norm = _norm(part.colours, span)
    rows, columns = part.values.shape
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        values,
        norm=norm,
        cmap=colour_map,
        rasterized=rows * columns > _MOST_VECTOR_CELLS,
        linewidth=0,
        antialiased=False,
        snap=True,
    )
    mesh.set_gid("cells")
    if not part.rows.upwards:
        axes.invert_yaxis()
    width, height = size[0] / columns, size[1] / rows
    if part.top_tokens is not None and width >= _CELL["width"] and height >= _CELL["height"]:
        _write(axes, part, mesh, width, min(6.0, 0.75 * height * _POINTS))
    return mesh


def _write(axes: Axes, part: Part, mesh: Any, width: float, points: float) -> None:
    assert part.top_tokens is not None
    most = max(2, int(width * _POINTS / (0.62 * points)))
    colours = mesh.to_rgba(np.ma.masked_invalid(part.values))
    for row in range(len(part.rows.labels)):
        for column in range(len(part.columns.labels)):
            token = visible(str(part.top_tokens[row, column, 0]))
            red, green, blue, _ = colours[row, column]
            axes.text(
                column,
                row,
                token if len(token) <= most else f"{token[: most - 1]}…",
                ha="center",
                va="center",
                fontsize=points,
                color="#202124" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white",
                clip_on=True,
            )


def _label(axes: Axes, part: Part, size: tuple[float, float], paper: Paper, *, first: bool) -> None:
    scale = paper.scale
    axes.set_title(part.title, fontsize=paper.font_size, pad=3)
    axes.tick_params(width=0.5, length=2, pad=1.5, labelsize=6 * scale)
    for axis, which, room in ((part.columns, "x", size[0]), (part.rows, "y", size[1])):
        step = max(1, int(np.ceil(len(axis.labels) * 0.1 * scale / room)))
        places = list(range(0, len(axis.labels), step))
        names = [_short(axis, at) for at in places]
        if which == "x":
            axes.set_xticks(places, names, rotation=90 if axis.tokens else 0)
            axes.set_xlabel(axis.name)
        elif first:
            axes.set_yticks(places, names)
            axes.set_ylabel(axis.name)
        else:
            axes.set_yticks([])


def _short(axis: Axis, at: int) -> str:
    text = visible(str(axis.labels[at])) if axis.tokens else str(axis.labels[at])
    return text if len(text) <= 12 else f"{text[:11]}…"
