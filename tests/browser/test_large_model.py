"""Every tab on a model of 30 layers and 49,152 tokens, at 1440 x 900."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses.lens_reading import read
from lit_tl.causal.pairs import PromptPair
from lit_tl.causal.patching import patch
from lit_tl.data.tasks import read_task
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
from tests.large_model import D_VOCAB
from tests.live_server import LitServer

EXAMPLE = read_task("ioi").examples[0]
# Controls of a panel that do not receive a click at their middle, or have no size.
COVERED = """panel => {
  const hit = (x, y) => {
    let found = document.elementFromPoint(x, y);
    while (found?.shadowRoot) {
      const inner = found.shadowRoot.elementFromPoint(x, y);
      if (!inner || inner === found) break;
      found = inner;
    }
    return found;
  };
  const root = panel.shadowRoot ?? panel;
  const controls = [...root.querySelectorAll('button, select, input, summary, [tabindex="0"]')];
  const shown = controls.filter(
    e => !e.closest('[hidden]') && (e.matches('summary') || !e.closest('details:not([open])')));
  const wrong = [];
  for (const control of shown) {
    control.scrollIntoView({block: 'nearest', inline: 'nearest'});
    const {left, top, width, height} = control.getBoundingClientRect();
    const found = hit(left + width / 2, top + height / 2);
    if (!width || !height || !(found && (control === found || control.contains(found))))
      wrong.push(`${control.outerHTML.slice(0, 120)} is under ${found?.outerHTML.slice(0, 80)}`);
  }
  return {count: shown.length, wrong};
}"""


@pytest.fixture(scope="module")
def large(folder: pathlib.Path) -> HookedTransformerLIT:
    model = HookedTransformerLIT.from_pretrained(str(folder))
    assert model.loaded.runner.shape.d_vocab == D_VOCAB
    return model


@pytest.fixture(scope="module")
def server(start_server: Callable[..., LitServer], folder: pathlib.Path) -> LitServer:
    return start_server("--models", f"one={folder},two={folder}", "--datasets", "ioi")


@pytest.fixture
def page(watched: Watched, server: LitServer) -> Any:
    watched.page.set_viewport_size({"width": 1440, "height": 900})
    open_page(watched.page, server, "?models=one&dataset=ioi")
    select_first(watched.page)
    yield watched.page
    watched.check()


@pytest.fixture
def two_lenses(watched: Watched, server: LitServer) -> Any:
    """The Lens tab with two models."""
    watched.page.set_viewport_size({"width": 1440, "height": 900})
    open_page(watched.page, server, "?models=one,two&dataset=ioi")
    select_first(watched.page)
    tab(watched.page, "Lens")
    yield watched.page
    watched.check()


def controls(panel: Any, at_least: int) -> None:
    """Each control of a panel is there to be clicked."""
    seen = panel.evaluate(COVERED)
    assert seen["wrong"] == []
    assert seen["count"] >= at_least


def test_predictions(page: Any, large: HookedTransformerLIT) -> None:
    (output,) = large.predict([EXAMPLE])
    panel = page.locator("lit-tl-predictions-module")
    panel.locator(".next .guesses li").first.wait_for()
    probability = output["next_tokens"][0][1]
    shown = panel.locator(".next .guesses li .value").first.inner_text()
    assert float(shown) == pytest.approx(probability, abs=6e-4)
    rank = panel.locator(".next li.answer").get_attribute("value")
    assert int(rank) == pytest.approx(output["answer_rank"], abs=3), "rounding moves ties"
    bar = panel.locator(".next .guesses .bar").first.bounding_box()
    assert bar["width"] > 60
    controls(panel, at_least=20)


def test_attention(page: Any, large: HookedTransformerLIT) -> None:
    tab(page, "Attention")
    panel = page.locator("lit-tl-attention-module")
    panel.locator(".large .grid .view").first.wait_for()
    heads = panel.locator(".head-scores .view")
    assert heads.bounding_box()["height"] > 300, "30 layers of at least 10 px"
    scores = panel.locator(".head-scores").get_by_role("img")
    assert scores.count() or heads.count() == 1
    with answered(page, "/get_analysis", "Attention") as answer:
        heads.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
    assert answer.value.status == 200
    (drawing,) = json.loads(answer.value.body())
    head = drawing["grid"]["parts"][0]["title"]
    panel.locator(".large figcaption", has_text=head).wait_for()
    controls(panel, at_least=10)


def test_lens(page: Any, large: HookedTransformerLIT) -> None:
    panel = open_lens(page)
    trajectory = read(large.loaded, "logit", EXAMPLE, "resid_pre")
    trajectory.targets = None
    expected = trajectory.entropy().stats
    view = panel.locator(".grid .view")
    for right, up in ((3, 0), (3, 29), (7, 30)):
        card = card_at(view, right, up)
        said = float(card.locator("b").first.inner_text().replace(",", ""))
        assert said == pytest.approx(expected[up, right], rel=2e-3, abs=1e-3)
        assert card.locator(".guesses li").count() == 10
    page.keyboard.press("Enter")
    panel.locator(".detail .main-svg").first.wait_for()
    beside, grid = (panel.locator(name).bounding_box() for name in (".detail", ".figure > .grid"))
    assert beside["x"] >= grid["x"] + grid["width"]
    assert grid["height"] > 350, "30 layers of at least 10 px"
    page.keyboard.press("Escape")  # the held card
    controls(panel, at_least=8)


def test_causes(page: Any, large: HookedTransformerLIT) -> None:
    tab(page, "Causes")
    panel = page.locator("lit-tl-causes-module").first
    grid = panel.locator(".figure[aria-busy=false] .grid .view")
    grid.wait_for()
    assert grid.bounding_box()["height"] > 220, "30 layers"
    expected = patch(large, PromptPair.of(EXAMPLE))["effect"].values
    for up in (0, 15, 29):
        card = card_at(grid, 40, up)
        said = float(card.locator("b").first.inner_text().replace(",", ""))
        assert said == pytest.approx(expected[up, -1], abs=5e-3)
    controls(panel, at_least=10)


def test_causes_over_data_is_a_job_that_a_reload_survives_and_that_can_be_cancelled(
    page: Any,
) -> None:
    tab(page, "Causes")
    panel = page.locator("lit-tl-causes-module").first
    panel.locator(".figure[aria-busy=false] .grid .view").wait_for()
    panel.get_by_label("Figure", exact=True).select_option("Patching over data")
    strip = page.get_by_role("region", name="Work in progress")
    row = strip.locator(".job").filter(has_text="Patching over data")
    row.wait_for()
    until(page, lambda: row.get_by_role("progressbar").evaluate("bar => bar.value") > 0.05)
    page.reload()
    row.wait_for()
    assert row.count() == 1
    page.get_by_role("button", name="Cancel Patching over data").click()
    row.wait_for(state="detached")
    page.locator("lit-app-statusbar").wait_for(state="attached")  # work is shown before LIT starts


def test_interventions(page: Any, large: HookedTransformerLIT) -> None:
    tab(page, "Interventions")
    panel = page.locator("lit-tl-interventions-module").first
    for head in range(9):
        change = f"L2{head}H{head} = zero"
        panel.get_by_label("Add a change").fill(change)
        panel.get_by_label("Add a change").press("Enter")
        panel.locator(".chip", has_text=change).wait_for()
    changes = [f"L2{head}H{head} = zero" for head in range(9)]
    variant = large.with_interventions(*changes)
    probabilities = [
        next(iter(each.predict([EXAMPLE], fields=["answer_prob"])))["answer_prob"]
        for each in (large, variant)
    ]
    expected = "p(answer): {:.3g} -> {:.3g}.".format(*probabilities)
    until(page, lambda: expected in panel.locator(".said").last.inner_text())
    assert panel.locator(".chip").count() == len(changes)
    panel.locator(".figure[aria-busy=false] .main-svg").first.wait_for()
    controls(panel, at_least=16)


@pytest.mark.parametrize("name", ["Salience", "Figures"])
def test_figures(name: str, page: Any) -> None:
    tab(page, name)
    tag = "salience" if name == "Salience" else "figure"
    panel = page.locator(f"lit-tl-{tag}-module")
    panel.locator("[aria-busy=false]").first.wait_for()
    assert panel.locator(".failed").count() == 0
    controls(panel, at_least=4)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("Sequence Salience", "sequence-salience-module .salient-token"),
        ("Salience Maps", "salience-map-module .salient-token"),
        ("Generated Text", "generated-text-module"),
        ("Embeddings", "embeddings-module canvas"),
        ("Counterfactuals", "generator-module"),
        ("Metrics", "metrics-module td"),
    ],
)
def test_tabs_of_lit(name: str, seen: str, page: Any) -> None:
    tab(page, name)
    page.locator(seen).first.wait_for()
    says = page.locator(".lit-tl-says span")
    assert len(says.inner_text()) > 40


def test_two_models_stand_beside_each_other(two_lenses: Any) -> None:
    page = two_lenses
    views = page.locator("lit-tl-lens-module .grid .view")
    views.nth(1).wait_for()
    first, second = (views.nth(i).bounding_box() for i in range(2))
    assert second["x"] >= first["x"] + first["width"]
    assert abs(second["height"] - first["height"]) < 2
    assert first["height"] > 200, "half as wide, so that settings take more lines"


def test_two_figures_panels_keep_their_own_settings(two_lenses: Any) -> None:
    page = two_lenses
    panels = [page.locator("lit-tl-lens-module").nth(i) for i in range(2)]
    for panel in panels:
        panel.locator(".figure[aria-busy=false] .grid .view").wait_for()
    panels[1].get_by_label("statistic", exact=True).select_option("forward KL")
    panels[1].locator(".legend", has_text="forward KL").wait_for()
    assert "entropy" in panels[0].locator(".legend").inner_text()
    for panel, name in zip(panels, ("entropy", "forward KL"), strict=True):
        with page.expect_download() as download:
            save(panel, "CSV")
        head = download.value.path().read_text("utf-8").splitlines()[0]
        assert head.endswith(f",{name}"), "the file has what is drawn"
    page.reload()
    panels[1].locator(".legend", has_text="forward KL").wait_for()
    panels[0].locator(".legend", has_text="entropy").wait_for()


@pytest.mark.parametrize("against", ["pinned prompt", "other model"])
def test_predictions_have_a_difference(
    against: str, watched: Watched, server: LitServer, large: HookedTransformerLIT
) -> None:
    page: Any = watched.page
    page.set_viewport_size({"width": 1440, "height": 900})
    open_page(page, server, "?models=one&dataset=ioi")
    select_first(page)
    other = EXAMPLE
    if against == "pinned prompt":
        page.locator("lit-main-toolbar").get_by_text("Pin datapoint").first.click()
        page.locator("lit-data-table tbody tr").nth(3).click()
        other = read_task("ioi").examples[3]
    panel = page.locator("lit-tl-predictions-module").last
    panel.locator(".next .guesses li").first.wait_for()
    panel.get_by_label("Show", exact=True).select_option("difference")
    panel.get_by_label("against", exact=True).select_option(against)
    panel.locator("[aria-busy=false] .main-svg").first.wait_for()
    controls(panel, at_least=4)
    shown = panel.locator(".plot").evaluate(
        "plot => plot.data.map(trace => Array.from(trace.x ?? [], Number))"
    )
    one, two = (other, EXAMPLE) if against == "pinned prompt" else (EXAMPLE, EXAMPLE)
    expected = lit_tl.analyze(
        "Predictions difference", large, one, counterpart=two, other_model=large, against=against
    )
    np.testing.assert_allclose(shown[1], expected["probability_difference"], atol=1e-6)
    assert len(shown[0]) == expected.sizes["position"]
    panel.get_by_label("Show", exact=True).select_option("predictions")
    panel.locator(".next .guesses li").first.wait_for()
    watched.check()


def test_the_analysis_has_three_quarters_of_the_column(page: Any) -> None:
    column = page.locator("lit-modules #right-column").bounding_box()
    analysis = page.locator("lit-modules #lower-right").bounding_box()
    assert analysis["height"] >= 0.75 * column["height"]
    before = analysis["width"]
    page.get_by_role("button", name="Hide prompts").click()
    page.get_by_role("button", name="Show prompts").wait_for()
    assert page.locator("lit-modules #lower-right").bounding_box()["width"] > before + 300
    page.get_by_role("button", name="Show prompts").click()


def test_a_tour_of_five_steps_can_be_ended_at_any_time(page: Any) -> None:
    start = page.get_by_role("button", name="Tour", exact=True)
    start.click()
    tour = page.get_by_role("dialog", name="Tour")
    said = []
    for step in range(1, 6):
        assert tour.locator(".count").inner_text() == f"{step} of 5"
        said.append(tour.locator("p").nth(1).inner_text())
        box = tour.bounding_box()
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= 1440
        assert box["y"] + box["height"] <= 900
        tour.get_by_role("button", name="Done" if step == 5 else "Next").click()
    assert len(set(said)) == 5
    assert tour.count() == 0
    start.click()
    page.keyboard.press("Escape")
    assert tour.count() == 0
    start.click()
    tour.get_by_role("button", name="End tour").click()
    assert tour.count() == 0


def test_a_prompt_of_two_thousand_tokens(page: Any, large: HookedTransformerLIT) -> None:
    texts = " ".join(example["text"] for example in read_task("ioi").examples)
    ids = large.loaded.prompter.from_text(texts * 3).ids[1:1500]
    text = large.loaded.prompter.to_text(ids)
    (output,) = large.predict([{"text": text}], fields=["tokens", "token_loss"])
    assert len(output["tokens"]) > 1400
    box = page.locator("datapoint-editor-module textarea").first
    box.fill(text)
    with answered(page, "/get_interpretations", "Predictions") as answer:
        page.get_by_role("button", name="Add", exact=True).click()
    (reply,) = json.loads(answer.value.body())
    assert np.allclose(reply["loss"][1:], output["token_loss"][1:], atol=1e-3)
    panel = page.locator("lit-tl-predictions-module")
    panel.locator(".token").nth(1400).wait_for()
