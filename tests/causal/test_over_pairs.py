"""Maps over many pairs."""

import dataclasses

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.bootstrap import Bootstrap
from lit_tl.causal.circuits import circuit
from lit_tl.causal.edges import edges
from lit_tl.causal.estimates import estimate
from lit_tl.causal.logit_attribution import logit_attribution
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import over_pairs
from lit_tl.causal.pairs import PairError, PromptPair, align, read_pair
from lit_tl.causal.patching import patch
from lit_tl.causal.paths import patch_paths
from lit_tl.data.tasks import read_task
from lit_tl.engine import jobs
from lit_tl.engine.intervention_text import parse_intervention
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
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


def test_a_generator_of_pairs_and_an_array_of_layers_will_do(bundled: HookedTransformerLIT) -> None:
    pairs = pairs_of("ioi", 3)
    result = patch(bundled, (pair for pair in pairs), "z", layers=np.array([0, 2]))  # type: ignore[arg-type]
    assert result["mean"].shape == (2, 4)
    assert result.attrs["pairs"] == 3


def test_one_pair_says_nothing_about_others(bundled: HookedTransformerLIT) -> None:
    result = patch(bundled, [SAME_LENGTH], "z")
    assert np.isnan(result["low"].values).all()
    assert np.isfinite(result["mean"].values).all()


def test_what_is_said_of_single_pairs_is_said_of_many(bundled: HookedTransformerLIT) -> None:
    longer = dataclasses.replace(SAME_LENGTH, answer=" Mary and", foil=" Mary or")
    for result in (patch(bundled, [longer, longer], "z"), circuit(bundled, [longer, longer])):
        assert result.attrs["note"] == "Token 2 of the answer, ' and' against ' or'."
    some = patch(bundled, [SAME_LENGTH, longer], "z").attrs["note"]
    assert some.startswith("Of 1 pair, as: Token 2 of the answer")


def test_edges_and_paths_and_shares_have_means(bundled: HookedTransformerLIT) -> None:
    pairs = [pair for pair in pairs_of("ioi", 8) if _is_of_one_length(bundled, pair)][:3]
    many = edges(bundled, [*pairs, OTHER_LENGTH])
    single = np.stack([edges(bundled, pair)["effect"].values for pair in pairs])
    np.testing.assert_allclose(many["mean"].values, single.mean(0), atol=1e-5)
    signs = np.sign(single) == np.sign(single.mean(0))
    there = np.isfinite(single[0])
    np.testing.assert_allclose(many["agreement"].values[there], signs.mean(0)[there])
    assert "position by position" in many.attrs["left_out"][0]
    paths = patch_paths(bundled, pairs, "L0H1")
    expected = np.stack([patch_paths(bundled, pair, (0, 1))["effect"].values for pair in pairs])
    np.testing.assert_allclose(paths["mean"].values, expected.mean(0), atol=1e-5)
    for by in ("component", "head"):
        shares = logit_attribution(bundled, [*pairs, PromptPair("a", "b")], by=by)  # type: ignore[arg-type]
        own = np.stack(
            [logit_attribution(bundled, pair, by=by)["share"].values for pair in pairs]  # type: ignore[arg-type]
        )
        np.testing.assert_allclose(shares["mean"].values, own.mean(0), atol=1e-5)
        assert shares.attrs["left_out"] == [
            "pair 3: no answer is given: name the token whose logit is explained"
        ]
        total = float(shares["mean"].sum()) + shares.attrs["remainder"]
        assert total == pytest.approx(shares.attrs["logit"], abs=1e-3)


def test_a_circuit_over_pairs_has_an_interval_and_names_what_does_not_fit(
    bundled: HookedTransformerLIT,
) -> None:
    pairs = [pair for pair in pairs_of("ioi", 8) if _is_of_one_length(bundled, pair)][:4]
    result = circuit(bundled, [*pairs, OTHER_LENGTH], random=1)
    assert result.attrs["pairs"] == 4
    assert len(result.attrs["left_out"]) == 1
    inside = slice(4, -1)
    low, mean, high = (result[name].values[inside] for name in ("low", "faithfulness", "high"))
    assert (low <= mean + 1e-9).all()
    assert (mean <= high + 1e-9).all()
    assert (low < high).any()
    assert np.isnan(circuit(bundled, pairs[0], random=0)["low"].values).all()


def test_areas_reach_from_no_edge_to_all(bundled: HookedTransformerLIT) -> None:
    one = circuit(bundled, SAME_LENGTH, sizes=[0.5], random=0)
    (middle,) = one["faithfulness"].values
    assert one.attrs["cpr"] == pytest.approx(0.25 * middle + 0.25 * (1 + middle))
    assert one.attrs["cmd"] == pytest.approx(
        0.25 * (1 + 1 - middle) + 0.25 * (1 - middle), abs=1e-6
    )


@pytest.mark.parametrize("site", ["z[2]", "mlp_out[2]", "L2H0", "L1H3@-1"])
def test_a_changed_model_has_circuits_too(bundled: HookedTransformerLIT, site: str) -> None:
    """As of a model on which a user's hook does the same."""
    changed = Runner(bundled.model, interventions=[parse_intervention(f"{site} = 0")])
    result = circuit(changed, SAME_LENGTH, sizes=[0.0, 0.1, 0.5, 1.0], random=0)
    np.testing.assert_allclose(result["faithfulness"].values[[0, -1]], [0.0, 1.0], atol=1e-4)
    assert result.attrs["cpr"] != circuit(bundled, SAME_LENGTH, random=0).attrs["cpr"]
    place = Site.parse(site)
    name = "attn.hook_z" if place.component == "z" else "hook_mlp_out"

    def zero(value: torch.Tensor, hook: object) -> torch.Tensor:
        value = value.clone()
        rows = slice(None) if place.positions is None else slice(-1, None)
        if place.head is None:
            value[:, rows] = 0
        else:
            value.reshape(*value.shape[:2], 4, -1)[:, rows, place.head] = 0
        return value

    with bundled.model.hooks(fwd_hooks=[(f"blocks.{place.layer}.{name}", zero)]):
        hooked = circuit(bundled, SAME_LENGTH, sizes=[0.0, 0.1, 0.5, 1.0], random=0)
    np.testing.assert_allclose(
        result["faithfulness"].values, hooked["faithfulness"].values, atol=1e-4
    )


def _is_of_one_length(bundled: HookedTransformerLIT, pair: PromptPair) -> bool:
    read = read_pair(CausalModel.of(bundled), pair)
    return len(read.clean) == len(read.corrupt)
