"""Which requests a server answers: those that a user's own page or program sends."""

import hashlib
import hmac
import ipaddress
import secrets
import socket
import threading
import time
from typing import Callable, Collection, Optional
from urllib.parse import SplitResult, urlsplit

from werkzeug import wrappers

from lit_tl.server import replies

MIN_TOKEN = 16
"""Characters that a token must have at least."""
TOKEN_FIELD = "token"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_WAIT, _ADDRESSES = 60.0, 4096


def new_token() -> str:
    """A token that nobody guesses: 256 random bits."""
    return secrets.token_urlsafe(32)


class Gate:
    """Tells requests that are answered from those that are not.

    A page of another origin can't use the server through the user's browser: a request's Origin
    must be its Host, its Sec-Fetch-Site must not be another site's unless the page itself is
    opened, and the Host is an address, `localhost`, this machine's own name or one that was
    allowed, since any other name may be bound to this machine by whoever owns the name (DNS
    rebinding). Where there is a token, a request must carry it.

    Args:
        names: further host names, such as a proxy's.
        token: what requests must carry; None for a server that this machine's user alone reaches.
        port: of the server, which tells its cookie from those of others on the same host.
        clock: of seconds.
    """

    def __init__(
        self,
        *,
        names: Collection[str] = (),
        token: Optional[str] = None,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ):
        own = {"localhost", socket.gethostname().lower()}
        self._names = own | {name.lower().rstrip(".") for name in names}
        self._token, self._cookie = token, f"lit_tl_{port}"
        self._guesses = _Guesses(clock)

    def refusal(self, request: wrappers.Request) -> Optional[wrappers.Response]:
        """The reply to a request that is not answered, or None."""
        if reason := self._foreign(request):
            return _refused(request, reason, 403)
        if self._token is None:
            return None
        return self._without_token(request, self._token)

    def _foreign(self, request: wrappers.Request) -> Optional[str]:
        host = _split(f"//{request.headers.get('Host', '')}")
        if host is None or not host.hostname:
            return "the request has no host name that can be read"
        if not self._is_own(host.hostname):
            return (
                f"the host name {host.hostname[:100]!r} is not served here: open the page by its "
                "address, or as localhost, or name it with --allow_host"
            )
        origin = request.headers.get("Origin")
        if origin is not None and not _same(origin, host):
            return "requests from other pages are not answered"
        site = request.headers.get("Sec-Fetch-Site", "none").strip().lower()
        if site not in ("none", "same-origin") and not _opens_the_page(request):
            return "requests from other pages are not answered"
        return None

    def _is_own(self, host: str) -> bool:
        name = host.rstrip(".")
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _without_token(self, request: wrappers.Request, token: str) -> Optional[wrappers.Response]:
        kept = request.cookies.get(self._cookie, "")
        if hmac.compare_digest(kept.encode(), self._kept(token).encode()):
            return None
        guess, in_link = request.args.get(TOKEN_FIELD), True
        if guess is None:
            scheme, _, guess = request.headers.get("Authorization", "").partition(" ")
            in_link, guess = False, guess.strip() if scheme.lower() == "bearer" else ""
        if not guess:
            return _refused(
                request,
                "this server asks for a token: open the link that it printed when it started",
                401,
            )
        address = request.remote_addr or ""
        if wait := self._guesses.wait(address):
            response = _refused(request, "too many wrong tokens: wait, and try again", 429)
            response.headers["Retry-After"] = str(int(wait) + 1)
            return response
        if not hmac.compare_digest(guess.encode(), token.encode()):
            self._guesses.wrong(address)
            return _refused(
                request, "the token is wrong: open the link that the server printed", 401
            )
        if not in_link or request.method not in ("GET", "HEAD"):
            return None
        response = wrappers.Response(status=303, headers={"Location": request.root_path or "/"})
        response.set_cookie(
            self._cookie, self._kept(token), httponly=True, samesite="Lax", secure=_is_tls(request)
        )
        return response

    def _kept(self, token: str) -> str:
        """What the cookie holds: not the token, which opens other servers too if it was chosen."""
        return hmac.new(token.encode(), self._cookie.encode(), hashlib.sha256).hexdigest()


class _Guesses:
    """Makes an address wait after a wrong token: a second, then two, and so on to a minute."""

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._lock = clock, threading.Lock()
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait(self, address: str) -> float:
        """Seconds until the next guess of an address is looked at; 0 is now."""
        with self._lock:
            _, until = self._wrong.get(address, (0, 0.0))
            return max(0.0, until - self._clock())

    def wrong(self, address: str) -> None:
        """Count a wrong guess."""
        with self._lock:
            count = self._wrong.pop(address, (0, 0.0))[0] + 1
            while len(self._wrong) >= _ADDRESSES:
                del self._wrong[next(iter(self._wrong))]  # the one that has been quiet for longest
            seconds = min(2.0 ** min(count - 1, 16), _LONGEST_WAIT)
            self._wrong[address] = (count, self._clock() + seconds)


def _split(address: str) -> Optional[SplitResult]:
    """An address in its parts, None where it is malformed or has more than host and port."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  (raises where it is no number)
    except ValueError:
        return None
    bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return parts if bare and parts.netloc else None


def _same(origin: str, host: SplitResult) -> bool:
    """Whether an Origin is that of a Host; a port that is not said is the scheme's."""
    parts = _split(origin)
    if parts is None or parts.scheme not in _DEFAULT_PORTS:
        return False
    default = _DEFAULT_PORTS[parts.scheme]
    return parts.hostname == host.hostname and (parts.port or default) == (host.port or default)


def _opens_the_page(request: wrappers.Request) -> bool:
    """Whether a browser opens the page itself, from a link or in a frame, of which the page that
    does it sees nothing."""
    return (
        request.method == "GET"
        and request.path == "/"
        and request.headers.get("Sec-Fetch-Mode", "").lower() in ("navigate", "")
    )


def _is_tls(request: wrappers.Request) -> bool:
    """Whether the browser speaks TLS, perhaps with a proxy in front, which may say so: all that it
    does is to keep the cookie off plain connections."""
    first, _, _ = request.headers.get("X-Forwarded-Proto", "").partition(",")
    return request.is_secure or first.strip().lower() == "https"


def _refused(request: wrappers.Request, sentence: str, status: int) -> wrappers.Response:
    """As a page for one who opens it, and as JSON for programs and panels."""
    if request.method in ("GET", "HEAD"):
        response = wrappers.Response(
            f"{sentence}\n", status=status, content_type="text/plain; charset=utf-8"
        )
        response.headers["Cache-Control"] = "no-store"
        return response
    return replies.respond(request, replies.to_json({"error": sentence}), status=status)
