"""Figures of what changes do."""

import html

import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from lit_tl.figures.grid import Axis, Colours, Grid, Part

_LABEL, _TITLE = 28, 90
"""Most letters of a change beside an axis, and of changes above a figure."""
_COLOURS = {"answer": "#00777b", "foil": "#e65100", "answer less foil": "#00777b"}


def curve_with_texts(result: xr.Dataset) -> go.Figure:
    """Lines over strengths, or over changes that are added, and below them a table of the text that
    is generated at each.

    Args:
        result: `value` by `line` and the axis that the attribute `axis` names, with a coordinate
            `text` along it; attributes `unit` and `title`.
    """
    axis = str(result.attrs["axis"])
    places = result[axis].values.tolist()
    texts = [str(text) for text in result["text"].values]
    has_texts = any(texts)
    figure = make_subplots(
        rows=2 if has_texts else 1,
        row_heights=[0.42, 0.58] if has_texts else [1.0],
        vertical_spacing=0.26 if axis == "added" else 0.16,
        specs=[[{"type": "xy"}], [{"type": "table"}]] if has_texts else [[{"type": "xy"}]],
    )
    labels = [
        html.escape(text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…", quote=False)
        for text in map(str, places)
    ]
    x = [*range(len(places))] if axis == "added" else places  # two labels may be alike
    for row, name in enumerate(result["line"].values.tolist()):
        figure.add_trace(
            go.Scatter(
                x=x,
                y=result["value"].values[row].tolist(),
                name=str(name),
                mode="lines+markers",
                line={"color": _COLOURS.get(str(name), "#5f6368")},
                customdata=[html.escape(text[:120], quote=False) for text in texts],
                hovertemplate="%{text}: %{y:.4g}<br>%{customdata}<extra></extra>",
                text=labels,
            ),
            row=1,
            col=1,
        )
    if has_texts:
        shown = [f"{place:.3g}" if isinstance(place, float) else str(place) for place in places]
        cells = [[html.escape(each, quote=False) for each in column] for column in (shown, texts)]
        figure.add_trace(
            go.Table(
                columnwidth=[1, 5],
                header={"values": [axis, "text"], "align": "left", "height": 20},
                cells={"values": cells, "align": "left", "height": 18, "font": {"size": 11}},
            ),
            row=2,
            col=1,
        )
    title = {"text": html.escape(str(result.attrs["title"])[:_TITLE], quote=False)}
    figure.update_layout(
        title={**title, "font": {"size": 13}},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    if axis == "added":
        figure.update_xaxes(tickvals=x, ticktext=labels, tickangle=-30, row=1, col=1)
    else:
        figure.update_xaxes(title=axis, row=1, col=1)
    figure.update_yaxes(title=str(result.attrs["unit"]), row=1, col=1)
    return figure


def effects_grid(result: xr.Dataset) -> Grid:
    """A cell for each layer and head, or for attention and MLP of each layer, the first below.

    Args:
        result: of `ablation_effects`.
    """
    attrs = result.attrs
    heads = attrs["ablate"] == "heads"
    several = attrs["prompts"] > 1
    beside = {
        "from": result["low"].values,
        "to": result["high"].values,
        "share of prompts of its sign": result["agreement"].values,
    }
    part = Part(
        values=result["mean"].values.astype(float),
        rows=Axis(name="layer", labels=[str(n) for n in result["layer"].values], upwards=True),
        columns=Axis(
            name="head" if heads else "part", labels=[str(n) for n in result["part"].values]
        ),
        colours=Colours(
            name=f"change of the {attrs['metric']}",
            unit=attrs["unit"] if attrs["unit"] != attrs["metric"] else "",
            kind="diverging",
        ),
        beside=beside if several else {},
        said=f"{attrs['method']}, "
        + (f"the mean of {attrs['prompts']} prompts" if several else "of one prompt alone"),
    )
    return Grid(title=f"Effect of ablating {attrs['ablate']}", parts=(part,))
