"""Computing on Ray Data: actors with a model each, here or on a cluster."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import socket
from typing import Any, Iterator, Optional, Sequence

from lit_tl.precompute.catalog import Chosen
from lit_tl.precompute.run import Start, Workers
from lit_tl.precompute.worker import Finished, ModelConfig, Task, Worker

_MOST_BLOCKS = 2000
_SECONDS = 10


class RayError(RuntimeError):
    """Ray is not there, or no cluster is. The message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where actors run.

    Args:
        workers: how many, each with a model of its own.
        address: of a cluster, as `ray.init` takes it; None for one on this machine.
        cpus: of each worker; None for an equal share of this machine's.
        gpus: of each worker; may be a share of one.
    """

    workers: int
    address: Optional[str] = None
    cpus: Optional[int] = None
    gpus: float = 0.0


def _actor(
    store: pathlib.Path, source: str, config: ModelConfig, tasks: Sequence[tuple[Task, int]]
) -> type:
    """What Ray keeps for all files that it gives to one actor. It carries what it needs itself, so
    that an actor can be started anew whatever else was lost."""

    class Actor:
        def __init__(self) -> None:
            self._worker = Worker(store, source, config)

        def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
            found = []
            for place in batch["id"]:
                task, shard = tasks[int(place)]
                found.append(dataclasses.asdict(self._worker.compute(task, shard)))
            return {name: [each[name] for each in found] for name in found[0]}

    return Actor


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnRay:
    """Computes on actors.

    Args:
        store: its folder, which every machine of the cluster sees under this name.
        source: the model.
        config: how it is loaded.
        chosen: the analyses.
        cluster: where.
    """

    store: pathlib.Path
    source: str
    config: ModelConfig
    chosen: Sequence[Chosen]
    cluster: Cluster

    @property
    def _resources(self) -> dict[str, Any]:
        cpus = self.cluster.cpus or max(1, (os.cpu_count() or 1) // self.cluster.workers)
        return {"num_cpus": cpus, **({"num_gpus": self.cluster.gpus} if self.cluster.gpus else {})}

    def identities(self) -> list[dict[str, Any]]:
        """See `Workers`: one machine of the cluster loads the model and tells."""
        import ray

        def tell(store: str, source: str, config: ModelConfig, chosen: Sequence[Chosen]) -> Any:
            worker = Worker(pathlib.Path(store), source, config)
            return [worker.identity(each) for each in chosen]

        told = ray.remote(max_calls=1, **self._resources)(tell)
        with _said_plainly():
            found: list[dict[str, Any]] = ray.get(
                told.remote(str(self.store), self.source, self.config, self.chosen)
            )
        return found

    def compute(self, tasks: Sequence[tuple[Task, int]]) -> Iterator[Finished]:
        """See `Workers`. What runs is a stream: numbers of files go in, and what became of each
        comes out; the files themselves are written where they are made. An actor that dies is
        replaced, and what it had not finished is made again."""
        if not tasks:
            return
        import ray

        data = ray.data.from_items(  # whose blocks are there, and need no processor of their own
            [{"id": place} for place in range(len(tasks))],
            override_num_blocks=min(len(tasks), _MOST_BLOCKS),
        )
        workers = min(self.cluster.workers, len(tasks))
        results = data.map_batches(
            _actor(self.store, self.source, self.config, list(tasks)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            **self._resources,
        )
        with _said_plainly():
            for row in results.iter_rows():
                yield Finished(**row)


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    """What a worker raised, as it raised it here.

    Raises:
        ValueError: of the worker.
        RayError: what Ray itself has to say.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (ValueError, OSError)):
            raise cause from None
        if isinstance(error, ValueError):
            raise ValueError(str(error.args[0] if error.args else error)) from None
        raise
    except ray.exceptions.RayError as error:
        said = " ".join(str(error).split())
        raise RayError(f"Ray stopped: {said[:300]}") from error


def start_on(cluster: Cluster, config: ModelConfig) -> Start:
    """Computing on actors.

    Raises:
        RayError: Ray is not installed, or no cluster is at the address.
    """

    @contextlib.contextmanager
    def start(store: pathlib.Path, source: str, chosen: Sequence[Chosen]) -> Iterator[Workers]:
        yield OnRay(store=store, source=source, config=config, chosen=chosen, cluster=cluster)

    return start


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Inside, Ray is there.

    Raises:
        RayError: it is not installed, or no cluster is at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RayError(
            "several workers need Ray: pip install 'lit_tl[distributed]', or leave --workers and "
            "--ray_address out"
        ) from error
    for name in ("ray", "ray.data", "ray._private"):
        logging.getLogger(name).setLevel(logging.ERROR)
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        how["include_dashboard"] = False
    else:
        how["address"] = cluster.address
    try:
        _require_answer(cluster.address)
        ray.init(**how)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise RayError(
            f"no Ray cluster is at {cluster.address}: start one with `ray start`, or leave "
            "--ray_address out"
        ) from error
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        yield
    finally:
        ray.shutdown()


def _require_answer(address: Optional[str]) -> None:
    """See that something listens at an address: Ray itself waits for minutes.

    Raises:
        OSError: nothing does.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
