"""Take the screenshots in docs/images: `python docs/take_screenshots.py` (needs Chromium; CHROMIUM may name it)."""

import os
import pathlib
import shutil
import subprocess
import sys

from playwright import sync_api

IMAGES = pathlib.Path(__file__).parent / "images"
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def take(page: sync_api.Page) -> None:
    """Walk through the page, one picture a panel."""
    page.locator("lit-data-table tbody tr").nth(2).click()
    page.locator("generated-text-module", has_text="next_tokens").first.wait_for()
    page.screenshot(path=IMAGES / "predictions.png")
    page.locator(".tab", has_text="Salience").first.click()
    page.locator("salience-map-module lit-token-chips .salient-token").first.wait_for()
    page.wait_for_timeout(2000)
    page.screenshot(path=IMAGES / "salience.png")
    page.locator(".tab", has_text="Sequence Salience").first.click()
    page.locator(".interstitial-target-option").first.dispatch_event("click")
    chips = page.locator("sequence-salience-chips .salient-token")
    chips.first.wait_for()
    chips.last.dispatch_event("click")
    page.wait_for_timeout(4000)
    page.screenshot(path=IMAGES / "sequence_salience.png")
    page.locator(".tab", has_text="Embeddings").first.click()
    page.locator("embeddings-module select").first.select_option("pca")
    page.wait_for_timeout(5000)
    page.screenshot(path=IMAGES / "embeddings.png")


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
