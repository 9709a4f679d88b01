"""Figures of what lenses read: layers by positions, tokens over layers, means over a data set."""

import html

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

_MOST_TOKENS_WRITTEN = 48


def readable(token: str) -> str:
    """A token with its blanks visible, safe in Plotly's HTML."""
    visible = token.replace(" ", "·").replace("\n", "↵").replace("\t", "⇥")
    return html.escape(visible, quote=False) or "∅"  # Plotly shows &quot; as it is


def lens_grids(result: xr.Dataset) -> go.Figure:
    """Heat maps side by side, one for each lens, the embeddings below and the output on top.

    Each cell has its likeliest token, and more when it is pointed at. `layout.meta["pos"]` says
    that x counts tokens, and `layout.meta["detail"]` which figure belongs to one of them.

    Args:
        result: over `lens`, `layer`, `position`: the statistic that the attribute `value` names;
            with a further axis `top`: `top_tokens` and `top_probabilities`. Attributes `unit`,
            `colorscale`, `low`, `high`.
    """
    lenses = [str(lens) for lens in result["lens"].values]
    titles = [f"{lens} lens" for lens in lenses] if len(lenses) > 1 else None
    figure = make_subplots(cols=len(lenses), shared_yaxes=True, subplot_titles=titles)
    tokens = [readable(token) for token in result["token"].values]
    for column, lens in enumerate(lenses, start=1):
        figure.add_trace(_grid(result.sel(lens=lens), len(tokens)), row=1, col=column)
        figure.update_xaxes(
            title="token",
            tickvals=list(range(len(tokens))),
            ticktext=tokens,
            tickangle=-60,
            row=1,
            col=column,
            showgrid=False,
        )
    figure.update_yaxes(type="category", title="layer", col=1)
    attrs = result.attrs
    figure.update_layout(
        coloraxis={
            "colorscale": attrs["colorscale"],
            "cmin": attrs.get("low"),
            "cmax": attrs.get("high"),
            "colorbar": {"title": {"text": attrs["unit"] or attrs["value"]}},
        },
        meta={"pos": "x", "detail": "Lens trajectory"},
    )
    return figure


def _grid(result: xr.Dataset, n_tokens: int) -> go.Heatmap:
    name, unit = result.attrs["value"], result.attrs["unit"]
    known = {token: readable(token) for token in np.unique(result["top_tokens"].values)}
    top_tokens = np.vectorize(known.__getitem__, otypes=[object])(result["top_tokens"].values)
    values = result["top_probabilities"].values
    hover = [
        [
            "<br>".join(f"{token} {value:.3f}" for token, value in zip(cell, numbers, strict=True))
            for cell, numbers in zip(row, of_row, strict=True)
        ]
        for row, of_row in zip(top_tokens, values, strict=True)
    ]
    return go.Heatmap(
        z=np.round(result[name].values.astype(float), 5),
        y=[str(layer) for layer in result["layer"].values],
        text=top_tokens[..., 0].tolist(),
        texttemplate="%{text}" if n_tokens <= _MOST_TOKENS_WRITTEN else None,
        customdata=hover,
        hovertemplate=f"layer %{{y}}, position %{{x}}<br>{name} %{{z:.3f}} {unit}"
        "<br><br>%{customdata}<extra></extra>",
        coloraxis="coloraxis",
    )


def lines_over_layers(result: xr.Dataset) -> go.Figure:
    """A line over layers for each token.

    Args:
        result: one variable over `layer` and `token`; attributes `title` and `unit`.
    """
    figure = go.Figure()
    layers = [str(layer) for layer in result["layer"].values]
    for place, token in enumerate(result["token"].values):
        values = result[result.attrs["value"]].isel(token=place).values
        name = readable(str(token))
        figure.add_trace(go.Scatter(x=layers, y=values, name=name, mode="lines+markers"))
    figure.update_layout(title_text=result.attrs["title"], hovermode="x unified")
    figure.update_xaxes(title="layer", type="category")
    figure.update_yaxes(title=result.attrs["unit"])
    return figure


def band_over_layers(result: xr.Dataset) -> go.Figure:
    """A mean for each layer, with a band of one standard deviation to either side.

    Args:
        result: over `layer`: the mean that the attribute `value` names, and `standard deviation`;
            attributes `title` and `unit`.
    """
    name = result.attrs["value"]
    mean, spread = result[name].values, result["standard deviation"].values
    layers = [str(layer) for layer in result["layer"].values]
    figure = go.Figure()
    edge = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "mode": "lines"}
    band = {**edge, "fill": "tonexty", "fillcolor": "rgba(0,119,123,0.2)"}
    figure.add_trace(go.Scatter(x=layers, y=mean + spread, **edge))
    figure.add_trace(go.Scatter(x=layers, y=mean - spread, **band))
    line = {"color": "#00777b"}
    figure.add_trace(go.Scatter(x=layers, y=mean, name=name, mode="lines+markers", line=line))
    figure.update_layout(title_text=result.attrs["title"], showlegend=False)
    figure.update_xaxes(title="layer", type="category")
    figure.update_yaxes(title=result.attrs["unit"] or name)
    return figure
