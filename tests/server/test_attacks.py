"""Attacks on a real server process: each is refused in words, and nothing is written, read or
said that it should not."""

import json
import os
import pathlib
import random
import socket

import pytest
from lit_nlp import app as lit_app

from tests.live_server import LitServer
from tests.server.malformed import resident_mb, send_all
from tests.server.raw_requests import ask, exchange, refused

CLIENT = pathlib.Path(lit_app.__file__).parent / "client" / "build" / "default"


def files_of(server: LitServer) -> set[str]:
    return {str(path) for path in pathlib.Path(server.folder).rglob("*")}


FILE_ROUTES = (
    [
        f"/{name}{end}"
        for name in (
            "save_datapoints",
            "load_datapoints",
            "fetch_new_data",
            "post_new_data",
            "remove_new_data",
            "push_ui_state",
        )
        for end in ("", "/")
    ]
    + [
        f"/save_datapoints{end}"
        for end in (
            ";x",
            "%3Bx",
            "%3Fx",
            "%23x",
            "%09",
            "%0a",
            "%0d",
            "?x",
            "%00",
            "%20",
            "/;x",
            "//",
        )
    ]
    + [
        "//save_datapoints",
        "/./save_datapoints",
        "/x/../save_datapoints",
        "/%73ave_datapoints",
        "http://127.0.0.1/save_datapoints",
        "/SAVE_DATAPOINTS",
    ]
)


@pytest.mark.parametrize("target", FILE_ROUTES)
def test_no_route_reads_or_writes_a_file_of_the_clients_choosing(
    server: LitServer, target: str
) -> None:
    before = files_of(server)
    joiner = "&" if "?" in target else "?"
    for method in ("POST", "GET", "PUT"):
        reply = ask(
            server.port,
            f"{target}{joiner}dataset_name=ioi&path={server.folder}/stolen",
            method=method,
            body=json.dumps({"inputs": [], "path": server.folder}).encode(),
        )
        refused(reply, 400, 404, 405)
    assert files_of(server) == before


OUTSIDE = [
    "/../default_x/secret.txt",
    "/static/../../default_x/secret.txt",
    "/static/..%2f..%2fdefault_x/secret.txt",
    "/static/%2e%2e/%2e%2e/default_x/secret.txt",
    "/lit_tl/../../../../../../../../etc/passwd",
    "/lit_tl/..%5c..%5cserver%5capp.py",
    "/lit_tl//etc/passwd",
    "/lit_tl/%2fetc/passwd",
    "/lit_tl/x%00.js",
    "/static/index.html%00.png",
    "/lit_tl/../app.py",
    "/lit_tl/__init__.py/..",
    "/lit_tl/" + "a" * 5000,
    "/static/",
    "/lit_tl/fonts",
    "/etc/passwd",
    "/main.js/../static/../../../__init__.py",
    "//etc/passwd",
]


@pytest.mark.parametrize("target", OUTSIDE)
def test_no_file_outside_is_served(server: LitServer, target: str) -> None:
    secret = CLIENT.parent / "default_x"
    secret.mkdir(exist_ok=True)
    (secret / "secret.txt").write_text("a secret")
    try:
        for method in ("GET", "HEAD"):
            reply = ask(server.port, target, method=method, body=b"")
            refused(reply, 400, 404)
            assert b"secret" not in reply.body
            assert b"root:" not in reply.body
    finally:
        (secret / "secret.txt").unlink()
        secret.rmdir()


def test_a_link_that_leads_out_is_not_followed(server: LitServer, tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret.txt").write_text("a secret")
    link = CLIENT / "static" / "link-of-a-test.txt"
    link.symlink_to(tmp_path / "secret.txt")
    try:
        reply = ask(server.port, f"/static/{link.name}", method="GET", body=b"")
        refused(reply, 404)
        assert b"secret" not in reply.body
    finally:
        link.unlink()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"])
def test_odd_methods_are_not_allowed(server: LitServer, method: str) -> None:
    for target in ("/", "/main.js", "/lit_tl/plugin.js", "/get_info"):
        reply = ask(server.port, target, method=method)
        refused(reply, 405, 400)
    refused(ask(server.port, "/get_info", method="GET", body=b""), 405)
    assert ask(server.port, "/get_info", method="GET", body=b"").headers["allow"] == "POST"


FOREIGN: list[dict[str, str]] = [
    {"host": "evil.example"},
    {"host": "127.0.0.1.evil.example:80"},
    {"host": "localhost.evil.example"},
    {"host": "EVIL.EXAMPLE"},
    {"host": ""},
    {"host": "user@127.0.0.1"},
    {"host": "127.0.0.1/x"},
    {"host": "127.0.0.1:port"},
    {"host": "[::1"},
    {"host": "127.0.0.1,evil.example"},
    {"host": "evil.example#127.0.0.1"},
    {"Origin": "http://evil.example"},
    {"Origin": "chrome-extension://127.0.0.1:{port}"},
    {"Origin": "//127.0.0.1:{port}"},
    {"Origin": "127.0.0.1:{port}"},
    {"Origin": "http://127.0.0.1:{port}.evil.example"},
    {"Origin": "http://127.0.0.1:{port}@evil.example"},
    {"Origin": "http://x@127.0.0.1:{port}"},
    {"Origin": "http://127.0.0.1:{port}/path"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost:{port}"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": ""},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "Cross-Site"},
    {"Sec_Fetch_Site": "anything"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_other_pages_and_names_get_no_answer(server: LitServer, headers: dict[str, str]) -> None:
    given = {name: value.format(port=server.port) for name, value in headers.items()}
    reply = ask(server.port, **given)
    refused(reply, 403, 400)
    assert b"initSpecs" not in reply.body


def test_the_own_page_is_answered_however_its_name_is_written(server: LitServer) -> None:
    port = server.port
    for host in (
        "127.0.0.1",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "lab.localhost",
        "10.1.2.3",
        socket.gethostname().upper(),
    ):
        reply = ask(port, host=f"{host}:{port}", Origin=f"http://{host}:{port}".lower())
        assert reply.status == 200, (host, reply.body[:200])
        assert b"initSpecs" in reply.body
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}):
        assert ask(port, **headers).status == 200
    crossing = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask(port, "/", method="GET", body=b"", **crossing).status == 200, "a link to the page"
    assert (
        ask(
            port, "/", method="GET", body=b"", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors"
        ).status
        == 403
    )


