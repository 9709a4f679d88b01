"""The page in another page's frame: a notebook's, and a stranger's."""

import http.server
import pathlib
import threading
from collections.abc import Iterator

import pytest

import lit_tl
from lit_tl.notebook import Widget
from tests.browser.conftest import Watched
from tests.live_server import LitServer


@pytest.fixture
def notebook(tmp_path: pathlib.Path) -> Iterator[tuple[pathlib.Path, int]]:
    """A folder whose pages have an origin of their own, and its port."""
    (tmp_path / "favicon.ico").touch()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def widget() -> Iterator[Widget]:
    made = lit_tl.widget(datasets={"mine": ["The capital of France is", "one two three one"]})
    yield made
    made.stop()


def test_the_widget_works_in_a_notebooks_cell(
    watched: Watched, notebook: tuple[pathlib.Path, int], widget: Widget
) -> None:
    folder, port = notebook
    (folder / "cell.html").write_text(f"<!DOCTYPE html><body>{widget._repr_html_()}</body>")
    page = watched.page
    page.goto(f"http://localhost:{port}/cell.html")
    frame = page.frame_locator("iframe")
    frame.locator("lit-tl-predictions-module").get_by_text("Paris").first.wait_for()
    assert frame.locator("lit-app-statusbar .error").count() == 0
    assert watched.complaints == []


def test_a_stranger_can_not_frame_a_server(
    watched: Watched, notebook: tuple[pathlib.Path, int], default_server: LitServer
) -> None:
    folder, port = notebook
    (folder / "trap.html").write_text(f'<iframe src="{default_server.url}"></iframe>')
    page = watched.page
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(f"http://localhost:{port}/trap.html")
    assert page.frame_locator("iframe").locator("lit-app").count() == 0
