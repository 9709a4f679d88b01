"""What is served: a table of paths, and headers that keep browsers to it."""

import base64
import functools
import hashlib
import re
import time
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from werkzeug import exceptions, wrappers

from lit_tl.server import plugin, replies
from lit_tl.server.gate import Gate
from lit_tl.server.monitor import Monitor

Handler = Callable[[wrappers.Request], wrappers.Response]
LIT_ROUTES: Mapping[str, str] = {
    "/get_info": "_get_info",
    "/get_dataset": "_get_dataset",
    "/create_dataset": "_create_dataset",
    "/create_model": "_create_model",
    "/get_generated": "_get_generated",
    "/annotate_new_data": "_annotate_new_data",
    "/get_preds": "_get_preds",
    "/get_interpretations": "_get_interpretations",
    "/get_metrics": "_get_metrics",
}
"""LIT's routes that are served, and the methods of its application that answer them. Those that
read and write files by a path of the client's choosing, and hand data to whoever asks next, are
not among them."""
_HEALTH = "/healthz"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class Routes:
    """A WSGI application of named routes; anything else is 404, and another method 405.

    Args:
        api: what answers a POST, by path.
        client_root: the folder of LIT's client.
        gate: which requests are answered at all.
        monitor: counts them.
        frame_ancestors: other pages that may show this one in a frame.
    """

    def __init__(
        self,
        api: Mapping[str, Handler],
        client_root: str,
        gate: Gate,
        monitor: Monitor,
        frame_ancestors: Sequence[str] = (),
    ):
        self._api, self._client_root, self._gate = dict(api), client_root, gate
        self._monitor = monitor
        self._looked_at: Mapping[str, Handler] = {"/metrics": monitor.metrics}
        self._frames = " ".join(("'self'", *frame_ancestors))

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """WSGI."""
        request, started = wrappers.Request(environ), time.monotonic()
        try:
            response = self._refusal(request) or self._answer(request)
        except exceptions.HTTPException as error:
            sentence = f"{error.description or error.name}"
            body = replies.to_json({"error": sentence.split("\n")[0]})
            response = replies.respond(request, body, status=error.code or 400)
        for name, value in self._headers().items():
            response.headers.setdefault(name, value)
        path = request.path
        route = path if path in self._api else "file" if plugin.is_file(path) else "other"
        length = response.calculate_content_length() or 0
        self._monitor.seen(
            request,
            route,
            response.status_code,
            length,
            time.monotonic() - started,
        )
        return response(environ, start_response)

    def _refusal(self, request: wrappers.Request) -> Optional[wrappers.Response]:
        if request.path == _HEALTH and request.method in ("GET", "HEAD"):
            return self._monitor.health(request)
        if request.environ.get("wsgi.multiprocess"):
            return _in_many_processes(request)
        return self._gate.refusal(request)

    def _answer(self, request: wrappers.Request) -> wrappers.Response:
        path = request.path
        if handler := self._api.get(path):
            if request.method != "POST":
                return _not_allowed(request, "POST")
            return handler(request)
        if request.method not in ("GET", "HEAD"):
            if plugin.is_file(path):
                return _not_allowed(request, "GET, HEAD")
            return _not_here(request)
        if handler := self._looked_at.get(path):
            return handler(request)
        response = plugin.respond(request, self._client_root)
        return response if response is not None else _not_here(request)

    def _headers(self) -> Mapping[str, str]:
        return {
            "Content-Security-Policy": content_security_policy(self._client_root, self._frames),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }


@functools.cache
def content_security_policy(client_root: str, frames: str) -> str:
    """Scripts are the server's own files, and those written into its page, by their hashes."""
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in _INLINE_SCRIPT.findall(plugin.index_page(client_root))
    ]
    scripts = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return "; ".join(
        (
            "default-src 'none'",
            # LIT's Compare draws with regl, which writes functions of its own; text in a page stays
            # text all the same.
            f"script-src 'self' 'unsafe-eval' {scripts}",
            # LIT's elements and Plotly write styles into the page.
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {frames}",
        )
    )


def _in_many_processes(request: wrappers.Request) -> wrappers.Response:
    sentence = (
        "lit_tl answers from one process, since models and data that the page loads are in one: "
        "start the server with one worker, and threads"
    )
    return replies.respond(request, replies.to_json({"error": sentence}), status=503)


def _not_here(request: wrappers.Request) -> wrappers.Response:
    body = replies.to_json({"error": "there is nothing at this address"})
    return replies.respond(request, body, status=404)


def _not_allowed(request: wrappers.Request, allowed: str) -> wrappers.Response:
    body = replies.to_json({"error": f"this address takes {allowed}"})
    response = replies.respond(request, body, status=405)
    response.headers["Allow"] = allowed
    return response
