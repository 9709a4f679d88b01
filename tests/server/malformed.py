"""Malformed requests by the thousand, made by hypothesis, against a real process.

    python -m tests.server.malformed --count 10000
    python -m tests.server.malformed --count 1000 --stock

Prints how many replies had which status, and how memory went. `--stock` asks LIT's own application
with its own server, on the same model and data.
"""

import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st

from tests.live_server import LitServer
from tests.server.raw_requests import ask

ROUTES = [
    "/get_info",
    "/get_dataset",
    "/get_preds",
    "/get_interpretations",
    "/get_metrics",
    "/get_generated",
    "/get_analysis",
    "/annotate_new_data",
    "/create_model",
    "/create_dataset",
    "/unload_model",
    "/get_paths",
    "/get_job",
    "/cancel_job",
    "/get_jobs",
    "/",
    "/metrics",
    "/healthz",
    "/static/index.html",
    "/lit_tl/plugin.js",
]
NAMES = [
    "lit-tl-tiny",
    "ioi",
    "Lens",
    "Head scores",
    "Occlusion",
    "HotFlip",
    "pca",
    "nearest neighbors",
]
QUERY = [
    "model",
    "dataset_name",
    "requested_types",
    "requested_fields",
    "interpreter",
    "analysis",
    "generator",
    "metrics",
    "other_model",
    "model_name",
    "ticket",
    "wait",
    "seen",
    "response_simple_json",
]
TEXTS = st.one_of(
    st.sampled_from(NAMES), st.sampled_from(["²", "-1", "9" * 40]), st.text(max_size=20)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
EXAMPLES = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"id": VALUES, "data": st.dictionaries(st.sampled_from(["text", "_id", "answer"]), VALUES)}
    ),
    st.builds(
        lambda text: {"id": "x", "meta": {}, "data": {"_id": "x", "text": text}},
        st.text(max_size=40),
    ),
)
BODIES = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {},
        optional={
            "inputs": st.lists(EXAMPLES, max_size=3) | VALUES,
            "config": st.dictionaries(TEXTS, VALUES, max_size=3) | VALUES,
        },
    ).map(lambda value: json.dumps(value).encode()),
)
HEADERS = st.dictionaries(
    st.sampled_from(["Prefer", "X-Lit-Tl-Client", "Origin", "Cookie", "Accept-Encoding", "Range"]),
    st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=20),
        st.sampled_from(["respond-async, wait=²", "respond-async, wait=99999999999", "wait=-1"]),
    ),
    max_size=2,
)


def _quoted(text: str) -> str:
    """For an address: what must be escaped, and by chance more or less than that."""
    return "".join(
        c if c.isalnum() else "".join(f"%{b:02x}" for b in c.encode("utf-8", "replace"))
        for c in text
    )


TARGETS = st.builds(
    lambda route, query: (
        route
        + (
            "?" + "&".join(f"{name}={_quoted(value)}" for name, value in query.items())
            if query
            else ""
        )
    ),
    st.sampled_from(ROUTES)
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(
        lambda text: f"/{text}"
    ),
    st.dictionaries(st.sampled_from(QUERY), TEXTS, max_size=5),
)
METHODS = st.sampled_from(
    ["POST"] * 6 + ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "X" * 50]
)


def send_all(
    port: int, count: int, seed: int, after: Callable[[int, str, bytes], None] = lambda *_: None
) -> "collections.Counter[int]":
    """Requests one after another; how many replies had which status.

    Args:
        port: of the server.
        count: of requests.
        seed: they are the same for the same seed.
        after: is called with each status, target and body.
    """
    statuses: collections.Counter[int] = collections.Counter()

    @with_seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(METHODS, TARGETS, BODIES, HEADERS)
    def send(method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
        named = {name.replace("-", "_"): value for name, value in headers.items()}
        try:
            status = ask(port, target, method=method, body=body, **named).status
        except OSError:
            status = 0  # no word within 30 seconds, or nobody there
        statuses[status] += 1
        after(status, target, body)

    send()
    return statuses


def resident_mb(pid: int) -> float:
    """What a process holds of memory."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


STOCK = """
import os
from lit_nlp import app, dev_server
from lit_tl import HookedTransformerLIT
from lit_tl.lit.datasets import PromptDataset
from lit_tl.data.prompt_source import PromptSource
data = PromptDataset(PromptSource.parse("ioi").load(100))
model = HookedTransformerLIT.from_pretrained("lit-tl-tiny")
root = os.path.join(os.path.dirname(app.__file__), "client", "build", "default")
models, datasets = {"lit-tl-tiny": model}, {"ioi": data}
dev_server.Server(models, datasets, port=PORT, host="127.0.0.1", client_root=root).serve()
"""


def start_stock() -> tuple["subprocess.Popen[bytes]", int]:
    """LIT as it comes."""
    port = random.randint(20000, 60000)
    process = subprocess.Popen(
        [sys.executable, "-c", STOCK.replace("PORT", str(port))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(120):
        try:
            ask(port)
        except OSError:
            time.sleep(0.5)
        else:
            return process, port
    raise TimeoutError("LIT's own server did not start")


def main() -> None:
    """Ask, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stock", action="store_true")
    given_ = parser.parse_args()
    server = None if given_.stock else LitServer("--datasets", "ioi")
    process, port = start_stock() if server is None else (server.process, server.port)
    folder = pathlib.Path("." if server is None else server.folder)
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "stderr"}

    def after(status: int, target: str, body: bytes) -> None:
        if status >= 500 and server is not None:
            print(status, target, body)

    send_all(port, 100, given_.seed + 1)
    before = resident_mb(process.pid)
    statuses = send_all(port, given_.count, given_.seed, after)
    time.sleep(5)
    print(dict(sorted(statuses.items())))
    print(f"5xx: {sum(n for status, n in statuses.items() if status >= 500)} of {given_.count}")
    print(
        f"memory: {before:.0f} MB after 100 requests, {resident_mb(process.pid):.0f} MB at the end"
    )
    print("alive" if process.poll() is None else f"ended with {process.returncode}")
    if server is not None:
        now = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "stderr"}
        print("no file changed" if now == files else "files changed")
        log = server.errors()
        print(f"exit {server.stop()}, {log.count('Traceback')} traces in the log")
    else:
        process.kill()


if __name__ == "__main__":
    main()
