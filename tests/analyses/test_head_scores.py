"""Head scores on attention patterns whose heads are known."""

import math

import pytest
import torch

from lit_tl.causal.attention_patterns import HEAD_SCORES, head_scores

IDS = (0, 5, 6, 7, 5, 6, 7)  # a sequence that repeats after a beginning-of-text token


def looking(keys: list[int]) -> torch.Tensor:
    """A head whose query `i` looks at `keys[i]` alone."""
    pattern = torch.zeros(len(keys), len(keys))
    pattern[torch.arange(len(keys)), torch.tensor(keys)] = 1
    return pattern


def test_each_kind_of_head_scores_one_on_its_own_score() -> None:
    heads = {
        "induction": looking([0, 0, 0, 0, 2, 3, 4]),
        "previous token": looking([0, 0, 1, 2, 3, 4, 5]),
        "duplicate token": looking([0, 0, 0, 0, 1, 2, 3]),
        "first token": looking([0] * 7),
    }
    scores = head_scores(torch.stack(list(heads.values())), IDS)
    assert list(scores) == list(HEAD_SCORES)
    for i, name in enumerate(heads):
        assert scores[name][i] == pytest.approx(1.0)
        others = [value for j, value in enumerate(scores[name]) if j != i]
        assert max(others) < 0.7, "no other head scores as high"
    assert scores["entropy"] == pytest.approx([0.0] * 4)


def test_uniform_attention_has_the_entropy_of_its_support() -> None:
    pattern = torch.tril(torch.ones(7, 7))
    pattern /= pattern.sum(-1, keepdim=True)
    scores = head_scores(pattern[None], IDS)
    assert scores["entropy"] == pytest.approx([sum(math.log(n) for n in range(2, 8)) / 6])
    assert scores["first token"] == pytest.approx([sum(1 / n for n in range(2, 8)) / 6])


def test_scores_that_nothing_qualifies_for_are_none() -> None:
    scores = head_scores(torch.ones(2, 1, 1), (0,))
    assert scores == {name: [None, None] for name in HEAD_SCORES}
    distinct = head_scores(looking([0, 0, 1])[None], (0, 1, 2))
    assert (distinct["induction"], distinct["duplicate token"]) == ([None], [None])
