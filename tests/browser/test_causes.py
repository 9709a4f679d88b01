"""The Causes tab: a pair is set up, its map drawn, a cell looked into, a data set gone through."""

import re
from typing import Any

import numpy as np
import pytest

from lit_tl import HookedTransformerLIT, analyze
from lit_tl.causal.pairs import PromptPair
from lit_tl.causal.patching import patch
from lit_tl.data.tasks import read_task
from tests.browser.conftest import Watched, card_at, open_page, save, select_first, tab, until
from tests.live_server import LitServer

EXAMPLE = dict(read_task("ioi").examples[0])
DRAWN = ".figure[aria-busy=false] .grid .view"


@pytest.fixture
def panel(watched: Watched, default_server: LitServer) -> Any:
    """The Causes panel with the first prompt, its map drawn."""
    page: Any = watched.page
    open_page(page, default_server, "?dataset=ioi")
    select_first(page)
    tab(page, "Causes")
    panel = page.locator("lit-tl-causes-module").first
    panel.locator(DRAWN).wait_for()
    yield panel
    watched.check()


def changes_of(panel: Any) -> dict[tuple[int, int], float]:
    """The numbers that cards show, of the last two columns."""
    view = panel.locator(".view")
    shown = {}
    columns = panel.locator(".pair-column").count()
    assert columns > 3
    for layer in range(4):
        card = card_at(view, 30, layer)  # the keys end at the last column
        where = card.locator(".where").inner_text()
        position = re.search(r"(?:position|head) (\d+)", where)
        assert position is not None
        shown[layer, int(position[1])] = float(card.locator("b").inner_text())
    return shown


def settle(panel: Any) -> None:
    panel.locator(DRAWN).wait_for()
    until(panel.page, lambda: "Method: exact patching." in panel.locator(".said").last.inner_text())


def compare(panel: Any, expected: np.ndarray) -> None:
    for (layer, place), value in changes_of(panel).items():
        assert value == pytest.approx(expected[layer, place], abs=2e-3)


def test_the_pair_of_an_example_is_drawn_with_pythons_numbers(
    panel: Any, bundled: HookedTransformerLIT
) -> None:
    settle(panel)
    assert panel.get_by_label("corrupt prompt").input_value() == EXAMPLE["corrupted_text"]
    differing = panel.locator(".pair-column.differs")
    assert differing.count() == 1
    assert differing.locator("code").all_inner_texts() == ["·Arthur", "·Denise"]
    compare(panel, patch(bundled, PromptPair.of(EXAMPLE))["effect"].values)
    panel.get_by_label("component", exact=True).select_option("z")
    settle(panel)
    compare(panel, patch(bundled, PromptPair.of(EXAMPLE), "z")["effect"].values)


def test_a_corrupt_prompt_is_typed_in_and_unequal_lengths_are_aligned(
    panel: Any, watched: Watched, bundled: HookedTransformerLIT
) -> None:
    settle(panel)
    corrupt = "Yesterday, when Denise and Arthur were in the big market, Denise passed the coat to"
    field = panel.get_by_label("corrupt prompt")
    field.fill(corrupt)
    field.press("Enter")
    panel.locator(".pair-column[title='not aligned']").first.wait_for()
    assert "without a partner" in panel.locator(".pair .said").inner_text()
    settle(panel)
    pair = PromptPair.of({**EXAMPLE, "corrupted_text": corrupt})
    compare(panel, patch(bundled, pair)["effect"].values)
    foil = panel.get_by_label("foil", exact=True)
    foil.fill("")
    foil.press("Enter")
    panel.locator(".figure .failed").wait_for()
    assert "no foil" in panel.locator(".figure .failed").inner_text()
    watched.complaints.clear()  # the browser's own, of the refusal
    foil.fill(EXAMPLE["foil"])
    foil.press("Enter")
    settle(panel)


def test_a_pinned_prompt_is_the_corrupt_one(panel: Any, bundled: HookedTransformerLIT) -> None:
    page = panel.page
    settle(panel)
    page.locator("lit-main-toolbar").get_by_text("Pin datapoint").first.click()
    page.locator("lit-data-table tbody tr").nth(4).click()
    own = page.locator("lit-tl-causes-module").last
    own.get_by_label("against", exact=True).select_option("pinned prompt")
    settle(own)
    field = own.get_by_label("corrupt prompt")
    assert field.is_disabled()
    assert field.input_value() == EXAMPLE["text"]
    clean = dict(read_task("ioi").examples[4])
    pair = PromptPair.of({**clean, "corrupted_text": EXAMPLE["text"]})
    compare(own, patch(bundled, pair)["effect"].values)


