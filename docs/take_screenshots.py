"""Take the screenshots in docs/images: `python docs/take_screenshots.py` (needs Chromium; CHROMIUM may name it)."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

from playwright import sync_api

IMAGES = pathlib.Path(__file__).parent / "images"
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


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


def main() -> None:
    """Start the real command, open it, take the pictures."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium: install it, or set CHROMIUM to its path")
    server = subprocess.Popen([sys.executable, "-m", "lit_tl.launch", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[3]
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(60_000)
            page.goto(url)
            take(page)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
