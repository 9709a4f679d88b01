"""What the Attention panel gets equals the model's attention."""

import base64

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT, HookedTransformerLITConfig
from lit_tl.analyses.attention_patterns import head_scores
from lit_tl.lit.attention_panel import Attention
from lit_tl.lit.datasets import Prompts
from tests.conftest import FAMILIES

EXAMPLE = {"text": "The king and the queen saw the king and the"}


def _ids(model: HookedTransformerLIT) -> torch.Tensor:
    """What the model reads of the example."""
    return torch.tensor([model.loaded.prompt(EXAMPLE).ids])


def look(model: HookedTransformerLIT, **config: object) -> dict:
    (reply,) = Attention().run([EXAMPLE], model, Prompts([EXAMPLE]), config=config)
    return reply


def matrix(reply: dict) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(reply["data"]), "<u2")
    return raw.reshape(reply["size"], reply["size"]) * reply["scale"]


def pattern_of(model: HookedTransformerLIT, layer: int) -> torch.Tensor:
    _, cache = model.model.run_with_cache(_ids(model))
    return cache[f"blocks.{layer}.attn.hook_pattern"][0].detach()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_equals_the_models_pattern(
    family: str, models: dict[str, HookedTransformerLIT]
) -> None:
    model = models[family]
    for layer, head in ((0, 0), (1, 3)):
        assert np.allclose(
            matrix(look(model, want="head", layer=layer, head=head)),
            pattern_of(model, layer)[head],
            atol=1e-5,
        )
    mean = matrix(look(model, want="head", layer=1, head=None))
    assert np.allclose(mean, pattern_of(model, 1).mean(0), atol=1e-5)
    whole = matrix(look(model, want="head", layer=None, head=None))
    assert np.allclose(
        whole, (pattern_of(model, 0).mean(0) + pattern_of(model, 1).mean(0)) / 2, atol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_value_weighting_multiplies_by_the_norms_of_the_values(
    family: str, models: dict[str, HookedTransformerLIT]
) -> None:
    model = models[family]
    _, cache = model.model.run_with_cache(_ids(model))
    values = cache["blocks.1.attn.hook_v"][0].detach()  # pos value_head d_head
    norms = values.norm(dim=-1).T.repeat_interleave(4 // values.shape[1], dim=0)
    expected = pattern_of(model, 1)[2] * norms[2]
    assert np.allclose(
        matrix(look(model, want="head", layer=1, head=2, value_weighted=True)), expected, atol=1e-4
    )


def test_scores_are_those_of_each_layer(bundled: HookedTransformerLIT) -> None:
    reply = look(bundled, want="scores")
    assert (reply["n_layers"], reply["n_heads"]) == (4, 4)
    ids = tuple(bundled.model.to_tokens(EXAMPLE["text"])[0].tolist())
    for layer in range(4):
        expected = head_scores(pattern_of(bundled, layer), ids)
        for name, rows in reply["scores"].items():
            assert rows[layer] == pytest.approx(expected[name], abs=1e-4)


def test_small_maps_keep_the_strongest_weight_of_each_patch(bundled: HookedTransformerLIT) -> None:
    long = {"text": "the king and the queen saw the dog and " * 8}
    (reply,) = Attention().run(
        [long], bundled, Prompts([long]), config={"want": "maps", "heads": [[2, 3], [0, 1]]}
    )
    maps = np.frombuffer(base64.b64decode(reply["data"]), np.uint8).reshape(
        2, reply["size"], reply["size"]
    )
    assert reply["size"] == 28
    assert maps.max(axis=(1, 2)).tolist() == [255, 255]
    assert np.triu(maps[0], 2).max() == 0, "no token looks ahead"
    assert look(bundled, want="maps", heads=[]) == {"size": 0, "data": ""}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"want": "head", "layer": 9, "head": 0},
            "layer 9 is out of range: this model has layers 0 to 3",
        ),
        (
            {"want": "head", "layer": 0, "head": 4},
            "head 4 is out of range: this model has heads 0 to 3",
        ),
        ({"want": "everything"}, "is no part of attention"),
    ],
)
def test_what_there_is_not_is_said(
    bundled: HookedTransformerLIT, config: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        look(bundled, **config)


def test_a_model_without_attention_output_says_what_to_do(bundled_model: object) -> None:
    model = HookedTransformerLIT(bundled_model, HookedTransformerLITConfig(output_attention=False))
    with pytest.raises(ValueError, match="loaded without attention_layer_0"):
        look(model, want="scores")
