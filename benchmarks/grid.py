"""How fast the page's grid is drawn and scrolled, by Chromium's own trace.

    python benchmarks/grid.py [--rows 100] [--columns 2048]

A page of its own holds a lens grid of random numbers with ten tokens in each cell, at 1440 x 900.
Drawing is the time from the numbers being there, as text, to the second frame behind it. Then keys
zoom in, and the wheel scrolls; a frame is as long as the longest task of the main thread.
Needs Chromium; CHROMIUM may name it.
"""

import json
import os
import pathlib
import shutil
import statistics
import tempfile

import numpy as np
from absl import app, flags
from gpt2_small_shape import machine
from playwright import sync_api

from lit_tl.figures.grid import Axis, Colours, Grid, Part

_ROWS = flags.DEFINE_integer("rows", 100, "Layers.")
_COLUMNS = flags.DEFINE_integer("columns", 2048, "Positions.")
_REPEATS = 5
_WHEEL_TURNS = 60
_DRAW = """async (repeats) => {
  const {Grid} = await import('lit_tl/grid/grid.js');
  const text = document.getElementById('grid').textContent;
  const place = document.querySelector('.panel');
  const frame = () => new Promise(requestAnimationFrame);
  const times = [];
  for (let i = 0; i < repeats; i++) {
    place.replaceChildren();
    await frame();
    const started = performance.now();
    place.append(new Grid(JSON.parse(text)).box);
    await frame();
    await frame();
    times.push(performance.now() - started);
  }
  return times;
}"""


def large(rows: int, columns: int) -> Grid:
    """A lens grid of random numbers."""
    rng = np.random.default_rng(0)
    tokens = np.array([f" token{i}" for i in range(5000)], dtype=object)
    values = rng.random((rows, columns))
    part = Part(
        title="logit lens",
        values=values,
        rows=Axis(name="layer", labels=[str(i) for i in range(rows)], upwards=True),
        columns=Axis(
            name="position", labels=tokens[rng.integers(0, 5000, columns)].tolist(), tokens=True
        ),
        colours=Colours(name="entropy", unit="nats", low=0.0),
        top_tokens=tokens[rng.integers(0, 5000, (rows, columns, 10))],
        top_values=np.sort(rng.random((rows, columns, 10)), axis=-1)[..., ::-1],
    )
    return Grid(title="Lens: entropy", parts=(part,))


def tasks(trace: bytes) -> list[float]:
    """Milliseconds of each task of the main thread of the page that worked most."""
    events = json.loads(trace)["traceEvents"]
    named = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    by_thread: dict[tuple[int, int], list[float]] = {}
    for event in events:
        thread = (event["pid"], event["tid"])
        if event["name"].endswith("RunTask") and event["ph"] == "X" and thread in named:
            by_thread.setdefault(thread, []).append(event["dur"] / 1000)
    return max(by_thread.values(), key=sum)


def main(argv: list[str]) -> None:
    """Measure and print."""
    del argv
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        raise SystemExit("no Chromium: install it, or set CHROMIUM to its path")
    with tempfile.TemporaryDirectory() as folder, sync_api.sync_playwright() as playwright:
        path = pathlib.Path(folder) / "grid.html"
        large(_ROWS.value, _COLUMNS.value).save(path)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(path.as_uri())
        view = page.locator(".view")
        view.wait_for()
        drawn = page.evaluate(_DRAW, _REPEATS)
        view.focus()
        for _ in range(6):
            page.keyboard.press("+")
        box = view.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline"])
        for turn in range(_WHEEL_TURNS):
            page.keyboard.down("Shift")
            page.mouse.wheel(240 if turn < _WHEEL_TURNS / 2 else -240, 0)
            page.keyboard.up("Shift")
            page.wait_for_timeout(16)
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        scrolled = tasks(browser.stop_tracing())
        browser.close()
    print(f"{machine()}; {_ROWS.value} x {_COLUMNS.value} cells, ten tokens in each")
    print(f"drawn in {statistics.median(drawn):.0f} ms (longest {max(drawn):.0f} ms)")
    print(
        f"scrolled: {len(scrolled)} tasks, the longest {max(scrolled):.0f} ms, "
        f"{sum(each > 50 for each in scrolled)} of more than 50 ms"
    )


if __name__ == "__main__":
    app.run(main)
