"""WSGI servers under the same load: which one answers, how fast, and what holds it up.

    python benchmarks/servers.py [--servers waitress,cheroot,granian,gunicorn] [--requests 5000]

Each serves the same application on the bundled model with 32 threads in a process of its own.
16 clients send the requests of a page that is open: predictions that are kept, predictions of new
prompts, a data set, a file. Every answer is compared with that of another process, which was asked
one request after another before. Then 200
connections send half a request each and stay, and a request is timed beside them. `sees clients
leave` is whether the application can know that a connection is closed; `stop` is the time from
SIGTERM to the end of the process while a request is under way.

    pip install cheroot granian gunicorn
"""

import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import urllib3
from absl import app, flags

_SERVERS = flags.DEFINE_list("servers", ["waitress", "cheroot", "granian", "gunicorn"], "Which.")
_REQUESTS = flags.DEFINE_integer("requests", 5000, "In all.")
_CLIENTS = flags.DEFINE_integer("clients", 16, "At once.")
_SERVE = flags.DEFINE_string("serve", None, "Serve by this server; for the program's own use.")
_PORT = flags.DEFINE_integer("port", 0, "Of that server.")
_THREADS, _HALF_OPEN = 32, 200
_HOST = "127.0.0.1"


def make_app() -> Any:
    """The application, on the bundled model."""
    from lit_tl.server import build

    config = build.BuildConfig()
    say = build.StartLog(quiet=True)
    models = build.load_models(None, config, say)
    return build.build_app(models, build.load_datasets("ioi", config, say), config)


class Slow:
    """The application, and a path that takes 30 seconds, unless the client is seen to leave."""

    def __init__(self, app: Any):
        self._app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """WSGI."""
        if environ["PATH_INFO"] != "/slow":
            return self._app(environ, start_response)
        gone, left = environ.get("waitress.client_disconnected"), False
        end = time.monotonic() + 30.0
        while time.monotonic() < end and not left:
            time.sleep(0.05)
            left = gone is not None and gone()
        with open(f"/tmp/lit_tl-left-{os.getpid()}", "w") as file:
            file.write("left" if left else "stayed")
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]


def serve(name: str, port: int) -> None:
    """Serve until SIGTERM."""
    slow = Slow(make_app())
    if name == "waitress":
        from lit_tl.server.serving import Server, bind

        server = Server(slow, bind(_HOST, port))
        server.end_at_ctrl_c()
        server.run()
        os._exit(0)
    elif name == "cheroot":
        from cheroot import wsgi

        cheroot = wsgi.Server((_HOST, port), slow, numthreads=_THREADS, shutdown_timeout=5)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            cheroot.start()
        finally:
            cheroot.stop()
            os._exit(0)
    elif name == "granian":
        from granian import Granian
        from granian.constants import Interfaces

        granian = Granian(
            "servers:made",
            address=_HOST,
            port=port,
            interface=Interfaces.WSGI,
            workers=1,
            blocking_threads=_THREADS,
            log_enabled=False,
        )
        granian.serve(target_loader=lambda *_: slow, wrap_loader=False)
    elif name == "gunicorn":
        from gunicorn.app.base import BaseApplication

        class Gunicorn(BaseApplication):  # type: ignore[misc]
            def load_config(self) -> None:
                options = {
                    "bind": f"{_HOST}:{port}",
                    "workers": 1,
                    "worker_class": "gthread",
                    "threads": _THREADS,
                    "graceful_timeout": 5,
                    "loglevel": "critical",
                }
                for key, value in options.items():
                    self.cfg.set(key, value)

            def load(self) -> Any:
                return slow

        Gunicorn().run()


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


