"""Figures with a cell for each layer and head."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr


def layer_by_head(result: xr.Dataset) -> go.Figure:
    """A heat map, layer 0 at the top.

    Args:
        result: a variable over `layer` and `head`, with the attributes `value` (its name), `unit`,
            and `most`, which the colours span at least.
    """
    name = result.attrs["value"]
    values = result[name].transpose("layer", "head")
    most = float(values.max()) if bool(np.isfinite(values).any()) else 0.0
    heat = go.Heatmap(
        z=[[None if np.isnan(cell) else float(cell) for cell in row] for row in values.values],
        y=[str(layer) for layer in result["layer"].values],
        colorscale="Teal",
        zmin=0,  # Plotly takes no notice of one bound without the other
        zmax=max(most, float(result.attrs.get("most", 0.0))),
        colorbar={"title": {"text": result.attrs.get("unit", "")}},
        hovertemplate=f"layer %{{y}}, head %{{x}}<br>{name} %{{z:.3f}}<extra></extra>",
    )
    figure = go.Figure(heat)
    figure.update_xaxes(title="head", dtick=1)
    figure.update_yaxes(title="layer", type="category", autorange="reversed")
    return figure
