"""The main job: the page that the command opens, in a real browser."""

from collections.abc import Callable

import pytest

from tests.browser.conftest import Watched, answered, open_page, select_first, tab, until
from tests.live_server import LitServer


@pytest.fixture
def server(default_server: LitServer) -> LitServer:
    return default_server


def test_the_page_opens_with_icons_and_without_complaints(
    watched: Watched, server: LitServer
) -> None:
    open_page(watched.page, server)
    page = watched.page
    page.wait_for_function(
        "document.fonts.ready.then(() => document.fonts.check('24px \"Material Icons\"'))"
    )
    widths = [icon.bounding_box()["width"] for icon in page.locator("mwc-icon:visible").all()]
    assert widths
    assert max(widths) < 40, "icons and not their names in letters"
    assert page.locator("lit-data-table tbody tr").count() >= 10
    watched.check()


def test_salience_maps_show_a_score_for_each_token(watched: Watched, server: LitServer) -> None:
    open_page(watched.page, server)
    text = select_first(watched.page)
    tab(watched.page, "Salience Maps")
    chips = watched.page.locator("salience-map-module lit-token-chips").first.locator(
        ".salient-token"
    )
    chips.first.wait_for()
    words = [chip.inner_text().strip() for chip in chips.all()]
    assert words[0] == "<|endoftext|>"
    assert "".join(words[1:]) == text.replace(" ", "")
    colours = {chip.evaluate("e => getComputedStyle(e).backgroundColor") for chip in chips.all()}
    assert len(colours) > 3, "tokens differ in their scores"
    watched.check()


def test_the_projector_draws_points(watched: Watched, server: LitServer) -> None:
    """By PCA. What the server sends for UMAP, `tests/lit/test_projectors.py` sees."""
    open_page(watched.page, server)
    module = watched.page.locator("embeddings-module")
    with answered(watched.page, "interpreter=pca") as reply:
        tab(watched.page, "Embeddings")  # asks for the projector that is chosen first
        module.locator("select").first.select_option("pca")
    points = [point["z"] for point in reply.value.json()]
    assert len(points) == 100
    assert len({tuple(round(value, 6) for value in point) for point in points}) > 50
    module.locator("canvas").first.wait_for()
    canvas = module.locator("canvas").first
    # A scatter plot, and not an empty canvas.
    until(watched.page, lambda: len(canvas.screenshot()) > 4000)
    watched.check()


def test_the_nearest_neighbours_of_a_prompt_are_selected(
    watched: Watched, server: LitServer
) -> None:
    open_page(watched.page, server)
    select_first(watched.page)
    tab(watched.page, "Embeddings")
    with answered(watched.page, "nearest", "/get_interpretations") as reply:
        watched.page.locator("embeddings-module .selected-nearest-button").click()
    (result,) = reply.value.json()
    assert len(result["nearest_neighbors"]) == 10
    neighbours = sorted(neighbour["id"] for neighbour in result["nearest_neighbors"])
    selection = "new URL(location).searchParams.get('selection').split(',').sort()"
    watched.page.wait_for_function(
        f"ids => JSON.stringify({selection}) === JSON.stringify(ids)", arg=neighbours
    )
    watched.check()


def test_text_is_generated_for_all_prompts_on_request(watched: Watched, server: LitServer) -> None:
    page = watched.page
    open_page(page, server, "?dataset=ioi")
    select_first(page)
    head = page.locator("lit-data-table thead th", has_text="generated_text")
    assert head.count() == 0
    with answered(page, "/get_preds", "GeneratedText") as reply:
        page.get_by_role("button", name="Generate text for all prompts").click()
    assert len(reply.value.json()) == 100
    head.first.wait_for(state="attached")
    watched.check()


def test_an_edited_text_gets_new_predictions(watched: Watched, server: LitServer) -> None:
    open_page(watched.page, server)
    select_first(watched.page)
    tab(watched.page, "Generated Text")
    watched.page.locator("generated-text-module", has_text="next_tokens").first.wait_for()
    editor = watched.page.locator("datapoint-editor-module textarea").first
    editor.fill("The capital of France is")
    watched.page.locator("datapoint-editor-module").get_by_text("Add", exact=True).click()
    module = watched.page.locator("generated-text-module", has_text="next_tokens").first

    def likeliest() -> tuple[str, float]:
        token, probability = module.evaluate("e => e.generatedText.next_tokens?.[0] ?? ['', 0]")
        return token, probability

    until(watched.page, lambda: likeliest()[0] == " Paris")
    assert 0.3 < likeliest()[1] <= 1
    watched.check()


