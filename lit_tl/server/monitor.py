"""What operators look at: health, figures for Prometheus, an access log."""

import json
import secrets
import sys
import time
from typing import Callable, Mapping, Optional, TextIO

import prometheus_client
import torch
from prometheus_client.core import GaugeMetricFamily
from werkzeug import wrappers

from lit_tl.engine import jobs, memory
from lit_tl.server import replies

Gauges = Mapping[str, Callable[[], float]]
_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class AccessLog:
    """A line for each request: when, who, what, status, bytes, seconds. Queries are left out, since
    one of them may hold the token.

    Args:
        file: to write to.
        as_json: a JSON object a line.
    """

    def __init__(self, file: TextIO, *, as_json: bool = False):
        self._file, self._as_json, self._failed = file, as_json, False

    @classmethod
    def at(cls, path: str, *, as_json: bool = False) -> "AccessLog":
        """A log at the end of a file; `-` is standard error.

        Raises:
            ValueError: the file can't be written.
        """
        if path == "-":
            return cls(sys.stderr, as_json=as_json)
        try:
            return cls(open(path, "a", encoding="utf-8"), as_json=as_json)
        except OSError as error:
            raise ValueError(f"--access_log {path} can't be written: {error.strerror}") from error

    def write(self, request: wrappers.Request, status: int, size: int, seconds: float) -> None:
        """One request and its reply."""
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "client": request.remote_addr or "",
            "method": request.method,
            "path": request.path,
            "status": status,
            "bytes": size,
            "seconds": round(seconds, 4),
        }
        if self._as_json:
            line = json.dumps(entry)
        else:
            path = request.path.encode("unicode_escape").decode()
            method = request.method.encode("unicode_escape").decode()
            line = (
                f"{entry['time']} {entry['client']} {method} {path} {status} {size} B "
                f"{seconds:.3f} s"
            )
        try:
            self._file.write(f"{line}\n")
            self._file.flush()
        except OSError as error:  # a full disk stops the log, and not the server
            if not self._failed:
                self._failed = True
                print(f"lit_tl: the access log has gaps: {error.strerror}", file=sys.stderr)


class Monitor:
    """Counts requests, and tells how the server is.

    Args:
        gauges: further figures by name, read when they are asked for.
        log: of requests; None for none.
    """

    def __init__(self, gauges: Gauges, *, log: Optional[AccessLog] = None):
        self._log, self._gauges = log, gauges
        self._started = secrets.token_hex(8)
        self._registry = prometheus_client.CollectorRegistry()
        self._seconds = prometheus_client.Histogram(
            "lit_tl_request_seconds",
            "Seconds from a request to its reply.",
            ("path", "status"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._bytes = prometheus_client.Counter(
            "lit_tl_reply_bytes", "Bytes of replies.", ("path",), registry=self._registry
        )
        prometheus_client.ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def seen(
        self, request: wrappers.Request, route: str, status: int, size: int, seconds: float
    ) -> None:
        """Count a request.

        Args:
            request: as it came.
            route: its path, if it is one of those that are served.
            status: of the reply.
            size: of the reply, in bytes.
            seconds: it took.
        """
        self._seconds.labels(route, str(status)).observe(seconds)
        self._bytes.labels(route).inc(size)
        if self._log is not None:
            self._log.write(request, status, size, seconds)

    def collect(self) -> list[GaugeMetricFamily]:
        """For Prometheus: what is looked up when it asks."""
        free = {"lit_tl_memory_free_bytes": lambda: float(memory.free_on_cpu())}
        waiting = {"lit_tl_passes_waiting": lambda: float(jobs.passes_waiting())}
        families = [
            GaugeMetricFamily(name, name.removeprefix("lit_tl_").replace("_", " "), value=read())
            for name, read in {**free, **waiting, **self._gauges}.items()
        ]
        if torch.cuda.is_available():
            used = GaugeMetricFamily(
                "lit_tl_gpu_memory_bytes", "held on a GPU by PyTorch", labels=["device"]
            )
            for device in range(torch.cuda.device_count()):
                used.add_metric([str(device)], torch.cuda.memory_reserved(device))
            families.append(used)
        return families

    def metrics(self, request: wrappers.Request) -> wrappers.Response:
        """All figures, in Prometheus' text format."""
        del request
        return wrappers.Response(
            prometheus_client.generate_latest(self._registry),
            content_type=prometheus_client.CONTENT_TYPE_LATEST,
            headers={"Cache-Control": "no-store"},
        )

    def health(self, request: wrappers.Request) -> wrappers.Response:
        """That the server answers, and which start of it, by which a page knows it again; nothing
        else: who asks needs no token."""
        body = {"status": "ok", "started": self._started}
        return replies.respond(request, replies.to_json(body))
