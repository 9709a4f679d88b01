"""axe-core finds no violation of level A or AA on the page, LIT's own parts included."""

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import Watched, open_page, select_first, tab
from tests.live_server import LitServer

LEVELS = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
READY = {
    "Predictions": "lit-tl-predictions-module .token",
    "Attention": "lit-tl-attention-module .text-view .token",
    "Lens": "lit-tl-lens-module .figure[aria-busy=false] .view",
    "Causes": "lit-tl-causes-module .figure[aria-busy=false] .view",
    "Interventions": "lit-tl-interventions-module .figure[aria-busy=false] .main-svg",
    "Salience": "lit-tl-salience-module .explained",
    "Figures": "lit-tl-figure-module .figure[aria-busy=false] .view",
    "Sequence Salience": "sequence-salience-module .salient-token",
    "Salience Maps": "salience-map-module .salient-token",
    "Generated Text": "generated-text-module",
    "Embeddings": "embeddings-module canvas",
    "Counterfactuals": "generator-module",
    "Metrics": "metrics-module td",
    "Scalars": "scalar-module",
    "Compare": "dive-module",
}
"""What is there when a tab has drawn."""


def violations(page: Any) -> list[str]:
    """Each rule with the place of an element that breaks it."""
    results = Axe().run(page, options=LEVELS).response
    return [
        f"{violation['id']}: {json.dumps(node['target'])} {node['html'][:200]}"
        for violation in results["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("name", READY)
def test_a_tab_breaks_no_rule(name: str, watched: Watched, default_server: LitServer) -> None:
    page: Any = watched.page
    page.set_viewport_size({"width": 1440, "height": 900})
    open_page(page, default_server, "?dataset=ioi")
    select_first(page)
    tab(page, name)
    page.locator(READY[name]).first.wait_for()
    if name == "Interventions":  # with a chip of each kind
        for change in ("L1H3 = zero", 'resid_post[1] += 0.5 * dir("a" - "b")'):
            page.get_by_label("Add a change").fill(change)
            page.get_by_label("Add a change").press("Enter")
            page.locator(".chip", has_text=change).wait_for()
        page.locator(READY[name]).first.wait_for()
    assert violations(page) == []


def test_the_configure_dialog_breaks_no_rule(watched: Watched, default_server: LitServer) -> None:
    page: Any = watched.page
    page.set_viewport_size({"width": 1440, "height": 900})
    open_page(page, default_server, "?dataset=ioi")
    page.get_by_text("Configure").first.click()
    page.locator("#global-settings .lit-tl-held").wait_for()
    assert violations(page) == []


def test_axe_finds_what_is_wrong(watched: Watched, default_server: LitServer) -> None:
    page: Any = watched.page
    open_page(page, default_server, "?dataset=ioi")
    select_first(page)
    page.locator(READY["Predictions"]).first.wait_for()
    page.locator("lit-tl-predictions-module .predictions").evaluate(
        "box => box.append(Object.assign(document.createElement('img'), {src: 'data:,'}))"
    )
    assert any(found.startswith("image-alt") for found in violations(page))
