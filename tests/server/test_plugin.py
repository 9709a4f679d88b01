"""The index page and the client's files."""

import gzip
import pathlib

import pytest
from lit_nlp import app as lit_app
from werkzeug.test import create_environ
from werkzeug.wrappers import Request

from lit_tl.server import plugin

CLIENT_ROOT = str(pathlib.Path(lit_app.__file__).parent / "client" / "build" / "default")


def get(path: str, **headers: str) -> object:
    return plugin.respond(Request(create_environ(path, headers=headers)), CLIENT_ROOT)


def test_the_index_page_asks_nothing_of_other_hosts() -> None:
    page = get("/").get_data(as_text=True)
    assert "<lit-app>" in page
    assert "http" not in page.split("<body>")[0].split("-->")[1]
    assert 'href="lit_tl/fonts.css"' in page
    assert '<script type="module" src="lit_tl/plugin.js" data-main="main.js"' in page
    assert '<script src="main.js">' not in page, "the plug-in adds LIT's own script"


@pytest.mark.parametrize(
    "script",
    ["<script src='main.js'></script>", '<script defer src="static/main.abc123.js"></script>'],
)
def test_other_ways_to_name_the_script_are_known(script: str, tmp_path: pathlib.Path) -> None:
    page = index_of(tmp_path, script)
    assert page.count("data-main=") == 1
    assert script not in page


def test_a_page_that_starts_otherwise_is_left_and_says_so(tmp_path: pathlib.Path) -> None:
    page = index_of(tmp_path, "<script>start()</script>")
    assert "<script>start()</script>" in page
    assert "litTlWithout('lit_tl\\'s panels are off" in page


def index_of(tmp_path: pathlib.Path, script: str) -> str:
    page = (
        pathlib.Path(CLIENT_ROOT, "static", "index.html")
        .read_text("utf-8")
        .replace('<script src="main.js"></script>', script)
    )
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text(page)
    return plugin.index_page(str(tmp_path))


def test_files_are_served_with_type_and_etag() -> None:
    response = get("/lit_tl/fonts.css")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/css")
    again = get("/lit_tl/fonts.css", **{"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304
    assert get("/lit_tl/fonts/material-icons.woff2").headers["Content-Type"] == "font/woff2"


def test_paths_do_not_leave_the_folder() -> None:
    for path in (
        "/lit_tl/../__init__.py",
        "/lit_tl/%2e%2e/__init__.py",
        "/lit_tl//etc/passwd",
        "/lit_tl/fonts",
        "/lit_tl/",
    ):
        assert get(path) is None
    assert get("/get_info") is None


def test_scripts_are_packed_where_the_browser_takes_it() -> None:
    plain, packed = get("/main.js"), get("/main.js", **{"Accept-Encoding": "gzip, br"})
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 2
    assert packed.headers["ETag"] != plain.headers["ETag"]


def test_plotly_comes_out_of_its_python_package() -> None:
    response = get("/lit_tl/plotly.min.js")
    assert b"plotly.js v" in response.data[:400]
    assert "max-age" in response.headers["Cache-Control"]
