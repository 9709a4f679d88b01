"""Browse: a store's rows, its filter, histogram and comparison, and rows opened in the page."""

import re
from typing import Any

import pytest

from lit_tl.store import Store
from lit_tl.store.comparing import Side, differences, largest_first
from lit_tl.store.projections import placed
from lit_tl.store.queries import Order, Queries
from tests.browser.conftest import Watched, select_first, tab, until
from tests.browser.test_accessibility import violations
from tests.live_server import LitServer
from tests.precompute.conftest import make_store

COUNT = 3000
LOSS = "tiny.loss"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    models = ["tiny=lit-tl-tiny", "cut=lit-tl-tiny{L2H0 = zero}"]
    analyses = "predictions,activations[site=resid_post]"
    return make_store(tmp_path_factory.mktemp("stores"), analyses, COUNT, models)


@pytest.fixture(scope="module")
def server(start_server: Any, store: Store) -> LitServer:
    started: LitServer = start_server("--store", str(store.folder))
    return started


@pytest.fixture(scope="module")
def queries(server: LitServer, store: Store) -> Queries:
    """Of the same store, whose index the server has made."""
    return Queries(store)


@pytest.fixture
def page(watched: Watched, server: LitServer) -> Any:
    """With the first rows."""
    opened: Any = watched.page
    opened.goto(server.url)
    tab(opened, "Browse")
    lines(opened).first.wait_for()
    return opened


def panel(page: Any) -> Any:
    return page.locator("lit-tl-browse-module")


def lines(page: Any) -> Any:
    return panel(page).locator(".line:not(.head):not(.waiting)")


def texts(page: Any, count: int = 5) -> list[str]:
    """Of the first rows that are seen."""
    return [lines(page).nth(i).locator(".cell").nth(1).inner_text() for i in range(count)]


def wants(page: Any, queries: Queries, rows: Any) -> None:
    """Wait until the first rows are these."""
    expected = [record["text"] for record in queries.page(rows[:5].tolist(), ["text"])]
    until(page, lambda: lines(page).count() >= 5 and texts(page) == expected)


def type_filter(page: Any, text: str) -> None:
    box = panel(page).get_by_label("Filter", exact=True)
    box.fill(text)
    box.press("Enter")


def test_rows_are_sorted_filtered_and_scrolled(
    page: Any, queries: Queries, watched: Watched
) -> None:
    wants(page, queries, queries.rows())
    panel(page).get_by_role("button", name=LOSS, exact=True).click()
    wants(page, queries, queries.rows("", Order(column=LOSS, descending=True)))
    panel(page).get_by_role("button", name=re.compile(f"^{re.escape(LOSS)}")).click()
    wants(page, queries, queries.rows("", Order(column=LOSS)))
    text = 'tiny.answer_rank > 1 and text has "Spain"'
    type_filter(page, text)
    rows = queries.rows(text, Order(column=LOSS))
    wants(page, queries, rows)
    panel(page).get_by_text(f"{len(rows):,} of {COUNT:,}").wait_for()
    panel(page).locator(".rows").focus()
    page.keyboard.press("End")
    last = queries.page(rows[-1:].tolist(), ["text"])[0]["text"]
    until(page, lambda: lines(page).last.locator(".cell").nth(1).inner_text() == last)
    assert lines(page).last.get_attribute("aria-rowindex") == str(len(rows) + 1)
    watched.check()


def test_a_filter_with_an_error_changes_nothing(page: Any, queries: Queries) -> None:
    type_filter(page, "tiny.loss > 9")
    rows = queries.rows("tiny.loss > 9")
    wants(page, queries, rows)
    type_filter(page, "tiny.los > 9")
    panel(page).get_by_text("did you mean tiny.loss?").wait_for()
    wants(page, queries, rows)
    type_filter(page, "tiny.loss > 9")
    until(page, lambda: panel(page).locator(".failed").first.inner_text() == "")
    assert panel(page).get_by_label("Filter", exact=True).get_attribute("aria-invalid") == "false"


