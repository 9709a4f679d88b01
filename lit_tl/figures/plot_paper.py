"""Plotly's figures at paper size, drawn by Matplotlib: bars, lines, points, bands and tables, which
are what our figures are made of."""

import base64
import dataclasses
import html
import re
import textwrap
from typing import Any, Mapping, Optional, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import Bbox

from lit_tl.figures.paper import written
from lit_tl.figures.paper_settings import Paper

_COLOURS = ("#00777b", "#e65100", "#1a5fb4", "#7b1fa2", "#8a4b00", "#5f6368")
_TAGS = re.compile(r"</?(?:a|b|br|em|i|s|span|sub|sup|u)\b[^>]*>")
_RGBA = re.compile(r"rgba?\(([^)]*)\)")
_MOST_TICKS, _MOST_ROWS = 60, 14
_POINTS = 72.0


@dataclasses.dataclass(frozen=True)
class _Domain:
    """Where Plotly has a subplot, in shares of the figure."""

    left: float
    right: float
    below: float
    above: float


def render(figure: Mapping[str, Any], kind: str, paper: Optional[Paper] = None) -> bytes:
    """A figure as a file's bytes.

    Args:
        figure: Plotly's, as JSON.
        kind: svg, pdf or png (300 dots an inch).
        paper: its sizes; None for the usual ones.

    Raises:
        ValueError: it has traces of another kind, or the font is not installed.
    """
    sizes = paper or Paper()
    title = _title_of(figure.get("layout") or {})
    return written(lambda: _figure(figure, sizes), kind, sizes, title or "figure")


def _figure(content: Mapping[str, Any], paper: Paper) -> Figure:
    layout: Mapping[str, Any] = content.get("layout") or {}
    traces: Sequence[Mapping[str, Any]] = content.get("data") or []
    boxes = {_axes_name(trace, place): _domain(layout, trace) for place, trace in enumerate(traces)}
    axes, figure = _arranged(boxes, traces, paper)
    counts: dict[str, int] = {}
    for place, trace in enumerate(traces):
        name = _axes_name(trace, place)
        colour = _COLOURS[counts.get(name, 0) % len(_COLOURS)]
        counts[name] = counts.get(name, 0) + 1
        _draw(axes[name], trace, colour, layout, [t for t in traces if _is_bar(t, trace)], paper)
    for name, each in axes.items():
        _finish(each, name, layout, paper)
    for note in layout.get("annotations") or []:
        if note.get("xref") == "paper" and note.get("yref") == "paper":
            near = min(boxes, key=lambda name: _away(boxes[name], note))
            axes[near].set_title(_plain(note.get("text", "")), fontsize=paper.font_size)
    title = _title_of(layout)
    if title:
        letters = max(12, int(80 * paper.inches / (7.0 * paper.scale)))
        lines = textwrap.wrap(title, letters, max_lines=2, placeholder=" …")
        figure.suptitle(
            "\n".join(lines), x=0.02, ha="left", fontsize=9 * paper.scale, weight="bold"
        )
    return figure


def _arranged(
    boxes: Mapping[str, _Domain], traces: Sequence[Mapping[str, Any]], paper: Paper
) -> tuple[dict[str, Axes], Figure]:
    """Axes where Plotly has its subplots: in rows from the top, and columns."""
    columns = sorted({box.left for box in boxes.values()})
    rows = sorted({box.below for box in boxes.values()}, reverse=True)
    tables = {
        _axes_name(trace, place): len(_rows_of(trace))
        for place, trace in enumerate(traces)
        if trace.get("type") == "table"
    }
    heights = []
    for row in rows:
        lines = [tables.get(name) for name, box in boxes.items() if box.below == row]
        own = [0.2 * paper.scale * (1 + count) for count in lines if count is not None]
        heights.append(max(own) if len(own) == len(lines) else max(1.9, 0.35 * paper.inches))
    widths = [max(b.right - b.left for b in boxes.values() if b.left == left) for left in columns]
    figure = Figure(figsize=(paper.inches, sum(heights) + 0.5), layout="constrained")
    cells = figure.add_gridspec(
        len(rows) or 1, len(columns) or 1, height_ratios=heights or [1], width_ratios=widths or [1]
    )
    axes = {}
    for name, box in boxes.items():
        place = (rows.index(box.below), columns.index(box.left))
        axes[name] = figure.add_subplot(cells[place])
        axes[name].tick_params(width=0.5, length=2, labelsize=6 * paper.scale)
    return axes, figure


