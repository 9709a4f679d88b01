"""Which prompts run together."""

import random

import pytest

from lit_tl.engine.batches import plan_batches


@pytest.mark.parametrize("seed", range(20))
def test_batches_hold_each_prompt_once_within_the_bounds(seed: int) -> None:
    rng = random.Random(seed)
    lengths = [rng.randint(1, 90) for _ in range(rng.randint(0, 60))]
    batches = plan_batches(lengths, batch_size=7, token_budget=128)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= 7
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= 128


def test_like_lengths_run_together_longest_first() -> None:
    assert plan_batches([1, 9, 1, 9], batch_size=2, token_budget=100) == [[1, 3], [0, 2]]
    assert plan_batches([500], batch_size=2, token_budget=100) == [[0]]
