"""What the Attention panel gets of all heads equals the model's attention."""

import base64

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.causal.attention_patterns import head_scores
from lit_tl.lit.attention_panel import AttentionHeads
from lit_tl.lit.datasets import Prompts

EXAMPLE = {"text": "The king and the queen saw the king and the"}
LONG = {"text": "the king and the queen saw the dog and " * 8}


def look(model: HookedTransformerLIT, example: dict[str, str] = EXAMPLE) -> dict:
    (reply,) = AttentionHeads().run([example], model, Prompts([example]))
    return reply


def pattern_of(model: HookedTransformerLIT, layer: int, example: dict[str, str]) -> torch.Tensor:
    _, cache = model.model.run_with_cache(torch.tensor([model.loaded.prompt(example).ids]))
    return cache[f"blocks.{layer}.attn.hook_pattern"][0].detach()


def test_scores_are_those_of_each_layer(bundled: HookedTransformerLIT) -> None:
    reply = look(bundled)
    assert (reply["n_layers"], reply["n_heads"]) == (4, 4)
    ids = tuple(bundled.model.to_tokens(EXAMPLE["text"])[0].tolist())
    for layer in range(4):
        expected = head_scores(pattern_of(bundled, layer, EXAMPLE), ids)
        for name, rows in reply["scores"].items():
            assert rows[layer] == pytest.approx(expected[name], abs=1e-4)
    for name, grid in reply["grids"].items():
        sent = np.frombuffer(base64.b64decode(grid["parts"][0]["values"]), "<f4").reshape(4, 4)
        assert sent == pytest.approx(np.array(reply["scores"][name]), abs=1e-6)


@pytest.mark.parametrize("example", [EXAMPLE, LONG])
def test_small_maps_keep_the_strongest_weight_of_each_patch(
    example: dict[str, str], bundled: HookedTransformerLIT
) -> None:
    reply = look(bundled, example)
    size = reply["size"]
    assert size == min(28, len(reply["tokens"]))
    maps = np.frombuffer(base64.b64decode(reply["maps"]), np.uint8).reshape(4, 4, size, size)
    assert (maps.max(axis=(2, 3)) == 255).all()
    assert np.triu(maps[2, 3], 2).max() == 0, "no token looks ahead"
    pattern = pattern_of(bundled, 2, example)[3]
    pooled = torch.nn.functional.adaptive_max_pool2d(pattern[None], size)[0]
    assert np.abs(maps[2, 3] / 255 - (pooled / pooled.max()).numpy()).max() <= 1 / 255


def test_looking_twice_costs_one_pass(bundled: HookedTransformerLIT) -> None:
    passes: list[int] = []
    handle = bundled.model.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    try:
        fresh = {"text": "Nobody has read this one, not even once."}
        look(bundled, fresh)
        assert passes, "the hook sees a pass"
        count = len(passes)
        look(bundled, fresh)
        assert len(passes) == count
    finally:
        handle.remove()
