"""The Interventions tab: changes are staged, looked at, and made into a variant beside its
original."""

import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from lit_tl import HookedTransformerLIT
from lit_tl.data.tasks import read_task
from tests.browser.conftest import Watched, card_at, open_page, select_first, tab, until
from tests.live_server import LitServer

EXAMPLE = dict(read_task("ioi").examples[0])
ABLATION = "L1H3 = zero"
STEER = 'resid_post[1] += 0.5 * dir("love" - "hate")'
DRAWN = ".figure[aria-busy=false] .main-svg"


@pytest.fixture(scope="module")
def server(start_server: Any) -> LitServer:
    return start_server("--datasets", "ioi")


@pytest.fixture
def page(watched: Watched, server: LitServer) -> Iterator[Any]:
    opened: Any = watched.page
    open_page(opened, server)
    select_first(opened)
    yield opened
    watched.check()


def panel_of(page: Any, name: str, place: int = 0) -> Any:
    return page.locator(f"lit-tl-{name}-module").nth(place)


def type_change(panel: Any, change: str) -> None:
    field = panel.get_by_label("Add a change")
    field.fill(change)
    field.press("Enter")
    panel.locator(".chip", has_text=change).wait_for()


def note_of(panel: Any) -> str:
    return str(panel.locator(".said").last.inner_text())


def previewed(panel: Any, model: HookedTransformerLIT, variant: HookedTransformerLIT) -> None:
    """The preview says what Python says."""
    probabilities = [
        next(iter(each.predict([EXAMPLE], fields=["answer_prob"])))["answer_prob"]
        for each in (model, variant)
    ]
    expected = "p(answer): {:.3g} -> {:.3g}.".format(*probabilities)
    until(panel.page, lambda: expected in note_of(panel))


def answer_on(page: Any, place: int) -> float:
    """The probability of the answer that the Predictions panel shows."""
    row = panel_of(page, "predictions", place).locator(".guesses .answer").first
    row.wait_for()
    return float(row.locator(".value").inner_text())


def test_a_head_is_staged_from_attention_and_becomes_a_model_that_every_tab_shows(
    page: Any, bundled: HookedTransformerLIT
) -> None:
    tab(page, "Attention")
    attention = panel_of(page, "attention")
    attention.locator(".strip .head").nth(3).wait_for()
    attention.locator(".head-scores .view").click(position={"x": 5, "y": 5})
    attention.locator(".head-scores .view").focus()
    page.keyboard.press("Escape")
    score = attention.locator(".head-scores .view")
    box = score.bounding_box()
    score.click(position={"x": box["width"] * 0.9, "y": box["height"] * 0.6})
    stage = attention.get_by_role("group", name="Stage an intervention").get_by_role("button")
    until(page, lambda: re.fullmatch(r"L\dH3 = zero", stage.inner_text()) is not None)
    change = stage.inner_text()
    stage.click()
    attention.get_by_text(f"{change} is staged, on the Interventions tab.").wait_for()
    tab(page, "Interventions")
    panel = panel_of(page, "interventions")
    panel.locator(".chip", has_text=change).wait_for()
    variant = bundled.with_interventions(change)
    previewed(panel, bundled, variant)
    panel.get_by_label("Name of the variant").fill("cut")
    panel.get_by_role("button", name="Make variant").click()
    panel_of(page, "interventions", 1).locator(DRAWN).first.wait_for()
    header = page.locator("lit-app-toolbar .lit-tl-changed")
    assert header.inner_text() == f"cut: {change}"
    tab(page, "Predictions")
    (made,) = variant.predict([EXAMPLE], fields=["answer_prob"])
    until(page, lambda: page.locator("lit-tl-predictions-module .guesses .answer").count() >= 2)
    assert answer_on(page, 1) == pytest.approx(made["answer_prob"], abs=2e-3)
    (own,) = bundled.predict([EXAMPLE], fields=["answer_prob"])
    assert answer_on(page, 0) == pytest.approx(own["answer_prob"], abs=2e-3)
    for name in ("Attention", "Lens"):
        tab(page, name)
        panel_of(page, name.lower(), 1).locator(".view").first.wait_for()
    tab(page, "Metrics")
    rows = page.locator("metrics-module lit-data-table tbody tr")
    until(page, lambda: any("cut" in text for text in rows.all_inner_texts()))
    by_model = {text.split()[0]: text.split()[-1] for text in rows.all_inner_texts()}
    (own,) = bundled.predict([EXAMPLE], fields=["logit_diff"])
    (made,) = variant.predict([EXAMPLE], fields=["logit_diff"])
    selected = {text.split()[0]: text for text in rows.all_inner_texts() if "selection" in text}
    for model, difference in (("lit-tl-tiny", own), ("cut", made)):
        said = float(selected[model].split()[-1])
        assert said == pytest.approx(difference["logit_diff"], abs=2e-3)
    assert by_model["cut"] != by_model["lit-tl-tiny"]
    tab(page, "Interventions")
    own_panel = panel_of(page, "interventions", 1)
    own_panel.get_by_role("button", name="Delete variant").click()
    panel_of(page, "interventions", 1).wait_for(state="detached")
    until(page, lambda: header.count() == 0)


