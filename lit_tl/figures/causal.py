"""Grids and figures of causal analyses."""

import html
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import xarray as xr

from lit_tl.figures.grid import Axis, Colours, Grid, Part
from lit_tl.figures.lens import readable

_CLEAN, _CORRUPT, _PATCHED = "#00777b", "#e65100", "#5f6368"
_MORE, _LESS = "#b2182b", "#2166ac"
"""As grids colour differences."""
_ABREAST = 64
"""Neurons in a row of their map."""


def patch_grid(result: xr.Dataset) -> Grid:
    """A cell for each layer and token, or each layer and head, layer 0 at the bottom; of one layer,
    each head and token, or its neurons in rows of 64. A click asks for the "Patched prediction" of
    a cell.

    Args:
        result: of `activation_patching`.
    """
    attrs = result.attrs
    part = Part(
        values=_matrix(result["change"]),
        rows=_rows(result),
        columns=_columns(result),
        colours=_colours(attrs["metric"], attrs["unit"]),
        beside={
            attrs["metric"]: _matrix(result["effect"]),
            "estimate": _matrix(result["estimate"] - attrs["unchanged"]),
        }
        if attrs.get("estimated_by")
        else {attrs["metric"]: _matrix(result["effect"])},
        marked=_matrix(result["apart"]) == 1.0,
        said=_method_of_cells(result),
        reaches=_reaches(result),
    )
    return Grid(title=_title(result), parts=(part,), detail="Patched prediction")


def _reaches(result: xr.Dataset) -> list[str]:
    """Which later parts of the model a change can reach, for each layer of the map."""
    attrs = result.attrs
    before_attention = attrs["component"] in ("resid_pre", "k", "v")
    one_token = "position" in result.dims
    sentences = []
    for layer in attrs["layers"]:
        first = layer if before_attention else layer + 1
        if first >= attrs["n_layers"]:
            at_last = ", where it is the last token" if one_token else ""
            sentences.append(f"Reaches the logits of its own token alone{at_last}.")
            continue
        later = f"layer {first}" if first == attrs["n_layers"] - 1 else f"layers {first} and later"
        tokens = " at this token, and tokens behind it" if one_token else ""
        sentences.append(f"Reaches {later}{tokens}.")
    return sentences


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
        values=_matrix(result["change"]),
        rows=_rows(result),
        columns=_columns(result),
        colours=_colours(attrs["metric"], attrs["unit"]),
        beside={
            "from": _matrix(result["low"] - unchanged),
            "to": _matrix(result["high"] - unchanged),
            "share of pairs of its sign": _matrix(result["agreement"]),
        }
        if attrs["pairs"] > 1
        else {},
        said=f"{attrs['method']}, "
        + (f"the mean of {attrs['pairs']} pairs" if attrs["pairs"] > 1 else "of one pair alone"),
        reaches=_reaches(result),
    )
    return Grid(title=_title(result), parts=(part,))


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
    """Probabilities of what comes next: in the clean, the corrupt and the patched run, or in the
    model and under changes.

    Args:
        result: of `patched_prediction` or `change_preview`.
    """
    tokens = [readable(str(token)) for token in result["next_token"].values]
    figure = go.Figure()
    colours = {"clean": _CLEAN, "corrupt": _CORRUPT, "patched": _PATCHED}
    colours |= {"original": _CLEAN, "changed": _CORRUPT}
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
            error_y=_interval_of(result),
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


def _title(result: xr.Dataset) -> str:
    attrs = result.attrs
    of = f" of layer {attrs['layers'][0]}" if len(attrs["layers"]) == 1 else ""
    return f"{attrs['component']}{of}, {attrs['direction']}"


def _matrix(values: xr.DataArray) -> npt.NDArray[np.float64]:
    """Numbers as rows and columns; see `patch_grid`."""
    numbers = values.values.astype(float)
    if values.dims == ("neuron",):
        rows = -(-len(numbers) // _ABREAST)
        full = np.full(rows * _ABREAST, np.nan)
        full[: len(numbers)] = numbers
        return full.reshape(rows, _ABREAST)
    return numbers[0] if numbers.ndim == 3 else numbers  # a layer's heads by position


def _interval_of(result: xr.Dataset) -> Optional[dict[str, Any]]:
    """How sure a mean is, as bars; None where it is no mean."""
    if "low" not in result:
        return None
    share = result["share"].values
    return {
        "type": "data",
        "array": (result["high"].values - share).tolist(),
        "arrayminus": (share - result["low"].values).tolist(),
        "thickness": 1,
    }


def _rows(result: xr.Dataset) -> Axis:
    if "neuron" in result.dims:
        return Axis(name="neuron", labels=[str(n) for n in result["neuron"].values[::_ABREAST]])
    if "head" in result.dims and "position" in result.dims:
        return _heads(result)
    labels = [str(layer) for layer in result["layer"].values]
    return Axis(name="layer", labels=labels, upwards=True)


def _columns(result: xr.Dataset) -> Axis:
    if "neuron" in result.dims:
        return Axis(name="and", labels=[f"+{n}" for n in range(_ABREAST)])
    if "position" not in result.dims:
        return _heads(result)
    if "token" in result.coords:
        labels = [str(token) for token in result["token"].values]
        return Axis(name="position", labels=labels, tokens=True)
    return Axis(name="position", labels=[str(p) for p in result["position"].values])


def _heads(result: xr.Dataset) -> Axis:
    name = str(result.attrs.get("heads", "head"))
    return Axis(name=name, labels=[str(head) for head in result["head"].values])


def _colours(metric: str, unit: str) -> Colours:
    return Colours(name=f"change of the {metric}", unit=unit, kind="diverging")
