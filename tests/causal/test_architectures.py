"""Architectures that stand in the way of a number: it is right, or refused."""

import functools
import pathlib
from typing import Any

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.causal.circuits import circuit
from lit_tl.causal.edges import edges
from lit_tl.causal.estimates import estimate
from lit_tl.causal.heads import find_heads
from lit_tl.causal.logit_attribution import logit_attribution
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PairError, PromptPair
from lit_tl.causal.patching import patch, patch_steps
from lit_tl.causal.paths import patch_paths
from lit_tl.models.loading import load_model
from tests.architectures.tiny import ARCHITECTURES
from tests.causal.conftest import SAME_LENGTH

TEXT = SAME_LENGTH.clean


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny model of an architecture."""

    @functools.cache
    def model_of(name: str) -> CausalModel:
        folder = pathlib.Path(tmp_path_factory.mktemp("tiny")) / name
        return CausalModel.of(load_model(str(ARCHITECTURES[name].save(folder))))

    return model_of


@pytest.mark.parametrize("name", ["gpt_neo", "opt", "gptj"])
def test_a_value_that_the_model_does_not_go_on_with_is_not_patched(make: Any, name: str) -> None:
    for ask in (patch, estimate):
        with pytest.raises(ValueError, match="does not go on with") as refused:
            ask(make(name), SAME_LENGTH, "pattern", metric="logit difference")
        assert "\n" not in str(refused.value)
    assert (
        np.ptp(patch(make(name), SAME_LENGTH, "z", metric="logit difference")["effect"].values)
        > 1e-4
    )


@pytest.mark.parametrize("name", ["mamba", "rwkv", "bloom", "opt", "falcon", "mixtral", "phi"])
def test_a_model_that_can_not_be_gone_on_with_takes_whole_passes(make: Any, name: str) -> None:
    model = make(name)
    ask: dict[str, Any] = {"metric": "logit difference", "layers": [0, 1]}
    fast = patch(model, SAME_LENGTH, "resid_post", **ask)
    *_, plain = patch_steps(model, SAME_LENGTH, "resid_post", resume=False, **ask)
    np.testing.assert_allclose(fast["effect"].values, plain["effect"].values, atol=1e-4)
    if name in ("mamba", "rwkv"):
        assert "whole pass" in fast.attrs["method"]


@pytest.mark.parametrize("name", ["cohere", "granite"])
def test_shares_are_in_logits_as_the_model_scales_them(make: Any, name: str) -> None:
    result = logit_attribution(make(name), TEXT, " Mary", " John")
    total = float(result["share"].sum()) + result.attrs["remainder"]
    assert total == pytest.approx(result.attrs["logit"], abs=1e-3)
    assert abs(result.attrs["remainder"]) < 1e-3 + 0.2 * abs(result.attrs["logit"])


@pytest.mark.parametrize("name", ["gemma2", "olmo2", "exaone4", "granite"])
def test_what_a_norm_or_a_factor_changes_on_its_way_has_no_share(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match="can't be told by neuron"):
        logit_attribution(make(name), TEXT, " Mary", by="neuron")
    if name != "granite":  # TransformerLens shows its heads with their factor
        with pytest.raises(ValueError, match="can't be told by head"):
            logit_attribution(make(name), TEXT, " Mary", by="head")
    scores = find_heads(make(name), sequences=1, length=5)["score"]
    assert np.isnan(scores.sel(score_name="copying").values).all()
    assert np.isfinite(scores.sel(score_name="induction").values).all()


@pytest.mark.parametrize("name", ["bloom", "falcon", "gpt_neo", "opt", "mamba"])
def test_edges_that_do_not_show_are_refused_in_a_sentence(make: Any, name: str) -> None:
    for ask in (
        lambda model: edges(model, SAME_LENGTH),
        lambda model: circuit(model, SAME_LENGTH),
        lambda model: patch_paths(model, SAME_LENGTH, (0, 1)),
    ):
        with pytest.raises(ValueError, match=r"the edges of .* can't be told apart") as refused:
            ask(make(name))
        assert "\n" not in str(refused.value)


def test_neurons_are_estimated_one_by_one(bundled: HookedTransformerLIT) -> None:
    ask: dict[str, Any] = {"dims": ("neuron",), "layers": [1], "metric": "logit difference"}
    exact = patch(bundled, SAME_LENGTH, "mlp_post", **ask)["effect"].values
    guessed = estimate(bundled, SAME_LENGTH, "mlp_post", **ask)["effect"].values
    assert np.corrcoef(exact, guessed)[0, 1] > 0.9
    ask["dims"] = ("neuron", "position")
    assert estimate(bundled, SAME_LENGTH, "mlp_post", **ask)["effect"].ndim == 2


def test_half_precision_is_near(tmp_path: pathlib.Path, bundled: HookedTransformerLIT) -> None:
    half = CausalModel.of(load_model("lit-tl-tiny", dtype="bfloat16"))
    one, two = (
        patch(model, SAME_LENGTH, "resid_pre")["effect"].values for model in (half, bundled)
    )
    assert np.abs(one - two).max() < 0.15
    shares = [
        logit_attribution(model, TEXT, " Mary", " John")["share"].values
        for model in (half, bundled)
    ]
    assert np.abs(shares[0] - shares[1]).max() < 0.5
    result = circuit(half, SAME_LENGTH, sizes=[0.0, 1.0], random=0)
    np.testing.assert_allclose(result["faithfulness"].values, [0.0, 1.0], atol=0.05)
    assert np.isfinite(find_heads(half, sequences=1, length=8)["score"].values).all()


def test_a_pair_with_nothing_to_patch_is_refused(bundled: HookedTransformerLIT) -> None:
    for clean, corrupt in (("Mary and John", "Mary and"), ("Mary and", " Mary")):
        pair = PromptPair(clean, corrupt, " a", " b")
        if clean == "Mary and":
            continue
        with pytest.raises(PairError, match="nothing can be patched"):
            patch(bundled, pair, metric="logit difference")


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        (lambda m: edges(m, SAME_LENGTH, direction="x"), "denoise and noise"),
        (lambda m: edges(m, SAME_LENGTH, method="x"), "attribution patching and integrated"),
        (lambda m: edges(m, SAME_LENGTH, steps=0), "at least 1"),
        (lambda m: estimate(m, SAME_LENGTH, steps=2.5), "at least 1"),
        (lambda m: circuit(m, SAME_LENGTH, of="x"), "edges and nodes"),
        (lambda m: circuit(m, SAME_LENGTH, sizes=[]), "between 0 and 1"),
        (lambda m: circuit(m, SAME_LENGTH, random=-1), "at least 0"),
        (lambda m: circuit(m, SAME_LENGTH, sizes=0.5), "sizes is 0.5: give a list"),
        (lambda m: patch(m, SAME_LENGTH, dims=5), "and not by 5"),
        (lambda m: patch(m, SAME_LENGTH, ["z"]), "can't be patched: choose from"),
        (lambda m: patch(m, SAME_LENGTH, metric=["probability"]), "there is no metric"),
        (lambda m: patch(m, SAME_LENGTH, layers=[1.0]), "list of at least one layer"),
        (lambda m: patch(m, None), "PromptPair"),
        (lambda m: patch_paths(m, SAME_LENGTH, (0,)), r"layer and head, as in \(0, 1\) or 'L0H1'"),
        (lambda m: find_heads(m, [""]), "text 0 is empty"),
        (lambda m: find_heads(m, sequences=1.5), "whole number of at least 1"),
        (lambda m: logit_attribution(m, TEXT, 5.0), "answer is 5.0: give a text"),
        (lambda m: logit_attribution(m, TEXT), "no answer is given"),
        (lambda m: logit_attribution(m, [SAME_LENGTH], by="source"), "takes one prompt"),
        (
            lambda m: estimate(
                m,
                SAME_LENGTH,
                metric="KL divergence",
                direction="noise",
                method="attribution patching",
            ),
            "is flat at the clean run",
        ),
        (
            lambda m: edges(m, SAME_LENGTH, metric="KL divergence", method="attribution patching"),
            "is flat at the clean run",
        ),
        (lambda m: PromptPair("a", "b", 5), "answer is 5: give a text"),  # type: ignore[arg-type]
        (lambda m: patch_paths(m, SAME_LENGTH, (3, 1)), "no head comes behind"),
        (lambda m: patch_paths(m, SAME_LENGTH, (0, 1), direction="x"), "denoise and noise"),
        (lambda m: patch(m, SAME_LENGTH, layers=[1, 1]), "each layer once"),
        (lambda m: patch(m, SAME_LENGTH, layers=[]), "at least one layer"),
        (lambda m: patch(m, SAME_LENGTH, layers=1), "list of at least one layer"),
        (lambda m: patch(m, SAME_LENGTH, dims="layer"), "and not by layer"),
        (lambda m: patch(m, {"text": "a"}), "PromptPair"),
        (lambda m: patch(m, "a"), "PromptPair"),
        (lambda m: patch(m, SAME_LENGTH, metric=lambda logits: [0.0]), "tensor of one number"),
        (
            lambda m: estimate(m, SAME_LENGTH, metric=lambda logits: logits.detach()[:, 0]),
            "no gradient",
        ),
        (lambda m: logit_attribution(m, TEXT, " Mary", layer=2), "that of neurons"),
        (lambda m: logit_attribution(m, TEXT, 99_999), "out of range"),
        (lambda m: find_heads(m, "abc"), "list of texts"),
        (
            lambda m: patch(m, PromptPair("a b", "a c", " a", " b", alignment=((1.5, 2),))),
            "pairs of positions",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    bundled: HookedTransformerLIT, work: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        work(bundled)
    assert "\n" not in str(refused.value)


def test_a_metric_without_a_name_has_one(bundled: HookedTransformerLIT) -> None:
    def difference(logits: torch.Tensor, first: int) -> torch.Tensor:
        return logits[:, first] - logits[:, 5]

    metric = functools.partial(difference, first=7)
    assert circuit(bundled, SAME_LENGTH, sizes=[1.0], random=0, metric=metric).attrs["metric"]
