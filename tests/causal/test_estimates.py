"""Truths about estimates, edges and circuits."""

from typing import Any

import numpy as np
import pytest
import torch
from transformer_lens.tools.analysis import attribution_patching as oracle

from lit_tl import HookedTransformerLIT
from lit_tl.causal.circuits import circuit
from lit_tl.causal.edges import edges
from lit_tl.causal.estimates import estimate
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PairError
from lit_tl.causal.patching import patch, run_source, set_up, values_of
from lit_tl.engine.circuit_runs import graph_of
from lit_tl.engine.interventions import Numbers, Replace
from lit_tl.engine.sites import Site
from lit_tl.engine.variations import variations
from tests.causal.conftest import OTHER_LENGTH, SAME_LENGTH

METRIC = "logit difference"
COMPONENTS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "mlp_post")
HEADS = ("z", "q", "k", "v", "pattern")


def test_converged_integrated_gradients_sum_to_the_difference_of_the_runs(
    model: CausalModel,
) -> None:
    """At the embedding: the residual before the first layer."""
    result = estimate(model, SAME_LENGTH, "resid_pre", metric=METRIC, layers=[0], steps=200)
    moved = (result["effect"].values - result.attrs["corrupt"]).sum()
    assert moved == pytest.approx(result.attrs["clean"] - result.attrs["corrupt"], abs=2e-2)


def test_on_a_sites_own_path_they_sum_to_what_patching_all_of_it_does(model: CausalModel) -> None:
    for component in (*COMPONENTS, *HEADS):
        if not model.runner.layers(component):  # type: ignore[arg-type]
            continue
        layer = model.runner.layers(component)[-1]  # type: ignore[arg-type]
        result = estimate(
            model,
            SAME_LENGTH,
            component,
            metric=METRIC,
            layers=[layer],
            path="activations",
            steps=100,
        )
        moved = float((result["effect"].values - result.attrs["corrupt"]).sum())
        expected = _patched_whole(model, component, layer) - result.attrs["corrupt"]
        assert moved == pytest.approx(expected, abs=2e-2), component


def _patched_whole(model: CausalModel, component: str, layer: int) -> float:
    setup = set_up(
        model,
        SAME_LENGTH,
        component,
        direction="denoise",
        metric="logit difference",
        dims=None,
        layers=[layer],
    )
    source = values_of(run_source(setup))
    change = [Replace(Site(component, layer), Numbers(source[layer]))]  # type: ignore[arg-type]
    (part,) = variations(model.runner, setup.sides.base, [change], resume=False)
    return float(setup.measure.value(part.logits))


def test_attribution_patching_is_exact_to_first_order(model: CausalModel) -> None:
    """A patch that goes a thousandth of the way moves the metric by a thousandth of the
    estimate."""
    step = 1e-3
    for component in ("resid_pre", "mlp_out", "z"):
        setup = set_up(
            model,
            SAME_LENGTH,
            component,
            direction="denoise",
            metric="logit difference",
            dims=None,
            layers=[1],
        )
        source = values_of(run_source(setup))
        turned = set_up(
            model,
            SAME_LENGTH,
            component,
            direction="noise",
            metric="logit difference",
            dims=None,
            layers=[1],
        )
        base = values_of(run_source(turned))
        value = base[1] + step * (source[1] - base[1])
        change = [Replace(Site(component, 1), Numbers(value))]  # type: ignore[arg-type]
        (part,) = variations(model.runner, setup.sides.base, [change], resume=False)
        result = estimate(
            model, SAME_LENGTH, component, metric=METRIC, layers=[1], method="attribution patching"
        )
        moved = float(setup.measure.value(part.logits)) - result.attrs["corrupt"]
        expected = float((result["effect"].values - result.attrs["corrupt"]).sum()) * step
        assert moved == pytest.approx(expected, abs=max(1e-4, 0.05 * abs(expected))), component


