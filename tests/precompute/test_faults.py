"""Runs that are killed, disks that are full, files that are damaged: nothing is lost or doubled."""

import os
import pathlib
import resource
import shutil
import signal
import time

import psutil
import pyarrow.parquet
import pytest

from lit_tl.store import Store, StoreError
from tests.precompute.conftest import command, prompts, start, write

PART = "lit-tl-tiny.heads"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Prompts for a run of some seconds."""
    return write(tmp_path_factory.mktemp("data") / "many.jsonl", prompts(240))


@pytest.fixture(scope="module")
def undisturbed(many: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The store of a run that nothing disturbed."""
    store = tmp_path_factory.mktemp("whole") / "store"
    done = command(*flags(many, store))
    assert done.returncode == 0, done.stderr
    return store


@pytest.fixture(scope="module")
def whole(undisturbed: pathlib.Path) -> dict[str, bytes]:
    """Its files."""
    return files(undisturbed)


def flags(data: pathlib.Path, store: pathlib.Path, *more: str) -> list[str]:
    return [
        "--datasets",
        str(data),
        "--output",
        str(store),
        "--shard_rows",
        "12",
        "--analyses",
        "heads",
        *more,
    ]


def files(store: pathlib.Path) -> dict[str, bytes]:
    """The content of each file of the data and the part."""
    paths = [*store.glob("data/*.parquet"), *store.glob("parts/*/*.parquet")]
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


def wait_for_files(store: pathlib.Path, count: int) -> None:
    """Until a run has written so many files of the part."""
    deadline = time.monotonic() + 120
    while len(list(store.glob(f"parts/{PART}/0*.parquet"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_run_goes_on_where_it_was(
    many: pathlib.Path, whole: dict[str, bytes], tmp_path: pathlib.Path
) -> None:
    store = tmp_path / "store"
    process = start(*flags(many, store))
    wait_for_files(store, 5)
    process.kill()
    process.communicate()
    left = len(list(store.glob(f"parts/{PART}/*.parquet")))
    assert left < 20
    (store / "parts" / PART / ".000019.parquet.cut").write_bytes(b"half")
    again = command(*flags(many, store))
    assert again.returncode == 0, again.stderr
    assert files(store) == whole
    assert f"{240 - 12 * left:,}" in again.stdout


def test_ctrl_c_ends_a_run_with_a_word(many: pathlib.Path, tmp_path: pathlib.Path) -> None:
    store = tmp_path / "store"
    process = start(*flags(many, store))
    wait_for_files(store, 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in err


def test_two_runs_into_one_store(many: pathlib.Path, tmp_path: pathlib.Path) -> None:
    store = tmp_path / "store"
    first = start(*flags(many, store))
    wait_for_files(store, 1)
    first.send_signal(signal.SIGSTOP)
    second = command(*flags(many, store))
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert f"another run is writing to {store}: wait for its end" in second.stderr
    _, err = first.communicate(timeout=300)
    assert first.returncode == 0, err
    assert Store(store).manifest.rows == 240


def test_a_damaged_file_is_made_anew(
    many: pathlib.Path, undisturbed: pathlib.Path, whole: dict[str, bytes], tmp_path: pathlib.Path
) -> None:
    """One that is cut is seen at once, one with other bytes where it is read."""
    store = tmp_path / "store"
    shutil.copytree(undisturbed, store)
    part = store / "parts" / PART
    changed = bytearray(whole[f"parts/{PART}/000007.parquet"])
    middle = len(changed) // 2
    changed[middle : middle + 40] = bytes(40)
    (part / "000007.parquet").write_bytes(changed)
    with pytest.raises(StoreError, match=r"000007.parquet is damaged: run precompute"):
        list(Store(store).tables(Store(store).manifest.parts[0]))
    (part / "000003.parquet").write_bytes(whole[f"parts/{PART}/000003.parquet"][:1000])
    again = command(*flags(many, store, "--verify"))
    assert again.returncode == 0, again.stderr
    for number in (3, 7):
        assert f"00000{number}.parquet was damaged and is made anew" in again.stdout
    assert files(store) == whole


def test_a_full_disk_is_said_and_gone_on_from(
    many: pathlib.Path, whole: dict[str, bytes], tmp_path: pathlib.Path
) -> None:
    """A bound on the size of files stands for the end of the disk: the same call fails."""
    store = tmp_path / "store"
    largest = max(len(content) for name, content in whole.items() if name.startswith("parts"))

    def bounded() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, largest - 1))

    full = command(*flags(many, store), preexec_fn=bounded)
    assert full.returncode == 1
    assert "is full: what is finished is kept; make room and run the same command" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list(store.rglob(".0*.parquet.*"))
    again = command(*flags(many, store))
    assert again.returncode == 0, again.stderr
    assert files(store) == whole


def actors(of: int) -> list[psutil.Process]:
    """Ray's processes that have a model."""
    found = []
    for process in psutil.Process(of).children(recursive=True):
        try:
            if "MapWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_workers_that_are_killed_lose_nothing(
    many: pathlib.Path, whole: dict[str, bytes], tmp_path: pathlib.Path
) -> None:
    """Three times SIGKILL, and one process alone gives the same files."""
    store = tmp_path / "store"
    process = start(*flags(many, store, "--workers", "2"))
    killed: set[int] = set()
    deadline = time.monotonic() + 300
    while len(killed) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        done = len(list(store.glob(f"parts/{PART}/0*.parquet")))
        if done >= 4 * len(killed) + 2:
            for actor in actors(process.pid):
                if actor.pid not in killed:
                    os.kill(actor.pid, signal.SIGKILL)
                    killed.add(actor.pid)
                    break
        time.sleep(0.02)
    _, err = process.communicate(timeout=300)
    assert len(killed) == 3
    assert process.returncode == 0, err
    assert files(store) == whole
    rows = [
        row
        for path in sorted(store.glob(f"parts/{PART}/*.parquet"))
        for row in pyarrow.parquet.read_table(path)["row"].to_pylist()
    ]
    assert rows == list(range(240))


def test_no_cluster_is_said(many: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = command(*flags(many, tmp_path / "store", "--ray_address", "127.0.0.1:1"))
    assert done.returncode == 1
    assert "no Ray cluster is at 127.0.0.1:1: start one with `ray start`" in done.stderr
    assert "Traceback" not in done.stderr
