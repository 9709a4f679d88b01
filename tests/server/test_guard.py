"""Which requests are answered."""

import socket

import pytest
from werkzeug.test import create_environ
from werkzeug.wrappers import Request

from lit_tl.server import guard


def ask(path: str = "/get_info", host: str = "127.0.0.1:5432", **headers: str) -> str | None:
    return guard.refusal(Request(create_environ(path, headers={"Host": host, **headers})))


@pytest.mark.parametrize(
    "host", ["127.0.0.1:5432", "localhost:5432", "[::1]:5432", "10.1.2.3", "lab.localhost:80"]
)
def test_the_own_page_is_answered(host: str) -> None:
    assert ask(host=host) is None
    assert ask(host=host, Origin=f"http://{host}") is None


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:5432", "localhost.evil.example"]
)
def test_names_that_others_may_own_are_refused(host: str) -> None:
    assert "is not served here" in ask(host=host)


def test_other_pages_are_refused() -> None:
    assert ask(Origin="http://evil.example") == "requests from other pages are not answered"
    assert ask(Origin="http://127.0.0.1:9999") is not None
    assert ask(Origin="null") is not None
    assert ask(Origin="http://[") is not None


def test_the_name_that_the_start_prints_is_served() -> None:
    assert ask(host=f"{socket.gethostname()}:5432") is None


def test_paths_of_the_clients_choosing_are_closed() -> None:
    for path in ("/save_datapoints", "/load_datapoints", "/save_datapoints/"):
        assert "is closed" in ask(path)
