"""Names and labels with markup, which LIT's client would render: the page shows them as text."""

import pathlib
from collections.abc import Callable

import pytest

from lit_tl.names import without_markup
from tests.browser.conftest import Watched, open_page, select_first, tab
from tests.live_server import LitServer

SCRIPT = '<img src=x onerror="window.pwned=1">'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SCRIPT, SCRIPT.replace("<", "<\u200b")),
        ("</style><!-- <?x", "<\u200b/style><\u200b!-- <\u200b?x"),
        (
            "[here](javascript:x) [a][b] [c]: d",
            "[here]\u200b(javascript:x) [a]\u200b[b] [c]\u200b: d",
        ),
        ("a < b, 3<4, [1] (2)", "a < b, 3<4, [1] (2)"),
    ],
)
def test_markup_becomes_text(text: str, shown: str) -> None:
    assert without_markup(text) == shown


def test_scripts_in_a_table_are_shown_and_do_not_run(
    start_server: Callable[..., LitServer], watched: Watched, tmp_path: pathlib.Path
) -> None:
    table = tmp_path / f"{SCRIPT.replace('/', '')}.csv"
    quoted = SCRIPT.replace('"', '""')
    rows = [f'prompt,"{quoted}"', *(f'text {i},"{quoted}{i % 2}"' for i in range(40))]
    table.write_text("\n".join(rows) + "\n")
    server = start_server("--datasets", f"mine={table}")
    page = watched.page
    open_page(page, server)
    select_first(page)
    for name in ("Predictions", "Salience", "Metrics"):
        tab(page, name)
    page.get_by_text("Color by").first.hover()
    page.get_by_text("Configure").first.click()
    page.locator("#global-settings").get_by_text("Dataset", exact=True).first.click()
    page.wait_for_load_state("networkidle")
    assert page.get_by_text("onerror").count() > 0, "the column is there, as text"
    assert page.locator('img[src="x"]').count() == 0
    assert page.evaluate("window.pwned") is None
    watched.check()
