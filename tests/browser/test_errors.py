"""What goes wrong is said in a sentence, where the reader looks; and a server that comes back is
found again."""

import pathlib
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Watched, open_lens, open_page, select_first, tab, until
from tests.live_server import LitServer

AWAY = "the server does not answer"


@pytest.fixture
def mortal(folder: pathlib.Path) -> Iterator[LitServer]:
    server = LitServer("--models", f"large={folder}", "--datasets", "ioi")
    yield server
    if server.process.poll() is None:
        server.stop()


def test_a_killed_server_is_missed_in_every_panel_and_found_again(
    watched: Watched, mortal: LitServer, folder: pathlib.Path
) -> None:
    page: Any = watched.page
    page.set_viewport_size({"width": 1440, "height": 900})
    open_page(page, mortal)
    select_first(page)
    lens = open_lens(page)
    lens.get_by_label("statistic", exact=True).select_option("forward KL")
    lens.locator(".legend", has_text="forward KL").wait_for()
    mortal.process.send_signal(signal.SIGKILL)
    mortal.process.communicate()

    lens.get_by_label("statistic", exact=True).select_option("rank")
    lens.locator(".failed", has_text=AWAY).wait_for()
    page.locator(".lit-tl-away").wait_for()
    page.locator("lit-data-table tbody tr").nth(3).click()
    for name in ("Predictions", "Attention"):
        tab(page, name)
        panel = page.locator(f"lit-tl-{name.lower()}-module")
        panel.locator(".failed", has_text=AWAY).wait_for()
    tab(page, "Salience Maps")
    page.locator("salience-map-module .lit-tl-failed", has_text=AWAY).first.wait_for()
    page.locator("lit-app-statusbar").get_by_text(AWAY).first.wait_for()

    again = LitServer(
        "--models", f"large={folder}", "--datasets", "ioi", "--port", str(mortal.port)
    )
    try:
        page.locator(".lit-tl-away").wait_for(state="hidden")
        lens = open_lens(page)
        lens.locator(".legend", has_text="rank").wait_for()
        assert page.locator(".failed, .lit-tl-failed").filter(visible=True).count() == 0
        tab(page, "Predictions")
        page.locator("lit-tl-predictions-module .token").first.wait_for()
    finally:
        assert again.stop() == 0


def test_a_sentence_and_not_an_unknown_error(watched: Watched, default_server: LitServer) -> None:
    page: Any = watched.page
    refused = '{"error": "nine tokens are too many for this model", "id": "1"}'
    page.route(
        re.compile(r"get_(metrics|interpretations)"),
        lambda route: route.fulfill(status=400, body=refused),
    )
    open_page(page, default_server)
    select_first(page)
    panel = page.locator("lit-tl-predictions-module")
    assert panel.locator(".failed").inner_text() == "nine tokens are too many for this model"
    status = page.locator("lit-app-statusbar")
    status.get_by_text("nine tokens are too many").wait_for()
    assert status.get_by_text("Unknown error").count() == 0
    tab(page, "Salience Maps")
    failed = page.locator("salience-map-module .lit-tl-failed")
    failed.first.wait_for()
    # What the module asks for besides is answered later, and leaves the sentence where it is:
    held: list[Any] = []
    answered: list[str] = []
    page.route(re.compile("get_preds"), lambda route: held.append(route))
    page.on("requestfinished", lambda request: answered.append(request.url))
    page.locator("lit-data-table tbody tr").nth(4).click()
    until(page, lambda: bool(held) and any("get_interpretations" in url for url in answered))
    failed.first.wait_for()
    waiting = len(held)
    for route in held:
        route.continue_()
    until(page, lambda: sum("get_preds" in url for url in answered) >= waiting)
    page.wait_for_timeout(500)
    assert failed.first.inner_text() == "nine tokens are too many for this model"


def test_what_can_not_be_is_not_offered(watched: Watched, default_server: LitServer) -> None:
    page: Any = watched.page
    open_page(page, default_server)
    select_first(page)
    panel = open_lens(page)
    jacobian = panel.get_by_label("lens", exact=True).locator("option[value=jacobian]")
    assert jacobian.is_disabled()
    assert "this model has no jacobian lens: give one with --lens" in jacobian.inner_text()
    other = panel.get_by_label("against", exact=True).locator("option[value='other model']")
    assert "there is one model: load another in Configure" in other.inner_text()
    watched.check()
