"""What the browser loads besides LIT's own client: the index page, rewritten, and the files in `lit_tl/client`."""

import functools
import mimetypes
import pathlib
import re
from typing import Optional

from werkzeug import security, wrappers

CLIENT = pathlib.Path(__file__).parent.parent / "client"
PREFIX = "/lit_tl/"

_CDN_LINK = re.compile(r'\s*<link[^>]*href="https?://[^"]*"[^>]*>')


def index_page(client_root: str) -> str:
    """LIT's index page with fonts from here in place of a font CDN, so that icons are icons without a network, and with a script
    that puts right what LIT's client gets wrong."""
    page = (pathlib.Path(client_root) / "static" / "index.html").read_text("utf-8")
    page = _CDN_LINK.sub("", page).replace("</head>", f'  <link href="{PREFIX[1:]}fonts.css" rel="stylesheet">\n</head>', 1)
    return page.replace("</body>", f'  <script src="{PREFIX[1:]}repairs.js"></script>\n</body>', 1)


def respond(request: wrappers.Request, client_root: str) -> Optional[wrappers.Response]:
    """The index page or a client file; None where a path is neither."""
    if request.method not in ("GET", "HEAD"):
        return None
    if request.path in ("/", "/index.html"):
        return wrappers.Response(
            index_page(client_root), content_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"}
        )
    if request.path.startswith(PREFIX):
        return _client_file(request, request.path.removeprefix(PREFIX))
    return None


def _client_file(request: wrappers.Request, name: str) -> wrappers.Response:
    path = security.safe_join(str(CLIENT), name)
    if path is None or not (file := pathlib.Path(path)).is_file():
        return wrappers.Response(f"{PREFIX}{name} is not here", status=404, content_type="text/plain; charset=utf-8")
    content, etag = _read(file, file.stat().st_mtime_ns)
    response = wrappers.Response(content, content_type=_content_type(file))
    response.headers["Cache-Control"] = "no-cache" if file.suffix in (".js", ".css") else "public, max-age=604800"
    response.set_etag(etag)
    return response.make_conditional(request)


@functools.lru_cache(maxsize=64)
def _read(file: pathlib.Path, changed: int) -> tuple[bytes, str]:
    return file.read_bytes(), f"{changed:x}"


def _content_type(file: pathlib.Path) -> str:
    if file.suffix == ".js":
        return "text/javascript; charset=utf-8"
    return mimetypes.guess_type(file.name)[0] or ("font/woff2" if file.suffix == ".woff2" else "application/octet-stream")
