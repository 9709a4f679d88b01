"""A circuit as a layered graph, beside the faithfulness of circuits of every size."""

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

_MORE, _LESS = "#b2182b", "#2166ac"


def circuit_figure(result: xr.Dataset) -> go.Figure:
    """Parts by layer with the strongest edges between them, and the curve.

    Args:
        result: of `circuit_curve`; the attribute `drawn` says how many edges to draw.
    """
    figure = make_subplots(
        cols=2,
        column_widths=[0.58, 0.42],
        horizontal_spacing=0.08,
        subplot_titles=("Edges", "Faithfulness"),
    )
    edges = _edges(result, int(result.attrs.get("drawn", 40)))
    places = _places([*{name for edge in edges for name in edge[:2]}])
    most = max((abs(score) for *_, score in edges), default=1.0) or 1.0
    for writer, reader, score in edges:
        (x0, y0), (x1, y1) = places[writer], places[reader]
        figure.add_trace(
            go.Scatter(
                x=[x0, (x0 + x1) / 2, x1],
                y=[y0, (y0 + y1) / 2, y1],
                mode="lines",
                line={
                    "width": 0.5 + 5 * abs(score) / most,
                    "color": _LESS if score < 0 else _MORE,
                    "shape": "spline",
                },
                opacity=0.7,
                hovertext=f"{writer} to {reader}: {score:.4f}",
                hoverinfo="text",
                showlegend=False,
            ),
            row=1,
            col=1,
        )
    figure.add_trace(
        go.Scatter(
            x=[x for x, _ in places.values()],
            y=[y for _, y in places.values()],
            text=list(places),
            mode="markers+text",
            textposition="middle right",
            marker={"size": 9, "color": "#00777b"},
            hoverinfo="text",
            showlegend=False,
        ),
        row=1,
        col=1,
    )
    figure.update_xaxes(visible=False, range=[-0.02, 1.14], row=1, col=1)
    layers = sorted({int(_layer(name)) for name in places if 0 <= _layer(name) < 1e6})
    figure.update_yaxes(title="layer", tickvals=layers, row=1, col=1)
    _curve(figure, result)
    figure.update_layout(legend={"orientation": "h"})
    return figure


def _curve(figure: go.Figure, result: xr.Dataset) -> None:
    x = [100 * size for size in result["size"].values.tolist()]
    random = result["random_faithfulness"].values
    if len(random):
        edge = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "mode": "lines"}
        band = {**edge, "fill": "tonexty", "fillcolor": "rgba(95,99,104,0.25)"}
        figure.add_trace(go.Scatter(x=x, y=random.max(0), **edge), row=1, col=2)
        figure.add_trace(go.Scatter(x=x, y=random.min(0), **band), row=1, col=2)
        line = {"color": "#5f6368", "dash": "dot"}
        figure.add_trace(go.Scatter(x=x, y=random.mean(0), name="random", line=line), row=1, col=2)
    if np.isfinite(result["low"].values).any():
        edge = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "mode": "lines"}
        band = {**edge, "fill": "tonexty", "fillcolor": "rgba(0,119,123,0.2)"}
        figure.add_trace(go.Scatter(x=x, y=result["high"].values.tolist(), **edge), row=1, col=2)
        figure.add_trace(go.Scatter(x=x, y=result["low"].values.tolist(), **band), row=1, col=2)
    figure.add_trace(
        go.Scatter(
            x=x,
            y=result["faithfulness"].values.tolist(),
            name="circuit",
            mode="lines+markers",
            line={"color": "#00777b"},
            customdata=result["edges"].values.tolist(),
            hovertemplate="%{customdata} edges: %{y:.3f}<extra></extra>",
        ),
        row=1,
        col=2,
    )
    of = result.attrs["of"]
    figure.update_xaxes(type="log", title=f"share of {of}, %", row=1, col=2)
    figure.update_yaxes(title=f"share of the {result.attrs['metric']}", row=1, col=2)


def _edges(result: xr.Dataset, count: int) -> list[tuple[str, str, float]]:
    """`(writer, reader, score)`, heads' inputs joined, of the first edges that enter."""
    order: npt.NDArray[np.float64] = result["order"].values
    score = result["score"].values
    ranked = np.argsort(np.where(np.isnan(order), np.inf, order).ravel(), kind="stable")[:count]
    joined: dict[tuple[str, str], float] = {}
    for reader, writer in zip(*np.unravel_index(ranked, order.shape), strict=True):
        if np.isnan(order[reader, writer]):
            continue
        name = str(result["reader"].values[reader]).split(".")[0]
        key = (str(result["writer"].values[writer]), name)
        joined[key] = joined.get(key, 0.0) + float(score[reader, writer])
    return [(*key, value) for key, value in joined.items()]


def _places(names: list[str]) -> dict[str, tuple[float, float]]:
    """Where each part stands: its layer up, parts of a layer side by side."""
    by_layer: dict[float, list[str]] = {}
    for name in sorted(names):
        by_layer.setdefault(_layer(name), []).append(name)
    top = max((layer for layer in by_layer if layer < 1e6), default=0.0) + 1.5
    places = {}
    for layer, own in by_layer.items():
        for at, name in enumerate(own):
            places[name] = ((at + 1) / (len(own) + 1), top if layer >= 1e6 else layer)
    return places


def _layer(name: str) -> float:
    if name == "embed":
        return -1.0
    if name == "logits":
        return 1e6
    return float(name[4:]) + 0.5 if name.startswith("mlp") else float(name[1:].split("H")[0])
