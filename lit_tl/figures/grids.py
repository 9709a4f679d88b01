"""Figures with a cell for each layer and something else."""

from typing import Optional, Sequence

import plotly.graph_objects as go


def layer_by_head(values: Sequence[Sequence[Optional[float]]], *, name: str, unit: str, most: float) -> go.Figure:
    """A heat map of `values[layer][head]`, layer 0 at the top; colours span 0 to `most` at least."""
    heat = go.Heatmap(
        z=values,
        colorscale="Teal",
        zmin=0,  # Plotly takes no notice of one bound without the other
        zmax=max([most, *(value for row in values for value in row if value is not None)]),
        colorbar={"title": {"text": unit}},
        hovertemplate=f"layer %{{y}}, head %{{x}}<br>{name} %{{z:.3f}}<extra></extra>",
    )
    figure = go.Figure(heat)
    figure.update_xaxes(title="head", dtick=1)
    figure.update_yaxes(title="layer", dtick=1, autorange="reversed")
    return figure
