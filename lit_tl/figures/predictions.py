"""Figures of two predictions."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from lit_tl.figures.lens import readable

_MORE, _LESS = "#b2182b", "#2166ac"
"""As grids colour differences."""


def difference_bars(result: xr.Dataset) -> go.Figure:
    """The difference of each token's loss above, and of the next tokens' probabilities below.

    `layout.meta["pos"]` says that x counts tokens.

    Args:
        result: of `predictions_difference`.
    """
    figure = make_subplots(
        rows=2,
        row_heights=[0.4, 0.6],
        vertical_spacing=0.3,
        subplot_titles=("Loss of each token, difference", "What comes next, difference"),
    )
    figure.add_trace(_losses(result), row=1, col=1)
    figure.add_trace(_next(result), row=2, col=1)
    places = result["position"].values.tolist()
    tokens = [readable(token) for token in result["token"].values]
    step = max(1, len(tokens) // 24)
    figure.update_xaxes(
        tickvals=places[::step], ticktext=tokens[::step], tickangle=-60, row=1, col=1
    )
    figure.update_yaxes(title=result.attrs["unit"], row=1, col=1)
    figure.update_xaxes(title="probability", row=2, col=1)
    candidates = [readable(token) for token in result["next_token"].values]
    figure.update_yaxes(
        autorange="reversed", tickvals=[*range(len(candidates))], ticktext=candidates, row=2, col=1
    )
    figure.update_layout(meta={"pos": "x"}, showlegend=False)
    return figure


def _losses(result: xr.Dataset) -> go.Bar:
    values = result["loss_difference"].values
    facts = zip(
        (readable(token) for token in result["token"].values),
        *(result[name].values for name in ("loss", "other_loss", "rank", "other_rank")),
        strict=True,
    )
    return go.Bar(
        x=result["position"].values.tolist(),
        y=_numbers(values),
        marker={"color": _colours(values)},
        customdata=[list(fact) for fact in facts],
        hovertemplate="%{x} %{customdata[0]}<br>%{y:.3f} nats: %{customdata[1]:.3f}, there "
        "%{customdata[2]:.3f}<br>rank %{customdata[3]}, there %{customdata[4]}<extra></extra>",
    )


def _next(result: xr.Dataset) -> go.Bar:
    values = result["probability_difference"].values
    tokens = [readable(token) for token in result["next_token"].values]
    both = [result[name].values.tolist() for name in ("probability", "other_probability")]
    return go.Bar(
        x=_numbers(values),
        y=[*range(len(values))],
        orientation="h",
        marker={"color": _colours(values)},
        customdata=[*zip(tokens, *both, strict=True)],
        hovertemplate="%{customdata[0]}<br>%{x:.4f}: %{customdata[1]:.4f}, there "
        "%{customdata[2]:.4f}<extra></extra>",
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _colours(values: np.ndarray) -> list[str]:
    return [_LESS if value < 0 else _MORE for value in values]
