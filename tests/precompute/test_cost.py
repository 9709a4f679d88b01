"""What a run is said to take: carried on from what some prompts took."""

import json
import pathlib
import subprocess
import sys

import pytest

from lit_tl.precompute.cost import RAY_SECONDS, Measured, Sample, estimate
from tests.precompute.conftest import prompts, write

MEASURED = Measured(
    start=10.0,
    peak_bytes=10**9,
    data_bytes=50.0,
    samples=[
        Sample(name="predictions", seconds=0.01, bytes=100.0, prompts=448),
        Sample(name="heads", seconds=0.1, bytes=200.0, prompts=448),
    ],
)


def test_one_process_and_many_workers() -> None:
    alone = estimate(MEASURED, 1000, 0)
    assert alone.seconds == pytest.approx(10 + 1000 * 0.11)
    assert alone.bytes == pytest.approx(1000 * 350)
    assert alone.memory_bytes == 10**9
    many = estimate(MEASURED, 1000, 5)
    assert many.seconds == pytest.approx(RAY_SECONDS + 20 + 1000 * 0.11 / 5)
    assert many.computing == pytest.approx({"predictions": 2.0, "heads": 20.0})
    assert many.memory_bytes == 5 * 10**9


def test_the_command_measures_and_carries_on(tmp_path: pathlib.Path) -> None:
    data = write(tmp_path / "prompts.jsonl", prompts(200))
    command = [sys.executable, "-m", "lit_tl.precompute.cost", "--datasets", str(data)]
    done = subprocess.run(
        [*command, "--sample", "192", "--prompts", "1e6", "--workers", "4", "--as_json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    (sample,) = said["measured"]["samples"]
    assert sample["prompts"] == 128
    found = estimate(Measured(**{**said["measured"], "samples": [Sample(**sample)]}), 1e6, 4)
    assert found.seconds == said["estimate"]["seconds"]
    assert 20 < sample["bytes"] < 5000
    few = subprocess.run([*command, "--datasets", "ioi@count=20"], capture_output=True, text=True)
    assert few.returncode == 1
    assert few.stderr.strip().endswith("20 prompts are too few to measure: give at least 128")
