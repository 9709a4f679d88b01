"""The page by keyboard alone."""

from typing import Any

import pytest

from tests.browser.conftest import Watched, open_lens, open_page, select_first, until
from tests.live_server import LitServer

FOCUSED = """() => {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element;
}"""


@pytest.fixture
def page(watched: Watched, default_server: LitServer) -> Any:
    watched.page.set_viewport_size({"width": 1440, "height": 900})
    open_page(watched.page, default_server, "?dataset=ioi")
    select_first(watched.page)
    yield watched.page
    watched.check()


def tab_to(page: Any, selector: str, most: int = 60) -> None:
    """Press Tab until the focus is on such an element."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate(f"() => ({FOCUSED})()?.matches({selector!r})"):
            return
    raise AssertionError(f"{most} presses of Tab reach no {selector}")


def test_a_row_is_reached_and_chosen(page: Any) -> None:
    editor = page.locator("datapoint-editor-module textarea").first
    before = editor.input_value()
    tab_to(page, "tbody tr")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    until(page, lambda: editor.input_value() != before)
    third = page.locator("lit-data-table tbody tr").nth(2)
    assert third.filter(has_text=editor.input_value()).count() == 1
    outline = page.evaluate(f"() => getComputedStyle(({FOCUSED})()).outlineStyle")
    assert outline != "none", "the focus is seen"


def test_tabs_are_reached_and_opened(page: Any) -> None:
    for _ in range(6):  # of tab bars
        tab_to(page, ".tab[aria-selected=true]")
        if "Predictions" in page.evaluate(f"() => ({FOCUSED})().textContent"):
            break
    for _ in ("Chat", "Attention", "Lens"):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator("lit-tl-lens-module .grid .view").wait_for()
    tab_to(page, ".view")
    page.keyboard.press("ArrowLeft")
    page.locator("lit-tl-lens-module .card").wait_for()
    assert page.locator("lit-tl-lens-module .spoken").text_content().startswith("layer output")


def test_a_control_keeps_the_focus_when_it_has_changed(page: Any) -> None:
    lens = open_lens(page)
    lens.get_by_label("statistic", exact=True).focus()
    page.keyboard.press("f")  # forward KL
    lens.locator(".legend", has_text="forward KL").wait_for()
    assert page.evaluate(f"() => ({FOCUSED})().getAttribute('aria-label')") == "statistic"


def test_labels_stand_right_below_their_cells(page: Any) -> None:
    lens = open_lens(page)
    view = lens.locator(".view").bounding_box()
    label = lens.locator(".labels.across span").first.bounding_box()
    assert label["y"] - (view["y"] + view["height"]) < 12
    assert view["height"] == 5 * 36, "four layers and the output"


def test_the_keys_are_listed(page: Any) -> None:
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    keys.get_by_text("in a grid, hold the card").wait_for()
    page.keyboard.press("Escape")
    keys.wait_for(state="hidden")
    editor = page.locator("datapoint-editor-module textarea").first
    editor.focus()
    page.keyboard.press("End")
    page.keyboard.press("?")
    assert editor.input_value().endswith("?"), "a question mark in a text is a question mark"
    assert not keys.is_visible()


def test_the_models_numbers_stand_beside_the_prompt(page: Any) -> None:
    def left(name: str) -> float:
        head = page.locator("lit-data-table thead th", has_text=name).first
        head.wait_for(state="attached")
        return float(head.evaluate("e => e.getBoundingClientRect().left"))

    loss = left("loss")
    assert left("text") < loss < left("answer_rank") < left("corrupted_text")