class Load:
    """The requests of pages that are open."""

    def __init__(self, port: int):
        self._url = f"http://{_HOST}:{port}"
        self._pool = urllib3.PoolManager(num_pools=4, maxsize=64, retries=False)
        self.ids = [
            example["id"] for example in json.loads(self._ask("/get_dataset?dataset_name=ioi", {}))
        ]

    def _ask(self, path: str, body: Any) -> bytes:
        url = f"{self._url}{path}"
        if body is None:
            reply = self._pool.request("GET", url, timeout=60)
        else:
            reply = self._pool.request("POST", url, json=body, timeout=60)
        assert reply.status == 200, (path, reply.status, reply.data[:200])
        return reply.data

    def ask(self, number: int) -> bytes:
        """The answer to one of them."""
        kind, model = number % 10, "model=lit-tl-tiny&dataset_name=ioi"
        if kind == 0:
            text = f"New prompt {number}: when Mary and John went to the store"
            example = {"id": "n", "data": {"_id": "n", "text": text}, "meta": {}}
            return self._ask(f"/get_preds?{model}&requested_fields=loss", {"inputs": [example]})
        if kind == 1:
            return self._ask("/static/index.html", None)
        if kind == 2:
            return self._ask("/get_dataset?dataset_name=ioi", {})
        chosen = {"inputs": [self.ids[number % len(self.ids)]]}
        return self._ask(f"/get_preds?{model}&requested_fields=loss,tokens", chosen)

    def timed(self, number: int) -> tuple[float, bytes]:
        """Seconds, and the answer."""
        started = time.perf_counter()
        answer = self.ask(number)
        return time.perf_counter() - started, answer

    def all(self, count: int, clients: int) -> tuple[list[float], list[bytes], float]:
        """Seconds of each, answers, and seconds of all."""
        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            pairs = list(pool.map(self.timed, range(count)))
        seconds = time.perf_counter() - started
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs], seconds


def beside_half_requests(port: int, load: Load) -> str:
    """Seconds of a request while others hold theirs back."""
    with contextlib.ExitStack() as stack:
        for _ in range(_HALF_OPEN):
            connection = stack.enter_context(socket.create_connection((_HOST, port), timeout=10))
            connection.sendall(
                b"POST /get_info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"
            )
        time.sleep(0.5)
        started = time.perf_counter()
        try:
            fresh = Load.__new__(Load)
            fresh.__dict__.update(load.__dict__, _pool=urllib3.PoolManager(retries=False))
            fresh.ask(1)
        except (urllib3.exceptions.HTTPError, OSError):
            return "no answer"
        return f"{time.perf_counter() - started:.2f} s"


def sees_clients_leave(port: int, process: "subprocess.Popen[Any]") -> bool:
    """Whether the application learns that a connection is closed."""
    with socket.create_connection((_HOST, port)) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        time.sleep(0.5)
    time.sleep(1.5)
    path = f"/tmp/lit_tl-left-{process.pid}"
    if not os.path.exists(path):
        return False
    with open(path) as file:
        return file.read() == "left"


def resident_mb(process: "subprocess.Popen[Any]") -> float:
    """Of the process and its children."""
    import psutil

    parent = psutil.Process(process.pid)
    every = [parent, *parent.children(recursive=True)]
    return sum(each.memory_info().rss for each in every) / 1e6


@contextlib.contextmanager
def served(name: str) -> "Iterator[tuple[subprocess.Popen[Any], int, Load]]":
    """A process that serves, its port, and the requests to it."""
    port = free_port()
    command = [sys.executable, __file__, "--serve", name, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(240):
            with contextlib.suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
                break
            time.sleep(0.25)
        time.sleep(0.5)
        yield process, port, Load(port)
    finally:
        process.kill()
        process.wait()


def measure(name: str, expected: list[bytes]) -> None:
    """One line."""
    with served(name) as (process, port, load):
        seconds, answers, whole = load.all(_REQUESTS.value, _CLIENTS.value)
        equal = answers == expected
        ordered = sorted(seconds)
        half = beside_half_requests(port, load)
        leave = sees_clients_leave(port, process)
        memory = resident_mb(process)
        with socket.create_connection((_HOST, port)) as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            time.sleep(0.3)
            started = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=40)
            stop = time.perf_counter() - started
        print(
            f"{name:9s} {len(seconds) / whole:6.0f} /s  median {statistics.median(seconds):.4f} s  "
            f"p99 {ordered[int(0.99 * len(ordered))]:.4f} s  worst {ordered[-1]:.3f} s  "
            f"{'equal' if equal else 'DIFFERENT'}  half-open {half}  "
            f"sees clients leave: {'yes' if leave else 'no'}  stop {stop:.1f} s  {memory:.0f} MB",
            flush=True,
        )


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    if _SERVE.value:
        serve(_SERVE.value, _PORT.value)
        return
    with served("waitress") as (_, _, load):
        _, expected, _ = load.all(_REQUESTS.value, 1)
    for name in _SERVERS.value:
        measure(name, expected)


if __name__ == "__main__":
    app.run(main)
