"""The real command, and a real browser on it."""

import contextlib
import os
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.large_model import make_folder
from tests.live_server import LitServer
from tests.own_analysis import ANALYSIS

CHROMIUM = (
    os.environ.get("CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
ADVICE = (
    "no Chromium for the browser tests: install it (Debian: apt-get install chromium) or "
    "set CHROMIUM to its path"
)
_QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
            if not CHROMIUM and os.environ.get("LIT_TL_BROWSER") != "required":
                item.add_marker(pytest.mark.skip(reason=ADVICE))


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., LitServer]]:
    """Starts a server, which lives until the tests end: nothing that a test leaves behind may
    matter to another."""
    servers = []

    def start(*arguments: str) -> LitServer:
        servers.append(LitServer(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            assert server.stop() == 0


@pytest.fixture(scope="session")
def default_server(start_server: Callable[..., LitServer]) -> LitServer:
    """What the command without a flag serves."""
    return start_server()


@pytest.fixture(scope="session")
def growing_server(start_server: Callable[..., LitServer]) -> LitServer:
    """One that tests load models and data sets into."""
    return start_server("--datasets", "ioi")


@pytest.fixture(scope="session")
def two_models(
    start_server: Callable[..., LitServer], tmp_path_factory: pytest.TempPathFactory
) -> LitServer:
    """A server of two models, `first` and `second`, and an analysis of a user's own."""
    own = tmp_path_factory.mktemp("analyses") / "mine.py"
    own.write_text(ANALYSIS)
    models = "first=lit-tl-tiny,second=lit-tl-tiny"
    return start_server("--models", models, "--datasets", "ioi", "--analyses", str(own))


class Watched:
    """A page, and whatever its console, its requests or its status bar complained of."""

    def __init__(self, page: object):
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on(
            "console",
            lambda message: (
                message.type == "error" and self.complaints.append(f"console: {message.text}")
            ),
        )
        page.on(
            "requestfailed",
            lambda request: self.complaints.append(f"failed: {request.url} {request.failure}"),
        )
        page.on(
            "response",
            lambda reply: (
                reply.status >= 400 and self.complaints.append(f"{reply.status}: {reply.url}")
            ),
        )

    def check(self) -> None:
        aborted = [text for text in self.complaints if "ERR_ABORTED" not in text]
        assert aborted == []
        assert self.page.locator("lit-app-statusbar").count() == 1
        assert self.page.locator("lit-app-statusbar .error").count() == 0


def open_page(page: Any, server: LitServer, query: str = "") -> None:
    page.goto(server.url + query)
    page.locator("lit-data-table tbody tr").first.wait_for()


def tab(page: Any, name: str) -> None:
    page.locator(".tab", has_text=re.compile(f"^\\s*{name}\\s*$")).first.click()


def select_first(page: Any) -> str:
    """The text of the table's first prompt, which is selected when the page opens."""
    editor = page.locator("datapoint-editor-module textarea").first
    page.wait_for_function("e => e.value.length > 0", arg=editor.element_handle())
    return str(editor.input_value())


def open_lens(page: Any) -> Any:
    """The Lens tab's first panel, with its grid drawn."""
    tab(page, "Lens")
    panel = page.locator("lit-tl-lens-module").first
    panel.locator(".figure[aria-busy=false] .grid .view").first.wait_for()
    return panel


def save(panel: Any, kind: str) -> None:
    """Choose a kind of file from a panel's menu."""
    panel.locator(".menu summary", has_text="Save").click()
    panel.get_by_role("button", name=kind, exact=True).click()


def card_at(view: Any, right: int, up: int) -> Any:
    """The card of a cell of a grid, counted from the bottom left: moved to by keys."""
    page = view.page
    view.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("PageDown")
    for _ in range(right):
        page.keyboard.press("ArrowRight")
    for _ in range(up):
        page.keyboard.press("ArrowUp")
    return view.locator("xpath=ancestor::*[contains(@class, 'grid')]").locator(
        ".card:not([hidden])"
    )


class Answered:
    """The answer to a request of the page, of its job where it became one."""

    value: Any
    """Playwright's response; there after the block."""


@contextlib.contextmanager
def answered(page: Any, *parts: str) -> Iterator[Answered]:
    """Behind the block, wait for the answer to a request whose address has all these parts."""
    replies: list[Any] = []
    tickets: set[str] = set()
    answer = Answered()

    def has_come() -> bool:
        for reply in replies:
            asked = all(part in reply.url for part in parts)
            if asked and reply.status == 202:
                tickets.add(reply.json()["job"]["ticket"])
            elif asked or (reply.status != 202 and any(each in reply.url for each in tickets)):
                answer.value = reply
                return True
        return False

    def listen(reply: Any) -> None:
        replies.append(reply)

    page.on("response", listen)
    try:
        yield answer
        until(page, has_come, seconds=120)
    finally:
        page.remove_listener("response", listen)


def until(page: Any, condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition that Playwright's own waits cannot say."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A model of SmolLM2's shape."""
    return make_folder(tmp_path_factory.mktemp("large") / "large")


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    assert CHROMIUM, ADVICE
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def watched(browser: object) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(60_000)
    watched = Watched(context.new_page())
    yield watched
    context.close()
