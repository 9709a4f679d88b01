"""The lens on the page: its grid by mouse and keys, its numbers, and its files."""

import csv
import json
import pathlib
from typing import Any

import numpy as np
import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses.lens_reading import read
from lit_tl.data.tasks import read_task
from lit_tl.figures.grid import Grid
from lit_tl.figures.tokens import visible
from tests.browser.conftest import (
    Watched,
    answered,
    card_at,
    open_lens,
    open_page,
    save,
    select_first,
    tab,
    until,
)
from tests.live_server import LitServer

DRAWN = ".figure[aria-busy=false] .grid .view canvas"
EXAMPLES = read_task("ioi").examples


@pytest.fixture
def server(two_models: LitServer) -> LitServer:
    return two_models


@pytest.fixture
def panel(watched: Watched, server: LitServer) -> Any:
    """The Lens panel with the first prompt."""
    open_page(watched.page, server, "?models=first&dataset=ioi")
    select_first(watched.page)
    panel = open_lens(watched.page)
    yield panel
    watched.check()


def choose(panel: Any, name: str, value: str) -> None:
    panel.get_by_label(name, exact=True).select_option(value)
    panel.locator(DRAWN).first.wait_for()


def rows_of(panel: Any) -> list[list[str]]:
    with panel.page.expect_download() as download:
        save(panel, "CSV")
    head, *rows = csv.reader(download.value.path().read_text("utf-8").splitlines())
    assert head[:5] == ["lens", "layer", "position", "token", "top_token"]
    return rows


def test_cards_have_the_models_tokens_and_the_csv_its_numbers(
    panel: Any, bundled: HookedTransformerLIT
) -> None:
    loaded = bundled.loaded
    trajectory = read(loaded, "tuned", EXAMPLES[0], "resid_pre")
    entropy = trajectory.entropy().stats
    strings = loaded.prompter.vocabulary.strings
    view = panel.locator(".view")
    for layer, position in ((0, 0), (2, 5), (4, trajectory.num_tokens - 1)):
        card = card_at(view, position, layer)
        order = np.argsort(-trajectory.log_probs[layer, position])[:10]
        expected = [visible(token) for token in strings(order.tolist())]
        assert card.locator(".guesses .name").all_inner_texts() == expected
        shares = [float(text) for text in card.locator(".guesses .value").all_inner_texts()]
        probabilities = np.exp(trajectory.log_probs[layer, position][order])
        assert np.allclose(shares, probabilities, atol=6e-4)
        name = "output" if layer == 4 else str(layer)
        assert card.locator(".where").inner_text().startswith(f"layer {name}, position {position} ")
        assert float(card.locator("b").inner_text()) == pytest.approx(
            float(entropy[layer, position]), abs=1e-3
        )
    top = trajectory.log_probs.argmax(-1)
    rows = rows_of(panel)
    assert [row[4] for row in rows] == strings([int(i) for i in top.ravel()])
    assert np.allclose([float(row[5]) for row in rows], entropy.ravel(), atol=1e-4)


def test_a_card_is_held_by_a_click_and_let_go_by_escape(panel: Any) -> None:
    page, view = panel.page, panel.locator(".view")
    box = view.bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 8)
    card = panel.locator(".card")
    card.wait_for()
    first = card.inner_text()
    page.mouse.click(box["x"] + 30, box["y"] + 8)
    page.mouse.move(box["x"] + 300, box["y"] + 8)
    held = panel.locator(".card.held")
    assert held.locator(".where").inner_text().strip("×\n") in first
    panel.locator(".detail .main-svg").first.wait_for()  # the grid makes room for it
    page.keyboard.press("Escape")
    held.wait_for(state="hidden")
    box = view.bounding_box()
    page.mouse.move(box["x"] + 301, box["y"] + 8)
    panel.locator(".card:not(.held)").wait_for()
    assert card.inner_text() != first


def test_the_grid_zooms_and_its_overview_moves_it(panel: Any) -> None:
    page, view = panel.page, panel.locator(".view")

    def labels() -> list[str]:
        return panel.locator(".labels.across span").all_inner_texts()

    view.focus()
    page.keyboard.press("0")
    panel.locator(".overview").wait_for(state="hidden")
    everything = labels()
    assert len(everything) > 10
    for _ in range(4):
        page.keyboard.press("+")
    overview = panel.locator(".overview")
    overview.wait_for()
    until(page, lambda: len(labels()) < len(everything))
    box = overview.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 5)
    page.mouse.down()
    page.mouse.up()
    until(page, lambda: labels()[-1] == everything[-1])
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, box["y"] + 5, steps=5)
    page.mouse.up()
    until(page, lambda: labels()[0] == everything[0])
    inside = view.bounding_box()
    page.mouse.move(inside["x"] + 50, inside["y"] + 50)
    for _ in range(12):
        page.mouse.wheel(0, 400)
    overview.wait_for(state="hidden")


def test_the_first_token_can_leave_the_colours(panel: Any, bundled: HookedTransformerLIT) -> None:
    entropy = read(bundled.loaded, "tuned", EXAMPLES[0], "resid_pre").entropy().stats
    high = panel.locator(".legend .high")
    for option, most in (
        ("shown", entropy.max()),
        ("not in the colours", entropy[:, 1:].max()),
        ("hidden", entropy[:, 1:].max()),
    ):
        panel.get_by_label("First token", exact=True).select_option(option)
        until(panel.page, lambda most=most: abs(float(high.inner_text()) - most) < 6e-3)
    assert "position 1 " in card_at(panel.locator(".view"), 0, 0).locator(".where").inner_text()


