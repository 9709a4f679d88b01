"""Figures of what lenses read: layers by positions, and tokens over layers."""

import dataclasses
import html
from typing import Optional, Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots


def readable(token: str) -> str:
    """A token with its blanks visible, safe in Plotly's HTML."""
    return html.escape(token.replace(" ", "·").replace("\n", "↵") or "∅")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """One lens's reading of a prompt: `[layer, pos]`, and for each cell the likeliest tokens, best first."""

    title: str
    values: "npt.NDArray[np.floating]"
    top_tokens: Sequence[Sequence[Sequence[str]]]
    top_values: "npt.NDArray[np.floating]"
    layers: Sequence[str]


def lens_grids(
    grids: Sequence[Grid],
    tokens: Sequence[str],
    *,
    name: str,
    unit: str,
    colorscale: str,
    low: Optional[float],
    high: Optional[float],
) -> go.Figure:
    """Heat maps side by side, the embeddings below and the output on top; each cell has its likeliest token, and more when it is
    pointed at. `layout.meta["pos"]` says that x counts tokens."""
    figure = make_subplots(
        cols=len(grids), shared_yaxes=True, subplot_titles=[grid.title for grid in grids] if len(grids) > 1 else None
    )
    shown = [readable(token) for token in tokens]
    for column, grid in enumerate(grids, start=1):
        hover = [
            [
                "<br>".join(f"{readable(token)} {value:.3f}" for token, value in zip(cell, numbers, strict=True))
                for cell, numbers in zip(row, numbers_of_row, strict=True)
            ]
            for row, numbers_of_row in zip(grid.top_tokens, grid.top_values, strict=True)
        ]
        heat = go.Heatmap(
            z=np.round(grid.values.astype(float), 5),
            y=list(grid.layers),
            text=[[readable(cell[0]) for cell in row] for row in grid.top_tokens],
            texttemplate="%{text}" if len(tokens) <= 48 else None,
            customdata=hover,
            hovertemplate=f"layer %{{y}}, position %{{x}}<br>{name} %{{z:.3f}} {unit}<br><br>%{{customdata}}<extra></extra>",
            coloraxis="coloraxis",
        )
        figure.add_trace(heat, row=1, col=column)
        figure.update_xaxes(
            title="token", tickvals=list(range(len(tokens))), ticktext=shown, tickangle=-60, row=1, col=column, showgrid=False
        )
    figure.update_yaxes(type="category", title="layer", col=1)
    figure.update_layout(
        coloraxis={"colorscale": colorscale, "cmin": low, "cmax": high, "colorbar": {"title": {"text": unit or name}}},
        meta={"pos": "x", "detail": "Lens trajectory"},
    )
    return figure


def lines_over_layers(
    values: "npt.NDArray[np.floating]", names: Sequence[str], layers: Sequence[str], *, title: str, unit: str
) -> go.Figure:
    """A line over layers for each token, `values[layer, token]`."""
    figure = go.Figure()
    for column, name in enumerate(names):
        figure.add_trace(go.Scatter(x=list(layers), y=values[:, column], name=readable(name), mode="lines+markers"))
    figure.update_layout(title_text=title, hovermode="x unified")
    figure.update_xaxes(title="layer", type="category")
    figure.update_yaxes(title=unit)
    return figure


def band_over_layers(
    means: Sequence[float], spreads: Sequence[float], layers: Sequence[str], *, name: str, unit: str, title: str
) -> go.Figure:
    """A mean for each layer, with a band of one standard deviation to either side."""
    mean, spread = np.asarray(means), np.asarray(spreads)
    figure = go.Figure()
    edge = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "mode": "lines"}
    figure.add_trace(go.Scatter(x=list(layers), y=mean + spread, **edge))
    figure.add_trace(go.Scatter(x=list(layers), y=mean - spread, fill="tonexty", fillcolor="rgba(0,119,123,0.2)", **edge))
    figure.add_trace(go.Scatter(x=list(layers), y=mean, name=name, mode="lines+markers", line={"color": "#00777b"}))
    figure.update_layout(title_text=title, showlegend=False)
    figure.update_xaxes(title="layer", type="category")
    figure.update_yaxes(title=unit or name)
    return figure
