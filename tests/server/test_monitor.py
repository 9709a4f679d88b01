"""Health, figures and the access log of a real process."""

import json
import pathlib
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client

from lit_tl import HookedTransformerLIT
from lit_tl.server import build
from tests.live_server import LitServer
from tests.server.raw_requests import ask

TOKEN = "a-token-that-nobody-knows"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LitServer, pathlib.Path]]:
    log = tmp_path_factory.mktemp("log") / "access.jsonl"
    flags = ["--datasets", "ioi", "--token", TOKEN, "--access_log", str(log), "--log_json"]
    server = LitServer(*flags)
    yield server, log
    assert server.stop() == 0


def test_health_needs_no_token_and_figures_do(watched: tuple[LitServer, pathlib.Path]) -> None:
    server, _ = watched
    health = ask(server.port, "/healthz", method="GET", body=b"")
    assert (health.status, json.loads(health.body)["status"]) == (200, "ok")
    again = json.loads(ask(server.port, "/healthz", method="GET", body=b"").body)
    assert again == json.loads(health.body), "the same server"
    assert ask(server.port, "/metrics", method="GET", body=b"").status == 401
    told = ask(server.port, "/metrics", method="GET", body=b"", Authorization=f"Bearer {TOKEN}")
    assert told.status == 200
    families = {each.name: each for each in text_string_to_metric_families(told.body.decode())}
    assert families["lit_tl_models"].samples[0].value == 1
    assert families["lit_tl_memory_free_bytes"].samples[0].value > 1e8
    counted = {
        (sample.labels["path"], sample.labels["status"])
        for sample in families["lit_tl_request_seconds"].samples
    }
    assert ("other", "401") in counted or ("file", "401") in counted
    assert {"lit_tl_jobs_queued", "lit_tl_jobs_running", "lit_tl_cache_bytes"} < set(families)


def test_each_request_is_a_line_without_its_query(
    watched: tuple[LitServer, pathlib.Path],
) -> None:
    server, log = watched
    before = len(log.read_text().splitlines())
    ask(server.port, f"/?token={TOKEN}", method="GET", body=b"")
    ask(server.port, "/a%0ab", method="GET", body=b"")
    ask(server.port, "/get_info", Authorization=f"Bearer {TOKEN}")
    lines = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/", 303),
        ("GET", "/a\nb", 401),
        ("POST", "/get_info", 200),
    ]
    assert lines[2]["bytes"] > 1000
    assert all(line["client"] == "127.0.0.1" and line["seconds"] >= 0 for line in lines)
    assert TOKEN not in log.read_text()


def test_several_processes_are_refused(bundled: HookedTransformerLIT) -> None:
    """As gunicorn with two workers says it in each request."""
    app = build.build_app({"tiny": bundled}, {}, build.BuildConfig())
    client = Client(app)
    assert client.post("/get_info").status_code == 200
    refused = client.post("/get_info", environ_overrides={"wsgi.multiprocess": True})
    assert refused.status_code == 503
    assert "one worker" in refused.json["error"]


def test_a_full_disk_stops_the_log_and_not_the_server() -> None:
    server = LitServer("--datasets", "ioi", "--access_log", "/dev/full")
    assert [ask(server.port).status for _ in range(2)] == [200, 200]
    assert server.stop() == 0
    assert server.errors().count("the access log has gaps: No space left on device") == 1
