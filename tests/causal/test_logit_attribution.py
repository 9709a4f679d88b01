"""Truths about what parts write into a logit."""

from typing import Any

import numpy as np
import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis import direct_logit_attribution

from lit_tl import HookedTransformerLIT
from lit_tl.causal.final_norm import final_norm
from lit_tl.causal.logit_attribution import logit_attribution
from lit_tl.causal.model import CausalModel
from lit_tl.engine.requests import Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from tests.conftest import BUNDLED

TEXT = "When Mary and John went to the store, John gave a drink to"


def logit_of(model: CausalModel, *answers: str) -> float:
    prompt = model.prompter.prompt({"text": TEXT})
    (batch,) = model.runner.run([prompt])
    logits = [float(batch.last_logits()[0, model.prompter.answer(each)[0]]) for each in answers]
    return logits[0] - sum(logits[1:])


@pytest.mark.parametrize("foil", [None, " John"])
@pytest.mark.parametrize("by", ["component", "head", "source"])
def test_shares_and_remainder_sum_to_the_logit(model: CausalModel, by: Any, foil: Any) -> None:
    if by != "component" and model.runner.shape.name.endswith("gemma2"):
        with pytest.raises(ValueError, match="do not add up"):
            logit_attribution(model, TEXT, " Mary", foil, by=by)
        return
    result = logit_attribution(model, TEXT, " Mary", foil, by=by)
    expected = logit_of(model, " Mary", *([foil] if foil else []))
    assert result.attrs["logit"] == pytest.approx(expected, abs=1e-3)
    total = float(result["share"].values.sum()) + result.attrs["remainder"]
    assert total == pytest.approx(expected, abs=1e-3)


def test_what_components_leave_over_are_biases_alone(model: CausalModel) -> None:
    """The remainder is known before the sum is: the final norm's bias, and the soft-cap."""
    result = logit_attribution(model, TEXT, " Mary", " John")
    readout = model.runner.readout
    residual = _last_residual(model)
    norm = final_norm(readout)
    row = readout.matrix()[model.prompter.answer(" Mary")[0]].float()
    row = row - readout.matrix()[model.prompter.answer(" John")[0]].float()
    linear = float(residual @ norm.direction(row, residual)) + float(row @ norm.offset.float())
    capped = result.attrs["logit"] - linear
    expected = float(row @ norm.offset.float()) + capped
    assert result.attrs["remainder"] == pytest.approx(expected, abs=1e-3)
    if not model.runner.shape.name.endswith("gemma2"):
        assert capped == pytest.approx(0.0, abs=1e-3)


def _last_residual(model: CausalModel) -> torch.Tensor:
    observe = {"last": Observe(Site("resid_post", model.runner.shape.n_layers - 1, positions=-1))}
    prompt = model.prompter.prompt({"text": TEXT})
    (batch,) = model.runner.run([prompt], observe=observe)
    residual: torch.Tensor = batch.observed["last"][0].float()
    return residual


def test_the_final_norm_is_linear_at_a_fixed_scale(model: CausalModel) -> None:
    readout, residual = model.runner.readout, _last_residual(model)
    norm = final_norm(readout)
    moved = residual - residual.mean() if norm.centred else residual
    with torch.no_grad():
        expected = readout.normed(residual[None])[0]
    given = norm.gamma * moved * norm.scales(residual[None])[0] + norm.offset
    torch.testing.assert_close(given.float(), expected, atol=1e-4, rtol=1e-4)


def test_the_cumulative_sum_ends_at_the_logit(model: CausalModel) -> None:
    result = logit_attribution(model, TEXT, " Mary")
    end = float(result["cumulative"].values[-1]) + result.attrs["remainder"]
    assert end == pytest.approx(result.attrs["logit"], abs=1e-3)
    assert list(result["component"].values[:3]) == ["embed", "attn 0", "mlp 0"]


def test_a_heads_sources_sum_to_the_head(model: CausalModel) -> None:
    if model.runner.shape.name.endswith("gemma2"):
        return
    heads = logit_attribution(model, TEXT, " Mary", by="head")["share"].values
    sources = logit_attribution(model, TEXT, " Mary", by="source")["share"].values
    np.testing.assert_allclose(sources.sum(-1), heads, atol=1e-3)


def test_neurons_are_the_largest_and_sum_to_their_mlp(bundled: HookedTransformerLIT) -> None:
    result = logit_attribution(bundled, TEXT, " Mary", by="neuron", top=10_000, layer=2)
    share = result["share"].values
    assert (np.diff(np.abs(share)) <= 1e-9).all()
    parts = logit_attribution(bundled, TEXT, " Mary")
    bias = bundled.model.blocks[2].mlp.b_out.detach().float()
    residual = _last_residual(CausalModel.of(bundled))
    norm = final_norm(CausalModel.of(bundled).runner.readout)
    readout = CausalModel.of(bundled).runner.readout
    row = readout.matrix()[CausalModel.of(bundled).prompter.answer(" Mary")[0]].float()
    expected = float(parts["share"].sel(component="mlp 2")) - float(
        bias @ norm.direction(row, residual)
    )
    assert share.sum() == pytest.approx(expected, abs=1e-3)


def test_shares_are_those_of_transformer_lens() -> None:
    """In its compatibility mode, with weights that are folded and centred: then a share has no
    part that all tokens have in common, which a difference of two logits never has."""
    folded = TransformerBridge.boot_transformers(str(BUNDLED))
    folded.enable_compatibility_mode()
    model = CausalModel.of(Runner(folded))
    answer, foil = (model.prompter.answer(text)[0] for text in (" Mary", " John"))
    ids = torch.tensor([model.prompter.prompt({"text": TEXT}).ids])
    components = logit_attribution(model, TEXT, " Mary", " John")["share"]
    heads = logit_attribution(model, TEXT, " Mary", " John", by="head")["share"]
    with torch.no_grad():
        parts = direct_logit_attribution(folded, ids, answer, foil)
        of_heads = direct_logit_attribution(folded, ids, answer, foil, unit="head")
    theirs = dict(zip(parts.labels, parts.attribution.flatten().tolist(), strict=True))
    for layer in range(folded.cfg.n_layers):
        for own, name in (("attn", "attn_out"), ("mlp", "mlp_out")):
            expected = theirs[f"{layer}_{name}"]
            assert float(components.sel(component=f"{own} {layer}")) == pytest.approx(
                expected, abs=1e-3
            )
    for label, expected in zip(of_heads.labels, of_heads.attribution.flatten(), strict=True):
        if label.startswith("L"):
            layer, head = map(int, label[1:].split("H"))
            assert float(heads[layer, head]) == pytest.approx(float(expected), abs=1e-3)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        ({"text": ""}, "prompt is empty"),
        ({"answer": ""}, "no answer"),
        ({"foil": " Mary"}, "begin alike"),
        ({"by": "layer"}, "choose from component"),
        ({"by": "neuron", "layer": 99}, "no neurons in layer 99"),
        ({"by": "neuron", "top": 0}, "at least 1"),
    ],
)
def test_a_question_that_does_not_do_is_refused_in_a_sentence(
    bundled: HookedTransformerLIT, ask: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        logit_attribution(bundled, **{"text": TEXT, "answer": " Mary", **ask})
