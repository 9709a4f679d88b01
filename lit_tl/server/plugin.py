"""The browser plug-in: LIT's index page, rewritten to load it, and the files that it is made of.

LIT looks its modules up by name when it resolves its layout, after its first reply from the server.
The page therefore starts with `plugin.js` instead of LIT's `main.js`: it fetches the panels, adds
`main.js`, and defines the panels' elements in that script's load event, which comes before LIT
starts. In whatever order replies arrive, elements exist before they are looked up.
"""

import functools
import gzip
import importlib.util
import mimetypes
import pathlib
import re
from typing import Optional

from werkzeug import security, wrappers

from lit_tl import client

PREFIX = "/lit_tl/"
PLOTLY = "plotly.min.js"
"""Plotly's own script, out of its Python package."""

_PAGES, _MAIN, _STATIC = ("/", "/index.html"), "/main.js", "/static/"
_MAIN_SCRIPT = re.compile(
    r"""<script[^>]*\bsrc=["']?([^"'\s>]*main[^"'\s>/]*\.js)["']?[^>]*>\s*</script>"""
)
_CDN_LINK = re.compile(r'\s*<link[^>]*href="https?://[^"]*"[^>]*>')


def index_page(client_root: str) -> str:
    """LIT's index page with fonts from here in place of a font CDN, so that icons are icons without
    a network, and with the plug-in in place of `main.js`, which the plug-in adds. Where LIT's page
    has no such script, it starts as it is, and a sentence on it says that panels are off."""
    page = (pathlib.Path(client_root) / "static" / "index.html").read_text("utf-8")
    page = _CDN_LINK.sub("", page).replace(
        "</head>", f'  <link href="{PREFIX[1:]}fonts.css" rel="stylesheet">\n</head>', 1
    )
    panels = f"var litTlPanels = {client.manifest()};"
    without = f"<script>\n{panels}\n{(client.FOLDER / 'without.js').read_text('utf-8')}</script>"
    plugin = f'<script type="module" src="{PREFIX[1:]}plugin.js" data-main="\\1"></script>'
    page, count = _MAIN_SCRIPT.subn(
        lambda match: f"{without}\n  {match.expand(plugin)}", page, count=1
    )
    if not count:
        sentence = (
            "lit_tl\\'s panels are off, because this LIT client starts otherwise than "
            "they know: install lit-nlp 1.3.1."
        )
        page = page.replace(
            "<body>", f"<body>\n  {without}\n  <script>litTlWithout('{sentence}', '')</script>", 1
        )
    return page


def is_file(path: str) -> bool:
    """Whether a path is one of those that `respond` answers, be there a file or not."""
    return path in (*_PAGES, _MAIN) or path.startswith((PREFIX, _STATIC))


def respond(request: wrappers.Request, client_root: str) -> Optional[wrappers.Response]:
    """The index page or a client file; None where a path is neither."""
    if request.path in _PAGES:
        return wrappers.Response(
            index_page(client_root),
            content_type="text/html; charset=utf-8",
            headers={"Cache-Control": "no-cache"},
        )
    if request.path == _MAIN:
        return _file(request, "main.js", client_root)
    if request.path.startswith(_STATIC):
        folder = str(pathlib.Path(client_root) / "static")
        return _file(request, request.path.removeprefix(_STATIC), folder)
    if request.path.startswith(PREFIX):
        name = request.path.removeprefix(PREFIX)
        return _file(request, name, _plotly_folder() if name == PLOTLY else str(client.FOLDER))
    return None


def _inside(folder: str, name: str) -> Optional[pathlib.Path]:
    """A file below a folder, links followed; None where there is none."""
    path = None if "\0" in name else security.safe_join(folder, name)
    if path is None:
        return None
    try:
        file = pathlib.Path(path).resolve()
        own = file.is_relative_to(pathlib.Path(folder).resolve()) and file.is_file()
    except OSError:
        return None  # a name that is too long
    return file if own else None


def _file(request: wrappers.Request, name: str, folder: str) -> Optional[wrappers.Response]:
    file = _inside(folder, name)
    if file is None:
        return None
    packed = file.suffix in (".js", ".css") and request.accept_encodings.quality("gzip") > 0
    content, etag = _read(file, file.stat().st_mtime_ns, packed)
    response = wrappers.Response(
        content, content_type=_content_type(file), headers={"Vary": "Accept-Encoding"}
    )
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = (
        "no-cache"
        if file.suffix in (".js", ".css") and name != PLOTLY
        else "public, max-age=604800"
    )
    response.set_etag(etag)
    return response.make_conditional(request)


@functools.cache
def _plotly_folder() -> str:
    spec = importlib.util.find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    return str(pathlib.Path(spec.origin).parent / "package_data")


@functools.lru_cache(maxsize=64)
def _read(file: pathlib.Path, changed: int, packed: bool) -> tuple[bytes, str]:
    content = file.read_bytes()
    return (gzip.compress(content), f"{changed:x}-gz") if packed else (content, f"{changed:x}")


def _content_type(file: pathlib.Path) -> str:
    if file.suffix == ".js":
        return "text/javascript; charset=utf-8"
    return mimetypes.guess_type(file.name)[0] or (
        "font/woff2" if file.suffix == ".woff2" else "application/octet-stream"
    )
