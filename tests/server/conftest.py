"""Requests as LIT's client makes them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import Client

from tests.live_server import LitServer


def ask(
    client: Client, path: str, inputs: list | None = None, config: dict | None = None, **query: str
) -> Any:
    response = client.post(
        path, query_string=query, json={"inputs": inputs or [], "config": config}
    )
    assert response.status_code == 200, response.text
    return response.json


def ids_of(client: Client, name: str) -> list[str]:
    return [example["id"] for example in ask(client, "/get_dataset", dataset_name=name)]


@pytest.fixture
def run_command() -> Callable[..., tuple[int, str]]:
    """The command to its end: exit code, and what it said on standard error."""

    def run(*arguments: str) -> tuple[int, str]:
        line = [sys.executable, "-m", "lit_tl.launch", "--port", "0", *arguments]
        ended = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
        return ended.returncode, ended.stderr

    return run


@pytest.fixture(scope="module")
def server() -> Iterator[LitServer]:
    """As one person starts it on a laptop."""
    made = LitServer("--datasets", "ioi")
    yield made
    log = made.errors()
    assert made.stop() == 0
    assert "Traceback" not in log
