"""The same analysis on the same prompts: one process, and Ray with one and with two workers.

    python benchmarks/precompute.py [--rows 2000] [--more_rows 20000] [--analyses predictions,heads]

Prints whether all stores are equal to the byte, prompts a second of a worker, the most memory of a
process, what `lit_tl.precompute.cost` says of each run, and whether memory grows with the data.
Needs the extra `distributed`.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

TOPICS = ("France", "Spain", "Italy", "Germany")


def write_prompts(path: pathlib.Path, count: int) -> pathlib.Path:
    """JSON lines of different prompts."""
    with path.open("w") as file:
        for i in range(count):
            text = f"In {1000 + i % 1000} it was said, for the {i}th time, that the capital of"
            file.write(
                json.dumps({"text": f"{text} {TOPICS[i % 4]} is", "answer": " Paris"}) + "\n"
            )
    return path


def measured(data: pathlib.Path, store: pathlib.Path, analyses: str, *more: str) -> dict[str, Any]:
    """Run the command; its summary, and the seconds of all of it."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "lit_tl.precompute", "--datasets", str(data), "--output", str(store)]
        + ["--analyses", analyses, *more],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads((store / "summary.json").read_text())
    return {**summary, "whole": time.perf_counter() - start}


def predicted(data: pathlib.Path, analyses: str, rows: int, workers: int) -> float:
    """Seconds of a run, by `lit_tl.precompute.cost` on other prompts like these."""
    done = subprocess.run(
        [sys.executable, "-m", "lit_tl.precompute.cost", "--datasets", str(data), "--as_json"]
        + ["--analyses", analyses, "--prompts", str(rows), "--workers", str(workers)]
        + (["--threads", "1"] if workers else []),
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["estimate"]["seconds"])


def parts_of(store: pathlib.Path) -> dict[str, bytes]:
    """The content of all files of parts."""
    paths = store.glob("parts/*/*.parquet")
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--more_rows", type=int, default=20_000)
    parser.add_argument("--analyses", default="predictions,heads")
    given = parser.parse_args()
    ways: dict[str, tuple[str, ...]] = {
        "one process": (),
        "Ray, 1 worker": ("--workers", "1", "--cpus_per_worker", "1"),
        "Ray, 2 workers": ("--workers", "2", "--cpus_per_worker", "1"),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        data = write_prompts(folder / "prompts.jsonl", given.rows)
        sample = write_prompts(folder / "sample.jsonl", 600)
        stores: dict[str, dict[str, bytes]] = {}
        wholes: dict[str, float] = {}
        for way, flags in ways.items():
            store = folder / way.replace(" ", "-").replace(",", "")
            found = measured(data, store, given.analyses, "--shard_rows", "128", *flags)
            stores[way] = parts_of(store)
            wholes[way] = found["whole"]
            rates = [part["prompts_per_second"] for part in found["parts"]]
            each = ", ".join(f"{rate:.0f}" for rate in rates)
            said = predicted(sample, given.analyses, given.rows, int(flags[1]) if flags else 0)
            print(
                f"{way}: {each} prompts/s of a worker, {found['whole']:.1f} s in all, at most "
                f"{found['peak_bytes'] / 1e6:.0f} MB in a process; predicted {said:.1f} s, "
                f"{said / found['whole'] - 1:+.0%}"
            )
        same = all(files == stores["one process"] for files in stores.values())
        print(f"all stores equal to the byte: {same}")
        ratio = wholes["Ray, 1 worker"] / wholes["Ray, 2 workers"]
        print(f"two workers against one, their start included: {ratio:.2f}")
        many = write_prompts(folder / "many.jsonl", given.more_rows)
        first = given.analyses.split(",")[0]
        for count, source in ((given.rows, data), (given.more_rows, many)):
            found = measured(source, folder / f"of-{count}", first, "--shard_rows", "128")
            print(f"{count:,} prompts, {first}: at most {found['peak_bytes'] / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
