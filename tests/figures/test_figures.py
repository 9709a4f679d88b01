"""Every number of a result is in its figure, in its place."""

import base64
import json

import numpy as np
import pytest
import xarray as xr

from lit_tl.figures.along_prompt import token_bars
from lit_tl.figures.grid import Colours, json_bytes
from lit_tl.figures.grids import layer_by_head, lens_grids
from lit_tl.figures.lens import band_over_layers, lines_over_layers, readable
from lit_tl.figures.training import by_layer, loss_curves

TOKENS = ["<s>", " a", "\n", "<b>", " a"]


def heads(values: np.ndarray, **attrs: object) -> xr.Dataset:
    sizes = {"layer": range(values.shape[0]), "head": range(values.shape[1])}
    return xr.Dataset(
        {"score": (("layer", "head"), values)}, coords=sizes, attrs={"value": "score", **attrs}
    )


def test_a_cell_for_each_layer_and_head() -> None:
    values = np.array([[0.1, 0.2, 0.3], [0.4, np.nan, 0.6]])
    (part,) = layer_by_head(heads(values, unit="nats")).parts
    assert np.array_equal(part.values, values, equal_nan=True)
    assert list(part.rows.labels) == ["0", "1"]
    assert part.rows.upwards
    assert part.colours.span([part.values]) == (0, 0.6)
    assert part.colours.unit == "nats"


@pytest.mark.parametrize(("most", "expected"), [(1.0, 1.0), (0.5, 0.6)])
def test_colours_span_at_least_what_the_result_says(most: float, expected: float) -> None:
    (part,) = layer_by_head(heads(np.array([[0.1, 0.6]]), most=most)).parts
    assert part.colours.span([part.values]) == (0, expected)


def test_colours_are_the_same_on_both_sides_of_zero() -> None:
    values = np.array([[-3.0, 1.0, np.nan]])
    assert Colours(name="difference", kind="diverging").span([values]) == (-3, 3)
    assert Colours(name="rank", kind="log", low=1.0).span([np.array([[40.0]])]) == (1, 40)
    low, high = Colours(name="nothing").span([np.full((2, 2), np.nan)])
    assert low < high


def along(values: list[float], **attrs: object) -> xr.Dataset:
    return xr.Dataset(
        {"loss": ("position", values)},
        coords={"position": range(len(values)), "token": ("position", TOKENS)},
        attrs={"value": "loss", "unit": "nats", **attrs},
    )


def test_a_bar_for_each_token() -> None:
    figure = token_bars(along([np.nan, 1.0, 2.0, 3.0, 4.0]))
    (bars,) = figure.data
    assert list(bars.y) == [None, 1.0, 2.0, 3.0, 4.0]
    assert list(bars.x) == [0, 1, 2, 3, 4], "two tokens of one name are two bars"
    assert list(bars.customdata) == ["&lt;s&gt;", "·a", "↵", "&lt;b&gt;", "·a"]
    assert figure.layout.meta == {"pos": "x"}
    assert figure.layout.yaxis.type == "linear"
    assert token_bars(along([1.0] * 5, logarithmic=True)).layout.yaxis.type == "log"


def test_tokens_are_readable_and_never_markup() -> None:
    assert [readable(token) for token in (" x", "\t", "", "<img src=x>")] == [
        "·x",
        "⇥",
        "∅",
        "&lt;img·src=x&gt;",
    ]


