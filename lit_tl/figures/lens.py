"""Figures of what lenses read: tokens over layers, means over a data set."""

import html

import plotly.graph_objects as go
import xarray as xr

from lit_tl.figures.tokens import visible


def readable(token: str) -> str:
    """A token with its blanks visible, safe in Plotly's HTML."""
    return html.escape(visible(token), quote=False)  # Plotly shows &quot; as it is


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
