"""The panels of ours, in a real browser against the real server."""

import csv
import json
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from lit_tl import HookedTransformerLIT
from lit_tl.data.tasks import read_task
from tests.browser.conftest import Watched, answered, open_page, save, select_first, tab
from tests.live_server import LitServer

EXAMPLE = read_task("ioi").examples[0]


@pytest.fixture
def server(two_models: LitServer) -> LitServer:
    return two_models


@pytest.fixture
def page(watched: Watched, server: LitServer) -> Any:
    """The page with one model and the first prompt."""
    open_page(watched.page, server, "?models=first&dataset=ioi")
    select_first(watched.page)
    yield watched.page
    watched.check()


def test_predictions_show_the_models_own_numbers(page: Any, bundled: HookedTransformerLIT) -> None:
    (output,) = bundled.predict([EXAMPLE])
    panel = page.locator("lit-tl-predictions-module")
    panel.locator(".next .guesses li").first.wait_for()
    token, probability = output["next_tokens"][0]
    assert token == EXAMPLE["answer"]
    row = panel.locator(".next .guesses li").first
    assert row.locator(".name").inner_text() == token.replace(" ", "·")
    assert float(row.locator(".value").inner_text()) == pytest.approx(probability, abs=6e-4)
    assert row.locator(".mark").inner_text() == "answer"
    assert panel.locator(".next li.foil").get_attribute("value") == str(output["foil_rank"])
    assert panel.locator(".token").count() == len(output["tokens"])

    panel.locator(".token").nth(4).hover()
    panel.locator(".detail h4", has_text="4:").wait_for()
    said = panel.locator(".detail p").first.inner_text()
    assert said.startswith(
        f"loss {output['token_loss'][4]:.2f} nats, rank {output['token_rank'][4]}, "
    )
    expected = [name.replace(" ", "·") for name, _ in output["top_k_tokens"][3]]
    assert panel.locator(".detail .guesses .name").all_inner_texts()[: len(expected)] == expected

    panel.locator(".token").nth(4).focus()
    page.keyboard.press("ArrowRight")
    panel.locator(".detail h4", has_text="5:").wait_for()

    def background(pos: int) -> str:
        return panel.locator(".token").nth(pos).evaluate("e => getComputedStyle(e).backgroundColor")

    before = background(4)
    panel.get_by_label("Colour by").select_option("probability")
    assert background(4) != before


def test_a_chosen_token_is_what_salience_explains(page: Any) -> None:
    panel = page.locator("lit-tl-predictions-module")
    panel.locator(".token").nth(4).click()
    assert "at 4" in panel.locator(".target").inner_text()
    with page.expect_request(
        lambda request: "/get_interpretations" in request.url and "Grad" in request.url
    ) as asked:
        tab(page, "Salience Maps")
    (sent,) = json.loads(asked.value.post_data)["inputs"]
    assert [pos for pos, marked in enumerate(sent["data"]["target_mask"]) if marked] == [4]
    maps = page.locator("salience-map-module lit-token-chips").first.locator(".salient-token")
    maps.first.wait_for()

    white = re.compile(r"rgb\(255, 255, 255\)|rgba\(0, 0, 0, 0\)")
    # Nothing after a token explains it.
    expect(maps.nth(6)).to_have_css("background-color", white)
    tab(page, "Predictions")
    panel.get_by_text("Clear").click()
    tab(page, "Salience Maps")
    expect(maps.nth(6)).not_to_have_css("background-color", white)


def test_a_hidden_panel_asks_for_nothing(watched: Watched, server: LitServer) -> None:
    asked: list[str] = []
    watched.page.on("request", lambda request: asked.append(request.url))
    open_page(watched.page, server, "?models=first&dataset=ioi")
    select_first(watched.page)
    watched.page.locator("lit-tl-predictions-module .token").first.wait_for()
    assert not [url for url in asked if "Attention" in url or "get_analysis" in url]
    tab(watched.page, "Attention")
    watched.page.locator("lit-tl-attention-module .large .view").first.wait_for()
    assert sum("analysis=Attention" in url for url in asked) == 1, "one head"
    assert sum("interpreter=Attention" in url for url in asked) == 1, "one pass for all heads"
    watched.check()


