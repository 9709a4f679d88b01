"""Which requests a server answers: those that the user's own page sends."""

import ipaddress
import socket
from typing import Optional
from urllib.parse import urlsplit

from werkzeug import wrappers

_FILE_ROUTES = ("/save_datapoints", "/load_datapoints")


def refusal(request: wrappers.Request) -> Optional[str]:
    """Why a request is refused, or None.

    A page of another origin can't use the server through the user's browser: the request's Origin
    must be its Host, and the Host an address, `localhost` or this machine's own name, since another
    name may be bound to this machine by whoever owns the name (DNS rebinding). LIT's routes that
    read and write files by a path of the client's choosing are closed.
    """
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    if not _is_own(host.strip("[]")):
        return (
            f"the host name {host!r} is not served here: open the page by its address, or "
            "as localhost"
        )
    origin = request.headers.get("Origin")
    if origin is not None and _plain(_address(origin)) != _plain(request.host):
        return "requests from other pages are not answered"
    if request.path.rstrip("/") in _FILE_ROUTES:
        return (
            "saving to and loading from a path on the server is closed: use the data "
            "table's download, or --datasets"
        )
    return None


def _address(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _plain(address: str) -> str:
    """An address without the port that browsers leave out."""
    return address.lower().removesuffix(":80")


def _is_own(host: str) -> bool:
    if host in ("localhost", socket.gethostname()) or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
