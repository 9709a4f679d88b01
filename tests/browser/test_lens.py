"""The lens figure on the page."""

import csv
from typing import Any

import numpy as np
import pytest

from lit_tl import HookedTransformerLIT
from lit_tl.analyses.lens_grid import read
from lit_tl.data.tasks import read_task
from tests.browser.conftest import Watched, open_page, select_first, tab
from tests.live_server import LitServer

EXAMPLES = read_task("ioi").examples


@pytest.fixture
def server(two_models: LitServer) -> LitServer:
    return two_models


@pytest.fixture
def panel(watched: Watched, server: LitServer) -> Any:
    """The Figures panel with the lens of the first prompt."""
    open_page(watched.page, server, "?models=first&dataset=ioi")
    select_first(watched.page)
    tab(watched.page, "Figures")
    panel = watched.page.locator("lit-tl-figure-module").first
    panel.locator("select").first.select_option("Lens")
    panel.locator(".plot .heatmaplayer image").first.wait_for()
    yield panel
    watched.check()


def choose(panel: Any, name: str, value: str) -> None:
    panel.locator("label.control", has_text=name).locator("select").last.select_option(value)
    panel.locator(".figure[aria-busy=false] .plot .heatmaplayer image").first.wait_for()


def rows_of(panel: Any) -> list[list[str]]:
    with panel.page.expect_download() as download:
        panel.get_by_text("CSV", exact=True).click()
    head, *rows = csv.reader(download.value.path().read_text("utf-8").splitlines())
    assert head[:5] == ["lens", "layer", "position", "token", "top_token"]
    return rows


def test_cells_have_the_models_tokens_and_the_csv_its_numbers(
    panel: Any, bundled: HookedTransformerLIT
) -> None:
    loaded = bundled.loaded
    trajectory = read(loaded, "tuned", EXAMPLES[0], "resid_pre")
    top = trajectory.log_probs.argmax(-1)
    expected = [loaded.prompter.vocabulary.string(int(i)) for i in top.ravel()]
    shown = panel.locator(".plot .heatmaplayer text").all_text_contents()
    assert sorted(shown) == sorted(token.replace(" ", "·").replace("\n", "↵") for token in expected)
    rows = rows_of(panel)
    assert [row[4] for row in rows] == expected
    assert np.allclose(
        [float(row[5]) for row in rows], trajectory.entropy().stats.ravel(), atol=1e-4
    )


def test_changing_lens_and_statistic_redraws(panel: Any, bundled: HookedTransformerLIT) -> None:
    before = panel.locator(".plot .heatmaplayer text").all_text_contents()
    choose(panel, "lens", "logit")
    after = panel.locator(".plot .heatmaplayer text").all_text_contents()
    assert before != after
    choose(panel, "statistic", "forward KL")
    expected = read(bundled.loaded, "logit", EXAMPLES[0], "resid_pre").forward_kl().stats
    assert np.allclose([float(row[5]) for row in rows_of(panel)], expected.ravel(), atol=1e-3)
    choose(panel, "beside", "tuned")
    assert {row[0] for row in rows_of(panel)} == {"logit", "tuned"}
    choose(panel, "beside", "nothing")


def test_a_column_opens_its_tokens_over_the_layers(panel: Any) -> None:
    image = panel.locator(".plot .heatmaplayer image").first.bounding_box()
    panel.page.mouse.click(image["x"] + image["width"] * 0.5, image["y"] + image["height"] * 0.5)
    panel.locator(".detail .scatterlayer .trace").first.wait_for()
    assert panel.locator(".detail .scatterlayer .trace").count() >= 5
    assert "after 8" in panel.locator(".detail .gtitle").text_content()


def test_a_pinned_prompt_and_another_model_are_compared(
    panel: Any, bundled: HookedTransformerLIT
) -> None:
    page = panel.page
    page.locator("lit-main-toolbar").get_by_text("Pin datapoint").first.click()
    page.locator("lit-data-table tbody tr").nth(3).click()
    selected = page.locator("lit-tl-figure-module").last
    selected.locator(".plot .heatmaplayer image").first.wait_for()
    choose(selected, "against", "pinned prompt")
    choose(selected, "statistic", "JS divergence")
    loaded = bundled.loaded
    own, other = (read(loaded, "tuned", EXAMPLES[i], "resid_pre") for i in (3, 0))
    shared = slice(0, min(own.num_tokens, other.num_tokens))
    expected = own.slice_sequence(shared).js_divergence(other.slice_sequence(shared)).stats
    got = np.array([float(row[5]) for row in rows_of(selected)])
    assert got.max() > 0.05
    assert np.allclose(got, expected.ravel(), atol=1e-4)
    choose(selected, "against", "other model")
    assert np.allclose([float(row[5]) for row in rows_of(selected)], 0, atol=1e-5), (
        "the same model says the same"
    )
