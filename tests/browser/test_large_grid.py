"""A grid of 100 by 2,048 cells, by keys and with its card."""

import pathlib
from typing import Any

import numpy as np
import pytest

from lit_tl.figures.grid import Axis, Colours, Grid, Part
from tests.browser.conftest import Watched

ROWS, COLUMNS = 100, 2048


def large() -> Grid:
    rng = np.random.default_rng(0)
    tokens = np.array([f"t{i}" for i in range(COLUMNS)], dtype=object)
    part = Part(
        title="logit lens",
        values=np.arange(ROWS * COLUMNS, dtype=float).reshape(ROWS, COLUMNS),
        rows=Axis(name="layer", labels=[str(i) for i in range(ROWS)], upwards=True),
        columns=Axis(name="position", labels=tokens.tolist(), tokens=True),
        colours=Colours(name="entropy", unit="nats", low=0.0),
        top_tokens=tokens[rng.integers(0, COLUMNS, (ROWS, COLUMNS, 10))],
        top_values=np.sort(rng.random((ROWS, COLUMNS, 10)), axis=-1)[..., ::-1],
    )
    return Grid(title="Lens: entropy", parts=(part,))


def test_keys_and_card_reach_every_corner(watched: Watched, tmp_path: pathlib.Path) -> None:
    grid = large()
    part = grid.parts[0]
    assert part.top_values is not None
    grid.save(tmp_path / "large.html")
    page: Any = watched.page
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto((tmp_path / "large.html").as_uri())
    view, card = page.locator(".view"), page.locator(".card:not([hidden])")
    view.focus()
    page.keyboard.press("ArrowRight")  # to the last position of the output, at the top
    corners = [([], ROWS - 1, COLUMNS - 1), (["Home"], ROWS - 1, 0), (["PageDown"] * 11, 0, 0)]
    corners.append((["End"], 0, COLUMNS - 1))
    for keys, row, column in corners:
        for key in keys:
            page.keyboard.press(key)
        assert card.locator(".where").inner_text() == f"layer {row}, position {column} t{column}"
        said = float(card.locator("b").first.inner_text().replace(",", ""))
        assert said == pytest.approx(part.values[row, column])
        first = card.locator(".guesses li").first.locator(".value").inner_text()
        assert float(first) == pytest.approx(part.top_values[row, column, 0], abs=6e-4)
    page.keyboard.press("Enter")
    page.locator(".card.held").wait_for()
    for _ in range(8):
        page.keyboard.press("-")
    labels = page.locator(".grid .labels span")
    sizes = labels.evaluate_all("all => all.map(e => parseFloat(getComputedStyle(e).fontSize))")
    assert sizes
    assert min(sizes) >= 10, "text can be read, or is not there"
    assert watched.complaints == []