@pytest.mark.parametrize("kind", ["svg", "pdf", "png", "json"])
def test_files_come_from_the_server(panel: Any, kind: str) -> None:
    with panel.page.expect_download() as download:
        save(panel, kind.upper())
    content = download.value.path().read_bytes()
    if kind == "svg":
        svg = content.decode()
        assert "Lens: entropy" in svg
        assert EXAMPLES[0]["text"] in svg
        assert "tuned" in svg
    elif kind == "json":
        known = json.loads(content)
        assert known["prompt"] == EXAMPLES[0]["text"]
        assert len(known["rows"]) % 5 == 0
    else:
        assert content.startswith(b"%PDF" if kind == "pdf" else b"\x89PNG")


def test_changing_lens_and_statistic_redraws(panel: Any, bundled: HookedTransformerLIT) -> None:
    view = panel.locator(".view")
    before = card_at(view, 3, 1).inner_text()
    choose(panel, "lens", "logit")
    assert card_at(view, 3, 1).inner_text() != before
    choose(panel, "statistic", "forward KL")
    expected = read(bundled.loaded, "logit", EXAMPLES[0], "resid_pre").forward_kl().stats
    assert np.allclose([float(row[5]) for row in rows_of(panel)], expected.ravel(), atol=1e-3)
    choose(panel, "beside", "tuned")
    assert {row[0] for row in rows_of(panel)} == {"logit", "tuned"}
    choose(panel, "beside", "nothing")


def test_a_column_opens_its_tokens_over_the_layers(panel: Any) -> None:
    card_at(panel.locator(".view"), 8, 2)
    panel.page.keyboard.press("Enter")
    panel.locator(".detail .scatterlayer .trace").first.wait_for()
    assert panel.locator(".detail .scatterlayer .trace").count() >= 5
    assert "after 8" in panel.locator(".detail .gtitle").text_content()


def test_a_pinned_prompt_and_another_model_are_compared(
    panel: Any, bundled: HookedTransformerLIT
) -> None:
    page = panel.page
    page.locator("lit-main-toolbar").get_by_text("Pin datapoint").first.click()
    page.locator("lit-data-table tbody tr").nth(3).click()
    selected = page.locator("lit-tl-lens-module").last
    selected.locator(DRAWN).first.wait_for()
    against = selected.get_by_label("against", exact=True)
    assert against.is_disabled(), "entropy compares with nothing"
    choose(selected, "statistic", "JS divergence")
    assert against.is_enabled()
    assert against.input_value() == "pinned prompt", "it needs something to compare with"
    loaded = bundled.loaded
    own, other = (read(loaded, "tuned", EXAMPLES[i], "resid_pre") for i in (3, 0))
    shared = slice(0, min(own.num_tokens, other.num_tokens))
    expected = own.slice_sequence(shared).js_divergence(other.slice_sequence(shared)).stats
    got = np.array([float(row[5]) for row in rows_of(selected)])
    assert got.max() > 0.05
    assert np.allclose(got, expected.ravel(), atol=1e-4)
    choose(selected, "against", "other model")
    assert np.allclose([float(row[5]) for row in rows_of(selected)], 0, atol=1e-5), (
        "the same model says the same"
    )


def test_the_difference_from_a_pinned_prompt_is_drawn(
    watched: Watched, default_server: LitServer, bundled: HookedTransformerLIT
) -> None:
    page: Any = watched.page
    open_page(page, default_server, "?dataset=ioi")
    select_first(page)
    page.locator("lit-main-toolbar").get_by_text("Pin datapoint").first.click()
    page.locator("lit-data-table tbody tr").nth(3).click()
    open_lens(page)
    panel = page.locator("lit-tl-lens-module").last
    panel.locator(DRAWN).first.wait_for()
    expected = {}
    for name in ("Lens", "Attention"):
        figures = [lit_tl.draw(name, bundled, EXAMPLES[i]) for i in (3, 0)]
        one, other = (figure for figure in figures if isinstance(figure, Grid))
        expected[name] = one.minus(other).parts[0].values
    with answered(page, "/get_analysis", "Lens") as answer:
        panel.get_by_label("minus", exact=True).select_option("pinned prompt")
    assert answer.value.status == 200
    panel.locator(".legend", has_text="entropy, difference").wait_for()
    card = card_at(panel.locator(".grid .view"), 4, 2)
    said = float(card.locator("b").first.inner_text().replace(",", ""))
    assert said == pytest.approx(expected["Lens"][2, 4], rel=2e-3, abs=1e-3)
    tab(page, "Attention")
    attention = page.locator("lit-tl-attention-module").last
    attention.locator(".large .grid .view").wait_for()
    attention.get_by_label("Minus", exact=True).select_option("pinned prompt")
    attention.locator(".large .legend", has_text="attention, difference").wait_for()
    watched.check()


def test_a_saved_page_and_a_notebooks_cell_work_without_a_server(
    watched: Watched, bundled: HookedTransformerLIT, tmp_path: pathlib.Path
) -> None:
    figure = lit_tl.draw("Lens", bundled, EXAMPLES[0])
    assert isinstance(figure, Grid)
    figure.save(tmp_path / "lens.html")
    (tmp_path / "cell.html").write_text(f"<!DOCTYPE html><body>{figure._repr_html_()}", "utf-8")
    page: Any = watched.page
    for name, place in (("lens", page), ("cell", page.frame_locator("iframe"))):
        page.goto((tmp_path / f"{name}.html").as_uri())
        view = place.locator(".view")
        view.click(position={"x": 5, "y": 5})
        card = place.locator(".card.held")
        card.wait_for()
        assert card.locator(".where").inner_text().startswith("layer output, position ")
        assert card.locator(".guesses li").count() == 10
    assert watched.complaints == []
