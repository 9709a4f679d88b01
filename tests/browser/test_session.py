"""A session outlives its browser and its server: what a page showed, it shows again."""

import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lit_tl import Session
from tests.browser.conftest import Watched, open_page, select_first, tab, until
from tests.browser.test_accessibility import violations
from tests.browser.test_interventions import panel_of, type_change
from tests.live_server import LitServer

ABLATION = "L1H3 = zero"
PANELS = {
    "Predictions": "lit-tl-predictions-module .next .guesses li",
    "Lens": "lit-tl-lens-module .figure[aria-busy=false] .grid .view",
    "Attention": "lit-tl-attention-module .large .view",
    "Salience": "lit-tl-salience-module .salience .guesses li",
    "Causes": "lit-tl-causes-module .figure[aria-busy=false] .grid .view",
    "Figures": "lit-tl-figure-module .figure[aria-busy=false] .main-svg",
}
RECENT = (
    "() => fetch('list_sessions', {method: 'POST', body: '{}'})"
    ".then((reply) => reply.json()).then((all) => all.map(({title}) => title))"
)
"""Titles of what the server has kept by itself."""
Shown = dict[str, tuple[list[str], Any]]


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[[], Watched]]:
    """Pages of browsers that know nothing of each other."""
    contexts = []

    def make() -> Watched:
        context = browser.new_context(
            viewport={"width": 1440, "height": 900},
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        return Watched(context.new_page())

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def server(start_server: Callable[..., LitServer]) -> LitServer:
    return start_server("--datasets", "ioi,agreement")


def keep(panel: Any) -> None:
    panel.get_by_role("button", name="Keep", exact=True).click()
    panel.get_by_role("button", name="Kept", exact=True).wait_for()


def settled(page: Any, module: Any) -> list[str]:
    """What panels say when they change no longer: labels are drawn a frame later."""
    before: list[str] = []
    while True:
        texts: list[str] = []
        for place in range(module.count()):
            texts += module.nth(place).locator(".panel").all_inner_texts()
        if texts == before:
            return texts
        before = texts
        page.wait_for_timeout(400)


def look(page: Any, folder: pathlib.Path) -> Shown:
    """What each panel says, and how it looks."""
    shown: Shown = {}
    for name, drawn in PANELS.items():
        tab(page, name)
        tag, inside = drawn.split(" ", 1)
        module = page.locator(tag)
        for place in range(module.count()):
            module.nth(place).locator(inside).first.wait_for()
        page.locator(".loading").filter(visible=True).first.wait_for(state="hidden")
        page.mouse.move(5, 400)
        texts = settled(page, module)
        file = folder / f"{name}.png"
        module.first.screenshot(path=str(file))
        shown[name] = (texts, np.asarray(Image.open(file).convert("L"), float))
    return shown


def save(page: Any, path: pathlib.Path) -> None:
    tab(page, "Session")
    panel = page.locator("lit-tl-session-module")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Save", exact=True).click()
    download.value.save_as(path)


def test_every_panel_shows_the_same_on_a_new_server(
    new_page: Callable[[], Watched],
    start_server: Callable[..., LitServer],
    tmp_path: pathlib.Path,
) -> None:
    """Data with an edit, a variant, selection, settings of panels, figures, notes."""
    first = LitServer("--datasets", "ioi,agreement")
    watched = new_page()
    page: Any = watched.page
    open_page(page, first, "?dataset=ioi")
    page.locator("lit-data-table tbody tr").nth(2).click()
    tab(page, "Interventions")
    interventions = panel_of(page, "interventions")
    type_change(interventions, ABLATION)
    interventions.get_by_role("button", name="Make variant").click()
    panel_of(page, "interventions", 1).locator(
        ".figure[aria-busy=false] .main-svg"
    ).first.wait_for()
    tab(page, "Lens")
    lens = panel_of(page, "lens")
    lens.get_by_label("statistic").select_option("rank")
    lens.locator(".figure[aria-busy=false] .grid .view").first.wait_for()
    lens.get_by_label("First token").select_option("hidden")
    keep(lens)
    tab(page, "Attention")
    attention = panel_of(page, "attention")
    attention.locator(".large .view").wait_for()
    attention.locator(".head").nth(2).click()
    until(page, lambda: attention.locator(".matrix figcaption").last.inner_text().endswith("H2"))
    keep(attention)
    tab(page, "Figures")
    figures = panel_of(page, "figure")
    for place in range(2):
        panel_of(page, "figure", place).locator("select").first.select_option(
            "Loss along the prompt"
        )
    figures.locator(".figure[aria-busy=false] .main-svg").first.wait_for()
    keep(figures)
    editor = page.locator("datapoint-editor-module textarea").first
    editor.fill("After Anna and Tom went to the park, Tom gave a ball to")
    page.locator("datapoint-editor-module").get_by_text("Add", exact=True).click()
    page.get_by_text("of 101 datapoints").first.wait_for()
    tab(page, "Session")
    session = page.locator("lit-tl-session-module")
    session.get_by_label("Title").fill("The names")
    session.get_by_label("Note on figure 1").fill("The layers agree late.")
    session.get_by_label("Note on the selected prompt").fill("Mine.")
    session.get_by_label("Title").click()
    before = look(page, tmp_path)
    path = tmp_path / "names.json"
    save(page, path)
    watched.check()
    page.context.close()
    first.process.kill()
    first.process.communicate()

    second = start_server("--session", str(path))
    again = new_page()
    other: Any = again.page
    other.goto(second.url)
    other.locator("lit-tl-session-module .kept-card").nth(2).wait_for()
    other.get_by_text("of 101 datapoints").first.wait_for()
    assert other.locator("lit-tl-session-module").get_by_label("Title").input_value() == "The names"
    notes = other.locator("lit-tl-session-module textarea")
    until(other, lambda: notes.first.input_value() == "Mine.")
    assert notes.nth(1).input_value() == "The layers agree late."
    after = look(other, tmp_path)
    for name, (texts, picture) in before.items():
        assert after[name][0] == texts, name
        assert np.abs(after[name][1] - picture).mean() < 0.5, name
    saved, resaved = tmp_path / "names.json", tmp_path / "again.json"
    save(other, resaved)
    was, now = (Session.load(each).content for each in (saved, resaved))
    for part in ("title", "models", "data", "figures", "notes"):
        assert now[part] == was[part], part
    again.check()


def test_a_page_comes_back_after_its_browser_was_killed(
    new_page: Callable[[], Watched], server: LitServer
) -> None:
    """And after a reload: the server keeps it by itself."""
    watched = new_page()
    page: Any = watched.page
    open_page(page, server, "?dataset=ioi")
    select_first(page)
    tab(page, "Lens")
    panel_of(page, "lens").locator(".figure[aria-busy=false] .grid .view").first.wait_for()
    keep(panel_of(page, "lens"))
    tab(page, "Session")
    page.locator("lit-tl-session-module").get_by_label("Title").fill("Kept by itself")
    page.locator("lit-tl-session-module").get_by_label("Title").press("Tab")
    until(page, lambda: "session=page-" in page.url)
    until(page, lambda: "Kept by itself" in page.evaluate(RECENT))
    page.reload()
    page.locator("lit-tl-session-module .kept-card .view").wait_for()
    watched.check()
    page.context.close()  # no farewell
    again = new_page()
    other: Any = again.page
    open_page(other, server)
    tab(other, "Session")
    session = other.locator("lit-tl-session-module")
    session.get_by_role("button", name="Recent").click()
    session.get_by_role("button", name="Kept by itself").first.click()
    other.locator("lit-tl-session-module .kept-card .view").wait_for()
    assert session.get_by_label("Title").input_value() == "Kept by itself"
    assert session.locator(".kept-card h4").all_inner_texts() == ["1. Lens, lit-tl-tiny"]
    again.check()


def test_a_tab_that_opens_another_session_keeps_its_own(
    new_page: Callable[[], Watched], server: LitServer, tmp_path: pathlib.Path
) -> None:
    """What was done before stays among the recent ones; a page that nobody touches is not there."""
    other = tmp_path / "other.json"
    Session.of(title="OTHER").save(other)
    watched = new_page()
    page: Any = watched.page
    open_page(page, server)
    before = len(page.evaluate(RECENT))
    page.wait_for_timeout(4000)  # a look for changes
    assert len(page.evaluate(RECENT)) == before
    tab(page, "Session")
    session = page.locator("lit-tl-session-module")
    session.get_by_label("Title").fill("MINE")
    session.get_by_label("Title").press("Tab")
    until(page, lambda: "MINE" in page.evaluate(RECENT))
    with page.expect_navigation(url=re.compile("session=")):
        session.locator("input[type=file]").set_input_files(other)
    until(page, lambda: "OTHER" in page.evaluate(RECENT), seconds=60)
    assert "MINE" in page.evaluate(RECENT)
    watched.check()


def test_links_bring_others_the_page(new_page: Callable[[], Watched], server: LitServer) -> None:
    """Notes and edits in the address; a kept figure by an id."""
    watched = new_page()
    page: Any = watched.page
    open_page(page, server, "?dataset=agreement")
    select_first(page)
    tab(page, "Session")
    session = page.locator("lit-tl-session-module")
    session.get_by_label("Note on the selected prompt").fill("Look at this.")
    session.get_by_label("Title").click()

    def copied() -> str:
        page.locator("lit-app-toolbar").get_by_text("Copy Link").first.click()
        until(page, lambda: "session=" in page.evaluate("navigator.clipboard.readText()"))
        return str(page.evaluate("navigator.clipboard.readText()"))

    small = copied()
    assert "session=z." in small
    page.evaluate("navigator.clipboard.writeText('')")
    tab(page, "Lens")
    panel_of(page, "lens").locator(".figure[aria-busy=false] .grid .view").first.wait_for()
    keep(panel_of(page, "lens"))
    large = copied()
    assert re.search(r"session=[0-9a-f]{24}$", large)
    for link, cards in ((small, 0), (large, 1)):
        other = new_page()
        shown: Any = other.page
        shown.goto(link)
        tab(shown, "Session")
        panel = shown.locator("lit-tl-session-module")
        note = panel.get_by_label("Note on the selected prompt")
        until(shown, lambda note=note: note.input_value() == "Look at this.")
        until(shown, lambda panel=panel, n=cards: panel.locator(".kept-card").count() == n)
        other.check()
    watched.check()


def test_another_server_says_what_is_missing(
    new_page: Callable[[], Watched], server: LitServer, tmp_path: pathlib.Path
) -> None:
    """And shows what it can: the session's own examples, on the models that it has."""
    session = {
        **json.loads(Session.of(title="from elsewhere").to_json()),
        "models": [
            {"label": "lit-tl-tiny", "weights": "other", "source": None},
            {"label": "huge", "weights": "x", "source": {"model_name": "owner/huge"}},
            {"label": "cut", "weights": "x", "original": "huge", "changes": [ABLATION]},
        ],
        "data": [
            {
                "label": "mine",
                "digest": "d",
                "count": 1,
                "examples": [{"id": "i", "data": {"text": "The dog saw the cat"}}],
            }
        ],
        "page": {"query": {"models": "lit-tl-tiny,huge,cut", "dataset": "mine"}, "panels": {}},
    }
    path = tmp_path / "elsewhere.json"
    path.write_text(json.dumps(session))
    watched = new_page()
    page: Any = watched.page
    open_page(page, server)
    tab(page, "Session")
    page.locator("lit-tl-session-module input[type=file]").set_input_files(path)
    for sentence in (
        "The model lit-tl-tiny has other weights here than in the session.",
        "The model huge (owner/huge) is not on this server",
        "The variant cut needs the model huge, which is missing.",
        "The data set mine is not here as it was: the session's own examples are shown as mine.",
    ):
        page.get_by_text(sentence).first.wait_for()
    until(
        page,
        lambda: (
            page.locator("datapoint-editor-module textarea").first.input_value()
            == "The dog saw the cat"
        ),
    )
    state = "document.createElement('salience-map-module').appState"
    assert page.evaluate(f"() => [...{state}.currentModels]") == ["lit-tl-tiny"]
    watched.check()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"format": "lit_tl session", "vers', "is no session: it is cut off, or no JSON"),
        ('{"some": "thing"}', "no session of lit_tl"),
        ('{"format": "lit_tl session", "version": 99}', "install a later one"),
    ],
)
def test_a_foreign_file_changes_nothing(
    content: str,
    sentence: str,
    new_page: Callable[[], Watched],
    server: LitServer,
    tmp_path: pathlib.Path,
) -> None:
    """It is refused in one sentence."""
    path = tmp_path / "foreign.json"
    path.write_text(content)
    watched = new_page()
    page: Any = watched.page
    open_page(page, server)
    text = select_first(page)
    tab(page, "Session")
    panel = page.locator("lit-tl-session-module")
    panel.get_by_label("Title").fill("Stays")
    panel.locator("input[type=file]").set_input_files(path)
    panel.get_by_text(sentence).wait_for()
    assert panel.get_by_label("Title").input_value() == "Stays"
    assert page.locator("datapoint-editor-module textarea").first.input_value() == text


def test_the_session_tab_breaks_no_rule_of_axe(
    new_page: Callable[[], Watched], server: LitServer
) -> None:
    """With a kept figure."""
    page: Any = new_page().page
    open_page(page, server)
    select_first(page)
    tab(page, "Lens")
    panel_of(page, "lens").locator(".figure[aria-busy=false] .grid .view").first.wait_for()
    keep(panel_of(page, "lens"))
    tab(page, "Session")
    page.locator("lit-tl-session-module .kept-card .view").wait_for()
    assert violations(page) == []