@pytest.mark.parametrize("kind", ["csv", "json", "png", "svg"])
def test_downloads_hold_the_numbers(page: Any, bundled: HookedTransformerLIT, kind: str) -> None:
    (output,) = bundled.predict([EXAMPLE], fields=["token_loss", "tokens"])
    tab(page, "Figures")
    panel = page.locator("lit-tl-figure-module")
    panel.locator("select").first.select_option("Loss along the prompt")
    panel.locator(".plot .bars path").nth(1).wait_for()
    with page.expect_download() as download:
        save(panel, kind.upper())
    content = download.value.path().read_bytes()
    expected = [
        [pos, output["tokens"][pos], loss] for pos, loss in enumerate(output["token_loss"]) if pos
    ]
    if kind == "csv":
        head, *rows = csv.reader(content.decode().splitlines())
        assert head == ["position", "token", "loss"]
        assert [[int(pos), token] for pos, token, _ in rows] == [row[:2] for row in expected]
        assert [float(loss) for *_, loss in rows] == pytest.approx(
            [row[2] for row in expected], rel=1e-6
        )
    elif kind == "json":
        record = json.loads(content)
        assert record["analysis"] == "Loss along the prompt"
        assert record["settings"] == "quantity loss"
        assert [row[2] for row in record["rows"]] == pytest.approx(
            [row[2] for row in expected], rel=1e-6
        )
    else:
        assert content.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
        assert len(content) > 5000


def test_a_figure_remembers_its_settings_and_gives_its_python(page: Any) -> None:
    tab(page, "Figures")
    panel = page.locator("lit-tl-figure-module")
    panel.locator("select").first.select_option("Head scores")
    panel.locator(".grid .view").wait_for()
    panel.get_by_label("score", exact=True).select_option("entropy")
    panel.locator(".legend", has_text="nats").wait_for()
    assert "[object" not in page.url
    page.reload()
    panel.locator(".legend", has_text="nats").wait_for()
    panel.get_by_text("Copy as Python").click()
    snippet = panel.locator(".snippet").input_value()
    assert "lit_tl.draw('Head scores', model, {" in snippet
    assert "score='entropy'" in snippet


def test_a_click_in_a_figure_chooses_the_target_and_resizing_redraws_it(page: Any) -> None:
    tab(page, "Figures")
    panel = page.locator("lit-tl-figure-module")
    panel.locator("select").first.select_option("Loss along the prompt")
    panel.locator(".plot .bars path").nth(1).wait_for()
    box = panel.locator(".plot .bars .point").nth(4).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wide = panel.locator(".plot .main-svg").first.bounding_box()["width"]
    page.set_viewport_size({"width": 1100, "height": 800})
    page.wait_for_function(
        "([panel, wide]) => "
        "panel.shadowRoot.querySelector('.main-svg').getBoundingClientRect().width < wide - 50",
        arg=[panel.element_handle(), wide],
    )
    assert panel.locator(".plot .main-svg").first.bounding_box()["width"] < wide - 50
    tab(page, "Predictions")
    page.locator("lit-tl-predictions-module .target", has_text="at 4").wait_for()
    assert page.locator("lit-tl-predictions-module .token.chosen").get_attribute("data-pos") == "4"


def test_two_models_and_a_pinned_prompt_stand_side_by_side(
    watched: Watched, server: LitServer
) -> None:
    page = watched.page
    open_page(watched.page, server, "?models=first,second&dataset=ioi")
    select_first(watched.page)
    for name, tag in (
        ("Predictions", "lit-tl-predictions-module"),
        ("Attention", "lit-tl-attention-module"),
    ):
        tab(page, name)
        for i in range(2):
            page.locator(tag).nth(i).locator(".token").first.wait_for()
        assert page.locator(tag).count() == 2
    page.locator("lit-main-toolbar").get_by_text("Pin datapoint").first.click()
    page.locator("lit-data-table tbody tr").nth(3).click()
    tab(page, "Predictions")
    panels = page.locator("lit-tl-predictions-module")
    panels.nth(3).locator(".token").first.wait_for()
    texts = {panels.nth(i).locator(".tokens").inner_text() for i in range(4)}
    assert len(texts) == 2, "the selected and the pinned prompt, for each of two models"
    tab(page, "Figures")
    for i in range(4):
        page.locator("lit-tl-figure-module").nth(i).locator(".grid .view").first.wait_for()
    watched.check()


@pytest.mark.parametrize("late", ["panels", "get_info"])
def test_panels_are_there_whichever_reply_comes_first(
    watched: Watched, server: LitServer, late: str
) -> None:
    held_back = re.compile(r"/lit_tl/panels/|/lit_tl/bridge" if late == "panels" else r"/get_info")
    order: list[str] = []
    held: list[Any] = []
    loaded: list[bool] = []

    def hold(route: Any) -> None:
        if loaded:
            route.continue_()
        else:
            held.append(route)

    def load(page: Any) -> None:
        del page
        loaded.append(True)
        while held:
            held.pop().continue_()

    watched.page.route(held_back, hold)
    watched.page.on("load", load)
    watched.page.on("requestfinished", lambda request: order.append(request.url))
    open_page(watched.page, server, "?models=first&dataset=ioi")
    select_first(watched.page)
    watched.page.locator("lit-tl-predictions-module .token").first.wait_for()
    assert any("/get_info" in url for url in order)
    assert any("/panels/predictions.js" in url for url in order)
    watched.check()


