"""Figures whose x axis counts the tokens of a prompt."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from lit_tl.figures.lens import readable


def token_bars(result: xr.Dataset) -> go.Figure:
    """A bar for each token of a prompt; `layout.meta["pos"]` says that x counts tokens.

    Args:
        result: one variable over `position`, with the coordinate `token`, and the attributes `unit`
            and `logarithmic`.
    """
    tokens = [readable(token) for token in result["token"].values]
    places = result["position"].values.tolist()
    unit = result.attrs["unit"]
    bars = go.Bar(
        x=places,
        y=[None if np.isnan(value) else value for value in result[result.attrs["value"]].values],
        customdata=tokens,
        marker={"color": "#00777b"},
        hovertemplate=f"%{{x}} %{{customdata}}<br>{unit} %{{y:.3f}}<extra></extra>",
    )
    figure = go.Figure(bars)
    step = max(1, len(tokens) // 40)
    figure.update_xaxes(tickvals=places[::step], ticktext=tokens[::step], tickangle=-60)
    figure.update_yaxes(title=unit, type="log" if result.attrs.get("logarithmic") else "linear")
    figure.update_layout(meta={"pos": "x"})
    return figure
