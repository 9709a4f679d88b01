"""Grids and figures of causal analyses."""

import html

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from lit_tl.figures.grid import Axis, Colours, Grid, Part
from lit_tl.figures.lens import readable

_CLEAN, _CORRUPT, _PATCHED = "#00777b", "#e65100", "#5f6368"
_MORE, _LESS = "#b2182b", "#2166ac"
"""As grids colour differences."""


def patch_grid(result: xr.Dataset) -> Grid:
    """A cell for each layer and token, or each layer and head, layer 0 at the bottom. A click asks
    for the "Patched prediction" of a cell.

    Args:
        result: of `activation_patching`.
    """
    attrs = result.attrs
    part = Part(
        values=result["change"].values.astype(float),
        rows=_rows(result),
        columns=_columns(result),
        colours=_colours(attrs["metric"], attrs["unit"]),
        beside={
            attrs["metric"]: result["effect"].values.astype(float),
            "estimate": (result["estimate"] - attrs["unchanged"]).values.astype(float),
        }
        if attrs.get("estimated_by")
        else {attrs["metric"]: result["effect"].values.astype(float)},
        marked=result["apart"].values,
        said=_method_of_cells(result),
    )
    title = f"{attrs['component']}, {attrs['direction']}"
    return Grid(title=title, parts=(part,), detail="Patched prediction")


def _method_of_cells(result: xr.Dataset) -> str:
    exact = result["exact"].values
    missing = int((~exact & np.isfinite(result["change"].values)).sum())
    method = str(result.attrs["method"])
    if exact.any() and missing and result.attrs["estimated_by"]:
        return f"{method}; {missing} cells still by {result.attrs['estimated_by']}"
    return method


def over_data_grid(result: xr.Dataset) -> Grid:
    """A cell's mean change over pairs, with its interval and how many agree.

    Args:
        result: of `patching_over_data`.
    """
    attrs = result.attrs
    unchanged = attrs["unchanged"]
    part = Part(
        values=result["change"].values.astype(float),
        rows=_rows(result),
        columns=_columns(result),
        colours=_colours(attrs["metric"], attrs["unit"]),
        beside={
            "from": (result["low"] - unchanged).values.astype(float),
            "to": (result["high"] - unchanged).values.astype(float),
            "share of pairs of its sign": result["agreement"].values.astype(float),
        },
        said=f"{attrs['method']}, the mean of {attrs['pairs']} pairs",
    )
    return Grid(title=f"{attrs['component']}, {attrs['direction']}", parts=(part,))


def pair_strip(result: xr.Dataset) -> Grid:
    """One row of the corrupt prompt's tokens, 1 where a token differs from its partner in the clean
    prompt, and one of the clean prompt's."""
    partner = result["partner"].values
    colours = Colours(name="differs", low=0.0, high=1.0)
    row = Axis(name="", labels=[""])
    corrupt = Part(
        title="corrupt",
        values=result["differs"].values.astype(float)[None],
        rows=row,
        columns=_columns(result),
        colours=colours,
        beside={"partner": partner.astype(float)[None]},
    )
    tokens = [str(token) for token in result.attrs["clean_tokens"]]
    there = np.ones(len(tokens))
    there[partner[partner >= 0]] = result["differs"].values[partner >= 0]
    clean = Part(
        title="clean",
        values=there[None],
        rows=row,
        columns=Axis(name="position", labels=tokens, tokens=True),
        colours=colours,
    )
    return Grid(title="Prompt pair", parts=(clean, corrupt))


def head_table(result: xr.Dataset) -> Grid:
    """A grid of layers and heads for each score; in a cell its texts with the largest scores.

    Args:
        result: of `head_finder`.
    """
    parts = []
    layers = Axis(name="layer", labels=[str(each) for each in result["layer"].values], upwards=True)
    heads = Axis(name="head", labels=[str(each) for each in result["head"].values])
    for place, name in enumerate(result["score_name"].values):
        unit = "logits" if name == "copying" else "attention"
        texts = result["top_texts"].values if "top_texts" in result else None
        parts.append(
            Part(
                title=str(name),
                values=result["score"].values[place].astype(float),
                rows=layers,
                columns=heads,
                colours=Colours(
                    name=str(name),
                    unit=unit,
                    kind="diverging" if name == "copying" else "linear",
                    low=None if name == "copying" else 0.0,
                ),
                beside={}
                if texts is None
                else {"over the data set": result["text_score"].values[place].astype(float)},
                top_tokens=None if texts is None else np.moveaxis(texts[:, place], 0, -1),
                top_values=None
                if texts is None
                else np.moveaxis(result["top_score"].values[:, place], 0, -1),
            )
        )
    return Grid(title="Head finder", parts=tuple(parts))


def prediction_bars(result: xr.Dataset) -> go.Figure:
    """Probabilities of what comes next: in the clean, the corrupt and the patched run.

    Args:
        result: of `patched_prediction`.
    """
    tokens = [readable(str(token)) for token in result["next_token"].values]
    figure = go.Figure()
    colours = {"clean": _CLEAN, "corrupt": _CORRUPT, "patched": _PATCHED}
    for place, run in enumerate(result["run"].values.tolist()):
        figure.add_trace(
            go.Bar(
                y=tokens,
                x=result["probability"].values[place].tolist(),
                name=run,
                orientation="h",
                marker={"color": colours[run]},
                hovertemplate="%{y}: %{x:.4f}<extra>" + run + "</extra>",
            )
        )
    title = {"text": html.escape(result.attrs["title"], quote=False), "font": {"size": 13}}
    figure.update_layout(
        barmode="group", title=title, legend={"orientation": "h", "y": -0.25, "yanchor": "top"}
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="probability", rangemode="tozero")
    return figure


def share_bars(result: xr.Dataset) -> go.Figure:
    """Shares as bars, and where they add up in order also their sum up to there.

    Args:
        result: of `logit_shares`.
    """
    names = [html.escape(str(name), quote=False) for name in result["part"].values]
    shares = result["share"].values
    figure = go.Figure(
        go.Bar(
            x=names,
            y=shares.tolist(),
            name="share",
            marker={"color": [_LESS if share < 0 else _MORE for share in shares]},
        )
    )
    if "cumulative" in result:
        figure.add_trace(
            go.Scatter(
                x=names,
                y=result["cumulative"].values.tolist(),
                name="sum up to there",
                mode="lines+markers",
                line={"color": "#202124"},
            )
        )
    figure.update_xaxes(type="category", tickangle=-60 if len(names) > 12 else 0)
    figure.update_yaxes(title=result.attrs["unit"])
    figure.update_layout(
        title_text=html.escape(result.attrs["title"], quote=False),
        showlegend="cumulative" in result,
        legend={"orientation": "h", "y": 1.05, "x": 1, "xanchor": "right"},
    )
    return figure


def _rows(result: xr.Dataset) -> Axis:
    labels = [str(layer) for layer in result["layer"].values]
    return Axis(name="layer", labels=labels, upwards=True)


def _columns(result: xr.Dataset) -> Axis:
    if "head" in result.dims:
        name = str(result.attrs.get("heads", "head"))
        return Axis(name=name, labels=[str(head) for head in result["head"].values])
    if "token" in result.coords:
        labels = [str(token) for token in result["token"].values]
        return Axis(name="position", labels=labels, tokens=True)
    return Axis(name="position", labels=[str(p) for p in result["position"].values])


def _colours(metric: str, unit: str) -> Colours:
    return Colours(name=f"change of the {metric}", unit=unit, kind="diverging")
