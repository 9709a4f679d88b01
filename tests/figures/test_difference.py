"""One grid less another."""

import numpy as np
import pytest

from lit_tl.figures.difference import difference, rows_of
from lit_tl.figures.grid import Axis, Colours, Grid, Part


def grid(
    tokens: list[str], layers: int, offset: float = 0.0, name: str = "entropy", matrices: int = 1
) -> Grid:
    labels = [*map(str, range(layers)), "output"]
    values = offset + np.arange((layers + 1) * len(tokens), dtype=float).reshape(layers + 1, -1)
    part = Part(
        values=values,
        rows=Axis(name="layer", labels=labels, upwards=True),
        columns=Axis(name="position", labels=tokens, tokens=True),
        colours=Colours(name=name, unit="nats"),
        top_tokens=np.full((*values.shape, 1), "a", dtype=object),
        top_values=np.ones((*values.shape, 1)),
    )
    return Grid(title=f"Lens: {name}", parts=(part,) * matrices, facts={"model": "m"})


def test_the_same_tokens_are_subtracted_cell_by_cell() -> None:
    both = grid(["a", "b"], 3, 5.0).minus(grid(["a", "b"], 3))
    (part,) = both.parts
    assert (part.values == 5.0).all()
    assert (part.colours.kind, part.colours.unit) == ("diverging", "nats")
    assert both.title == "Lens: entropy: difference"
    assert both.facts == {"model": "m"}
    assert part.top_tokens is None
    for kind in ("svg", "html"):
        assert both.to_html() if kind == "html" else both.render(kind)


def test_tokens_of_different_lengths_are_aligned() -> None:
    first = grid(["when", "Mary", "and", "John", "went"], 1)
    second = grid(["when", "the", "tall", "John", "went", "home"], 1)
    (part,) = difference(first, second).parts
    there = np.isfinite(part.values).all(0)
    assert there.tolist() == [True, True, True, True, True], "as many other tokens in their place"
    assert part.values[0].tolist() == [0.0] * 5
    assert part.values[1].tolist() == [5.0 - 6.0] * 5
    longer = grid(["so", "when", "Mary", "and", "then", "John", "went"], 1)
    (part,) = difference(longer, first).parts
    assert np.isfinite(part.values[0]).tolist() == [False, True, True, True, False, True, True]
    assert part.values[0, 1] == 1.0 - 0.0
    assert part.values[0, 5] == 5.0 - 3.0


def test_models_of_different_depth_share_their_output_alone() -> None:
    (part,) = difference(grid(["a", "b"], 12), grid(["a", "b"], 30)).parts
    assert np.isnan(part.values[:-1]).all()
    assert part.values[-1].tolist() == [24.0 - 60.0, 25.0 - 61.0]
    assert len(part.rows.labels) == 13, "the axis is the first one's"


def test_what_has_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="grids of 1 and 2 matrices can't be compared"):
        difference(grid(["a"], 1), grid(["a"], 1, matrices=2))
    with pytest.raises(ValueError, match="entropy and rank can't be set against each other"):
        difference(grid(["a"], 1), grid(["a"], 1, name="rank"))
    with pytest.raises(ValueError, match="these two have no cell in common"):
        difference(grid(["a"], 1), grid(["b", "c"], 1))


def test_as_a_table() -> None:
    columns, rows = rows_of(grid(["a", "b"], 1, 2.0).minus(grid(["a"], 1)))
    assert columns == ["matrix", "layer", "position", "entropy, difference"]
    assert rows == [["", "0", "0 a", 2.0], ["", "output", "0 a", 3.0]]
