"""Attention and salience on the page, against the model's own numbers."""

from typing import Any

import numpy as np
import pytest
import torch

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.causal.attention_patterns import head_scores
from lit_tl.data.tasks import read_task
from tests.browser.conftest import Watched, card_at, open_page, select_first, tab
from tests.live_server import LitServer

EXAMPLE = read_task("ioi").examples[0]


@pytest.fixture
def page(watched: Watched, two_models: LitServer) -> Any:
    """The page with one model and the first prompt."""
    open_page(watched.page, two_models, "?models=first&dataset=ioi")
    select_first(watched.page)
    yield watched.page
    watched.check()


def test_salience_says_what_it_explains_and_colours_tokens_by_it(
    page: Any, bundled: HookedTransformerLIT
) -> None:
    tab(page, "Salience")
    panel = page.locator("lit-tl-salience-module")
    heading = panel.locator(".explained", has_text=f"log p of '{EXAMPLE['answer']}' after")
    heading.wait_for()
    result = lit_tl.analyze("Salience", bundled, EXAMPLE)
    assert f"= {result.attrs['target_value']:.3f} nats" in heading.inner_text()
    scores = result["salience"].values
    strongest = int(np.abs(scores).argmax())
    first = panel.locator(".guesses li").first
    assert first.locator(".rank").inner_text() == str(strongest)
    assert float(first.locator(".value").inner_text()) == pytest.approx(
        float(scores[strongest]), abs=6e-4
    )
    panel.locator(".token").nth(3).hover()
    assert panel.locator(".value-of").inner_text().startswith("3 ")

    panel.locator(".token").nth(4).click()
    token = bundled.loaded.tokens(EXAMPLE)[4]
    panel.locator(".explained", has_text=f"log p of '{token}' after").wait_for()
    panel.get_by_label("method", exact=True).select_option("integrated gradients")
    panel.get_by_text("a completeness gap of").wait_for()
    assert panel.get_by_label("tolerance", exact=True).is_enabled()
    tab(page, "Predictions")
    assert "at 4" in page.locator("lit-tl-predictions-module .target").inner_text()


def test_heads_are_coloured_by_their_scores(page: Any, bundled: HookedTransformerLIT) -> None:
    (output,) = bundled.predict([EXAMPLE])
    ids = bundled.model.to_tokens(EXAMPLE["text"])[0].tolist()
    tab(page, "Attention")
    panel = page.locator("lit-tl-attention-module")
    panel.get_by_label("Colour heads by").select_option("previous token")
    view = panel.locator(".head-scores .view")
    for layer, head in ((0, 0), (3, 2)):
        pattern = torch.from_numpy(output[f"attention_layer_{layer}"])
        expected = head_scores(pattern, ids)["previous token"][head]
        card = card_at(view, head, layer)
        assert card.locator(".where").inner_text() == f"layer {layer}, head {head}"
        assert float(card.locator("b").inner_text()) == pytest.approx(expected, abs=1e-3)
    page.keyboard.press("Enter")
    panel.locator(".matrix figcaption", has_text="L3H2").wait_for()
    chosen = panel.locator(".strip .head[aria-pressed=true]")
    assert chosen.inner_text().strip() == "L3H2"
    colours = chosen.locator("canvas").evaluate(
        "e => new Set(new Uint32Array(e.getContext('2d').getImageData(0, 0, e.width, "
        "e.height).data.buffer)).size"
    )
    assert colours > 10, "a map and not an empty canvas"


def test_weights_on_the_page_equal_the_models(page: Any, bundled: HookedTransformerLIT) -> None:
    (output,) = bundled.predict([EXAMPLE], fields=["attention_layer_2", "tokens"])
    patterns, n = output["attention_layer_2"], len(output["tokens"])
    tab(page, "Attention")
    panel = page.locator("lit-tl-attention-module")
    card_at(panel.locator(".head-scores .view"), 3, 2)
    page.keyboard.press("Enter")
    panel.locator(".matrix figcaption", has_text="L2H3").wait_for()
    view = panel.locator(".large .view")
    for query, key in ((n - 1, n - 1), (8, 5), (10, 2)):
        card = card_at(view, key, n - 1 - query)
        said = card.locator(".where").inner_text()
        assert said.startswith(f"query {query} ")
        assert f"key {key} " in said
        shown = float(card.locator("b").inner_text())
        assert shown == pytest.approx(float(patterns[3][query, key]), abs=6e-5)

    panel.locator(".text-view .token").nth(8).focus()
    strongest = int(patterns[3][8].argmax())
    line = panel.locator(".readout", has_text=f"looks at: {strongest} ")
    line.wait_for()
    assert f"{patterns[3][8, strongest]:.3f}" in line.inner_text()
    others = sum(weight > 0 for key, weight in enumerate(patterns[3][8]) if key != 8)
    assert panel.locator(".text-view path").count() == min(others, 10)

    panel.get_by_label("Draw").select_option("mean of the layer")
    panel.locator(".matrix figcaption", has_text="mean over the heads of layer 2").wait_for()
    panel.get_by_label("Value-weighted").check()
    panel.locator(".legend", has_text="weight times norm of the value").wait_for()
    panel.get_by_label("Draw").select_option("heads of the layer")
    panel.locator(".matrix figcaption", has_text="L2H0").wait_for()
    assert panel.locator(".large .matrix").count() == 4
