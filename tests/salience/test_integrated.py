"""Integrated gradients add up, and say by how much they do not."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from lit_tl import HookedTransformerLIT
from lit_tl.lit.datasets import Prompts
from lit_tl.lit.salience_maps import integrated_gradients as integrated_gradients_map
from lit_tl.salience import methods
from lit_tl.salience.integrated import IntegratedGradients, integrated_gradients
from tests.salience.test_methods import TEXT, explained, value


def last(one: methods.Explained, **options: float) -> IntegratedGradients:
    *_, answer = integrated_gradients(one, **options)
    return answer


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("foil", [None, " Rome"])
def test_they_add_up_within_the_tolerance(models: dict, family: str, foil: str | None) -> None:
    one = explained(models[family], TEXT, " Paris", foil)
    answer = last(one, tolerance=0.01, budget=2000)
    _, embeddings = methods.gradients(one)
    change = value(one, embeddings) - value(one, one.baseline())
    assert answer.reached
    assert answer.change == pytest.approx(change, abs=1e-4)
    assert answer.gap == pytest.approx(abs(answer.scores.sum() - change), abs=1e-4)
    assert answer.gap <= 0.01 * max(abs(change), 1)


def test_a_fine_fixed_rule_gives_the_same_scores(bundled: HookedTransformerLIT) -> None:
    """Gauss-Legendre with 400 nodes, written out here."""
    one = explained(bundled, TEXT, " Paris")
    answer = last(one, tolerance=0.002, budget=2000)
    _, end = methods.gradients(one)
    start = one.baseline()
    nodes, weights = np.polynomial.legendre.leggauss(400)
    prompts = [
        dataclasses.replace(
            one.prompt,
            token_embeddings=(start + 0.5 * (node + 1) * (end - start)).astype(np.float32),
        )
        for node in nodes
    ]
    total = np.zeros_like(end)

    def take(index: list[int], values: np.ndarray, gradient: np.ndarray, _: np.ndarray) -> None:
        nonlocal total
        total = total + np.einsum("bpd,b->pd", gradient, 0.5 * weights[index])

    one.evaluate(prompts, take)
    fixed = (total * (end - start)).sum(-1)
    assert fixed.sum() == pytest.approx(answer.change, rel=0.01)
    assert answer.scores == pytest.approx(fixed, abs=0.01 * abs(answer.change))
    assert spearmanr(answer.scores, fixed)[0] > 0.95


def test_estimates_come_one_after_another(bundled: HookedTransformerLIT) -> None:
    one = explained(bundled, TEXT, " Paris")
    estimates = list(integrated_gradients(one, tolerance=1e-6, budget=100))
    assert [each.evaluations for each in estimates] == [17, 33, 49, 65, 81, 97, 113]
    assert estimates[-1].unresolved < estimates[0].unresolved
    assert not estimates[-1].reached
    assert estimates[-1].describe().endswith("; the tolerance of 0.0001 % was not reached")


def test_a_single_token_and_a_change_of_nothing_are_no_trouble(
    bundled: HookedTransformerLIT,
) -> None:
    """A prompt of fillers is where the path begins: all scores are zero."""
    one = explained(bundled, "", " Paris")
    answer = last(one)
    assert answer.reached
    assert answer.scores == pytest.approx([0.0], abs=1e-5)
    assert answer.share < 1e-5


def test_wrong_options_are_refused(bundled: HookedTransformerLIT) -> None:
    one = explained(bundled, TEXT, " Paris")
    with pytest.raises(ValueError, match="16 evaluations: give at least 17"):
        last(one, budget=16)
    with pytest.raises(ValueError, match=r"tolerance of 0\.0: give one above 0"):
        last(one, tolerance=0.0)


def test_the_map_carries_its_gap(bundled: HookedTransformerLIT) -> None:
    example = {"text": TEXT, "answer": " Paris"}
    (reply,) = integrated_gradients_map().run(
        [example], bundled, Prompts([example]), config={"tolerance": 0.02}
    )
    salience = reply["token_gradients"]
    assert abs(salience.salience).sum() == pytest.approx(1)
    assert "nats: a completeness gap of" in salience.note
    assert salience.to_json()["note"] == salience.note
