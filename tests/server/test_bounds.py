"""Every size that a request can ask for is judged before the work: a real process."""

import json
import time
from typing import Any

import pytest
import torch

from lit_tl.server import job_requests
from tests.live_server import LitServer
from tests.server.raw_requests import ask, exchange

HUGE = [1e8, 1e9, 10**30, -1, 0, -(10**9), "1e999", float("inf"), None, [], {}, True, "x"]
ANALYSES = {
    "Lens": "stride",
    "Lens trajectory": "position",
    "Lens over the data set": "max_prompts",
}
MAPS = [("Integrated Gradients", "tolerance"), ("Integrated Gradients", "budget")]
GENERATORS = [
    ("Shuffle tokens", "count"),
    ("Shuffle tokens", "keep_last"),
    ("Shuffle tokens", "seed"),
    ("HotFlip", "max_flips"),
    ("HotFlip", "candidates"),
    ("HotFlip", "keep_last"),
    ("Replace a token", "position"),
]


def body_with(config: dict[str, Any], text: str = "The number after 7 is") -> bytes:
    example = {"_id": "x", "text": text}
    inputs = [{"id": "x", "data": example, "meta": {}}]
    return json.dumps({"inputs": inputs, "config": config}).encode()


def post(server: LitServer, path: str, body: bytes, **query: str) -> tuple[int, Any]:
    """Status and reply, which must come soon."""
    query = {"model": "lit-tl-tiny", "dataset_name": "ioi", **query}
    target = f"{path}?" + "&".join(f"{k}={v}" for k, v in query.items()).replace(" ", "%20")
    started = time.monotonic()
    reply = ask(server.port, target, body=body)
    assert time.monotonic() - started < 20.0
    assert reply.status in (200, 400), (reply.status, reply.body[:200])
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("value", HUGE, ids=repr)
@pytest.mark.parametrize(("analysis", "setting"), ANALYSES.items(), ids=str)
def test_settings_of_figures(server: LitServer, analysis: str, setting: str, value: Any) -> None:
    status, reply = post(server, "/get_analysis", body_with({setting: value}), analysis=analysis)
    if status == 400:
        assert reply["error"].startswith(setting), reply


@pytest.mark.parametrize("value", HUGE, ids=repr)
@pytest.mark.parametrize(("interpreter", "setting"), MAPS)
def test_settings_of_maps(server: LitServer, interpreter: str, setting: str, value: Any) -> None:
    body = body_with({setting: value})
    status, reply = post(server, "/get_interpretations", body, interpreter=interpreter)
    if status == 400:
        assert setting in reply["error"], reply


@pytest.mark.parametrize("value", HUGE, ids=repr)
@pytest.mark.parametrize(("generator", "setting"), GENERATORS)
def test_settings_of_generators(
    server: LitServer, generator: str, setting: str, value: Any
) -> None:
    status, reply = post(server, "/get_generated", body_with({setting: value}), generator=generator)
    assert status == 200 or reply["error"]


@pytest.mark.parametrize("value", [1e9, 10**9, 0, -1, "x", None])
def test_dimensions_of_projections(server: LitServer, value: Any) -> None:
    config = {
        "dataset_name": "ioi",
        "model_name": "lit-tl-tiny",
        "field_name": "embeddings_first",
        "proj_kw": {"n_components": value},
    }
    status, reply = post(server, "/get_interpretations", body_with(config), interpreter="pca")
    assert status == 400, reply


def test_a_figure_that_is_too_large_is_refused_before_it_is_computed(server: LitServer) -> None:
    long = " ".join(["seven"] * 10_000)
    body = body_with({"beside": "logit"}, long)
    assert post(server, "/get_analysis", body, analysis="Lens")[0] == 200, "the context bounds it"


def test_replies_have_a_bound(server: LitServer) -> None:
    examples = [
        {"id": f"{i}", "data": {"_id": f"{i}", "text": f"{i} " + "seven " * 500}, "meta": {}}
        for i in range(40)
    ]
    body = json.dumps({"inputs": examples}).encode()
    status, reply = post(server, "/get_preds", body, requested_types="AttentionHeads")
    assert status == 400
    assert "ask for fewer fields" in reply["error"]
    assert post(server, "/get_preds", body, requested_fields="loss")[0] == 200


@pytest.mark.parametrize(
    "size", [b"ffffffffffffffff", b"7fffffffffffffff", b"-1", b"1;x=" + b"y" * 10**6]
)
def test_sizes_of_chunks(server: LitServer, size: bytes) -> None:
    head = (
        f"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    ).encode()
    before = resident_mb(server)
    reply = exchange(server.port, head + size + b"\r\n" + b"x" * 40 * 2**20, timeout=90.0)
    assert reply.status in (0, 400, 413, 431), reply
    assert resident_mb(server) - before < 50
    assert ask(server.port).status == 200


def resident_mb(server: LitServer) -> float:
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def test_work_that_runs_out_of_memory_is_refused_in_a_sentence() -> None:
    outcome = job_requests._outcome("/get_generated", lambda: bytes(torch.empty(2**48).numpy()))
    assert outcome.status == 400
    assert b"this takes more memory than there is (" in outcome.body
    assert b"ask for less at once, or shorten the prompt" in outcome.body
