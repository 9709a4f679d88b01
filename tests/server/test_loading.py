"""Models and data that are loaded from the page, by several people at once: a real process."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.live_server import LitServer
from tests.server.raw_requests import Reply, ask


def load(server: LitServer, name: str) -> Reply:
    body = json.dumps({"config": {"new_name": name, "model_name": "lit-tl-tiny"}}).encode()
    return ask(server.port, "/create_model?model_name=TransformerLens", body=body)


def at_once(work: Callable[[str], Reply], names: list[str]) -> list[Reply]:
    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(work, names))


def test_models_that_are_asked_for_at_once_are_all_loaded(server: LitServer) -> None:
    names = ["one", "two", "three"]
    replies = at_once(lambda name: load(server, name), names)
    assert [reply.status for reply in replies] == [200] * 3, [r.body[:200] for r in replies]
    info = json.loads(ask(server.port).body)
    assert set(names) < set(info["models"])
    examples = json.loads(ask(server.port, "/get_dataset?dataset_name=ioi").body)
    body = json.dumps({"inputs": [examples[0]["id"]]}).encode()
    losses = {
        ask(
            server.port,
            f"/get_preds?model={name}&dataset_name=ioi&requested_fields=loss",
            body=body,
        ).body
        for name in ["lit-tl-tiny", *names]
    }
    assert len(losses) == 1, "each is the same model, loaded whole"


def test_a_double_click_loads_once(server: LitServer) -> None:
    replies = at_once(lambda name: load(server, name), ["same", "same"])
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].body == replies[1].body, "the second follows the first"
    again = load(server, "same")
    assert again.status == 400
    assert "the name 'same' is taken" in json.loads(again.body)["error"]
