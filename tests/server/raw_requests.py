"""Requests as an attacker writes them, byte by byte: no library tidies them up."""

import contextlib
import dataclasses
import socket


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back; status 0 where the connection was closed without a word."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(port: int, request: bytes, *, timeout: float = 30.0, ends: bool = False) -> Reply:
    """Send bytes, and read to the end of the reply, which may come before all is sent.

    Args:
        port: of the server.
        request: its bytes.
        timeout: seconds without a word.
        ends: close this side behind the request.
    """
    content = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        with contextlib.suppress(OSError):  # the server may have closed it already
            connection.sendall(request)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(2**16):
                content += block
    head, _, body = content.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
    }
    return Reply(int(lines[0].split()[1]) if lines[0] else 0, headers, body)


def ask(
    port: int,
    target: str = "/get_info",
    *,
    method: str = "POST",
    host: str | None = None,
    body: bytes = b"{}",
    **headers: str,
) -> Reply:
    """One request; names of headers with `_` for `-`.

    Args:
        port: of the server.
        target: as it stands in the request line.
        method: any.
        host: the Host header; None for the server's own.
        body: of the request.
        **headers: further ones.
    """
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {f'127.0.0.1:{port}' if host is None else host}",
        "Connection: close",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
    ]
    return exchange(port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def refused(reply: Reply, *statuses: int) -> None:
    """The reply has one of these codes, and tells nothing of the server."""
    assert reply.status in statuses, (reply.status, reply.body[:300])
    assert b"Traceback" not in reply.body
    assert b"/site-packages/" not in reply.body
