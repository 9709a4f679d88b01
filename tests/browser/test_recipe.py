"""A user's own analysis on the page, chosen and drawn as the built-in ones are."""

import pathlib
from collections.abc import Callable
from typing import Any

from tests.browser.conftest import LitServer, Watched, open_page, select_first, tab
from tests.test_recipe import ANALYSIS


def test_a_users_own_analysis_is_chosen_and_drawn(
    start_server: Callable[..., LitServer], watched: Watched, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "mine.py").write_text(ANALYSIS)
    server = start_server("--datasets", "ioi", "--analyses", str(tmp_path / "mine.py"))
    page: Any = watched.page
    open_page(page, server)
    select_first(page)
    tab(page, "Figures")
    panel = page.locator("lit-tl-figure-module")
    panel.locator("select").first.select_option("Head output norms")
    panel.locator(".plot .heatmaplayer image").first.wait_for()
    panel.locator(".plot .infolayer", has_text="length").wait_for()
    position = panel.locator("input[type=number]")
    position.fill("0")
    position.press("Enter")
    panel.get_by_text("Copy as Python").click()
    snippet = panel.locator("textarea.snippet")
    snippet.wait_for()
    assert "position=0" in snippet.input_value()
    watched.check()