def grid(lenses: list[str], n_layers: int = 3, n_tokens: int = 5, top: int = 2) -> xr.Dataset:
    shape = (len(lenses), n_layers, n_tokens)
    names = np.array([f" t{i}" for i in range(int(np.prod(shape)) * top)], dtype=object)
    probabilities = np.linspace(0, 1, names.size)
    axes = ("lens", "layer", "position")
    return xr.Dataset(
        {
            "entropy": (axes, np.arange(np.prod(shape), dtype=float).reshape(shape)),
            "top_tokens": ((*axes, "top"), names.reshape(*shape, top)),
            "top_probabilities": ((*axes, "top"), probabilities.reshape(*shape, top)),
        },
        coords={
            "lens": lenses,
            "layer": [*map(str, range(n_layers - 1)), "output"],
            "position": range(n_tokens),
            "token": ("position", (TOKENS * n_tokens)[:n_tokens]),
        },
        attrs={"value": "entropy", "unit": "nats", "scale": "linear", "low": 0.0},
    )


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_a_grid_for_each_lens_with_its_likeliest_tokens() -> None:
    result = grid(["logit", "tuned"])
    drawn = lens_grids(result)
    assert drawn.detail == "Lens trajectory"
    sent = json.loads(json.dumps(drawn.to_json()))
    assert [part["title"] for part in sent["parts"]] == ["logit lens", "tuned lens"]
    for part, lens in zip(sent["parts"], ("logit", "tuned"), strict=True):
        own = result.sel(lens=lens)
        assert np.array_equal(numbers(part["values"], "<f4").reshape(3, 5), own["entropy"].values)
        assert part["rows"]["labels"] == ["0", "1", "output"]
        assert part["columns"]["labels"] == TOKENS
        assert part["colours"]["low"] == 0.0
        ids = numbers(part["top"]["ids"], "<u4").reshape(3, 5, part["top"]["count"])
        tokens = np.array(sent["strings"], dtype=object)[ids]
        assert np.array_equal(tokens, own["top_tokens"].values)
        shares = numbers(part["top"]["values"], "<f4").reshape(ids.shape)
        assert np.array_equal(shares, own["top_probabilities"].values.astype("f4"))


def test_a_grids_size_is_known_before_it_is_made() -> None:
    drawn = lens_grids(grid(["logit"], n_layers=30, n_tokens=5, top=10))
    part = drawn.to_json()["parts"][0]
    made = len(part["values"]) + len(part["top"]["ids"]) + len(part["top"]["values"])
    assert abs(made - json_bytes(150, top=10)) < 20


def test_an_unknown_scale_is_refused() -> None:
    result = grid(["logit"])
    result.attrs["scale"] = "rainbow"
    with pytest.raises(ValueError, match="scale is 'rainbow': it is one of linear, log"):
        lens_grids(result)


def test_a_line_for_each_token() -> None:
    result = xr.Dataset(
        {"probability": (("layer", "token"), np.arange(6.0).reshape(3, 2))},
        coords={"layer": ["0", "1", "output"], "token": [" a", " b"]},
        attrs={"value": "probability", "unit": "", "title": "after 3"},
    )
    figure = lines_over_layers(result)
    assert [trace.name for trace in figure.data] == ["·a", "·b"]
    assert [list(trace.y) for trace in figure.data] == [[0, 2, 4], [1, 3, 5]]
    assert figure.layout.title.text == "after 3"


def test_a_mean_lies_in_the_middle_of_its_band() -> None:
    mean, spread = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.25, 0.0])
    result = xr.Dataset(
        {"entropy": ("layer", mean), "standard deviation": ("layer", spread)},
        coords={"layer": ["0", "1", "output"]},
        attrs={"value": "entropy", "unit": "nats", "title": "entropy"},
    )
    upper, lower, line = band_over_layers(result).data
    assert np.array_equal(np.array(upper.y), mean + spread)
    assert np.array_equal(np.array(lower.y), mean - spread)
    assert lower.fill == "tonexty"
    assert np.array_equal(np.array(line.y), mean)


def test_a_curve_for_each_layer_of_a_training_run() -> None:
    figure = loss_curves([[3.0, 2.0], [2.5, 1.5], [2.0, 1.0]], "kl")
    assert [trace.name for trace in figure.data] == ["layer 0", "layer 1"]
    assert [list(trace.y) for trace in figure.data] == [[3.0, 2.5, 2.0], [2.0, 1.5, 1.0]]
    assert list(figure.data[0].x) == [1, 2, 3]


def test_evaluations_stand_side_by_side_with_their_errors() -> None:
    line = (np.array([1.0, 0.5]), np.array([0.1, 0.2]))
    figure = by_layer(
        {"KL": {"logit": line, "tuned": line}, "loss": {"logit": line}},
        {"KL": "nats", "loss": "nats"},
        {"loss": 3.0},
    )
    assert [trace.name for trace in figure.data] == ["logit", "tuned", "logit"]
    assert all(list(trace.error_y.array) == [0.1, 0.2] for trace in figure.data)
    assert [trace.showlegend for trace in figure.data] == [True, True, False]
    (across,) = figure.layout.shapes
    assert (across.y0, across.y1) == (3.0, 3.0)