def test_a_strength_is_changed_and_the_variant_follows(
    page: Any, bundled: HookedTransformerLIT
) -> None:
    tab(page, "Interventions")
    panel = panel_of(page, "interventions")
    type_change(panel, STEER)
    panel.get_by_label("Name of the variant").fill("steered")
    panel.get_by_role("button", name="Make variant").click()
    own = panel_of(page, "interventions", 1)
    own.locator(DRAWN).first.wait_for()
    strength = own.get_by_role("spinbutton", name=f"Strength of {STEER}")
    strength.fill("2")
    strength.press("Enter")
    stronger = STEER.replace("0.5", "2.0")
    variant = bundled.with_interventions(stronger)
    header = page.locator("lit-app-toolbar .lit-tl-changed")
    until(page, lambda: header.inner_text() == f"steered-2: {stronger}")
    own = panel_of(page, "interventions", 1)
    previewed(own, bundled, variant)
    type_change(own, "L2H0 = zero")
    until(page, lambda: header.inner_text() == f"steered-3: {stronger}; L2H0 = zero")
    panel_of(page, "interventions", 1).get_by_role("button", name="Remove L2H0 = zero").click()
    until(page, lambda: header.inner_text() == f"steered-4: {stronger}")
    page.get_by_role("button", name=f"Remove {stronger}").click()
    page.get_by_text("A variant has at least one change: Delete variant").wait_for()
    assert header.inner_text() == f"steered-4: {stronger}", "the last change stays"
    tab(page, "Predictions")
    until(page, lambda: page.locator("lit-tl-predictions-module .guesses .answer").count() >= 2)
    (made,) = variant.predict([EXAMPLE], fields=["answer_prob"])
    until(page, lambda: abs(answer_on(page, 1) - made["answer_prob"]) < 2e-3)


def test_a_link_shows_the_variant(page: Any, server: LitServer) -> None:
    """Also on a server that does not have it."""
    sender = page.context.new_page()
    open_page(sender, server)
    tab(sender, "Interventions")
    panel = panel_of(sender, "interventions")
    type_change(panel, "L2H1 = mean(ioi)")
    panel.get_by_label("Name of the variant").fill("linked")
    panel.get_by_role("button", name="Make variant").click()
    panel_of(sender, "interventions", 1).locator(DRAWN).first.wait_for()
    until(sender, lambda: "linked" in sender.url)
    link = sender.url
    sender.close()
    ask = "async (url) => (await fetch(url, {method: 'POST', body: '{}'})).status"
    assert page.evaluate(ask, "unload_model?model=linked") == 200
    page.goto(link)
    page.locator("lit-data-table tbody tr").first.wait_for()
    header = page.locator("lit-app-toolbar .lit-tl-changed")
    header.wait_for()
    assert header.inner_text() == "linked: L2H1 = mean(ioi)"
    panel_of(page, "interventions", 1).locator(".chip", has_text="L2H1 = mean(ioi)").wait_for()


def test_a_link_that_can_not_be_followed_says_why(page: Any, watched: Watched) -> None:
    variants = '{"Variants":{"gone":{"original":"nobody","changes":["L1H3 = zero"]}}}'
    query = urllib.parse.urlencode({"models": "lit-tl-tiny,gone", "panels": variants})
    page.goto(f"{page.url.split('?')[0]}?{query}")
    page.locator("lit-data-table tbody tr").first.wait_for()
    page.get_by_text("The link's variant gone can't be made: there is no model").wait_for()
    assert page.locator("lit-app-toolbar .lit-tl-changed").count() == 0
    assert "gone" not in (urllib.parse.parse_qs(page.url.split("?")[1]).get("models") or [""])[0]
    watched.complaints.clear()  # the browser's own, of the refusal


