"""Truths about token scores, on real models."""

import dataclasses

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.analyses.token_salience import explained as explain
from lit_tl.engine.requests import Targets
from lit_tl.lit.sequence_salience import METHODS, siblings
from lit_tl.salience import methods as salience

TEXT = "The capital of France is"


def explained(
    model: HookedTransformerLIT, text: str, answer: str, foil: str | None = None
) -> salience.Explained:
    prompt = model.loaded.prompt({"text": text})
    tokens = [model.loaded.prompter.continuation(word)[0] for word in (answer, foil) if word]
    end = len(prompt) - 1
    n = len(tokens)
    return explain(
        model.loaded,
        prompt,
        Targets(example=[0] * n, pos=[end] * n, token=tokens, weight=[1.0, -1.0][:n]),
    )


def value(one: salience.Explained, embeddings: np.ndarray) -> float:
    return float(one.values_of([dataclasses.replace(one.prompt, token_embeddings=embeddings)])[0])


def test_occlusion_is_the_drop_of_the_target(bundled: HookedTransformerLIT) -> None:
    one = explained(bundled, TEXT, " Paris")
    _, embeddings = salience.gradients(one)
    scores = salience.occlusion(one)
    without = embeddings.copy()
    without[4] = one.baseline()[4]
    assert scores[4] == pytest.approx(value(one, embeddings) - value(one, without), abs=1e-4)
    assert scores[4] > scores[1:4].max(), "the country counts for more than the words before it"


def test_gradient_scores_follow_their_definitions(models: dict) -> None:
    one = explained(models["llama"], TEXT, " Paris")
    gradient, embeddings = salience.gradients(one)
    assert np.allclose(salience.grad_l2(one), np.sqrt((gradient**2).sum(-1)))
    assert np.allclose(salience.grad_dot_input(one), (gradient * embeddings).sum(-1))


def test_the_contrast_is_the_difference_of_two_gradients(bundled: HookedTransformerLIT) -> None:
    both = salience.gradients(explained(bundled, TEXT, " Paris", " Rome"))[0]
    paris, rome = (
        salience.gradients(explained(bundled, TEXT, city))[0] for city in (" Paris", " Rome")
    )
    assert np.allclose(both, paris - rome, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_value_weighted_attention_follows_its_definition(models: dict, family: str) -> None:
    one = explained(models[family], TEXT, " Paris")
    scores = salience.attention_value(one, [1])
    _, cache = one.runner.model.run_with_cache(torch.tensor([one.prompt.ids]))
    pattern = cache["blocks.1.attn.hook_pattern"][0, :, -1]
    values = cache["blocks.1.attn.hook_v"][0]
    if values.ndim == 2:
        values = values.unflatten(-1, (-1, 8))
    norms = values.norm(dim=-1).T
    norms = norms.repeat_interleave(4 // norms.shape[0], dim=0)
    expected = (pattern * norms).sum(0)
    assert np.allclose(scores, (expected / expected.sum()).numpy(), atol=1e-5)


def test_the_siblings_speak_as_sequence_salience_listens(bundled: HookedTransformerLIT) -> None:
    family = siblings("tiny", bundled)
    assert list(family) == ["_tiny_tokenizer", "_tiny_salience"]
    example = {"text": TEXT, "target": " Paris.", "foil": " Rome"}
    (tokens,) = family["_tiny_tokenizer"].predict([example])
    assert tokens["tokens"] == [
        "<|endoftext|>",
        "The",
        "▁capital",
        "▁of",
        "▁France",
        "▁is",
        "▁Paris",
        ".",
    ]
    mask = [0, 0, 0, 0, 0, 0, 1, 0]
    (scores,) = family["_tiny_salience"].predict([example | {"target_mask": mask}])
    assert scores["tokens"] == tokens["tokens"]
    for name in METHODS:
        assert len(scores[name]) == 8
        assert scores[name][6:] == pytest.approx([0, 0], abs=1e-6), (
            "the target and what follows it can't have caused it"
        )
        assert max(map(abs, scores[name])) > 0
        assert name == "grad_dot_input" or min(scores[name]) >= 0
    (direct,) = bundled.predict([{"text": TEXT, "answer": " Paris"}], fields=["token_gradients"])
    assert scores["grad_l2"][:6] == pytest.approx(
        np.linalg.norm(direct["token_gradients"], axis=-1).tolist(), rel=1e-3
    )
    assert scores["contrast_integrated_gradients"][4] > scores["contrast_integrated_gradients"][1]
