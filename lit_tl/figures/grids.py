"""Grids of results: a cell for each layer and head, or each layer and position."""

from typing import Any, get_args

import numpy as np
import xarray as xr

from lit_tl.figures.grid import Axis, Colours, Grid, Kind, Part


def layer_by_head(result: xr.Dataset) -> Grid:
    """A cell for each layer and head, layer 0 at the bottom.

    Args:
        result: a variable over `layer` and `head`, with the attributes `value` (its name), `unit`,
            and `most`, which the colours span at least.
    """
    name = result.attrs["value"]
    values = result[name].transpose("layer", "head")
    colours = Colours(
        name=name, unit=result.attrs.get("unit", ""), low=0.0, high=result.attrs.get("most")
    )
    part = Part(
        values=values.values.astype(float),
        rows=_axis(result, "layer", upwards=True),
        columns=_axis(result, "head"),
        colours=colours,
    )
    return Grid(title=result.attrs.get("title", name), parts=(part,))


def written_tokens(result: xr.Dataset) -> Grid:
    """A row of the tokens that a model wrote, coloured by their probability.

    Args:
        result: `probability` over `position`, with the coordinate `token`; `top_token` and
            `top_probability` with a further axis `rank`.
    """
    part = Part(
        values=result["probability"].values[None].astype(float),
        rows=Axis(name="", labels=["written"]),
        columns=Axis(
            name="position", labels=[str(token) for token in result["token"].values], tokens=True
        ),
        colours=Colours(name="probability", unit="probability", low=0.0, high=1.0),
        top_tokens=result["top_token"].values[None],
        top_values=result["top_probability"].values[None].astype(float),
    )
    return Grid(title="Answer", parts=(part,))


def lens_grids(result: xr.Dataset) -> Grid:
    """A grid for each lens, the embeddings below and the output on top. In each cell stands its
    likeliest token. A column has its "Lens trajectory".

    Args:
        result: over `lens`, `layer`, `position`: the statistic that the attribute `value` names;
            with a further axis `top`: `top_tokens` and `top_probabilities`. Attributes `unit`,
            `scale` (see `grid.Kind`), `low`, `high`.
    """
    attrs = result.attrs
    colours = Colours(
        name=attrs["value"],
        unit=attrs["unit"],
        kind=_kind(attrs.get("scale", "linear")),
        low=attrs.get("low"),
        high=attrs.get("high"),
    )
    tokens = Axis(
        name="position", labels=[str(token) for token in result["token"].values], tokens=True
    )
    lenses = [str(lens) for lens in result["lens"].values]
    axes = ("lens", "layer", "position")
    values = result[attrs["value"]].transpose(*axes).values.astype(float)
    top_tokens = result["top_tokens"].transpose(*axes, "top").values
    top_values = result["top_probabilities"].transpose(*axes, "top").values
    parts = tuple(
        Part(
            title=f"{lens} lens",
            values=values[place],
            rows=_axis(result, "layer", upwards=True),
            columns=tokens,
            colours=colours,
            top_tokens=top_tokens[place],
            top_values=top_values[place],
        )
        for place, lens in enumerate(lenses)
    )
    return Grid(title=f"Lens: {attrs['value']}", parts=parts, detail="Lens trajectory")


def attention_grids(result: xr.Dataset) -> Grid:
    """A grid of query and key for each head, the first token at the top left.

    Args:
        result: `attention` over `head`, `query`, `key`, with `query_token` and `key_token`; the
            attribute `unit`.
    """
    axes = {
        name: Axis(name=name, labels=result[f"{name}_token"].values.tolist(), tokens=True)
        for name in ("query", "key")
    }
    colours = Colours(name="attention", unit=result.attrs["unit"], kind="root", low=0.0)
    behind = np.triu_indices(len(axes["key"].labels), 1)
    parts = []
    for head in result["head"].values:
        values = result["attention"].sel(head=head).values.astype(np.float32)
        if not values[behind].any():  # a causal model
            values[behind] = np.nan
        parts.append(
            Part(
                title=str(head),
                values=values,
                rows=axes["query"],
                columns=axes["key"],
                colours=colours,
            )
        )
    return Grid(title="Attention", parts=tuple(parts))


def salience_strip(result: xr.Dataset) -> Grid:
    """One row, a cell for each token.

    Args:
        result: one variable over `position` with `token`; attributes `title`, `unit`, and `signed`,
            which colours around zero.
    """
    name = result.attrs["value"]
    tokens = [str(token) for token in result["token"].values]
    signed = bool(result.attrs["signed"])
    part = Part(
        values=result[name].values.astype(float)[None],
        rows=Axis(name="", labels=[""]),
        columns=Axis(name="position", labels=tokens, tokens=True),
        colours=Colours(
            name=name,
            unit=result.attrs["unit"],
            kind="diverging" if signed else "linear",
            low=None if signed else 0.0,
        ),
    )
    return Grid(title=result.attrs["title"], parts=(part,))


def _axis(result: xr.Dataset, name: str, *, upwards: bool = False) -> Axis:
    return Axis(name=name, labels=[str(label) for label in result[name].values], upwards=upwards)


def _kind(name: Any) -> Kind:
    if name not in get_args(Kind):
        raise ValueError(f"scale is {name!r}: it is one of {', '.join(get_args(Kind))}")
    kind: Kind = name
    return kind
