"""Work that takes long, on the page: progress, cancel, and a reload in between."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Watched, open_lens, open_page, select_first, tab, until
from tests.live_server import LitServer


@pytest.fixture(scope="module")
def busy() -> Iterator[LitServer]:
    server = LitServer("--datasets", "ioi")
    yield server
    assert server.stop() == 0


ASK = """count => {
  const inputs = Array.from({length: count}, (_, i) => (
    {id: `${i}`, meta: {}, data: {_id: `${i}`, text: `Number ${i} of ${count} is`}}));
  const path = 'get_preds?model=lit-tl-tiny&dataset_name=ioi&requested_fields=generated_text';
  window.status_ = null;
  fetch(path, {method: 'POST', body: JSON.stringify({inputs})})
    .then((reply) => (window.status_ = reply.status));
}"""


def test_a_job_is_shown_cancelled_and_found_after_a_reload(
    watched: Watched, busy: LitServer
) -> None:
    page: Any = watched.page
    open_page(page, busy)
    strip = page.get_by_role("region", name="Work in progress")
    page.evaluate(ASK, 8000)
    row = strip.locator(".job").filter(has_text="Predictions of 8000 prompts")
    row.wait_for()
    until(page, lambda: re.search(r"\d+ (s|min) left", row.inner_text()))
    value = row.get_by_role("progressbar").evaluate("bar => bar.value")
    assert 0.0 < value < 1.0
    page.reload()
    row.wait_for()
    assert row.count() == 1
    until(page, lambda: row.get_by_role("progressbar").evaluate("bar => bar.value") >= value)
    page.get_by_role("button", name="Cancel Predictions of 8000 prompts").click()
    row.wait_for(state="detached")
    page.evaluate(ASK, 7000)
    other = strip.locator(".job").filter(has_text="Predictions of 7000 prompts")
    other.wait_for()
    page.get_by_role("button", name="Cancel Predictions of 7000 prompts").press("Enter")
    page.wait_for_function("window.status_ === 499")
    other.wait_for(state="detached")
    watched.check()


def test_a_figure_of_a_data_set_is_drawn(watched: Watched, busy: LitServer) -> None:
    page: Any = watched.page
    open_page(page, busy)
    select_first(page)
    panel = open_lens(page)
    panel.locator("select").first.select_option("Lens over the data set")
    panel.get_by_text(re.compile(r"forward KL, 50 prompts")).first.wait_for()
    panel.locator(".figure[aria-busy=false]").wait_for()
    assert panel.locator(".plot .scatterlayer .trace").count() == 3, "a mean and its band"
    watched.check()


def test_a_module_of_lit_lets_go_of_what_it_no_longer_waits_for(
    watched: Watched, busy: LitServer
) -> None:
    page: Any = watched.page
    open_page(page, busy)
    select_first(page)
    tab(page, "Embeddings")
    module = page.locator("embeddings-module")
    projector, embedding = (module.locator("select").nth(i) for i in range(2))
    row = page.get_by_role("region", name="Work in progress").locator(".job", has_text="umap")
    projector.select_option(label="UMAP")
    row.wait_for()
    with page.expect_response(lambda reply: "/cancel_job" in reply.url) as cancelled:
        embedding.select_option(index=1)
    assert cancelled.value.status == 200
    ticket = cancelled.value.url.split("ticket=")[1]
    asked = page.request.post(f"{busy.url}/get_job?ticket={ticket}", data="{}")
    assert asked.status in (404, 499), "the first projection is not computed any more"
    row.wait_for()
    row.wait_for(state="detached")
    assert module.locator(".lit-tl-failed").count() == 0
    watched.check()
