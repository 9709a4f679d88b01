"""Two predictions set against each other, beside TransformerLens' own losses and probabilities."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses.contract import table
from lit_tl.data.tasks import read_task

FIRST, SECOND = read_task("ioi").examples[:2]
LONGER = {"text": f"Yesterday evening {FIRST['text']}"}
NAME = "Predictions difference"


@pytest.fixture(scope="module")
def loaded() -> HookedTransformerLIT:
    """The bundled model."""
    return HookedTransformerLIT.from_pretrained("lit-tl-tiny")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, loaded: HookedTransformerLIT) -> Any:
    """The same model with another final norm: its predictions differ."""
    changed = HookedTransformerLIT.from_pretrained("lit-tl-tiny")
    with torch.no_grad():
        next(iter(changed.loaded.runner.model.original_model.transformer.ln_f.parameters())).mul_(2)
    return changed


def of_library(model: HookedTransformerLIT, text: str) -> tuple[Any, Any]:
    """Losses and the last position's probabilities, as the bridge itself gives them."""
    ids = torch.tensor([model.loaded.prompt({"text": text}).ids])
    with torch.no_grad():
        logits = model.loaded.runner.model(ids)[0]
    losses = -logits[:-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    return losses.numpy(), logits[-1].softmax(-1).numpy()


def check_next(result: Any, model: HookedTransformerLIT, here: Any, there: Any) -> None:
    ids = model.loaded.prompter.vocabulary.ids(list(result["next_token"].values))
    np.testing.assert_allclose(result["probability"], here[ids], atol=1e-6)
    np.testing.assert_allclose(result["other_probability"], there[ids], atol=1e-6)
    likeliest = {*np.argsort(-here)[:10].tolist(), *np.argsort(-there)[:10].tolist()}
    sizes = np.abs(here - there)
    assert set(ids) <= likeliest
    assert min(sizes[ids]) >= sorted(sizes[list(likeliest)])[-10] - 1e-6


def test_prompts_of_two_lengths_are_aligned(loaded: HookedTransformerLIT) -> None:
    result = lit_tl.analyze(NAME, loaded, FIRST, counterpart=LONGER)
    here, next_here = of_library(loaded, FIRST["text"])
    there, next_there = of_library(loaded, LONGER["text"])
    places = result["other_position"].values
    tokens, others = (loaded.loaded.tokens(each) for each in (FIRST, LONGER))
    assert [others[place] for place in places[places >= 0]] == [
        token for token, place in zip(tokens, places, strict=True) if place >= 0
    ]
    assert (places[5:] == np.arange(5, len(tokens)) + len(others) - len(tokens)).all()
    expected = here[4:] - there[places[5:] - 1]
    np.testing.assert_allclose(result["loss_difference"][5:], expected, atol=1e-5)
    assert np.isnan(result["loss_difference"].values[0])
    check_next(result, loaded, next_here, next_there)


def test_two_models(loaded: HookedTransformerLIT, other: HookedTransformerLIT) -> None:
    result = lit_tl.analyze(NAME, loaded, FIRST, other_model=other, against="other model")
    here, next_here = of_library(loaded, FIRST["text"])
    there, next_there = of_library(other, FIRST["text"])
    assert np.abs(here - there).max() > 0.01
    np.testing.assert_allclose(result["loss_difference"][1:], here - there, atol=1e-5)
    check_next(result, loaded, next_here, next_there)


def test_the_figure_has_the_numbers(loaded: HookedTransformerLIT) -> None:
    result = lit_tl.analyze(NAME, loaded, FIRST, counterpart=SECOND)
    figure = lit_tl.draw(NAME, loaded, FIRST, counterpart=SECOND)
    assert isinstance(figure, go.Figure)
    above, below = figure.data
    assert above.y[0] is None
    np.testing.assert_array_equal(above.y[1:], result["loss_difference"].values[1:])
    np.testing.assert_array_equal(below.x, result["probability_difference"].values)
    assert [colour == "#2166ac" for colour in below.marker.color] == [x < 0 for x in below.x]


def test_the_table_has_tokens_and_next_tokens(loaded: HookedTransformerLIT) -> None:
    result = lit_tl.analyze(NAME, loaded, LONGER, counterpart=FIRST)
    columns, rows = table(result)
    cells = [dict(zip(columns, row, strict=True)) for row in rows]
    tokens = [cell for cell in cells if cell["position"] is not None]
    following = [cell for cell in cells if cell["next_token"] is not None]
    assert len(tokens) + len(following) == len(cells) == len(result.position) + 10
    assert [cell["loss"] for cell in tokens][1:] == result["loss"].values[1:].tolist()
    assert any(cell["loss_difference"] is None for cell in tokens[1:]), "without a partner"
    assert [cell["probability_difference"] for cell in following] == (
        result["probability_difference"].values.tolist()
    )
    assert f"Less {FIRST['text']}." in result.attrs["note"]


@pytest.mark.parametrize(
    ("against", "message"),
    [("pinned prompt", "no prompt is pinned: pin one"), ("other model", "there is no other model")],
)
def test_nothing_to_take_away_is_said(
    loaded: HookedTransformerLIT, against: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        lit_tl.analyze(NAME, loaded, FIRST, against=against)
