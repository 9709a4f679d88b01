"""Take the screenshots in docs/images: `python docs/take_screenshots.py` (needs Chromium; CHROMIUM
may name it).

`python docs/take_screenshots.py curve.html` also takes that of the figure of
`benchmarks/lens_convergence.py --output curve.html`.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from playwright import sync_api

from lit_tl.bundled.fit_lens import write_text
from lit_tl.lens.choice import BUNDLED_LENSES

IMAGES = pathlib.Path(__file__).parent / "images"
QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def tab(page: sync_api.Page, name: str) -> None:
    """Open a tab by its whole name."""
    page.locator(".tab", has_text=re.compile(rf"^\s*{name}\s*$")).first.click()


def take(page: sync_api.Page) -> None:
    """Walk through the page, one picture a panel."""

    def picture(name: str, wait: int = 1500) -> None:
        page.wait_for_timeout(wait)
        page.screenshot(path=IMAGES / f"{name}.png")

    page.locator("lit-data-table tbody tr").nth(2).click(position={"x": 60, "y": 12})
    predictions = page.locator("lit-tl-predictions-module")
    predictions.locator(".token").nth(8).click()
    picture("predictions")
    tab(page, "Attention")
    attention = page.locator("lit-tl-attention-module")
    attention.locator(".control select").select_option("induction")
    attention.locator(".head").first.click()
    attention.locator(".token").nth(11).hover()
    picture("attention", 2500)
    tab(page, "Salience")
    page.locator("salience-map-module lit-token-chips .salient-token").first.wait_for()
    picture("salience")
    tab(page, "Predictions")
    predictions.get_by_text("Clear").click()
    tab(page, "Figures")
    page.locator("lit-tl-figure-module .plot .heatmaplayer image").first.wait_for()
    picture("figures")
    tab(page, "Sequence Salience")
    page.locator(".interstitial-target-option").first.dispatch_event("click")
    chips = page.locator("sequence-salience-chips .salient-token")
    chips.first.wait_for()
    chips.last.dispatch_event("click")
    picture("sequence_salience", 4000)
    tab(page, "Embeddings")
    page.locator("embeddings-module select").first.select_option("pca")
    picture("embeddings", 5000)
    tab(page, "Counterfactuals")
    swap = page.locator("generator-module lit-interpreter-controls", has_text="Swap names").first
    swap.locator(".expansion-header").click()
    swap.locator("button.filled-button").click()
    picture("counterfactuals", 3000)
    tab(page, "Metrics")
    page.locator("metrics-module", has_text="answer_accuracy").first.wait_for()
    picture("metrics")


def figure(
    browser: sync_api.Browser, file: pathlib.Path, name: str, width: int, height: int
) -> None:
    """One picture of a Plotly page."""
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1.5)
    page.goto(file.resolve().as_uri())
    page.locator(".main-svg").first.wait_for()
    page.screenshot(path=IMAGES / f"{name}.png")
    page.close()


def evaluation(folder: pathlib.Path) -> pathlib.Path:
    """The page of `eval` for the bundled lens, on text that it was not fitted to."""
    write_text(folder / "text.jsonl", seed=12, count=3000)
    flags = {
        "model": "lit-tl-tiny",
        "data": folder / "text.jsonl",
        "lens": BUNDLED_LENSES["lit-tl-tiny"],
        "output": folder,
    }
    line = [
        sys.executable,
        "-m",
        "lit_tl.lens",
        "eval",
        "--max_seq_len=128",
        *(f"--{name}={value}" for name, value in flags.items()),
    ]
    subprocess.run(line, check=True)
    return folder / "eval.html"


def main() -> None:
    """Start the real command, open it, take the pictures."""
    chromium = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    )
    if chromium is None:
        sys.exit("no Chromium: install it, or set CHROMIUM to its path")
    server = subprocess.Popen(
        [sys.executable, "-m", "lit_tl.launch", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[3]
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(60_000)
            page.goto(url)
            take(page)
            with tempfile.TemporaryDirectory() as folder:
                figure(browser, evaluation(pathlib.Path(folder)), "lens_evaluation", 1200, 420)
            for curve in sys.argv[1:]:
                figure(browser, pathlib.Path(curve), "lens_convergence", 900, 420)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
