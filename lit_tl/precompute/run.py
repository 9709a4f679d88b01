"""A run: data into a store, then each part that is missing, then what is said of all rows."""

import collections
import contextlib
import dataclasses
import json
import pathlib
import time
from typing import Any, Callable, Iterator, Mapping, Optional, Protocol, Sequence

from lit_tl.data.row_streams import RowStream, open_rows
from lit_tl.models.sources import ModelSource
from lit_tl.precompute.catalog import Chosen
from lit_tl.precompute.worker import Finished, ModelConfig, Task, Worker, peak_bytes
from lit_tl.settings import SettingError
from lit_tl.store import Part, Store
from lit_tl.store import index as index_
from lit_tl.store.files import alone, remove_unfinished, write_table, write_whole

Report = Callable[[str, int, int, int], None]
"""Hears what is done, how many prompts of how many are finished, and how many failed."""
_REASONS = 5


class Workers(Protocol):
    """What computes the parts of one model."""

    def identities(self) -> list[dict[str, Any]]:
        """Of the model with each chosen analysis."""

    def compute(self, tasks: Sequence[tuple[Task, int]]) -> Iterator[Finished]:
        """Make files, in any order."""


Start = Callable[[pathlib.Path, str, Sequence[Chosen]], contextlib.AbstractContextManager[Workers]]
"""Begins to compute for a store with a model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartSummary:
    """What a run did for one part.

    Args:
        part: its name.
        rows: prompts in the store.
        failed: those among them without numbers.
        reasons: why, with how many, the most frequent first.
        computed: prompts of this run.
        seconds: that workers took for it in this run, all together.
        bytes: on the disk.
        remade: damaged files that were made anew.
    """

    part: str
    rows: int
    failed: int
    reasons: Sequence[tuple[str, int]]
    computed: int
    seconds: float
    bytes: int
    remade: Sequence[str]

    @property
    def rate(self) -> Optional[float]:
        """Prompts a second of one worker; None where nothing had to be computed."""
        return self.computed / self.seconds if self.computed and self.seconds else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did.

    Args:
        store: its folder.
        rows: prompts in the store.
        seconds: of the whole run.
        peak_bytes: most memory that a process of it had.
        parts: one by one.
    """

    store: str
    rows: int
    seconds: float
    peak_bytes: int
    parts: Sequence[PartSummary]

    def as_json(self) -> str:
        """All of it."""
        said = dataclasses.asdict(self)
        for part, own in zip(said["parts"], self.parts, strict=True):
            part["prompts_per_second"] = own.rate
        return json.dumps(said, indent=2)

    def as_text(self) -> str:
        """A table, and the reasons of failures."""
        lines = [["part", "prompts", "failed", "now", "a worker/s", "MB"]]
        for part in self.parts:
            rate = "" if part.rate is None else f"{part.rate:.1f}"
            size = f"{part.bytes / 1e6:.1f}"
            lines.append(
                [part.part, f"{part.rows:,}", f"{part.failed:,}", f"{part.computed:,}", rate, size]
            )
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        text = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        for part in self.parts:
            text += [f"{part.part}: {count:,} failed: {reason}" for reason, count in part.reasons]
            text += [f"{path} was damaged and is made anew" for path in part.remade]
        return "\n".join(text)


def run(
    *,
    models: Sequence[str],
    datasets: Sequence[str],
    chosen: Sequence[Chosen],
    output: pathlib.Path,
    shard_rows: int,
    start: Start,
    report: Report = lambda *_: None,
    verify: bool = False,
) -> Summary:
    """Compute what a store lacks.

    Args:
        models: `[label=]source`, as in `--models`.
        datasets: see `row_streams.open_rows`.
        chosen: the analyses.
        output: the store's folder.
        shard_rows: how many prompts go into a file.
        start: begins to compute with one model.
        report: hears how far the run is.
        verify: whether to read all files that are there, and make damaged ones anew.

    Returns:
        What was done; it is in `summary.json` of the store, too.

    Raises:
        StoreError: the store was made with something else, another run writes to it, or it can't
            be written to.
        DataError, LoadingError, ValueError: data or a model can't be read, or an analysis does not
            suit the model.
    """
    begun = time.monotonic()
    output = output.expanduser().absolute()
    labels = _labels(models)
    streams = [open_rows(entry) for entry in datasets]
    _require_different([stream.label for stream in streams], "data set")
    with alone(output):
        remove_unfinished(output)
        sources = [{"label": each.label, "identity": dict(each.identity)} for each in streams]
        store = Store.create(output, json.loads(json.dumps(sources, default=str)), shard_rows)
        store.read_data(_rows(streams), lambda rows: report("reading the data", rows, 0, 0))
        summaries: list[PartSummary] = []
        peak = 0
        for label, source in labels.items():
            with start(output, source, chosen) as workers:
                found = workers.identities()
                tasks = [
                    Task(
                        part=Part(
                            model=label, analysis=each.label, identity=identity, source=source
                        ),
                        chosen=each,
                    )
                    for each, identity in zip(chosen, found, strict=True)
                ]
                for task in tasks:
                    store.add(task.part)
                made, used = _make_all(store, label, tasks, workers, report, verify)
                summaries += made
                peak = max(peak, used)
        index_.build(store, lambda done, of: report("the index", done, of, 0))
        whole = Summary(
            store=str(output),
            rows=store.manifest.rows or 0,
            seconds=time.monotonic() - begun,
            peak_bytes=max(peak, peak_bytes()),
            parts=summaries,
        )
        write_whole(output / "summary.json", lambda file: file.write(whole.as_json().encode()))
    return whole