def test_an_estimate_comes_near_the_exact_map_of_a_trained_model(
    bundled: HookedTransformerLIT,
) -> None:
    exact = patch(bundled, SAME_LENGTH, "z")["effect"].values.ravel()
    estimated = estimate(bundled, SAME_LENGTH, "z")["effect"].values.ravel()
    assert np.corrcoef(exact, estimated)[0, 1] > 0.8


def test_unequal_lengths_are_estimated_where_they_are_aligned(model: CausalModel) -> None:
    exact = patch(model, OTHER_LENGTH, "resid_pre", metric=METRIC)["effect"].values
    estimated = estimate(model, OTHER_LENGTH, "resid_pre", metric=METRIC)["effect"].values
    assert np.array_equal(np.isnan(exact), np.isnan(estimated))


def _oracle(bundled: HookedTransformerLIT, granularity: Any) -> oracle.AttributionResult:
    model = CausalModel.of(bundled)
    clean, corrupt = (
        torch.tensor([model.prompter.prompt({"text": text}).ids])
        for text in (SAME_LENGTH.clean, SAME_LENGTH.corrupt)
    )
    answer, foil = (model.prompter.answer(text)[0] for text in (" Mary", " John"))
    return oracle.attribution_patch(
        bundled.model,
        clean,
        corrupt,
        lambda logits: logits[0, -1, answer] - logits[0, -1, foil],
        oracle.EdgeAttributionConfig(granularity=granularity),
    )


def test_nodes_are_those_of_transformer_lens(bundled: HookedTransformerLIT) -> None:
    theirs = _oracle(bundled, "node").node_scores
    ours = estimate(bundled, SAME_LENGTH, "z", metric=METRIC, method="attribution patching")
    for layer in range(ours.sizes["layer"]):
        for head in range(ours.sizes["head"]):
            expected = sum(
                score
                for node, score in theirs.items()
                if (node.kind, node.layer, node.head) == ("attn_head_out", layer, head)
            )
            own = float(ours["effect"][layer, head]) - ours.attrs["corrupt"]
            assert own == pytest.approx(expected, abs=1e-3)


def test_edges_are_those_of_transformer_lens(bundled: HookedTransformerLIT) -> None:
    names = {"q_input": "q", "k_input": "k", "v_input": "v"}
    expected: dict[tuple[str, str], float] = {}
    for (source, target), score in _oracle(bundled, "edge").edge_scores.items():
        writer = {
            "embed": "embed",
            "attn_head_out": f"L{source.layer}H{source.head}",
            "mlp_out": f"mlp {source.layer}",
        }[source.kind]
        if target.kind == "logits":
            reader = "logits"
        elif target.kind == "mlp_in":
            reader = f"mlp {target.layer}"
        else:
            reader = f"L{target.layer}H{target.head}.{names[target.kind]}"
        expected[reader, writer] = expected.get((reader, writer), 0.0) + score
    ours = edges(
        bundled, SAME_LENGTH, direction="denoise", metric=METRIC, method="attribution patching"
    )
    for (reader, writer), score in expected.items():
        if writer == "embed":
            continue  # theirs leaves the position embedding out, which both prompts share
        own = float(ours["effect"].sel(reader=reader, writer=writer))
        assert own == pytest.approx(score, abs=1e-3), (reader, writer)
    assert int(np.isfinite(ours["effect"].values).sum()) == len(expected)


@pytest.mark.parametrize("method", ["attribution patching", "integrated gradients"])
def test_a_heads_edges_add_up_to_the_head(model: CausalModel, method: Any) -> None:
    if model.runner.shape.name.endswith("gemma2"):
        with pytest.raises(ValueError, match="not the plain sum"):
            edges(model, SAME_LENGTH, metric=METRIC, method=method)
        return
    graph = graph_of(model.runner)
    ours = edges(model, SAME_LENGTH, metric=METRIC, method=method)
    nodes = estimate(model, SAME_LENGTH, "z", direction="noise", metric=METRIC, method=method)
    for place, writer in enumerate(graph.writers):
        if writer.kind == "head":
            own = float(nodes["effect"][writer.layer, writer.head]) - nodes.attrs["clean"]
            assert float(ours["node_effect"][place]) == pytest.approx(own, abs=1e-3)


