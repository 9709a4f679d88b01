"""A report, opened from the disk with the network off."""

import pathlib
import re
from typing import Any

import numpy as np
import pytest

from lit_tl import Session
from lit_tl.figures.grid_text import read_grid
from lit_tl.report.page import report
from tests.report.conftest import NASTY, session, tiny

__all__ = ["session", "tiny"]


@pytest.fixture(scope="module")
def path(session: Session, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report(session))
    return file


class Offline:
    """A page, and all that it asked for or complained of."""

    def __init__(self, browser: Any, path: pathlib.Path, *, scripts: bool):
        self.context = browser.new_context(
            offline=True, java_script_enabled=scripts, viewport={"width": 1440, "height": 900}
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())

    def check(self, path: pathlib.Path) -> None:
        outside = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        assert outside == [path.as_uri()]
        assert self.complaints == []
        self.context.close()


def test_it_asks_nobody_and_its_values_are_the_sessions(
    browser: Any, session: Session, path: pathlib.Path
) -> None:
    """Grids can be pointed at and plots hovered; numbers are those that were kept."""
    offline = Offline(browser, path, scripts=True)
    page = offline.page
    grids = [i for i, figure in enumerate(session.figures, 1) if "grid" in figure]
    plots = [i for i, figure in enumerate(session.figures, 1) if "figure" in figure]
    for number in grids:
        section = page.locator(f"#figure-{number}")
        view = section.locator(".view").first
        view.scroll_into_view_if_needed()
        view.click(position={"x": 6, "y": view.bounding_box()["height"] - 6})
        card = section.locator(".card:visible")
        said = float(re.sub(r"[^0-9.e+-]", "", card.locator("b").first.inner_text()) or "nan")
        kept = read_grid(session.figures[number - 1]["grid"]).parts[0].values
        assert np.nanmin(np.abs(kept - said)) < 1e-3 * max(1.0, abs(said))
    for number in plots:
        section = page.locator(f"#figure-{number}")
        section.locator(".main-svg").first.wait_for()
        assert section.locator(".trace").count() > 0
    assert page.locator(".drawing img").count() == 0
    first = page.locator("#figure-1")
    first.get_by_text(re.compile(r"^Numbers")).click()
    rows = [line.split(",") for line in session.figures[0]["csv"].splitlines()]
    shown = first.locator(".numbers tr").nth(3).locator("td").all_inner_texts()
    assert shown[-1] == rows[3][-1]
    with page.expect_download() as download:
        first.get_by_role("link", name="CSV").click()
    assert download.value.path().read_text() == session.figures[0]["csv"]
    first.get_by_text("How to make it again").click()
    assert "lit_tl.draw('Lens'" in first.locator("pre").first.inner_text()
    offline.check(path)


def test_what_users_wrote_is_never_run(browser: Any, path: pathlib.Path) -> None:
    """It is shown as it was written."""
    offline = Offline(browser, path, scripts=True)
    page = offline.page
    page.locator(".main-svg").first.wait_for()
    assert page.evaluate("window.ran") is None
    assert page.locator("h1").inner_text().strip() == f"Names {NASTY}"
    assert page.locator("img[src=x]").count() == 0
    offline.check(path)


def test_without_scripts_it_has_text_and_pictures(
    browser: Any, session: Session, path: pathlib.Path
) -> None:
    """Every figure is a picture that was drawn before."""
    offline = Offline(browser, path, scripts=False)
    page = offline.page
    pictures = page.locator(".drawing img")
    assert pictures.count() == len(session.figures)
    for place in range(pictures.count()):
        box = pictures.nth(place).bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
    assert "Names" in page.locator("h1").inner_text()
    assert page.locator(".words").count() == len(session.figures) + 1
    offline.check(path)


def test_a_typical_one_is_small(path: pathlib.Path) -> None:
    """Six figures, grids and plots."""
    assert path.stat().st_size < 5_000_000
