"""Take the screenshots in docs/images: `python docs/take_screenshots.py` (needs Chromium; CHROMIUM
may name it).

    python docs/take_screenshots.py --model FOLDER     of every tab, on a model of your own
    python docs/take_screenshots.py --model FOLDER --conversations    of Chat, and a report
    python docs/take_screenshots.py --curve curve.html

The second also takes that of the figure of `benchmarks/lens_convergence.py --output curve.html`.
"""

import argparse
import json
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

MOVERS, BUNDLED_MOVERS = ("L20H0", "L17H4", "L23H3"), ("L1H3", "L3H1")
"""Heads that move the name, of SmolLM2-135M and of the bundled model; see docs/causal.md."""
MESSAGES = [
    {"role": "system", "content": "You answer in one short sentence."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "The capital of France is Paris."},
    {"role": "user", "content": "And of Italy?"},
]
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


def settled(page: sync_api.Page) -> None:
    """Wait until nothing is under way on the page."""
    page.wait_for_timeout(1000)
    page.locator(".loading").filter(visible=True).first.wait_for(state="hidden")
    page.get_by_role("region", name="Work in progress").wait_for(state="hidden")
    page.wait_for_timeout(500)


def take(page: sync_api.Page) -> None:
    """Walk through the page, one picture a panel."""

    def picture(name: str) -> None:
        settled(page)
        page.screenshot(path=IMAGES / f"{name}.png")

    predictions = page.locator("lit-tl-predictions-module")
    predictions.locator(".tokens .token").nth(8).click()
    picture("predictions")
    predictions.get_by_text("Clear").click()
    attention(page)
    page.locator("lit-tl-attention-module .text-view .token").last.hover()
    picture("attention")
    lens(page)
    picture("lens")
    causes(page)
    picture("causes")
    tab(page, "Salience")
    page.locator("lit-tl-salience-module .salience .token").first.wait_for()
    picture("salience")
    tab(page, "Salience Maps")
    page.locator("salience-map-module lit-token-chips .salient-token").first.wait_for()
    picture("salience_maps")
    tab(page, "Sequence Salience")
    page.locator("sequence-salience-chips .salient-token").last.wait_for()
    picture("sequence_salience")
    for name in ("Generated Text", "Figures", "Embeddings"):
        tab(page, name)
        picture(name.lower().replace(" ", "_"))
    tab(page, "Counterfactuals")
    shuffle = page.locator("generator-module lit-interpreter-controls", has_text="Shuffle").first
    shuffle.locator(".expansion-header").click()
    shuffle.locator("button.filled-button").click()
    picture("counterfactuals")
    tab(page, "Metrics")
    page.locator("metrics-module", has_text="answer_accuracy").first.wait_for()
    picture("metrics")
    beside(page)
    picture("beside")
    page.get_by_text("Configure").first.click()
    picture("configure")


def beside(page: sync_api.Page) -> None:
    """The Attention tab with a pinned prompt beside another, and their difference."""
    page.locator("lit-main-toolbar").get_by_text("Pin datapoint").first.click()
    page.locator("lit-data-table tbody tr").nth(3).click()
    tab(page, "Attention")
    panel = page.locator("lit-tl-attention-module").last
    panel.locator(".large .grid .view").wait_for()
    panel.get_by_label("Minus", exact=True).select_option("pinned prompt")
    panel.locator(".large .legend", has_text="difference").wait_for()


def attention(page: sync_api.Page) -> None:
    """The Attention tab with a head chosen."""
    tab(page, "Attention")
    panel = page.locator("lit-tl-attention-module")
    panel.locator(".strip .head").nth(3).click()


def lens(page: sync_api.Page) -> None:
    """The Lens tab with a held card and its detail."""
    tab(page, "Lens")
    panel = page.locator("lit-tl-lens-module")
    panel.locator(".figure[aria-busy=false] .grid .view").click(position={"x": 420, "y": 60})
    panel.locator(".detail .main-svg").first.wait_for()


def causes(page: sync_api.Page) -> None:
    """The Causes tab with a cell that was clicked."""
    tab(page, "Causes")
    panel = page.locator("lit-tl-causes-module")
    panel.locator(".figure[aria-busy=false] .grid .view").wait_for()
    settled(page)
    view = panel.locator(".grid .view")
    box = view.bounding_box()
    assert box is not None
    differing = panel.locator(".pair-column.differs code").last.inner_text()
    across = panel.locator(".frame .across span", has_text=differing).last.bounding_box()
    assert across is not None
    right = across["x"] + across["width"] - box["x"]
    view.click(position={"x": right, "y": box["height"] * 0.4})
    panel.locator(".detail .main-svg").first.wait_for()


