"""Work that takes long: followed, cancelled, left alone, found again. A real process each time."""

import contextlib
import itertools
import json
import os
import select
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lit_tl.server.job_board import KEEP_SECONDS
from lit_tl.server.job_requests import MAX_WAITING
from tests.live_server import LitServer
from tests.server.malformed import resident_mb
from tests.server.raw_requests import Reply, ask

MANY = 8_000
SERIAL = itertools.count()


@pytest.fixture(autouse=True)
def idle_afterwards(server: LitServer) -> Iterator[None]:
    """Each test begins with a server that does nothing."""
    yield
    wait_for(lambda: is_idle(server))


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def cpu_seconds(server: LitServer) -> float:
    """Of the server's process so far."""
    with open(f"/proc/{server.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_idle(server: LitServer) -> bool:
    """Whether it does next to nothing for half a second."""
    before = cpu_seconds(server)
    time.sleep(0.5)
    return cpu_seconds(server) - before < 0.05


def slow_request() -> tuple[str, bytes]:
    """Predictions of thousands of prompts that nobody has asked for before."""
    text = f"Number {next(SERIAL)} is"
    inputs = [
        {"id": f"{i}", "meta": {}, "data": {"_id": f"{i}", "text": f"{text} {i}"}}
        for i in range(MANY)
    ]
    target = "/get_preds?model=lit-tl-tiny&dataset_name=ioi&requested_fields=generated_text"
    return target, json.dumps({"inputs": inputs}).encode()


def post(
    server: LitServer, target: str, body: bytes = b"{}", client: str = "", **headers: str
) -> Reply:
    if client:
        headers["X_Lit_Tl_Client"] = client
    return ask(server.port, target, body=body, **headers)


def start(server: LitServer, client: str = "somebody") -> dict[str, Any]:
    """A slow job that is under way."""
    target, body = slow_request()
    reply = post(server, target, body, client, Prefer="respond-async, wait=1")
    assert reply.status == 202, (reply.status, reply.body[:300])
    return json.loads(reply.body)["job"]


def send(server: LitServer, target: str, body: bytes) -> socket.socket:
    """A connection that waits for its answer."""
    head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.sendall(head.encode() + body)
    return connection


def look(server: LitServer, ticket: str) -> Reply:
    return post(server, f"/get_job?ticket={ticket}&wait=0")


def test_a_job_says_how_far_it_is_and_stops_when_it_is_cancelled(server: LitServer) -> None:
    job = start(server)
    assert job["title"] == f"Predictions of {MANY} prompts"
    shares = [job["share"]]
    while len(set(shares)) < 4 or job["seconds_left"] is None:
        reply = look(server, job["ticket"])
        assert reply.status == 202
        job = json.loads(reply.body)["job"]
        shares.append(job["share"])
    assert shares == sorted(shares)
    assert 0.0 < shares[-1] < 1.0
    assert job["seconds_left"] > 0.0
    assert not is_idle(server)
    post(server, f"/cancel_job?ticket={job['ticket']}")
    wait_for(lambda: is_idle(server), seconds=5.0)
    assert look(server, job["ticket"]).status == 404


def test_a_request_whose_connection_is_closed_stops(server: LitServer) -> None:
    target, body = slow_request()
    with send(server, target, body):
        wait_for(lambda: not is_idle(server))
    wait_for(lambda: is_idle(server), seconds=5.0)


def test_a_job_that_is_left_alone_stops_after_a_while(server: LitServer) -> None:
    start(server)
    left = time.monotonic()
    while time.monotonic() - left < KEEP_SECONDS - 8:
        before = cpu_seconds(server)
        time.sleep(4.0)  # beside other tests it may get no turn for half a second
        assert cpu_seconds(server) - before > 0.05, "it goes on, for a page that is loaded again"
    wait_for(lambda: is_idle(server), seconds=15.0)


def test_a_page_that_is_loaded_again_finds_its_job(server: LitServer) -> None:
    job = start(server, client="a-browser")
    others = json.loads(post(server, "/get_jobs", client="another-browser").body)["jobs"]
    assert others == []
    (found,) = json.loads(post(server, "/get_jobs", client="a-browser").body)["jobs"]
    assert found["title"] == job["title"]
    post(server, f"/cancel_job?ticket={job['ticket']}")
    assert look(server, found["ticket"]).status == 202, "somebody still follows it"
    post(server, f"/cancel_job?ticket={found['ticket']}")


def test_who_asks_for_the_same_follows_the_same_job(server: LitServer) -> None:
    target, body = slow_request()
    replies = [
        post(server, target, body, f"client-{i}", Prefer="respond-async, wait=0") for i in range(2)
    ]
    first, second = (json.loads(reply.body)["job"]["ticket"] for reply in replies)
    assert first != second
    wait_for(lambda: json.loads(look(server, first).body)["job"]["share"] > 0)
    share = json.loads(look(server, first).body)["job"]["share"]
    assert json.loads(look(server, second).body)["job"]["share"] >= share
    post(server, f"/cancel_job?ticket={first}")
    assert look(server, second).status == 202
    post(server, f"/cancel_job?ticket={second}")


def test_twenty_jobs_of_one_do_not_keep_another_from_starting(server: LitServer) -> None:
    tickets = [start(server, "many-jobs")["ticket"] for _ in range(6)]
    job = start(server, "only-one-job")
    assert not job["queued"]
    waiting = [json.loads(look(server, ticket).body)["job"]["queued"] for ticket in tickets]
    assert waiting == [False, False, True, True, True, True]
    for ticket in [*tickets, job["ticket"]]:
        post(server, f"/cancel_job?ticket={ticket}")


def test_partial_results_come_while_the_work_goes_on(server: LitServer) -> None:
    target = (
        "/get_analysis?model=lit-tl-tiny&dataset_name=ioi&analysis=Lens%20over%20the%20data%20set"
    )
    body = json.dumps({"config": {"max_prompts": 100}}).encode()
    reply = post(server, target, body, "somebody", Prefer="respond-async, wait=0")
    seen: list[dict[str, Any]] = []
    while reply.status == 202:
        job = json.loads(reply.body)["job"]
        if job["partial"]:
            seen.append(job["partial"][0])
        reply = post(server, f"/get_job?ticket={job['ticket']}&seen={job['partials']}")
    (answer,) = json.loads(reply.body)
    assert reply.status == 200
    assert seen
    drawn = [each["figure"]["data"][-1] for each in (seen[0], answer)]
    assert drawn[0]["x"] == drawn[1]["x"]
    assert drawn[0]["y"] != drawn[1]["y"], "of fewer prompts"


def test_the_answer_of_a_job_is_the_answer(server: LitServer) -> None:
    examples = json.loads(ask(server.port, "/get_dataset?dataset_name=ioi").body)
    body = json.dumps({"inputs": [examples[3]["id"]]}).encode()
    target = "/get_interpretations?model=lit-tl-tiny&dataset_name=ioi&interpreter=Occlusion"
    expected = post(server, target, body)
    reply = post(server, target, body, "somebody", Prefer="respond-async, wait=0")
    while reply.status == 202:
        reply = look(server, json.loads(reply.body)["job"]["ticket"])
    assert (reply.status, reply.body) == (expected.status, expected.body)


def test_more_connections_than_may_wait(server: LitServer) -> None:
    """The others are told to come back, and who asks for a ticket is served."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(MAX_WAITING + 4):
            target, body = slow_request()
            head = (
                f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            connections.append(stack.enter_context(connection))
            connection.sendall(head.encode() + body)
        answered, _, _ = select.select(connections, [], [], 30)
        assert answered[0].recv(100).startswith(b"HTTP/1.1 503")
        assert ask(server.port).status == 200
        job = start(server, "has-a-ticket")
        post(server, f"/cancel_job?ticket={job['ticket']}")


def test_what_waits_is_bounded_in_bytes(server: LitServer) -> None:
    """And memory comes back when it is cancelled."""
    before, tickets, statuses = resident_mb(server.process.pid), [], []
    for i in range(12):
        texts = [f"{i} {j} " + "long " * 1000 for j in range(2000)]
        inputs = [
            {"id": f"{j}", "meta": {}, "data": {"_id": f"{j}", "text": text}}
            for j, text in enumerate(texts)
        ]
        target = "/get_preds?model=lit-tl-tiny&dataset_name=ioi&requested_fields=generated_text"
        body = json.dumps({"inputs": inputs}).encode()
        reply = post(server, target, body, "much-data", Prefer="respond-async, wait=0")
        statuses.append(reply.status)
        if reply.status == 202:
            tickets.append(json.loads(reply.body)["job"]["ticket"])
    assert statuses[0] == 202, statuses
    assert statuses[-1] == 503, statuses
    assert resident_mb(server.process.pid) - before < 1200
    for ticket in tickets:
        post(server, f"/cancel_job?ticket={ticket}")
    wait_for(lambda: is_idle(server))
    wait_for(lambda: resident_mb(server.process.pid) - before < 200, seconds=10.0)


@pytest.mark.parametrize("number", ["²", "-1", "1e9", "", "9" * 30, "٣"])
def test_numbers_that_are_none(server: LitServer, number: str) -> None:
    quoted = urllib.parse.quote(number)
    assert post(server, f"/get_job?ticket=x&wait={quoted}&seen={quoted}").status == 404
    reply = post(server, "/get_info", b"{}", "somebody", Prefer=f"respond-async, wait={number}")
    assert reply.status == 200


def test_an_answer_that_nobody_fetched_is_not_given_to_who_asks_later(server: LitServer) -> None:
    """Loading a model, unloading it, loading it again: each time it is loaded."""
    body = json.dumps({"config": {"new_name": "again", "model_name": "lit-tl-tiny"}}).encode()
    target = "/create_model?model_name=TransformerLens"

    def names() -> set[str]:
        return set(json.loads(ask(server.port).body)["models"])

    assert post(server, target, body, "first", Prefer="respond-async, wait=0").status == 202
    wait_for(lambda: "again" in names())
    assert post(server, "/unload_model?model=again").status == 200
    assert "again" not in names()
    assert not any("again" in name for name in names()), "its hidden siblings neither"
    assert post(server, target, body, "second").status == 200
    assert "again" in names()
    assert post(server, "/unload_model?model=again").status == 200
    refused = post(server, "/unload_model?model=lit-tl-tiny")
    assert refused.status == 400
    assert "the only model" in json.loads(refused.body)["error"]
    assert post(server, "/unload_model?model=_lit-tl-tiny_salience").status == 400


def test_clients_that_do_not_read_hold_nobody_up(server: LitServer) -> None:
    request = b"GET /main.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stack.enter_context(connection)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(request)
        time.sleep(2.0)
        assert ask(server.port, "/healthz", method="GET", body=b"").status == 200