def _axes_name(trace: Mapping[str, Any], place: int) -> str:
    return f"table {place}" if trace.get("type") == "table" else str(trace.get("xaxis") or "x")


def _domain(layout: Mapping[str, Any], trace: Mapping[str, Any]) -> _Domain:
    if trace.get("type") == "table":
        domain = trace.get("domain") or {}
        across, down = domain.get("x") or (0, 1), domain.get("y") or (0, 1)
    else:
        x, y = str(trace.get("xaxis") or "x"), str(trace.get("yaxis") or "y")
        across = (layout.get(f"xaxis{x[1:]}") or {}).get("domain") or (0, 1)
        down = (layout.get(f"yaxis{y[1:]}") or {}).get("domain") or (0, 1)
    return _Domain(*(round(float(each), 3) for each in (*across, *down)))


def _away(box: _Domain, note: Mapping[str, Any]) -> float:
    """How far a note is from the middle of a box's upper side."""
    x, y = float(note.get("x") or 0), float(note.get("y") or 0)
    return abs((box.left + box.right) / 2 - x) + abs(box.above - y)


def _is_bar(trace: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    same = (trace.get("xaxis") or "x") == (other.get("xaxis") or "x")
    return trace.get("type") == "bar" and same


def _draw(
    axes: Axes,
    trace: Mapping[str, Any],
    colour: str,
    layout: Mapping[str, Any],
    bars: Sequence[Mapping[str, Any]],
    paper: Paper,
) -> None:
    kind = trace.get("type") or "scatter"
    if kind == "table":
        _table(axes, trace, paper)
    elif kind == "bar":
        _bars(axes, trace, colour, bars, grouped=layout.get("barmode", "group") == "group")
    elif kind in ("scatter", "scattergl"):
        _line(axes, trace, colour)
    else:
        raise ValueError(f"a figure of {kind} traces is not drawn on paper: take html, csv or json")


def _bars(
    axes: Axes,
    trace: Mapping[str, Any],
    colour: str,
    bars: Sequence[Mapping[str, Any]],
    *,
    grouped: bool,
) -> None:
    across = trace.get("orientation") != "h"
    labels, values = (
        (trace.get("x"), trace.get("y")) if across else (trace.get("y"), trace.get("x"))
    )
    heights = _numbers(values)
    named = _values(labels) if labels is not None else list(range(len(heights)))
    numeric = all(isinstance(each, (int, float)) for each in named)
    places = np.array(named, float) if numeric else np.arange(len(named), dtype=float)
    count = len(bars) if grouped else 1
    width = 0.8 / count
    own = next((i for i, each in enumerate(bars) if each is trace), 0) if grouped else 0
    middle = places + (own - (count - 1) / 2) * width
    fill = _bar_colours(trace, colour)
    error = (trace.get("error_y") or trace.get("error_x") or {}).get("array")
    spread = None if error is None else _numbers(error)
    how: dict[str, Any] = {"color": fill, "label": trace.get("name")}
    if across:
        axes.bar(middle, heights, width, yerr=spread, **how)
    else:
        axes.barh(middle, heights, width, xerr=spread, **how)
    if not numeric:
        shown = range(0, len(named), max(1, len(named) // _MOST_TICKS))
        texts = [_plain(str(named[i]))[:24] for i in shown]
        if across:
            axes.set_xticks(places[list(shown)], texts, rotation=60, ha="right")
        else:
            axes.set_yticks(places[list(shown)], texts)


def _bar_colours(trace: Mapping[str, Any], colour: str) -> Any:
    given = (trace.get("marker") or {}).get("color")
    if isinstance(given, str):
        return _colour(given)
    if isinstance(given, list) and given and all(isinstance(each, str) for each in given):
        return [_colour(each) for each in given]
    return colour


def _line(axes: Axes, trace: Mapping[str, Any], colour: str) -> None:
    x, y = _values(trace.get("x")), _numbers(trace.get("y"))
    if not x:
        x = list(range(len(y)))
    numeric = all(isinstance(each, (int, float)) for each in x)
    places = np.array(x, float) if numeric else np.arange(len(x), dtype=float)
    mode = str(trace.get("mode") or "lines")
    line = trace.get("line") or {}
    own = _colour(line.get("color") or (trace.get("marker") or {}).get("color") or colour)
    name = trace.get("name") if trace.get("showlegend") is not False else None
    if trace.get("fill") in ("tonexty", "tonextx") and axes.lines:
        below = np.asarray(axes.lines[-1].get_ydata(), float)
        if len(below) == len(y):
            fill = _colour(trace.get("fillcolor") or own)
            axes.fill_between(places, below, y, color=fill, alpha=0.3, linewidth=0, label=name)
            return
    width = float(line.get("width", 1.5))
    error = (trace.get("error_y") or {}).get("array")
    axes.plot(
        places,
        y,
        "-" if "lines" in mode and width else "",
        marker="o" if "markers" in mode else None,
        markersize=3,
        linewidth=min(width, 2) * 0.6,
        color=own,
        label=name,
    )
    if error is not None:
        axes.errorbar(places, y, _numbers(error), fmt="none", ecolor=own, linewidth=0.5)
    if not numeric:
        shown = list(range(0, len(x), max(1, len(x) // _MOST_TICKS)))
        axes.set_xticks(places[shown], [_plain(str(x[i]))[:24] for i in shown], rotation=60)


def _rows_of(trace: Mapping[str, Any]) -> list[list[str]]:
    columns = [_values(each) for each in (trace.get("cells") or {}).get("values") or []]
    return [[_plain(cell) for cell in row] for row in zip(*columns, strict=False)][:_MOST_ROWS]


def _table(axes: Axes, trace: Mapping[str, Any], paper: Paper) -> None:
    axes.set_axis_off()
    heads = [_plain(_first(each)) for each in (trace.get("header") or {}).get("values") or []]
    rows = _rows_of(trace)
    if not rows:
        return
    count = len(rows[0])
    letters = max(8, int(paper.inches * _POINTS / (0.55 * 6 * paper.scale)))
    columns = zip(*rows, strict=True)
    widths = [min(max(map(len, [*column, "a head"])) + 2, letters) for column in columns]
    widths[-1] = max(8, letters - sum(widths[:-1]))
    short = [
        [
            cell if len(cell) <= most else f"{cell[: most - 1]}…"
            for cell, most in zip(row, widths, strict=True)
        ]
        for row in rows
    ]
    table = axes.table(
        short,
        colLabels=heads if len(heads) == count else None,
        colWidths=[width / sum(widths) for width in widths],
        bbox=Bbox([[0, 0], [1, 1]]),
        cellLoc="left",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(6 * paper.scale)


def _finish(axes: Axes, name: str, layout: Mapping[str, Any], paper: Paper) -> None:
    if name.startswith("table"):
        return
    across = layout.get(f"xaxis{name[1:]}") or {}
    down = layout.get(f"yaxis{name[1:]}") or {}
    for axis, which in ((across, "x"), (down, "y")):
        text = axis.get("title")
        text = text.get("text") if isinstance(text, Mapping) else text
        if text:
            getattr(axes, f"set_{which}label")(_plain(text))
        if axis.get("type") == "log":
            getattr(axes, f"set_{which}scale")("log")
            of_axis = axes.xaxis if which == "x" else axes.yaxis
            of_axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            of_axis.set_minor_formatter(NullFormatter())
        if axis.get("tickvals") is not None and axis.get("ticktext") is not None:
            places, texts = _values(axis["tickvals"]), _values(axis["ticktext"])
            turned = {"rotation": 60, "ha": "right"} if which == "x" else {}
            getattr(axes, f"set_{which}ticks")(places, [_plain(str(t)) for t in texts], **turned)
        if axis.get("autorange") == "reversed":
            getattr(axes, f"invert_{which}axis")()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if len(set(labels)) > 1:
        axes.legend(handles, labels, frameon=False, fontsize=6 * paper.scale)


def _title_of(layout: Mapping[str, Any]) -> str:
    title = layout.get("title")
    return _plain(title.get("text") or "" if isinstance(title, Mapping) else title or "")


def _plain(text: Any) -> str:
    """Without Plotly's tags."""
    return html.unescape(_TAGS.sub(" ", str(text)))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _values(column: Any) -> list[Any]:
    """A column, also where it travels as bytes."""
    if isinstance(column, Mapping) and "bdata" in column:
        shape = column.get("shape")
        raw = np.frombuffer(base64.b64decode(column["bdata"]), np.dtype(column["dtype"]))
        listed: list[Any] = (raw if shape is None else raw.reshape(-1)).tolist()
        return listed
    return list(column) if column is not None else []


def _numbers(column: Any) -> np.ndarray:
    return np.array([np.nan if each is None else each for each in _values(column)], float)


def _colour(text: Any) -> Any:
    match = _RGBA.fullmatch(str(text))
    if match is None:
        return text
    parts = [float(part) for part in match[1].split(",")]
    return tuple(part / 255 for part in parts[:3]) + tuple(parts[3:])
