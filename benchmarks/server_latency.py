"""How long quick requests take beside other people's slow work.

    python benchmarks/server_latency.py --model ./smollm2

A server of its own on the model. 50 prompts that nobody has asked for before, and 50 that are in
the cache, are asked for one after another: with nothing else to do, beside integrated gradients of
400 tokens, and beside two such jobs of two other clients. Ratios are to the first.
"""

import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from absl import app, flags

_MODEL = flags.DEFINE_string("model", "lit-tl-tiny", "As in --models.")
_COUNT = flags.DEFINE_integer("count", 50, "Requests of each kind.")
_SLOW = flags.DEFINE_string("interpreter", "Integrated Gradients", "What the slow jobs compute.")
_FIELDS = "loss,generated_text,answer_probability"
_TEXT = " ".join(f"On day {i} the harbour master counted {i * 7} ships." for i in range(60))


class Server:
    """The command in a process of its own."""

    def __init__(self, model: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lit_tl.launch", "--port", "0", "--models", f"m={model}"]
            + ["--datasets", "ioi"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[3]

    def ask(self, path: str, body: dict[str, Any], **headers: str) -> tuple[int, Any]:
        """One request: its status, and the JSON of its reply."""
        data = json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data, named, method="POST")
        with urllib.request.urlopen(request, timeout=600) as reply:
            return reply.status, json.loads(reply.read())


def inputs(text: str) -> list[dict[str, Any]]:
    """A prompt as a page sends it."""
    return [{"id": text[:60], "data": {"_id": text[:60], "text": text}, "meta": {}}]


def tokens_of(server: Server, count: int) -> str:
    """A text of about so many tokens."""
    words = _TEXT.split(" ")
    low, high = 1, len(words)
    while low < high:
        middle = (low + high) // 2
        text = " ".join(words[:middle])
        path = "get_preds?model=m&dataset_name=ioi&requested_fields=tokens"
        _, (prediction,) = server.ask(path, {"inputs": inputs(text)})
        if len(prediction["tokens"]) < count:
            low = middle + 1
        else:
            high = middle
    return " ".join(words[:low])


def quick(
    server: Server, name: str, jobs: Sequence[dict[str, Any]] = (), *, cached: bool
) -> list[float]:
    """Seconds of each quick request, while somebody follows the jobs."""
    seconds = []
    path = f"get_preds?model=m&dataset_name=ioi&requested_fields={_FIELDS}"
    for i in range(_COUNT.value):
        text = f"{'Kept' if cached else name} {0 if cached else i}: when Mary and John went to the"
        started = time.perf_counter()
        server.ask(path, {"inputs": inputs(text)})
        seconds.append(time.perf_counter() - started)
        for job in jobs:
            follow(server, job)
        time.sleep(0.2)
    return seconds


def follow(server: Server, job: dict[str, Any]) -> float:
    """How far a job is, which has to go on."""
    status, reply = server.ask(f"get_job?ticket={job['ticket']}", {})
    assert status == 202, "the slow job has ended: its text is too short"
    share: float = reply["job"]["share"]
    return share


def start_slow(server: Server, text: str, client: str) -> dict[str, Any]:
    """A job of another client."""
    path = f"get_interpretations?model=m&dataset_name=ioi&interpreter={_SLOW.value}"
    status, reply = server.ask(
        path.replace(" ", "%20"),
        {"inputs": inputs(text), "config": {"tolerance": 0.001, "budget": 10000}},
        Prefer="respond-async, wait=0",
        X_Lit_Tl_Client=client,
    )
    assert status == 202, reply
    return reply["job"]


def report(name: str, seconds: list[float], base: float) -> None:
    """Print one line."""
    median, worst = statistics.median(seconds), max(seconds)
    print(
        f"{name:40s} median {median:6.3f} s  worst {worst:6.3f} s  {median / base:6.1f} x",
        flush=True,
    )


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    server = Server(_MODEL.value)
    try:
        text = tokens_of(server, 400)
        alone = {cached: quick(server, "Alone", cached=cached) for cached in (False, True)}
        bases = {cached: statistics.median(seconds) for cached, seconds in alone.items()}
        report("new prompts, nothing else to do", alone[False], bases[False])
        report("cached prompts", alone[True], bases[True])
        jobs = []
        for number in (1, 2):
            jobs.append(start_slow(server, f"{number} {text}", f"another-{number}"))
            time.sleep(2.0)
            beside = f"beside {number} slow job{'s' if number > 1 else ''}"
            for cached in (False, True):
                seconds = quick(server, beside, jobs, cached=cached)
                report(f"{'cached' if cached else 'new'} prompts, {beside}", seconds, bases[cached])
            print("    the slow jobs: " + ", ".join(f"{follow(server, j):.1%}" for j in jobs))
    finally:
        server.process.terminate()
        server.process.wait()


if __name__ == "__main__":
    app.run(main)