def test_a_second_model_is_loaded_through_lits_dialog(
    watched: Watched, growing_server: LitServer
) -> None:
    server = growing_server
    open_page(watched.page, server, "?models=lit-tl-tiny&dataset=ioi")
    page = watched.page
    page.get_by_text("Configure").first.click()
    dialog = page.locator("#global-settings")
    fields = dialog.locator(".model-dataset-loading .option-entry")
    shown = [
        text.strip() for text in fields.filter(visible=True).locator("label").all_inner_texts()
    ]
    assert shown[:4] == ["new_name:", "model_name:", "device:", "dtype:"]
    assert not fields.filter(has_text="top_k").is_visible()
    dialog.get_by_role("button", name="more settings").click()
    fields.filter(has_text="top_k").scroll_into_view_if_needed()
    dialog.get_by_role("button", name="Fewer settings").click()
    fields.filter(has_text="new_name").locator("input").fill("second")
    fields.filter(has_text="model_name").locator("input").fill("lit-tl-tiny")
    with answered(page, "/create_model") as reply:
        dialog.get_by_text("Load Model").click()
    assert "second" in reply.value.json()[0]["models"]
    line = dialog.locator("#config-line-for-second")
    line.wait_for()
    if "second" not in dialog.locator("#state").inner_text():
        line.locator("lit-checkbox").click()
    dialog.get_by_text("Submit").click()
    select_first(watched.page)
    tab(watched.page, "Salience Maps")
    maps = page.locator("salience-map-module")
    for i in range(2):
        maps.nth(i).locator("lit-token-chips .salient-token").first.wait_for()
    assert maps.count() == 2, "one for each model"
    watched.check()


def test_a_model_is_unloaded_through_lits_dialog(
    watched: Watched, growing_server: LitServer
) -> None:
    open_page(watched.page, growing_server, "?models=lit-tl-tiny&dataset=ioi")
    page = watched.page
    page.get_by_text("Configure").first.click()
    dialog = page.locator("#global-settings")
    fields = dialog.locator(".model-dataset-loading .option-entry")
    fields.filter(has_text="new_name").locator("input").fill("third")
    fields.filter(has_text="model_name").locator("input").fill("lit-tl-tiny")
    held = dialog.get_by_role("group", name="Models in memory")
    assert "lit-tl-tiny (on the page)" in held.inner_text()
    with answered(page, "/create_model"):
        dialog.get_by_text("Load Model").click()
    dialog.locator("#config-line-for-third").wait_for()
    with answered(page, "/unload_model") as reply:
        held.get_by_role("button", name="Unload third").click()
    assert "third" not in reply.value.json()["models"]
    dialog.locator("#config-line-for-third").wait_for(state="detached")
    assert held.get_by_role("button", name="Unload third").count() == 0
    watched.check()


def test_a_table_is_loaded_through_lits_dialog(watched: Watched, growing_server: LitServer) -> None:
    server = growing_server
    with open(f"{server.folder}/mine.csv", "w") as file:
        file.write(
            "prompt,answer,kind\nThe capital of Spain is, Madrid,city\nThe capital of Peru is, "
            "Lima,city\n"
        )
    open_page(watched.page, server, "?models=lit-tl-tiny&dataset=ioi")
    page = watched.page
    page.get_by_text("Configure").first.click()
    dialog = page.locator("#global-settings")
    dialog.get_by_text("Dataset", exact=True).first.click()
    dialog.locator("#model-dataset-select").select_option("CSV or TSV")
    fields = dialog.locator(".model-dataset-loading .option-entry")
    fields.filter(has_text="new_name").locator("input").fill("mine")
    dialog.get_by_role("button", name="Browse").click()
    files = dialog.get_by_role("group", name="Files")
    files.get_by_text(server.folder).click()
    files.get_by_text("mine.csv", exact=True).click()
    assert fields.filter(has_text="path").locator("input").input_value().endswith("/mine.csv")
    with answered(page, "/create_dataset") as reply:
        dialog.get_by_text("Load Dataset").click()
    assert reply.value.json()[0]["datasets"]["mine"]["size"] == 2
    dialog.locator("#config-line-for-mine").click()
    dialog.get_by_text("Submit").click()
    page.locator("lit-data-table tbody tr", has_text="The capital of Peru is").wait_for()
    page.get_by_text("of 2 datapoints").first.wait_for()
    watched.check()


def test_sequence_salience_shows_where_the_answer_came_from(
    watched: Watched, server: LitServer
) -> None:
    open_page(watched.page, server)
    page = watched.page
    select_first(watched.page)
    module = page.locator("sequence-salience-module")
    chips = module.locator("sequence-salience-chips .salient-token")

    def scores_after(click: Callable[[], None]) -> dict[str, list[float]]:
        with answered(page, "_salience&", "/get_preds") as reply:
            click()
        (scores,) = reply.value.json()
        return scores

    def colours() -> list[str]:
        return [chip.evaluate("e => getComputedStyle(e).backgroundColor") for chip in chips.all()]

    scores = scores_after(lambda: tab(page, "Sequence Salience"))
    chips.first.wait_for()
    assert list(scores) == ["grad_l2"], "no method is computed that nobody looks at"
    assert len(scores["grad_l2"]) >= chips.count() > 5
    until(page, lambda: len(set(colours())) > 2)  # tokens differ in their scores
    first = colours()
    other = module.get_by_text("integrated_gradients", exact=True)
    assert list(scores_after(lambda: other.click())) == ["integrated_gradients"]
    until(page, lambda: colours() != first)
    module.get_by_text("grad_l2", exact=True).click()
    until(page, lambda: colours() == first)
    scores_after(lambda: chips.nth(5).click())  # a part of the prompt, by those before it
    until(page, lambda: colours() != first)
    watched.check()