MALFORMED = [
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
    b"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"ffffffffffffffff\r\n",
    b"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA b: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n{}",
]


@pytest.mark.parametrize("request_", MALFORMED, ids=lambda value: repr(value[:60]))
def test_malformed_requests_are_refused(server: LitServer, request_: bytes) -> None:
    ended = request_.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    refused(exchange(server.port, ended, ends=True), 0, 400, 403, 404, 411, 413, 414, 431, 501, 505)
    assert ask(server.port).status == 200, "and the next one is answered"


def _of(text: str) -> bytes:
    return json.dumps({"inputs": [{"id": "x", "data": {"_id": "x", "text": text}}]}).encode()


BODIES = [
    (_of("a b " * 2**18), "text is 1,048,576 long: at most 524,288"),
    (json.dumps({"inputs": ["x"] * 20_001}).encode(), "at most 20,000 inputs"),
    (b"[1]", "must be a JSON object"),
    (b"{", "must be JSON"),
    (b'{"inputs": 3}', "must be a JSON object"),
    (b'{"inputs": [3]}', "an input must be an id"),
    (b'{"config": [1]}', '"config"'),
    (b"\xff\xfe", "must be JSON"),
    (b"[" * 100_000, "must be JSON"),
    (b'{"a": ' * 100_000, "must be JSON"),
    (b'{"a": ' + b"1" * 10_000 + b"}", "must be JSON"),
]


@pytest.mark.parametrize(("body", "sentence"), BODIES, ids=lambda value: repr(value[:40]))
def test_bodies_that_are_no_request_are_4xx(server: LitServer, body: bytes, sentence: str) -> None:
    for target in ("/get_preds?model=lit-tl-tiny&dataset_name=ioi", "/get_analysis"):
        reply = ask(server.port, target, body=body)
        refused(reply, 400)
        assert sentence in json.loads(reply.body)["error"]


def test_half_requests_hold_nobody_up(server: LitServer) -> None:
    """200 connections that never end their requests, in the head and in the body."""
    half = []
    try:
        for i in range(200):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            connection.sendall(
                b"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                + (b"Content-Length: 1000\r\n\r\n{" if i % 2 else b"X: ")
            )
            half.append(connection)
        assert ask(server.port).status == 200
        threads = len(os.listdir(f"/proc/{server.process.pid}/task"))
        assert threads < 100
    finally:
        for connection in half:
            connection.close()


def test_every_reply_keeps_browsers_to_the_servers_own_files(server: LitServer) -> None:
    for method, target in (("GET", "/"), ("POST", "/get_info"), ("GET", "/nothing"), ("PUT", "/")):
        reply = ask(server.port, target, method=method)
        policy = dict(
            part.strip().split(" ", 1)
            for part in reply.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert "unsafe-inline" not in policy["script-src"]
        assert "unsafe-hashes" not in policy["script-src"]
        assert "http" not in policy["script-src"]
        assert policy["frame-ancestors"] == "'self'"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert "server" not in reply.headers


def test_malformed_requests_by_the_thousand(server: LitServer) -> None:
    """Others each time; `python -m tests.server.malformed` sends more, and to LIT's own server."""
    files, wrong = files_of(server), []
    send_all(server.port, 100, seed=1)
    before = resident_mb(server.process.pid)

    def after(status: int, target: str, body: bytes) -> None:
        if status >= 500 or status == 0:
            wrong.append((status, target, body))

    send_all(server.port, 1500, seed=random.randrange(2**32), after=after)
    assert wrong == []
    assert resident_mb(server.process.pid) - before < 50
    assert files_of(server) == files
