"""Whether a server that works for long keeps its memory.

    python benchmarks/soak.py [--minutes 30] [--model lit-tl-tiny]

Two clients ask for what pages ask for, one after another, without an end: new and kept predictions
with and without attention and gradients, figures, salience maps, twins, metrics, files, jobs that
are followed, cancelled and left, mistakes, and connections that are closed early. Prints the memory
of the server's process each minute, and that at the end beside that at a third. What the server
keeps of predictions is bounded to less than usual, so that it is full before a third is over: what
grows after that is lost.
"""

import concurrent.futures
import contextlib
import itertools
import json
import random
import socket
import subprocess
import sys
import time
from typing import Any

import urllib3
from absl import app, flags

_MINUTES = flags.DEFINE_float("minutes", 30.0, "How long.")
_MODEL = flags.DEFINE_string("model", "lit-tl-tiny", "As in --models.")
_CACHE_MB = flags.DEFINE_integer("cache_mb", 64, "As in --cache_mb.")
_CLIENTS = 2


class Client:
    """One who looks around."""

    def __init__(self, port: int, number: int):
        self._port, self._random = port, random.Random(number)
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=2, retries=False)
        self._ids = [example["id"] for example in self._post("/get_dataset?dataset_name=ioi")]
        self._serial = itertools.count(number * 1_000_000)
        self.counts: dict[int, int] = {}

    def _post(self, path: str, body: Any = None, **headers: str) -> Any:
        reply = self._pool.request("POST", path, json=body or {}, headers=headers, timeout=120)
        with contextlib.suppress(AttributeError):
            self.counts[reply.status] = self.counts.get(reply.status, 0) + 1
        return json.loads(reply.data)

    def _new(self) -> list[Any]:
        text = f"{next(self._serial)} people went to the store and gave a drink to"
        return [{"id": "n", "data": {"_id": "n", "text": text}, "meta": {}}]

    def step(self) -> None:
        """One request of some kind."""
        model = "model=m&dataset_name=ioi"
        kept = [self._random.choice(self._ids)]
        kind = self._random.randrange(12)
        inputs = self._new() if self._random.random() < 0.5 else kept
        if kind < 3:
            self._post(f"/get_preds?{model}", {"inputs": inputs})
        elif kind == 3:
            types = "AttentionHeads,TokenGradients,TokenEmbeddings"
            self._post(f"/get_preds?{model}&requested_types={types}", {"inputs": inputs})
        elif kind == 4:
            name = self._random.choice(
                ["Lens", "Head scores", "Attention", "Loss along the prompt"]
            )
            self._post(f"/get_analysis?{model}&analysis={name}", {"inputs": inputs})
        elif kind == 5:
            name = self._random.choice(["Occlusion", "Integrated Gradients", "Attention heads"])
            self._post(f"/get_interpretations?{model}&interpreter={name}", {"inputs": inputs})
        elif kind == 6:
            self._post(f"/get_generated?{model}&generator=Shuffle tokens", {"inputs": inputs})
        elif kind == 7:
            self._post(f"/get_metrics?{model}&metrics=language model", {"inputs": self._ids})
        elif kind == 8:
            self._pool.request("GET", "/main.js", headers={"Accept-Encoding": "gzip"})
        elif kind == 9:
            self._job()
        elif kind == 10:
            self._post("/get_preds?model=nobody&dataset_name=ioi", {"inputs": [1, {}, "x"]})
        else:
            with socket.create_connection(("127.0.0.1", self._port)) as connection:
                connection.sendall(b"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-")

    def _job(self) -> None:
        inputs = [
            {"id": f"{i}", "data": {"_id": f"{i}", "text": f"{next(self._serial)} is"}, "meta": {}}
            for i in range(200)
        ]
        path = "/get_preds?model=m&dataset_name=ioi&requested_fields=generated_text"
        reply = self._post(path, {"inputs": inputs}, Prefer="respond-async, wait=0")
        if isinstance(reply, list):
            return
        ticket = reply["job"]["ticket"]
        end = self._random.choice(["follow", "cancel", "leave"])
        if end == "cancel":
            self._post(f"/cancel_job?ticket={ticket}")
        while end == "follow" and isinstance(reply, dict) and "job" in reply:
            time.sleep(0.2)
            reply = self._post(f"/get_job?ticket={ticket}")


def resident_mb(pid: int) -> float:
    """What a process holds."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def main(argv: list[str]) -> None:
    """Ask, and print."""
    del argv
    command = [sys.executable, "-m", "lit_tl.launch", "--port", "0", "--datasets", "ioi"]
    options = ["--models", f"m={_MODEL.value}", "--cache_mb", str(_CACHE_MB.value)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline().split()[3].rsplit(":", 1)[1].strip("/"))
    end = time.monotonic() + 60 * _MINUTES.value
    clients = [Client(port, number) for number in range(_CLIENTS)]

    def work(client: Client) -> int:
        done = 0
        while time.monotonic() < end:
            client.step()
            done += 1
        return done

    held: list[float] = []
    try:
        with concurrent.futures.ThreadPoolExecutor(_CLIENTS) as pool:
            running = [pool.submit(work, client) for client in clients]
            while time.monotonic() < end:
                time.sleep(min(60.0, 60 * _MINUTES.value / 9))
                held.append(resident_mb(process.pid))
                print(f"{held[-1]:.0f} MB", flush=True)
            steps = sum(each.result() for each in running)
        counts = {
            status: sum(client.counts.get(status, 0) for client in clients)
            for status in sorted({status for client in clients for status in client.counts})
        }
        third = len(held) // 3
        early, late = held[third], held[-1]
        print(f"{steps} steps; replies by status {counts}")
        print(f"{early:.0f} MB at a third, {late:.0f} MB at the end: {late / early - 1:+.1%}")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    app.run(main)
