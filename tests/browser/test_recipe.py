"""A user's own analysis on the page, chosen and drawn as the built-in ones are."""

import json
from typing import Any

import numpy as np

from lit_tl import HookedTransformerLIT
from lit_tl.data.tasks import read_task
from tests.browser.conftest import Watched, open_page, save, select_first, tab
from tests.live_server import LitServer
from tests.test_recipe import lengths

TEXT = read_task("ioi").examples[0]["text"]


def test_a_users_own_analysis_is_chosen_and_drawn(
    two_models: LitServer, watched: Watched, bundled: HookedTransformerLIT
) -> None:
    page: Any = watched.page
    open_page(page, two_models, "?models=first&dataset=ioi")
    select_first(page)
    tab(page, "Figures")
    panel = page.locator("lit-tl-figure-module")
    panel.locator("select").first.select_option("Head output norms")
    panel.locator(".grid .view").wait_for()
    panel.locator(".legend", has_text="length").wait_for()
    assert panel.get_by_label("position", exact=True).input_value() == "-1"
    with page.expect_download() as download:
        save(panel, "JSON")
    record = json.loads(download.value.path().read_text())
    values = np.array([row[2] for row in record["rows"]]).reshape(4, 4)
    assert np.allclose(values, lengths(bundled, TEXT), atol=1e-4)
    position = panel.get_by_label("position", exact=True)
    position.fill("0")
    position.press("Enter")
    panel.get_by_text("Copy as Python").click()
    snippet = panel.locator("textarea.snippet")
    snippet.wait_for()
    assert "position=0" in snippet.input_value()
    watched.check()