def test_two_browsers_hold_different_variants_of_one_model(
    page: Any, server: LitServer, bundled: HookedTransformerLIT
) -> None:
    other = page.context.browser.new_page(viewport={"width": 1440, "height": 900})
    open_page(other, server)
    select_first(other)
    for each, change, name in ((page, "L1H3 = zero", "mine"), (other, "L0H1 = zero", "yours")):
        tab(each, "Interventions")
        panel = panel_of(each, "interventions")
        type_change(panel, change)
        panel.get_by_label("Name of the variant").fill(name)
        panel.get_by_role("button", name="Make variant").click()
        panel_of(each, "interventions", 1).locator(DRAWN).first.wait_for()
    for each, change in ((page, "L1H3 = zero"), (other, "L0H1 = zero")):
        assert each.locator("lit-app-toolbar .lit-tl-changed").inner_text().endswith(change)
        tab(each, "Predictions")
        until(each, lambda e=each: e.locator(".guesses .answer").count() >= 2)
        (made,) = bundled.with_interventions(change).predict([EXAMPLE], fields=["answer_prob"])
        assert answer_on(each, 1) == pytest.approx(made["answer_prob"], abs=2e-3)
    other.close()


def test_cells_of_causes_and_tokens_of_lenses_are_staged(page: Any) -> None:
    tab(page, "Causes")
    causes = panel_of(page, "causes")
    causes.get_by_label("component", exact=True).select_option("z")
    view = causes.locator(".figure[aria-busy=false] .view[aria-label^=z]")
    view.wait_for()
    card_at(view, 30, 3).wait_for()
    page.keyboard.press("Enter")
    causes.get_by_role("group", name="Stage an intervention").get_by_role("button").first.click()
    tab(page, "Lens")
    lens = panel_of(page, "lens")
    view = lens.locator(".figure[aria-busy=false] .grid .view").first
    view.wait_for()
    box = view.bounding_box()
    view.click(position={"x": box["width"] - 8, "y": box["height"] * 0.5})
    lens.get_by_role("group", name="Stage an intervention").get_by_role("button").click()
    tab(page, "Interventions")
    panel = panel_of(page, "interventions")
    panel.locator(".chip", has_text="L3H3 = zero").wait_for()
    panel.locator(".chip", has_text="+= 0.3 * dir(lens(").wait_for()
    for name, drawn in (
        ("Dose curve", DRAWN),
        ("Ablation curve", DRAWN),
        ("Effect of ablation", ".figure[aria-busy=false] .grid .view"),
    ):
        panel.get_by_label("Figure", exact=True).select_option(name)
        panel.locator(drawn).first.wait_for()
        assert panel.locator(".figure .failed").count() == 0
    panel.get_by_role("button", name="Remove L3H3 = zero").click()
    panel.locator(".chip", has_text="L3H3 = zero").wait_for(state="detached")
    panel.get_by_role("button", name="Clear").click()
    panel.locator(".chip").wait_for(state="detached")


def test_what_can_not_be_is_said_beside_the_chips(page: Any, watched: Watched) -> None:
    tab(page, "Interventions")
    panel = panel_of(page, "interventions")
    panel.locator(DRAWN).first.wait_for()
    type_change(panel, "L9H9 = zero")
    panel.locator(".figure .failed").wait_for()
    assert panel.locator(".figure .failed").inner_text().startswith("layer 9 is out of range")
    panel.get_by_role("button", name="Make variant").click()
    panel.locator(".changes .failed").wait_for()
    assert "layer 9 is out of range" in panel.locator(".changes .failed").inner_text()
    panel.get_by_role("button", name="Remove L9H9 = zero").click()
    panel.locator(DRAWN).first.wait_for()
    page.locator("lit-app-statusbar").get_by_text("clear", exact=True).click()
    watched.complaints.clear()  # the browser's own, of the refusals


def test_changes_are_completed_as_they_are_typed(page: Any) -> None:
    tab(page, "Interventions")
    panel = panel_of(page, "interventions")
    field = panel.get_by_label("Add a change")
    field.fill("L1H")
    options = panel.locator("datalist option")
    shown = options.evaluate_all("all => all.map((option) => option.value)")
    assert {"L1H0", "L1H3 = zero"} <= set(shown)
    field.fill("L1H3 = m")
    shown = options.evaluate_all("all => all.map((option) => option.value)")
    assert {"L1H3 = mean(ioi)", "L1H3 = mean(capital)"} <= set(shown)
    assert all(value.startswith("L1H3 = m") for value in shown)
