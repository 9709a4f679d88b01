"""Maps over many pairs."""

import dataclasses

import numpy as np
import pytest

from lit_tl import HookedTransformerLIT
from lit_tl.causal.estimates import estimate
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import Bootstrap, over_pairs
from lit_tl.causal.pairs import PairError, PromptPair, align, read_pair
from lit_tl.causal.patching import patch
from lit_tl.data.tasks import read_task
from lit_tl.engine import jobs
from tests.causal.conftest import OTHER_LENGTH, SAME_LENGTH


def pairs_of(task: str, count: int) -> list[PromptPair]:
    return [PromptPair.of(example) for example in read_task(task).examples[:count]]


def test_a_mean_is_that_of_the_single_maps(bundled: HookedTransformerLIT) -> None:
    pairs = pairs_of("ioi", 6)
    result = patch(bundled, pairs, "z")
    single = np.stack([patch(bundled, pair, "z")["effect"].values for pair in pairs])
    np.testing.assert_allclose(result["mean"].values, single.mean(0), atol=1e-6)
    np.testing.assert_allclose(result["effect"].values, single, atol=1e-6)
    assert (result["low"].values <= result["mean"].values + 1e-9).all()
    assert (result["high"].values >= result["mean"].values - 1e-9).all()
    signs = np.sign(single) == np.sign(single.mean(0))
    np.testing.assert_allclose(result["agreement"].values, signs.mean(0))
    assert result.attrs["pairs"] == 6


def test_what_does_not_fit_is_named_and_not_counted(bundled: HookedTransformerLIT) -> None:
    broken = dataclasses.replace(SAME_LENGTH, foil="")
    result = patch(bundled, [SAME_LENGTH, broken, SAME_LENGTH, OTHER_LENGTH], "resid_pre")
    assert result["pair"].values.tolist() == [0, 2]
    assert [sentence[:7] for sentence in result.attrs["left_out"]] == ["pair 1:", "pair 3:"]
    assert "no foil" in result.attrs["left_out"][0]
    assert "tokens, and most have" in result.attrs["left_out"][1]
    assert "2 of 4 pairs are left out" in result.attrs["note"]


def test_prompts_of_every_length_count_where_a_map_has_no_positions(
    bundled: HookedTransformerLIT,
) -> None:
    assert patch(bundled, [SAME_LENGTH, OTHER_LENGTH], "z").attrs["pairs"] == 2


def test_no_pair_that_does_is_refused(bundled: HookedTransformerLIT) -> None:
    with pytest.raises(PairError, match="no foil"):
        patch(bundled, [dataclasses.replace(SAME_LENGTH, foil="")], "z")
    with pytest.raises(PairError, match="give at least one"):
        patch(bundled, [], "z")


def test_estimates_have_means_too(bundled: HookedTransformerLIT) -> None:
    pairs = [pair for pair in pairs_of("agreement", 8) if _has_path(bundled, pair)]
    assert len(pairs) > 2
    exact, guessed = (each(bundled, pairs, "mlp_out")["mean"].values for each in (patch, estimate))
    there = np.isfinite(exact)
    assert np.corrcoef(exact[there], guessed[there])[0, 1] > 0.8


def _has_path(model: HookedTransformerLIT, pair: PromptPair) -> bool:
    tokens = read_pair(CausalModel.of(model), pair)
    return len(tokens.clean) == len(tokens.corrupt)


def test_a_path_that_leads_nowhere_is_refused(bundled: HookedTransformerLIT) -> None:
    pair = PromptPair("The old man saw Mary and", "The man saw Mary and", " Mary", " John")
    with pytest.raises(PairError, match="no path through the embeddings"):
        estimate(bundled, pair)
    assert np.isfinite(estimate(bundled, pair, path="activations")["effect"].values).any()


def test_a_cancelled_map_stops_with_what_it_has(bundled: HookedTransformerLIT) -> None:
    made: list[PromptPair] = []
    job = jobs.Job()

    def make(pair: PromptPair) -> object:
        made.append(pair)
        if len(made) == 2:
            job.cancel()
        return patch(bundled, pair, "z")

    with jobs.working_on(job), pytest.raises(jobs.Cancelled):
        list(over_pairs(bundled, pairs_of("ioi", 20), make))  # type: ignore[arg-type]
    assert len(made) == 2


def test_an_interval_is_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(0).normal(size=(400, 3))
    low, high = Bootstrap().interval(values)
    error = values.std(0, ddof=1) / np.sqrt(400)
    np.testing.assert_allclose((high - low) / 2, 1.96 * error, rtol=0.1)


@pytest.mark.parametrize(
    ("ids", "others", "partner"),
    [
        ([1, 2, 3], [1, 9, 3], [0, 1, 2]),
        ([1, 2, 3, 4], [1, 2, 9, 3, 4], [0, 1, 3, 4]),
        ([1, 2, 9, 3, 4], [1, 2, 3, 4], [0, 1, -1, 2, 3]),
        ([1, 7, 3, 4], [1, 8, 3, 5, 4], [0, 1, 2, 4]),
        ([7, 7], [5, 6, 7, 7, 7], [3, 4]),
        ([], [1], []),
    ],
)
def test_tokens_are_aligned_as_a_longest_common_subsequence(
    ids: list[int], others: list[int], partner: list[int]
) -> None:
    assert align(ids, others).tolist() == partner