def test_a_histogram_is_brushed(page: Any, queries: Queries, watched: Watched) -> None:
    panel(page).get_by_label("Histogram", exact=True).select_option(LOSS)
    picture = panel(page).locator(".histogram svg")
    picture.wait_for()
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 30, steps=4)
    page.mouse.up()
    field = panel(page).get_by_label("Filter", exact=True)
    until(page, lambda: "between" in field.input_value())
    rows = queries.rows(field.input_value())
    assert 0 < len(rows) < COUNT
    wants(page, queries, rows)
    watched.check()


def test_rows_are_opened_in_the_page(page: Any, queries: Queries, watched: Watched) -> None:
    """The chosen ones; every panel then works on them, with the store's numbers."""
    panel(page).get_by_role("button", name=LOSS, exact=True).click()
    rows = queries.rows("", Order(column=LOSS, descending=True))
    wants(page, queries, rows)
    for place in (0, 2, 3):
        lines(page).nth(place).get_by_role("checkbox").check()
    panel(page).get_by_role("button", name="Open 3 in the page").click()
    chosen = queries.page(rows[[0, 2, 3]].tolist(), ["text", LOSS])
    page.get_by_text("1 of 3 datapoints").wait_for()
    until(page, lambda: select_first(page) == chosen[0]["text"])
    tab(page, "Predictions")
    predictions = page.locator("lit-tl-predictions-module")
    predictions.get_by_text(f"mean loss {chosen[0][LOSS]:.2f}").first.wait_for()
    assert "dataset=store-" in page.url
    watched.check()


def test_an_original_and_its_variant_are_compared(
    page: Any, queries: Queries, watched: Watched
) -> None:
    panel(page).get_by_label("Show", exact=True).select_option("Compare")
    panel(page).get_by_label("Compare", exact=True).select_option(LOSS)
    panel(page).get_by_label("against", exact=True).select_option("cut.loss")
    one, other = Side(queries=queries, column=LOSS), Side(queries=queries, column="cut.loss")
    found = differences(one, other, queries.rows())
    wants(page, queries, largest_first(found))
    said = panel(page).locator(".compare .said").inner_text()
    assert f"mean {found.mean():.4g}" in said
    assert "95 % bootstrap interval" in said
    assert panel(page).locator(".histogram rect").count() > 10
    type_filter(page, 'text has "Italy"')
    italy = queries.rows('text has "Italy"')
    some = differences(one, other, italy)
    wants(page, queries, italy[largest_first(some)])
    panel(page).get_by_label("Show", exact=True).select_option("Statistics")
    panel(page).get_by_label("By", exact=True).select_option("topic")
    panel(page).get_by_role("cell", name="Italy", exact=True).first.wait_for()
    watched.check()


def test_points_are_chosen_on_a_map(page: Any, store: Store, watched: Watched) -> None:
    """Principal components; what is dragged over is opened in the page."""
    panel(page).get_by_label("Show", exact=True).select_option("Map")
    layer = panel(page).get_by_label("Layer", exact=True)
    layer.wait_for()
    found = placed(store, "tiny.activations", int(layer.input_value()), "pca")
    said = panel(page).get_by_text(re.compile(r"3,000 rows; the axes have"))
    said.wait_for()
    assert f"{100 * found.explained[0]:.1f} %" in said.inner_text()
    box = panel(page).locator(".map .plot .draglayer .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5, steps=6)
    page.mouse.up()
    panel(page).get_by_role("button", name="Open 1,000 in the page").click()
    page.get_by_text("1 of 1000 datapoints").wait_for()
    watched.check()


def test_a_link_shows_the_same_rows(page: Any, queries: Queries, watched: Watched) -> None:
    text = 'tiny.loss > 9 and text has "Italy"'
    type_filter(page, text)
    panel(page).get_by_label("Sort by", exact=True).select_option(LOSS)
    rows = queries.rows(text, Order(column=LOSS, descending=True))
    wants(page, queries, rows)
    page.goto(page.url)
    tab(page, "Browse")
    wants(page, queries, rows)
    assert panel(page).get_by_label("Filter", exact=True).input_value() == text


def test_it_can_be_used_without_a_mouse_and_axe_finds_nothing(page: Any) -> None:
    assert violations(page) == []


def test_without_a_store_there_is_no_such_tab(watched: Watched, default_server: LitServer) -> None:
    watched.page.goto(default_server.url)
    watched.page.locator("lit-data-table tbody tr").first.wait_for()
    assert watched.page.locator(".tab", has_text="Browse").count() == 0