def test_a_click_on_a_cell_shows_what_the_patched_run_predicts(
    panel: Any, bundled: HookedTransformerLIT
) -> None:
    settle(panel)
    panel.get_by_label("component", exact=True).select_option("resid_post")
    settle(panel)
    view = panel.locator(".view")
    box = view.bounding_box()
    view.click(position={"x": box["width"] - 8, "y": 8})  # the last layer, at the last token
    panel.locator(".detail .main-svg").first.wait_for()
    place = len(bundled.loaded.tokens({"text": EXAMPLE["corrupted_text"]})) - 1
    result = analyze(
        "Patched prediction", bundled, EXAMPLE, component="resid_post", layer=3, position=place
    )
    shown = panel.locator(".detail").evaluate(
        "plot => plot.data.map(({name, x}) => [name, Array.from(x)])"
    )
    assert [name for name, _ in shown] == ["clean", "corrupt", "patched"]
    np.testing.assert_allclose([x for _, x in shown], result["probability"].values, atol=1e-4)


def test_one_layer_is_looked_into_by_head_and_by_neuron(
    panel: Any, bundled: HookedTransformerLIT
) -> None:
    settle(panel)
    layer = panel.get_by_label("layer", exact=True)
    assert layer.is_disabled()
    panel.get_by_label("component", exact=True).select_option("z")
    panel.get_by_label("layers", exact=True).select_option("one")
    layer.fill("1")
    layer.press("Enter")
    panel.locator(".view[aria-label^='z of layer 1']").wait_for()
    settle(panel)
    pair, dims = PromptPair.of(EXAMPLE), ("layer", "head", "position")
    expected = patch(bundled, pair, "z", dims=dims, layers=[1])["effect"].values[0]
    card = card_at(panel.locator(".view"), 30, 0)  # the last head, at the last token
    assert card.locator(".where").inner_text().startswith("head 3, position")
    assert float(card.locator("b").inner_text()) == pytest.approx(expected[3, -1], abs=2e-3)
    panel.page.keyboard.press("Enter")
    panel.locator(".detail .main-svg").first.wait_for()
    title = "plot => plot.layout.title.text"
    assert "z of layer 1 patched in head 3 at" in panel.locator(".detail").evaluate(title)
    panel.page.keyboard.press("Escape")
    panel.get_by_label("component", exact=True).select_option("mlp_post")
    panel.locator(".view[aria-label^='mlp_post of layer 1']").wait_for()
    settle(panel)
    assert "Largest neurons: " in panel.locator(".said").last.inner_text()
    card_at(panel.locator(".view"), 5, 0)
    panel.page.keyboard.press("Enter")
    until(
        panel.page,
        lambda: "patched in neuron" in (panel.locator(".detail").evaluate(title) or ""),
    )


def test_the_other_views_are_drawn(panel: Any) -> None:
    figures = panel.get_by_label("Figure", exact=True)
    for name, drawn in (
        ("Logit attribution", ".figure[aria-busy=false] .plot .main-svg"),
        ("Circuit", ".figure[aria-busy=false] .plot .main-svg"),
        ("Head finder", ".figure[aria-busy=false] table.heads"),
    ):
        figures.select_option(name)
        panel.locator(drawn).first.wait_for()
    first = panel.locator(".heads tbody th").first.inner_text()
    button = panel.get_by_role("button", name="induction")
    button.click()
    assert panel.locator(".heads tbody th").first.inner_text() != first
    column = panel.locator(".heads tbody tr td:nth-child(4)").all_inner_texts()
    values = [float(text) for text in column]
    assert values == sorted(values, reverse=True)
    assert panel.locator("th[aria-sort=descending]").inner_text().startswith("induction")


def test_a_slider_sets_the_size_of_the_circuit(panel: Any) -> None:
    panel.get_by_label("Figure", exact=True).select_option("Circuit")
    drawn = panel.locator(".figure[aria-busy=false] .plot .main-svg").first
    drawn.wait_for()
    edges = "plot => plot.data.filter(({xaxis, mode}) => mode === 'lines' && xaxis !== 'x2').length"
    plot = panel.locator(".figure .plot").first
    before = plot.evaluate(edges)
    slider = panel.get_by_label("edges", exact=True)
    assert slider.get_attribute("type") == "range"
    slider.focus()
    panel.page.keyboard.press("PageUp")
    until(panel.page, lambda: plot.evaluate(edges) > before)
    assert int(panel.locator("output").inner_text()) > 40


def test_a_mean_over_data_is_drawn_and_saved(panel: Any) -> None:
    panel.get_by_label("Figure", exact=True).select_option("Patching over data")
    panel.get_by_label("most", exact=True).fill("3")
    panel.get_by_label("most", exact=True).press("Enter")
    until(panel.page, lambda: panel.locator(".said").last.inner_text().startswith("3 pairs."))
    panel.locator(DRAWN).wait_for()
    card = card_at(panel.locator(".view"), 1, 1)
    assert "share of pairs of its sign" in card.inner_text()
    with panel.page.expect_download() as download:
        save(panel, "CSV")
    text = download.value.path().read_text("utf-8")
    assert text.startswith("layer,head,")
    assert len(text.splitlines()) == 1 + 4 * 4
