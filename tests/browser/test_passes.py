"""How often the model runs while somebody looks at the page. The application is served from this
process, so that its forward passes can be counted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.data.tasks import read_task
from lit_tl.server import build
from lit_tl.server.serving import Server, bind
from tests.browser.conftest import Watched, open_page, tab, until


class Counted:
    """The address of a server, and the prompts of each pass of its model."""

    def __init__(self, url: str, passes: list[int], model: HookedTransformerLIT):
        self.url, self.passes, self.model = url, passes, model


@pytest.fixture
def counted(passes: list[int]) -> Iterator[Counted]:
    settings = build.BuildConfig()
    data = build.load_datasets(["ioi"], settings, build.StartLog(quiet=True))
    model = HookedTransformerLIT.from_pretrained("lit-tl-tiny")
    app = build.build_app({"tiny": model}, data, settings)
    server = Server(app, bind("127.0.0.1", 0)).start()
    passes.clear()  # a model that is loaded checks itself on a few tokens
    yield Counted(server.url, passes, model)
    server.stop()


def test_a_page_runs_each_batch_once_and_a_figure_shown_twice_costs_one_pass(
    watched: Watched, counted: Counted
) -> None:
    page: Any = watched.page
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request))
    open_page(page, counted)

    def count_of(request: Any) -> int:
        return len(json.loads(request.post_data or "{}").get("inputs") or [])

    def all_replied() -> bool:
        in_progress = page.get_by_role("region", name="Work in progress").is_visible()
        return sum(counted.passes) >= 100 and not in_progress

    page.locator("lit-tl-predictions-module .token").first.wait_for()  # the first is selected
    until(page, all_replied)
    page.wait_for_load_state("networkidle")
    assert sum(counted.passes) == 100, "a hundred prompts, each once"
    assert not [request for request in asked if "get_metrics" in request.url], "nobody sees them"
    assert not [request for request in asked if "GeneratedText" in request.url]
    tab(page, "Generated Text")
    page.locator("generated-text-module", has_text="generated_text").first.wait_for()
    text = [request for request in asked if "GeneratedText" in request.url]
    assert {count_of(request) for request in text} == {1}, "text of the one that is looked at"

    before = len(counted.passes)
    tab(page, "Metrics")
    page.locator("metrics-module lit-data-table tbody tr", has_text="dataset").first.wait_for()
    assert len(counted.passes) == before, "metrics need no pass of their own"
    tab(page, "Lens")
    lens = page.locator("lit-tl-lens-module")
    lens.locator(".figure[aria-busy=false] .grid .view").wait_for()
    tab(page, "Figures")
    panel = page.locator("lit-tl-figure-module")
    drawn = panel.locator(".figure[aria-busy=false] :is(.view, .main-svg)").first

    def show(name: str) -> int:
        before = len(counted.passes)
        panel.locator("select").first.select_option(name)
        drawn.wait_for()
        return len(counted.passes) - before

    drawn.wait_for()  # head scores, which are chosen first
    assert show("Head scores") == 0
    assert show("Loss along the prompt") <= 1
    assert show("Head scores") == 0
    assert show("Loss along the prompt") == 0
    tab(page, "Lens")
    before_lens = len(counted.passes)
    lens.get_by_label("beside").select_option("logit")
    lens.locator(".matrix").nth(1).wait_for()
    lens.get_by_label("beside").select_option("nothing")
    lens.locator(".figure[aria-busy=false] .grid .view").wait_for()
    assert len(counted.passes) <= before_lens + 2, "one for each lens, and none to go back"
    watched.check()

    example = read_task("ioi").examples[0]
    before = len(counted.passes)
    drawings = [
        lit_tl.draw("Head scores", counted.model, example, score="entropy").to_json()
        for _ in range(2)
    ]
    assert drawings[0] == drawings[1]
    assert len(counted.passes) == before + 1
