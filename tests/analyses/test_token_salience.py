"""Salience says what it explains, and its numbers are those of the methods."""

import numpy as np
import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses.token_salience import explained
from lit_tl.engine.requests import Targets
from lit_tl.salience import methods

EXAMPLE = {"text": "The capital of France is", "answer": " Paris", "foil": " Rome"}


def log_p(model: HookedTransformerLIT, token: str) -> float:
    prompt = model.loaded.prompt(EXAMPLE)
    (batch,) = model.loaded.runner.run([prompt])
    (token_id,) = model.loaded.prompter.answer(token)
    return float(batch.need_logits()[0, -1].double().log_softmax(-1)[token_id])


def test_the_target_is_said_with_its_value(bundled: HookedTransformerLIT) -> None:
    result = lit_tl.analyze("Salience", bundled, EXAMPLE, method="occlusion")
    assert result.attrs["explained"] == "log p of ' Paris' after ' is'"
    assert result.attrs["target_value"] == pytest.approx(log_p(bundled, " Paris"), abs=1e-4)
    assert result.attrs["title"].startswith("occlusion: log p of ' Paris' after ' is' = -")


def test_answer_against_foil(bundled: HookedTransformerLIT) -> None:
    result = lit_tl.analyze("Salience", bundled, EXAMPLE, explain="answer against foil")
    assert result.attrs["explained"] == "log p of ' Paris' after ' is', against ' Rome'"
    expected = log_p(bundled, " Paris") - log_p(bundled, " Rome")
    assert result.attrs["target_value"] == pytest.approx(expected, abs=1e-3)


def test_a_token_of_the_prompt(bundled: HookedTransformerLIT) -> None:
    tokens = bundled.loaded.tokens(EXAMPLE)
    mask = [int(token == " France") for token in tokens]
    result = lit_tl.analyze("Salience", bundled, {**EXAMPLE, "target_mask": mask})
    assert result.attrs["explained"] == "log p of ' France' after ' of'"
    assert not result["salience"].values[mask.index(1) :].any(), "nothing later explains it"


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("gradient · input", methods.grad_dot_input),
        ("gradient norm", methods.grad_l2),
        ("occlusion", methods.occlusion),
        ("attention-value", methods.attention_value),
    ],
)
def test_scores_are_those_of_the_method(
    name: str, method: object, bundled: HookedTransformerLIT
) -> None:
    prompt = bundled.loaded.prompt(EXAMPLE)
    (token_id,) = bundled.loaded.prompter.answer(" Paris")
    targets = Targets(example=[0], pos=[len(prompt) - 1], token=[token_id], weight=[1.0])
    expected = method(explained(bundled.loaded, prompt, targets))  # type: ignore[operator]
    result = lit_tl.analyze("Salience", bundled, EXAMPLE, method=name)
    assert np.allclose(result["salience"].values, expected, atol=1e-5)
    figure = lit_tl.draw("Salience", bundled, EXAMPLE, method=name)
    assert np.allclose(figure.parts[0].values[0], expected, atol=1e-5)
    signed = name in ("gradient · input", "occlusion")
    assert figure.parts[0].colours.kind == ("diverging" if signed else "linear")


def test_integrated_gradients_say_their_gap(bundled: HookedTransformerLIT) -> None:
    result = lit_tl.analyze("Salience", bundled, EXAMPLE, method="integrated gradients")
    assert "a completeness gap of" in result.attrs["note"]
    with pytest.raises(ValueError, match=r"tolerance is 0\.1, which does nothing with method"):
        lit_tl.analyze("Salience", bundled, EXAMPLE, tolerance=0.1)
