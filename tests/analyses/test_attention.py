"""Attention equals the model's own, head by head, and in means."""

from typing import Any

import numpy as np
import pytest
import torch

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.figures.grid import Grid
from tests.conftest import FAMILIES

EXAMPLE = {"text": "The king and the queen saw the king and the"}


def pattern_of(model: HookedTransformerLIT, layer: int) -> torch.Tensor:
    _, cache = model.model.run_with_cache(torch.tensor([model.loaded.prompt(EXAMPLE).ids]))
    return cache[f"blocks.{layer}.attn.hook_pattern"][0].detach()


def matrices(model: HookedTransformerLIT, **settings: Any) -> np.ndarray:
    return lit_tl.analyze("Attention", model, EXAMPLE, **settings)["attention"].values


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_and_their_means_equal_the_models_patterns(
    family: str, models: dict[str, HookedTransformerLIT]
) -> None:
    model = models[family]
    for layer, head in ((0, 0), (1, 3)):
        one = matrices(model, layer=layer, head=head)
        assert np.allclose(one[0], pattern_of(model, layer)[head], atol=1e-5)
    every = matrices(model, heads="heads of the layer", layer=1)
    assert np.allclose(every, pattern_of(model, 1), atol=1e-5)
    mean = matrices(model, heads="mean of the layer", layer=1)
    assert np.allclose(mean[0], pattern_of(model, 1).mean(0), atol=1e-5)
    whole = (pattern_of(model, 0).mean(0) + pattern_of(model, 1).mean(0)) / 2
    assert np.allclose(matrices(model, heads="mean of all layers")[0], whole, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_value_weighting_multiplies_by_the_norms_of_the_values(
    family: str, models: dict[str, HookedTransformerLIT]
) -> None:
    model = models[family]
    ids = torch.tensor([model.loaded.prompt(EXAMPLE).ids])
    _, cache = model.model.run_with_cache(ids)
    values = cache["blocks.1.attn.hook_v"][0].detach()  # pos value_head d_head
    norms = values.norm(dim=-1).T.repeat_interleave(4 // values.shape[1], dim=0)
    expected = pattern_of(model, 1) * norms[:, None]
    one = matrices(model, layer=1, head=2, value_weighted=True)
    assert np.allclose(one[0], expected[2], atol=1e-4)
    mean = matrices(model, heads="mean of the layer", layer=1, value_weighted=True)
    assert np.allclose(mean[0], expected.mean(0), atol=1e-4)


def test_a_figure_has_a_matrix_for_each_head_and_nothing_where_no_token_looks(
    bundled: HookedTransformerLIT,
) -> None:
    figure = lit_tl.draw("Attention", bundled, EXAMPLE, heads="heads of the layer", layer=2)
    assert isinstance(figure, Grid)
    assert [part.title for part in figure.parts] == [f"L2H{head}" for head in range(4)]
    values = figure.parts[3].values
    assert np.isnan(values[np.triu_indices(len(values), 1)]).all()
    lower = np.tril_indices(len(values))
    assert np.allclose(values[lower], pattern_of(bundled, 2)[3].numpy()[lower], atol=1e-5)
    assert figure.facts["prompt"] == EXAMPLE["text"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 9}, "layer 9 is out of range: this model has layers 0 to 3"),
        ({"head": 4}, "head 4 is out of range: this model has heads 0 to 3"),
        ({"layer": -1}, "layer is -1: give 0 to"),
    ],
)
def test_what_there_is_not_is_said(
    bundled: HookedTransformerLIT, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        matrices(bundled, **settings)
