"""Figures of training and evaluating lenses."""

from typing import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.colors import sample_colorscale


def loss_curves(losses: Sequence[Sequence[float]], name: str) -> go.Figure:
    """Each layer's loss over the steps, `[step][layer]` in nats, of at least one step."""
    values = np.asarray(losses, dtype=float)
    n_layers = values.shape[1]
    colours = sample_colorscale("Viridis", np.linspace(0, 0.9, n_layers).tolist())
    figure = go.Figure()
    for layer in range(n_layers):
        figure.add_scatter(
            x=np.arange(1, len(values) + 1),
            y=values[:, layer],
            mode="lines",
            name=f"layer {layer}",
            line_color=colours[layer],
        )
    figure.update_layout(title=f"{name} by layer's input", template="plotly_white")
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="nats", type="log")
    return figure


Line = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]
"""Values by layer, and their standard errors."""


def by_layer(
    measures: Mapping[str, Mapping[str, Line]],
    units: Mapping[str, str],
    of_the_model: Mapping[str, float],
) -> go.Figure:
    """Panels side by side, one for each measure, with a line for each lens:
    `measures[measure][lens]`.

    Args:
        measures: of at least one layer.
        units: of each measure.
        of_the_model: by measure, drawn as a line across.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(cols=len(measures), subplot_titles=list(measures))
    for column, (measure, lenses) in enumerate(measures.items(), start=1):
        for colour, (lens, (values, errors)) in zip(("#5f6368", "#1a73e8"), lenses.items()):
            line = go.Scatter(
                x=np.arange(len(values)),
                y=values,
                name=lens,
                mode="lines+markers",
                line_color=colour,
            )
            line.update(
                error_y={"array": errors, "thickness": 1}, legendgroup=lens, showlegend=column == 1
            )
            figure.add_trace(line, col=column, row=1)
            figure.update_xaxes(
                title="layer's input", col=column, row=1, dtick=max(1, len(values) // 12)
            )
        if measure in of_the_model:
            across = {
                "line_dash": "dot",
                "line_color": "#202124",
                "annotation_position": "bottom left",
            }
            figure.add_hline(
                y=of_the_model[measure], annotation_text="model", col=column, row=1, **across
            )
        figure.update_yaxes(title=units[measure], rangemode="tozero", col=column, row=1)
    figure.update_layout(template="plotly_white", legend={"orientation": "h", "y": -0.2})
    return figure
