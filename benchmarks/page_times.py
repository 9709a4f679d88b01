"""Seconds until the page shows something, in a real browser, and the CPU time of opening it.

    python benchmarks/page_times.py --model FOLDER

A server of its own with 100 prompts, and Chromium at 1440 x 900. `first picture` is from the
address being opened to the predictions of the first prompt; clicks are on rows of the table, the
warm one on a row that was looked at before; a tab's time is until its panel has drawn. CPU time is
the server's from the opening until nothing is under way any more, over that of one pass of
transformers over the same prompts.
Needs Chromium; CHROMIUM may name it.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from typing import Any, Callable

import torch
import transformers
from absl import app, flags
from gpt2_small_shape import machine
from playwright import sync_api

from lit_tl.data.tasks import read_task

_MODEL = flags.DEFINE_string("model", "lit-tl-tiny", "Folder or name of the model.")
_BATCH = 8
_TABS = {
    "Attention": "lit-tl-attention-module .large .grid .view",
    "Lens": "lit-tl-lens-module .figure[aria-busy=false] .grid .view",
    "Salience": "lit-tl-salience-module .salience .token",
    "Figures": "lit-tl-figure-module .figure[aria-busy=false] .view",
    "Sequence Salience": "sequence-salience-module .salient-token",
    "Salience Maps": "salience-map-module .salient-token",
    "Embeddings": "embeddings-module canvas",
    "Metrics": "metrics-module td",
}
"""What is there when a tab has drawn."""


def cpu_seconds(pid: int) -> float:
    """Of all threads of a process, so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """The most a process has held."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) / 1024


def bare_cpu_seconds() -> float:
    """One pass of transformers over the prompts, in batches of like length."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(_MODEL.value)
    model = transformers.AutoModelForCausalLM.from_pretrained(_MODEL.value, dtype=torch.float32)
    prompts = sorted((tokenizer(each["text"])["input_ids"] for each in examples()), key=len)
    batches = [prompts[first : first + _BATCH] for first in range(0, len(prompts), _BATCH)]
    padded = [
        torch.tensor([ids + [0] * (len(batch[-1]) - len(ids)) for ids in batch])
        for batch in batches
    ]

    def run() -> float:
        started = time.process_time()
        for batch in padded:
            model(batch, use_cache=False)
        return time.process_time() - started

    with torch.no_grad():
        run()
        return min(run() for _ in range(3))


def examples() -> list[dict[str, Any]]:
    """What is served."""
    return [dict(each) for each in read_task("ioi").examples]


def timed(name: str, work: Callable[[], object]) -> None:
    """Do it, and print how long it took."""
    started = time.perf_counter()
    work()
    print(f"{name:24} {time.perf_counter() - started:6.2f} s", flush=True)


def walk(page: sync_api.Page, url: str, pid: int) -> None:
    """Through the page."""
    before = cpu_seconds(pid)
    token = page.locator("lit-tl-predictions-module .token").first
    heading = page.locator("lit-tl-predictions-module .tokens")

    def first() -> None:
        page.goto(url)
        token.wait_for()

    timed("first picture", first)
    last = before
    while cpu_seconds(pid) - last > 0.1:
        last = cpu_seconds(pid)
        page.wait_for_timeout(3000)
    print(f"CPU to open 100 prompts  {last - before:6.2f} s")
    rows = page.locator("lit-data-table tbody tr")

    def click(row: int) -> Callable[[], None]:
        def act() -> None:
            text = heading.inner_text()
            rows.nth(row).click()
            page.wait_for_function(
                "([host, text]) => host.shadowRoot.querySelector('.tokens')"
                " && host.shadowRoot.querySelector('.tokens').innerText !== text",
                arg=[page.locator("lit-tl-predictions-module").element_handle(), text],
            )

        return act

    timed("first click", click(5))
    timed("another click", click(6))
    timed("warm click", click(5))
    for name, drawn in _TABS.items():

        def open_tab(name: str = name, drawn: str = drawn) -> None:
            page.locator(".tab", has_text=re.compile(rf"^\s*{name}\s*$")).first.click()
            page.locator(drawn).first.wait_for()

        timed(f"tab {name}", open_tab)


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        raise SystemExit("no Chromium: install it, or set CHROMIUM to its path")
    print(machine())
    command = [sys.executable, "-m", "lit_tl.launch", "--port", "0", "--datasets", "ioi"]
    started = time.perf_counter()
    server = subprocess.Popen(
        [*command, "--models", f"m={_MODEL.value}"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[3]
        print(f"server is up             {time.perf_counter() - started:6.2f} s")
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(120_000)
            walk(page, url, server.pid)
            browser.close()
        print(f"the server's peak        {peak_mb(server.pid):6.0f} MB")
    finally:
        server.terminate()
        server.wait()
    print(f"CPU of a bare pass       {bare_cpu_seconds():6.2f} s")


if __name__ == "__main__":
    app.run(main)