@dataclasses.dataclass
class _Tally:
    """What was made of one part."""

    lacking: Sequence[int]
    remade: Sequence[pathlib.Path]
    computed: int = 0
    seconds: float = 0.0


def _make_all(
    store: Store,
    label: str,
    tasks: Sequence[Task],
    workers: Workers,
    report: Report,
    verify: bool,
) -> tuple[list[PartSummary], int]:
    """All parts of a model in one stream, so that no worker loads it twice."""
    tallies: dict[str, _Tally] = {}
    for task in tasks:
        remade = store.verify(task.part) if verify else []
        lacking, damaged = store.missing(task.part)
        tallies[task.part.name] = _Tally(lacking=lacking, remade=[*remade, *damaged])
    todo = [(task, shard) for task in tasks for shard in tallies[task.part.name].lacking]
    total = (store.manifest.rows or 0) * len(tasks)
    done = total - sum(len(store.rows_of(shard)) for _, shard in todo)
    failed = peak = 0
    report(label, done, total, failed)
    for finished in workers.compute(todo):
        tally = tallies[finished.part]
        tally.computed += finished.rows
        tally.seconds += finished.seconds
        failed, peak = failed + finished.failed, max(peak, finished.peak_bytes)
        done += finished.rows
        report(label, done, total, failed)
    for task in tasks:
        _finish(store, task, bool(tallies[task.part.name].lacking))
    return [_summary(store, task.part, tallies[task.part.name]) for task in tasks], peak


def _summary(store: Store, part: Part, tally: _Tally) -> PartSummary:
    reasons: collections.Counter[str] = collections.Counter()
    for _, table in store.tables(part, ["row", "error"]):
        reasons.update(reason for reason in table["error"].to_pylist() if reason is not None)
    return PartSummary(
        part=part.name,
        rows=store.manifest.rows or 0,
        failed=sum(reasons.values()),
        reasons=reasons.most_common(_REASONS),
        computed=tally.computed,
        seconds=tally.seconds,
        bytes=sum(store.path(part, i).stat().st_size for i in range(store.manifest.shards)),
        remade=[str(path) for path in tally.remade],
    )


def _finish(store: Store, task: Task, changed: bool) -> None:
    finish = task.chosen.analysis.finish
    path = store.summary_path(task.part)
    if finish is None or (path.exists() and not changed):
        return
    table = finish(store, task.part, task.chosen.settings)
    write_table(path, table)


def _rows(
    streams: Sequence[RowStream],
) -> Iterator[tuple[str, Mapping[str, Any], Optional[str]]]:
    for stream in streams:
        for row in stream.read():
            yield stream.label, row.record, row.error


def _labels(models: Sequence[str]) -> dict[str, str]:
    """Models by their labels."""
    sources = [ModelSource.parse(entry) for entry in models]
    _require_different([source.label for source in sources], "model")
    return {source.label: entry for source, entry in zip(sources, models, strict=True)}


def _require_different(labels: Sequence[str], kind: str) -> None:
    for label, count in collections.Counter(labels).items():
        if count > 1:
            raise SettingError(f"two {kind}s are called {label!r}: name one of them with label=...")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InThisProcess:
    """Computes here, one file after another.

    Args:
        worker: with the model.
        chosen: the analyses.
    """

    worker: Worker
    chosen: Sequence[Chosen]

    def identities(self) -> list[dict[str, Any]]:
        """See `Workers`."""
        return [self.worker.identity(each) for each in self.chosen]

    def compute(self, tasks: Sequence[tuple[Task, int]]) -> Iterator[Finished]:
        """See `Workers`."""
        for task, shard in tasks:
            yield self.worker.compute(task, shard)


def start_here(config: ModelConfig) -> Start:
    """Computing in this process."""

    @contextlib.contextmanager
    def start(store: pathlib.Path, source: str, chosen: Sequence[Chosen]) -> Iterator[Workers]:
        yield InThisProcess(worker=Worker(store, source, config), chosen=chosen)

    return start