def test_a_client_that_the_bridge_does_not_know_still_works(
    watched: Watched, server: LitServer
) -> None:
    def another_build(route: Any) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=reply.text().replace("reactImmediately", "reactAtOnce"))

    watched.page.route("**/main.js", another_build)
    open_page(watched.page, server, "?models=first&dataset=ioi")
    watched.page.locator("lit-data-table tbody tr").first.click()
    notice = watched.page.get_by_role("alert")
    assert (
        "panels are off, because this LIT client is not one that they know (no reactImmediately)"
        in notice.inner_text()
    )
    assert notice.count() == 1
    assert watched.page.locator("lit-tl-predictions-module").count() == 0
    tab(watched.page, "Salience Maps")
    watched.page.locator("salience-map-module lit-token-chips .salient-token").first.wait_for()
    notice.get_by_text("Close").click()
    watched.check()


def test_a_panel_that_does_not_arrive_leaves_the_others(
    watched: Watched, server: LitServer
) -> None:
    watched.page.route("**/panels/attention.js", lambda route: route.abort())
    open_page(watched.page, server, "?models=first&dataset=ioi")
    select_first(watched.page)
    watched.page.locator("lit-tl-predictions-module .token").first.wait_for()
    assert "could not load attention" in watched.page.get_by_role("alert").inner_text()


def test_without_the_plug_in_lit_still_works(watched: Watched, server: LitServer) -> None:
    watched.page.route("**/lit_tl/plugin.js", lambda route: route.abort())
    open_page(watched.page, server, "?models=first&dataset=ioi")
    watched.page.locator("lit-data-table tbody tr").first.click()
    assert "could not load its panels" in watched.page.get_by_role("alert").inner_text()
    tab(watched.page, "Salience Maps")
    watched.page.locator("salience-map-module lit-token-chips .salient-token").first.wait_for()


def test_a_target_is_of_one_model(watched: Watched, server: LitServer) -> None:
    open_page(watched.page, server, "?models=first,second&dataset=ioi")
    select_first(watched.page)
    panels = watched.page.locator("lit-tl-predictions-module")
    panels.nth(0).locator(".token").nth(4).click()
    panels.nth(0).locator(".target", has_text="at 4").wait_for()
    assert "Click a token" in panels.nth(1).locator(".target").inner_text()
    watched.check()


def test_at_512_tokens_the_details_stay_in_view(watched: Watched, server: LitServer) -> None:
    open_page(watched.page, server, "?models=first&dataset=ioi")
    select_first(watched.page)
    watched.page.locator("datapoint-editor-module textarea").first.fill(
        "the king and the queen saw the dog " * 70
    )
    watched.page.locator("datapoint-editor-module").get_by_text("Add", exact=True).click()
    for name, shown in (("Predictions", ".detail h4"), ("Attention", ".readout")):
        tab(watched.page, name)
        panel = watched.page.locator(f"lit-tl-{name.lower()}-module")
        panel.locator(".token").nth(500).wait_for(state="attached")
        panel.locator(".token").nth(20).hover()
        box, bounds = panel.locator(shown).first.bounding_box(), panel.bounding_box()
        assert box["y"] + box["height"] <= bounds["y"] + bounds["height"]
    watched.check()


def test_a_failure_is_said_in_the_panel(watched: Watched, server: LitServer) -> None:
    refused = json.dumps({"error": "the model is on fire", "id": "1"})
    watched.page.route(
        "**interpreter=Predictions**", lambda route: route.fulfill(status=400, body=refused)
    )
    open_page(watched.page, server, "?models=first&dataset=ioi")
    select_first(watched.page)
    assert (
        watched.page.locator("lit-tl-predictions-module .failed").inner_text()
        == "the model is on fire"
    )


def test_counterfactuals_and_metrics_work_on_the_page(
    page: Any, bundled: HookedTransformerLIT
) -> None:
    tab(page, "Counterfactuals")
    generators = page.locator("generator-module")
    with answered(page, "/get_generated") as reply:
        swap = generators.locator("lit-interpreter-controls", has_text="Swap names").first
        swap.locator(".expansion-header").click()
        swap.locator("button.filled-button").click()
    ((twin,),) = reply.value.json()
    assert twin["data"]["answer"] == EXAMPLE["foil"]
    tab(page, "Metrics")
    for name in ("perplexity", "answer_accuracy", "logit_diff"):
        page.locator("metrics-module", has_text=name).first.wait_for()
    cells = (
        page.locator("metrics-module lit-data-table tbody tr", has_text="selection")
        .locator("td")
        .all_inner_texts()
    )
    (output,) = bundled.predict([EXAMPLE], fields=["loss", "logit_diff"])
    assert f"{output['loss']:.3f}" in [cell.strip() for cell in cells]
    assert f"{output['logit_diff']:.3f}" in [cell.strip() for cell in cells]
