"""What heads do, and what they tell each other."""

from typing import Any

import numpy as np
import pytest
import torch
from transformer_lens import patching

from lit_tl import HookedTransformerLIT
from lit_tl.causal.composition import composition_scores, strongest
from lit_tl.causal.edges import edges
from lit_tl.causal.final_norm import final_norm
from lit_tl.causal.heads import SCORES, find_heads, repeated_sequences
from lit_tl.causal.model import CausalModel
from lit_tl.causal.paths import patch_paths
from tests.causal.conftest import OTHER_LENGTH, SAME_LENGTH


def test_generated_sequences_are_said_twice(model: CausalModel) -> None:
    prompts = repeated_sequences(model, 3, 10, seed=1)
    opening = len(model.prompter.opening.ids)
    for prompt in prompts:
        own = prompt.ids[opening:]
        assert own[:10] == own[10:]
    assert len({prompt.ids for prompt in prompts}) == 3
    assert repeated_sequences(model, 3, 10, seed=1) == prompts


def test_a_trained_models_heads_are_what_its_attention_shows(
    bundled: HookedTransformerLIT,
) -> None:
    texts = [SAME_LENGTH.clean, OTHER_LENGTH.corrupt, "one two three one two"]
    result = find_heads(bundled, texts, sequences=3, length=12, top=2)
    assert list(result["score_name"].values) == list(SCORES)
    induction = result["score"].sel(score_name="induction")
    assert float(induction.max()) > 0.5
    assert float(induction[0].max()) < 0.3  # it takes a layer before it
    assert result["top_text"].shape == (2, 4, 4, 4)
    scores = result["top_score"].values
    assert (np.nan_to_num(scores[0], nan=-np.inf) >= np.nan_to_num(scores[1], nan=-np.inf)).all()


def test_copying_is_how_far_heads_raise_the_logits_of_what_they_attend_to(
    bundled: HookedTransformerLIT,
) -> None:
    """Against TransformerLens' cache, head by head, with every logit written out."""
    model, bridge = CausalModel.of(bundled), bundled.model
    (prompt,) = repeated_sequences(model, 1, 6, seed=3)
    ids = torch.tensor([prompt.ids])
    with torch.no_grad():
        _, cache = bridge.run_with_cache(ids)
        last = cache["blocks.3.hook_resid_post"][0]
        scale = 1 / (last - last.mean(-1, keepdim=True)).square().mean(-1).add(1e-5).sqrt()
        readout = model.runner.readout
        gamma = final_norm(readout).gamma.float()
        result = find_heads(bundled, sequences=1, length=6, seed=3)
        own = result["score"].sel(score_name="copying").values
        for layer in range(4):
            values = cache[f"blocks.{layer}.attn.hook_v"][0]
            pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0]
            for head in range(4):
                moved = values[:, head] @ bridge.blocks[layer].attn.W_O[head]  # key d_model
                logits = (moved - moved.mean(-1, keepdim=True)) * gamma @ readout.matrix().T
                raised = logits[range(len(prompt)), list(prompt.ids)] - logits.mean(-1)
                queries = (pattern[head] * raised).sum(-1) * scale
                assert own[layer][head] == pytest.approx(float(queries[1:].mean()), abs=1e-3)


def test_paths_are_those_of_transformer_lens(bundled: HookedTransformerLIT) -> None:
    model = CausalModel.of(bundled)
    clean, corrupt = (
        torch.tensor([model.prompter.prompt({"text": text}).ids])
        for text in (SAME_LENGTH.clean, SAME_LENGTH.corrupt)
    )
    answer, foil = (model.prompter.answer(text)[0] for text in (" Mary", " John"))
    with torch.no_grad():
        _, of_clean = bundled.model.run_with_cache(clean)
        _, of_corrupt = bundled.model.run_with_cache(corrupt)
        theirs = patching.get_act_patch_direct_path(
            bundled.model,
            corrupt,
            of_clean,
            of_corrupt,
            lambda logits: logits[0, -1, answer] - logits[0, -1, foil],
            1,
            2,
            "v",
            verbose=False,
        )
    ours = patch_paths(bundled, SAME_LENGTH, (1, 2), "v", metric="logit difference")
    assert np.isnan(ours["effect"].values[:2]).all()
    np.testing.assert_allclose(ours["effect"].values[2:], theirs[2:].cpu().numpy(), atol=1e-3)


def test_a_path_is_near_its_edges_estimate(model: CausalModel) -> None:
    """A small model is nearly linear in one edge: signs and sizes agree in sum."""
    if model.runner.shape.name.endswith("gemma2"):
        with pytest.raises(ValueError, match="plain sum"):
            patch_paths(model, SAME_LENGTH, (0, 1), "q")
        return
    exact = patch_paths(model, SAME_LENGTH, (0, 1), "v", metric="logit difference")
    guessed = edges(model, SAME_LENGTH, direction="denoise", metric="logit difference")
    moved, expected = [], []
    for layer in range(1, exact.sizes["layer"]):
        for head in range(exact.sizes["head"]):
            moved.append(float(exact["effect"][layer, head]) - exact.attrs["corrupt"])
            own = guessed["effect"].sel(reader=f"L{layer}H{head}.v", writer="L0H1")
            expected.append(float(own))
    assert np.abs(np.array(moved) - np.array(expected)).max() < 0.5 * np.abs(moved).max() + 0.05


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        ({"sequences": 0}, "sequences is 0"),
        ({"length": 0}, "length is 0"),
        ({"length": 9000}, "does not fit"),
        ({"top": 0}, "top is 0"),
    ],
)
def test_a_setting_that_does_not_do_is_refused_in_a_sentence(
    bundled: HookedTransformerLIT, ask: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        find_heads(bundled, **ask)


def test_a_sender_that_there_is_not_is_refused(bundled: HookedTransformerLIT) -> None:
    with pytest.raises(ValueError, match="head 9 is out of range"):
        patch_paths(bundled, SAME_LENGTH, (1, 9))
    with pytest.raises(ValueError, match="choose from q, k and v"):
        patch_paths(bundled, SAME_LENGTH, (1, 1), "z")  # type: ignore[arg-type]


def test_composition_is_that_of_transformer_lens(bundled: HookedTransformerLIT) -> None:
    ours = composition_scores(bundled)
    for kind in ("Q", "K", "V"):
        theirs = bundled.model.all_composition_scores(kind)
        theirs = getattr(theirs, "scores", theirs).detach().cpu().numpy()
        own = ours["score"].sel(kind=kind).values
        for sender in range(3):
            np.testing.assert_allclose(
                own[sender, :, sender + 1 :], theirs[sender, :, sender + 1 :], atol=1e-4
            )
            assert np.isnan(own[sender, :, : sender + 1]).all()
    sender, reader, score = strongest(ours, "K", 1)[0]
    assert score == pytest.approx(float(np.nanmax(ours["score"].sel(kind="K").values)))
    assert (sender[0], reader[0]) == ("L", "L")


def test_heads_that_share_keys_compose_alike(
    models: dict[str, HookedTransformerLIT],
) -> None:
    """The Llama's two query heads of a key-value head read through their own queries, and write
    the same values."""
    scores = composition_scores(models["llama"])["score"]
    own = scores.sel(kind="V").values[0, :, 1]
    assert np.isfinite(own).all()
    assert scores.sel(kind="Q").values[0, 0, 1, 0] != scores.sel(kind="Q").values[0, 0, 1, 1]