def interventions(page: sync_api.Page, heads: tuple[str, ...]) -> None:
    """The Interventions tab with heads at zero, and the variant beside its original."""
    tab(page, "Interventions")
    panel = page.locator("lit-tl-interventions-module").first
    field = panel.get_by_label("Add a change")
    for head in heads:
        field.fill(f"{head} = zero")
        field.press("Enter")
        panel.locator(".chip", has_text=head).wait_for()
    settled(page)
    page.screenshot(path=IMAGES / "interventions.png")
    panel.get_by_label("Name of the variant").fill("without-movers")
    panel.get_by_role("button", name="Make variant").click()
    page.locator("lit-tl-interventions-module").nth(1).wait_for()
    tab(page, "Predictions")
    page.locator("lit-tl-predictions-module").nth(1).locator(".answer").first.wait_for()
    settled(page)
    page.screenshot(path=IMAGES / "variant.png")


def conversations(browser: sync_api.Browser, url: str, folder: pathlib.Path) -> None:
    """The Chat tab, and a report of figures of a conversation."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(url)
    tab(page, "Chat")
    panel = page.locator("lit-tl-conversation-module")
    panel.locator(".of-conversation .token").first.wait_for()
    panel.get_by_role("button", name="Answer", exact=True).click()
    page.get_by_text("of 2 datapoints").first.wait_for()
    settled(page)
    panel.locator(".of-conversation .role-assistant .token").nth(13).click()
    settled(page)
    page.screenshot(path=IMAGES / "chat.png")
    for name, module in (("Lens", "lens"), ("Salience", "salience")):
        tab(page, name)
        drawn = page.locator(f"lit-tl-{module}-module")
        drawn.locator(".figure[aria-busy=false]").first.wait_for()
        settled(page)
        drawn.get_by_label("Template tokens").select_option("not in the colours")
        settled(page)
        drawn.get_by_role("button", name="Keep", exact=True).click()
    tab(page, "Session")
    session = page.locator("lit-tl-session-module")
    session.get_by_label("Title").fill("Which capital?")
    session.get_by_label("Note on figure 1").fill("The city comes up in the last layers only.")
    session.get_by_label("Title").click()
    session.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        session.get_by_role("button", name="Report (HTML)").click()
    file = folder / "report.html"
    download.value.save_as(file)
    page.goto(file.as_uri())
    page.locator(".view").first.wait_for()
    page.set_viewport_size({"width": 1160, "height": 1100})
    page.wait_for_timeout(500)  # colours fade
    page.screenshot(path=IMAGES / "report.png")
    page.close()


def at_width(browser: sync_api.Browser, url: str, width: int, height: int) -> None:
    """Lens and attention on another screen."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(120_000)
    page.goto(url)
    page.locator("lit-tl-predictions-module .token").first.wait_for()
    for name, show in (("attention", attention), ("lens", lens)):
        show(page)
        settled(page)
        page.screenshot(path=IMAGES / f"{name}_{width}.png")
    page.close()


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="as in --models; the bundled one if not said")
    parser.add_argument("--curve", help="page of benchmarks/lens_convergence.py")
    parser.add_argument(
        "--conversations", action="store_true", help="those of Chat and of a report alone"
    )
    given = parser.parse_args()
    model = ["--models", given.model] if given.model else []
    folder = pathlib.Path(tempfile.mkdtemp())
    data = "ioi"
    if given.conversations:
        data = str(folder / "chats.jsonl")
        pathlib.Path(data).write_text(json.dumps({"messages": MESSAGES}))
    server = subprocess.Popen(
        [sys.executable, "-m", "lit_tl.launch", "--port", "0", "--datasets", data, *model],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[3]
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
            if given.conversations:
                conversations(browser, url, folder)
                return
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(120_000)
            page.goto(url)
            take(page)
            at_width(browser, url, 1024, 768)
            at_width(browser, url, 1920, 1080)
            page.goto(url)
            interventions(page, MOVERS if given.model else BUNDLED_MOVERS)
            if not given.model:
                with tempfile.TemporaryDirectory() as folder:
                    figure(browser, evaluation(pathlib.Path(folder)), "lens_evaluation", 1200, 420)
            if given.curve:
                figure(browser, pathlib.Path(given.curve), "lens_convergence", 900, 420)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
