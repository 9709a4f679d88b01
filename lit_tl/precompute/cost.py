"""How long a run will take, how many bytes it will write, and what memory it needs: measured on
some of the prompts, and carried on.

    python -m lit_tl.precompute.cost --models gpt2-small --datasets prompts.jsonl \\
        --analyses predictions,heads --prompts 1e6 --workers 8

A run is `start + prompts x seconds of one / workers`. The start of a process is measured, and comes
twice with Ray: one process tells what the numbers depend on, then each worker loads the model.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from typing import Any, Optional, Sequence

import psutil

from lit_tl import ctrl_c, flags
from lit_tl.data.row_streams import open_rows
from lit_tl.names import split_entries
from lit_tl.precompute.catalog import Chosen, parse
from lit_tl.precompute.worker import ModelConfig, Task, Worker, peak_bytes
from lit_tl.settings import SettingError, Settings, required, setting
from lit_tl.store import Part, Store

_ROWS = 64
"""Prompts of a file of the sample; those of the first file are not timed."""
RAY_SECONDS = 6.0
"""That Ray takes to start on one machine, as measured on two cores."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """What one analysis took for some prompts.

    Args:
        name: of the part.
        seconds: of one prompt.
        bytes: that it writes for one prompt.
        prompts: that were timed.
    """

    name: str
    seconds: float
    bytes: float
    prompts: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What a process took.

    Args:
        start: seconds until the model was there, Python's own start included.
        peak_bytes: most memory of the process.
        data_bytes: that the store's copy of one prompt takes.
        samples: for each analysis.
    """

    start: float
    peak_bytes: int
    data_bytes: float
    samples: Sequence[Sample]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will take.

    Args:
        seconds: of all of it.
        computing: of these, of its analyses alone, by part.
        bytes: that it writes.
        memory_bytes: of all workers together.
    """

    seconds: float
    computing: dict[str, float]
    bytes: float
    memory_bytes: float


def measure(
    source: str, config: ModelConfig, chosen: Sequence[Chosen], datasets: Sequence[str], most: int
) -> Measured:
    """Compute some prompts, and see what it takes.

    Args:
        source: the model, as in `--models`.
        config: how it is loaded.
        chosen: the analyses.
        datasets: whose first prompts are the sample.
        most: how many.

    Raises:
        ValueError: there are fewer than 128 prompts, or a model or an analysis is not to be had.
    """
    rows = _first_rows(datasets, most)
    if len(rows) < 2 * _ROWS:
        raise ValueError(f"{len(rows)} prompts are too few to measure: give at least {2 * _ROWS}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "store"
        store = Store.create(folder, [{"label": "sample"}], _ROWS)
        store.read_data(rows)
        worker = Worker(folder, source, config)
        start = time.time() - psutil.Process().create_time()
        samples = []
        for each in chosen:
            part = Part(model="m", analysis=each.label, identity=worker.identity(each))
            samples.append(_sample(worker, Task(part=part, chosen=each), store))
        data = sum(path.stat().st_size for path in (folder / "data").iterdir())
    return Measured(
        start=start,
        peak_bytes=peak_bytes(),
        data_bytes=data / len(rows),
        samples=samples,
    )


def _sample(worker: Worker, task: Task, store: Store) -> Sample:
    worker.compute(task, 0)  # what is made once
    timed = range(1, store.manifest.shards)
    begun = time.perf_counter()
    for shard in timed:
        worker.compute(task, shard)
    seconds = time.perf_counter() - begun
    count = sum(len(store.rows_of(shard)) for shard in timed)
    size = sum(store.path(task.part, shard).stat().st_size for shard in timed)
    return Sample(
        name=task.chosen.label, seconds=seconds / count, bytes=size / count, prompts=count
    )


def _first_rows(datasets: Sequence[str], most: int) -> list[tuple[str, Any, Optional[str]]]:
    rows: list[tuple[str, Any, Optional[str]]] = []
    for entry in datasets:
        stream = open_rows(entry)
        for row in stream.read():
            if len(rows) == most:
                return rows
            rows.append((stream.label, row.record, row.error))
    return rows


def estimate(measured: Measured, prompts: float, workers: int) -> Estimate:
    """Carry on what was measured.

    Args:
        measured: with as many processors or GPUs as each worker will have.
        prompts: how many there will be.
        workers: of Ray; 0 for one process alone.
    """
    share = max(1, workers)
    computing = {each.name: prompts * each.seconds / share for each in measured.samples}
    starts = RAY_SECONDS + 2 * measured.start if workers else measured.start
    size = prompts * (measured.data_bytes + sum(each.bytes for each in measured.samples))
    return Estimate(
        seconds=starts + sum(computing.values()),
        computing=computing,
        bytes=size,
        memory_bytes=float(measured.peak_bytes * share),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """The flags of the command.

    Raises:
        SettingError: a value is not allowed.
    """

    models: str = setting("lit-tl-tiny", "The model: [label=]source[@revision][{changes}].")
    datasets: str = required("Prompts like those of the run: as in lit_tl.precompute.")
    analyses: str = setting("predictions", "As in lit_tl.precompute.")
    prompts: float = setting(1e6, "How many prompts the run will have.", low=1)
    workers: int = setting(0, "Workers of Ray; 0 for one process.", low=0)
    threads: int = setting(0, "Processors of each worker; 0 for all of this machine.", low=0)
    sample: int = setting(512, "Prompts to measure with.", low=128, high=100_000)
    device: Optional[str] = setting(None, "cuda, cpu, ...; the best there is if not said.")
    dtype: str = setting("float32", "Number format of the weights.")
    as_json: bool = setting(False, "Print JSON.")


def run(config: Config) -> tuple[Measured, Estimate]:
    """Measure and carry on.

    Raises:
        ValueError, OSError: with a message for the user.
    """
    if config.threads:
        import torch

        torch.set_num_threads(config.threads)
    how = ModelConfig(device=config.device, dtype=config.dtype)
    datasets = [entry for entry in split_entries(config.datasets) if entry]
    measured = measure(config.models, how, parse(config.analyses), datasets, config.sample)
    return measured, estimate(measured, config.prompts, config.workers)


def main(argv: Sequence[str]) -> None:
    """The command: exit code 1 for what can't be done, 2 for a command line that can't be
    understood."""
    if len(argv) == 1 or flags.wants_help(argv[1:]):
        print(__doc__, "\nFlags:\n", flags.help_text(Config), sep="")
        return
    try:
        config, _ = flags.read(Config, argv)
        measured, found = run(config)
    except (ValueError, OSError) as error:
        print(f"lit_tl.precompute.cost: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, (flags.UsageError, SettingError)) else 1)
    if config.as_json:
        said = {"measured": dataclasses.asdict(measured), "estimate": dataclasses.asdict(found)}
        print(json.dumps(said, indent=2))
        return
    for each in measured.samples:
        print(
            f"{each.name}: {1 / each.seconds:,.1f} prompts/s and {each.bytes:,.0f} bytes a prompt, "
            f"by {each.prompts} prompts"
        )
    print(
        f"{config.prompts:,.0f} prompts with {config.workers or 1} "
        f"{'workers' if config.workers > 1 else 'worker' if config.workers else 'process'}: "
        f"{_time(found.seconds)}, {found.bytes / 1e9:,.2f} GB on the disk, "
        f"{found.memory_bytes / 1e9:,.1f} GB of memory"
    )


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    ctrl_c.ends_the_command()
    main(sys.argv)
