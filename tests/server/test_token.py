"""A server with a token, as a team has it: a real process."""

import pathlib
import secrets
import stat
from collections.abc import Callable, Iterator

import pytest
from werkzeug.test import create_environ
from werkzeug.wrappers import Request

from lit_tl.server.gate import Gate
from tests.live_server import LitServer
from tests.server.raw_requests import ask, refused

TOKEN = secrets.token_urlsafe(24)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LitServer]:
    """As a team does: with a token, and a proxy's name."""
    state = tmp_path_factory.mktemp("state")
    flags = ("--datasets", "ioi", "--allow_host", "Lab.example,lit")
    made = LitServer(*flags, environment={"LIT_TL_TOKEN": TOKEN, "XDG_STATE_HOME": str(state)})
    made.state = state  # type: ignore[attr-defined]
    yield made
    log = made.errors()
    assert made.stop() == 0
    assert TOKEN not in log
    assert "Traceback" not in log


def link_of(server: LitServer) -> str:
    path = pathlib.Path(server.line.split("the link with it is in ")[1].split("  ")[0].strip())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    return path.read_text().strip()


def test_the_link_is_in_a_file_of_its_owners_and_its_token_in_no_log(locked: LitServer) -> None:
    assert TOKEN not in locked.line
    link = link_of(locked)
    assert link == f"{locked.url}?token={TOKEN}"


def test_a_token_opens_the_page_and_stays_out_of_its_address(locked: LitServer) -> None:
    reply = ask(locked.port, f"/?token={TOKEN}", method="GET", body=b"")
    assert (reply.status, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    value = cookie.split(";")[0]
    assert ask(locked.port, "/", method="GET", body=b"", Cookie=value).status == 200
    assert ask(locked.port, Cookie=value).status == 200
    assert ask(locked.port, Authorization=f"Bearer {TOKEN}").status == 200


def test_a_proxys_names_are_served_where_they_are_allowed(
    locked: LitServer, server: LitServer
) -> None:
    bearer = f"Bearer {TOKEN}"
    for host, origin in (
        ("lab.example", "https://lab.example"),
        ("LAB.EXAMPLE", "https://lab.example:443"),
        ("lit:8080", "http://lit:8080"),
    ):
        reply = ask(locked.port, host=host, Origin=origin, Authorization=bearer)
        assert reply.status == 200, reply.body
        refused(ask(server.port, host=host, Origin=origin), 403)
    refused(ask(locked.port, host="lab.example.evil", Authorization=bearer), 403)
    cookie = ask(
        locked.port, f"/?token={TOKEN}", method="GET", body=b"", X_Forwarded_Proto="https"
    ).headers["set-cookie"]
    assert "Secure" in cookie


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/", {}),
        ("/main.js", {}),
        ("/lit_tl/plugin.js", {}),
        ("/?token=", {}),
        ("/?Token={token}", {}),
        ("/", {"Cookie": "lit_tl_0=x"}),
        ("/", {"Cookie": "lit_tl_{port}={token}"}),
        ("/", {"Cookie": "lit_tl_{port}=" + "0" * 64}),
        ("/", {"Authorization": "Basic {token}"}),
        ("/", {"Authorization": "Bearer"}),
        ("/", {"X-Token": "{token}"}),
    ],
    ids=str,
)
def test_without_the_token_nothing_is_answered(
    locked: LitServer, target: str, headers: dict[str, str]
) -> None:
    fill = {"token": TOKEN, "port": str(locked.port)}
    given = {name: value.format(**fill) for name, value in headers.items()}
    for method in ("GET", "POST"):
        reply = ask(locked.port, target.format(**fill), method=method, **given)
        refused(reply, 401)
        assert b"token" in reply.body


def test_wrong_tokens_wait_longer_and_longer() -> None:
    """By a clock of the test's own."""
    now = [100.0]
    gate = Gate(token=TOKEN, clock=lambda: now[0])

    def status(token: str, address: str = "10.0.0.1") -> int:
        environment = create_environ("/", headers={"Authorization": f"Bearer {token}"})
        response = gate.refusal(Request({**environment, "REMOTE_ADDR": address}))
        return 200 if response is None else response.status_code

    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        assert status("wrong") == 401
        assert status("wrong") == status(TOKEN) == 429
        assert status(TOKEN, "10.0.0.2") == 200, "another address does not wait"
        now[0] += seconds - 0.1
        assert status(TOKEN) == 429
        now[0] += 0.2
        assert status(TOKEN) == 200


def test_a_server_makes_guessers_wait(tmp_path: pathlib.Path) -> None:
    """On a server of its own, since its address has to wait from then on."""
    flags = ("--datasets", "ioi", "--token", TOKEN)
    server = LitServer(*flags, environment={"XDG_STATE_HOME": str(tmp_path)})
    statuses = [
        ask(server.port, f"/?token=wrong{i}", method="GET", body=b"").status for i in range(20)
    ]
    assert server.stop() == 0
    assert statuses[0] == 401
    assert 429 in statuses, "each wrong one makes the wait longer"
    assert set(statuses) == {401, 429}


def test_a_short_token_is_refused(run_command: Callable[..., tuple[int, str]]) -> None:
    code, said = run_command("--token", "secret")
    assert code == 1
    assert "--token must have at least 16 characters" in said
    assert "secret" not in said