def test_all_edges_are_the_model_and_none_the_corrupt_run(model: CausalModel) -> None:
    if model.runner.shape.name.endswith("gemma2"):
        with pytest.raises(ValueError, match="not the plain sum"):
            circuit(model, SAME_LENGTH, sizes=[0.5], random=0)
        return
    result = circuit(model, SAME_LENGTH, sizes=[0.0, 0.5, 1.0], random=1)
    assert result["faithfulness"].values[0] == pytest.approx(0.0, abs=1e-3)
    assert result["faithfulness"].values[-1] == pytest.approx(1.0, abs=1e-3)
    assert result["edges"].values.tolist()[0] == 0


def test_nodes_without_a_part_of_them_are_the_model_too(bundled: HookedTransformerLIT) -> None:
    result = circuit(bundled, SAME_LENGTH, of="nodes", sizes=[0.0, 0.5, 1.0], random=1)
    assert result["faithfulness"].values[0] == pytest.approx(0.0, abs=1e-3)
    assert result["faithfulness"].values[-1] == pytest.approx(1.0, abs=1e-3)


def test_a_circuit_is_as_faithful_as_transformer_lens_says(bundled: HookedTransformerLIT) -> None:
    model = CausalModel.of(bundled)
    graph = graph_of(model.runner)
    result = circuit(bundled, SAME_LENGTH, sizes=[0.0, 0.2, 1.0], random=0)
    inside = result["order"].values < int(result["edges"].values[1])
    clean, corrupt = (
        torch.tensor([model.prompter.prompt({"text": text}).ids])
        for text in (SAME_LENGTH.clean, SAME_LENGTH.corrupt)
    )
    answer, foil = (model.prompter.answer(text)[0] for text in (" Mary", " John"))
    kept = [
        edge
        for position in range(clean.shape[1])
        for reader, writer in np.argwhere(inside)
        for edge in [_their_edge(graph, int(reader), int(writer), position)]
    ]
    theirs = oracle.faithfulness(
        bundled.model,
        clean,
        corrupt,
        lambda logits: logits[0, -1, answer] - logits[0, -1, foil],
        kept,
    )
    assert theirs.recovered == pytest.approx(float(result["faithfulness"].values[1]), abs=1e-3)


def _their_edge(graph: Any, reader: int, writer: int, position: int) -> Any:
    one, two = graph.writers[writer], graph.readers[reader]
    kinds = {"embed": "embed", "head": "attn_head_out", "mlp": "mlp_out"}
    inputs = {"q": "q_input", "k": "k_input", "v": "v_input", "mlp": "mlp_in", "logits": "logits"}
    source = oracle.Node(
        kinds[one.kind],  # type: ignore[arg-type]
        position,
        None if one.layer < 0 else one.layer,
        None if one.head < 0 else one.head,
    )
    layer = two.layer - 1 if two.kind == "logits" else two.layer
    target = oracle.Node(
        inputs[two.kind],  # type: ignore[arg-type]
        position,
        layer,
        None if two.head < 0 else two.head,
    )
    return source, target


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        ({"method": "guess"}, "attribution patching and integrated gradients"),
        ({"path": "straight"}, "embeddings and activations"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_a_setting_that_does_not_do_is_refused_in_a_sentence(
    bundled: HookedTransformerLIT, ask: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        estimate(bundled, SAME_LENGTH, **ask)


def test_edges_of_prompts_of_unequal_length_are_refused(bundled: HookedTransformerLIT) -> None:
    with pytest.raises(PairError, match="position by position"):
        edges(bundled, OTHER_LENGTH)
