"""A page over a store of a million prompts: memory of server and browser, first page, sort, filter,
next page; and stock LIT beside it on the largest data set that it can open.

    python benchmarks/large_store.py --rows 1000000 --stock_rows 100000

The numbers of the store are computed for its first rows by the bundled model, and repeated with
noise for the others: what is measured is looking, not computing. Needs Chromium.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Iterator

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from playwright import sync_api

from lit_tl.precompute.catalog import parse
from lit_tl.precompute.run import run, start_here
from lit_tl.precompute.worker import ModelConfig
from lit_tl.store import Store
from lit_tl.store import index as index_
from lit_tl.store.files import write_table

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
TOPICS = ("France", "Spain", "Italy", "Germany", "Greece", "Norway", "Poland")
SHARD_ROWS = 4096
HEAP = "() => performance.memory.usedJSHeapSize"


def prompts(rows: int) -> pa.Table:
    """Different prompts, with an answer and a topic."""
    rng = np.random.default_rng(0)
    topics = rng.integers(len(TOPICS), size=rows)
    texts = [
        f"In {1000 + i % 1000} it was {'not ' if i % 7 == 0 else ''}said, for the {i}th time, that "
        f"the capital of {TOPICS[topic]} is"
        for i, topic in enumerate(topics)
    ]
    return pa.table(
        {"text": texts, "answer": [" Paris"] * rows, "topic": [TOPICS[t] for t in topics]}
    )


def make_store(folder: pathlib.Path, rows: int) -> pathlib.Path:
    """A store of so many rows, its numbers repeated with noise from computed ones."""
    data = folder / "prompts.parquet"
    pq.write_table(prompts(rows), data)
    small = folder / "few.parquet"
    pq.write_table(prompts(SHARD_ROWS), small)
    chosen = parse("predictions[of_tokens=false]")
    how: dict[str, Any] = {"models": ["lit-tl-tiny"], "shard_rows": SHARD_ROWS}
    first = folder / "first"
    start = start_here(ModelConfig())
    run(datasets=[str(small)], chosen=chosen, output=first, start=start, **how)
    computed = Store(first)
    (part,) = computed.manifest.parts
    (_, table), *_ = computed.tables(part)
    store = Store.create(folder / "store", [{"label": "prompts", "identity": {}}], SHARD_ROWS)
    records = pq.read_table(data).to_pylist()
    store.read_data(("prompts", record, None) for record in records)
    store.add(part)
    rng = np.random.default_rng(1)
    for shard in range(store.manifest.shards):
        numbers = store.rows_of(shard)
        piece = table.slice(0, len(numbers))
        loss = piece["loss"].to_numpy() + rng.normal(0, 0.5, len(numbers))
        for name, values in (("row", pa.array(numbers, pa.int64())), ("loss", pa.array(loss))):
            place = piece.column_names.index(name)
            piece = piece.set_column(place, piece.schema.field(name), values)
        write_table(store.path(part, shard), piece.replace_schema_metadata(table.schema.metadata))
    index_.build(store)
    return store.folder


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[tuple[str, psutil.Process]]:
    """The command, serving."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lit_tl.launch", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        yield line.split("LIT is at ")[1].split()[0], psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def memory(process: psutil.Process) -> float:
    """Resident, in MB: pages of mapped files that were touched count too."""
    return float(process.memory_info().rss / 1e6)


class Clock:
    """Times of what a page does, in seconds."""

    def __init__(self, page: Any):
        self.page, self.panel = page, page.locator("lit-tl-browse-module")

    def first_row(self) -> str:
        """The text of the first row that is seen."""
        line = self.panel.locator(".line:not(.head):not(.waiting)").first
        return str(line.inner_text())

    def until_other(self, act: Any) -> float:
        """From an act until the first row is another."""
        before = self.first_row()
        start = time.perf_counter()
        act()
        while self.first_row() == before:
            assert time.perf_counter() - start < 60
            self.page.wait_for_timeout(5)
        return time.perf_counter() - start


def measure(store: pathlib.Path) -> dict[str, Any]:
    """The page over the store."""
    with served("--store", str(store)) as (url, process), sync_api.sync_playwright() as playwright:
        at_start = memory(process)
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        page.goto(url)
        panel = page.locator("lit-tl-browse-module")
        panel.locator(".line:not(.head):not(.waiting)").first.wait_for()
        first = time.perf_counter() - start
        clock = Clock(page)
        page.wait_for_timeout(1000)
        box = panel.get_by_label("Filter", exact=True)

        def type_filter(text: str) -> None:
            box.fill(text)
            box.press("Enter")

        head = panel.get_by_role("button", name="loss", exact=False)
        sorts = [clock.until_other(lambda: head.first.click()) for _ in range(4)]
        filters = [
            clock.until_other(lambda text=text: type_filter(text))
            for text in (
                'loss > 9 and text has "not"',
                'text has "Norway" and loss between 9 and 10',
                "answer_rank <= 3 or loss < 8.5",
            )
        ]
        rows = panel.locator(".rows")
        pages = []
        for place in (0.2, 0.4, 0.6, 0.8, 0.9):
            scroll = f"e => e.scrollTop = e.scrollHeight * {place}"
            pages.append(clock.until_other(lambda scroll=scroll: rows.evaluate(scroll)))
        opens = time.perf_counter()
        panel.get_by_role("button", name="Open in the page").click()
        page.wait_for_url("**dataset=store-2**")
        page.get_by_text(re.compile(r"1 of \d+ datapoints")).first.wait_for()
        opened = time.perf_counter() - opens
        page.wait_for_timeout(2000)
        page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
        found = {
            "first page, s": first,
            "sort, s": max(sorts),
            "filter, s": max(filters),
            "next page, s": max(pages),
            "next page, median, s": statistics.median(pages),
            "rows opened, s": opened,
            "server at its start, MB": at_start,
            "server more, MB": memory(process) - at_start,
            "browser heap, MB": page.evaluate(HEAP) / 1e6,
        }
        browser.close()
        return found


def measure_stock(folder: pathlib.Path, rows: int) -> dict[str, Any]:
    """The same prompts as one data set, the whole of which goes to the page, as LIT does."""
    data = folder / "stock.jsonl"
    with data.open("w") as file:
        for record in prompts(rows).to_pylist():
            file.write(json.dumps(record) + "\n")
    arguments = ("--datasets", str(data), "--max_examples", str(rows))
    with served(*arguments) as (url, process), sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--enable-precise-memory-info"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(300_000)
        start = time.perf_counter()
        page.goto(url)
        page.locator("lit-data-table tbody tr").first.wait_for()
        first = time.perf_counter() - start
        page.wait_for_timeout(2000)
        page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
        found = {
            "first page, s": first,
            "server, MB": memory(process),
            "browser heap, MB": page.evaluate(HEAP) / 1e6,
        }
        browser.close()
        return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stock_rows", type=int, default=100_000)
    parser.add_argument("--folder", help="where a store is kept for another time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(given.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        store = folder / "store"
        if not (store / "index").exists():
            make_store(folder, given.rows)
        print(f"{given.rows:,} prompts in a store:")
        for name, value in measure(store).items():
            print(f"  {name}: {value:.2f}")
        print(f"{given.stock_rows:,} prompts as one data set of LIT:")
        for name, value in measure_stock(folder, given.stock_rows).items():
            print(f"  {name}: {value:.2f}")


if __name__ == "__main__":
    main()
