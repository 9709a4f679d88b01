"""Causal analyses, as the page and notebooks ask for them."""

import numpy as np
import pytest

from lit_tl import HookedTransformerLIT, analyze, draw
from lit_tl.analyses.activation_patching import PatchSettings, activation_patching
from lit_tl.analyses.contract import Subject
from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.causal.heads import find_heads
from lit_tl.causal.logit_attribution import logit_attribution
from lit_tl.causal.pairs import PairError, PromptPair
from lit_tl.causal.patching import patch
from lit_tl.data.tasks import read_task
from lit_tl.engine.runner import Runner
from lit_tl.figures.grid import Grid

EXAMPLES = [dict(example) for example in read_task("ioi").examples[:8]]
EXAMPLE = EXAMPLES[1]


def test_an_estimate_comes_first_and_exact_values_take_its_place(
    bundled: HookedTransformerLIT,
) -> None:
    fresh = LoadedModel(Runner(bundled.model))  # that keeps no answer yet
    subject = Subject(model=fresh, example=EXAMPLE)
    results = list(activation_patching.results(subject, PatchSettings()))
    methods = [result.attrs["method"] for result in results]
    assert methods[0] == "attribution patching"
    assert methods[1].startswith("integrated gradients")
    assert methods[-1] == "exact patching"
    assert not results[0]["exact"].values.any()
    assert results[-1]["exact"].values.all()
    expected = patch(bundled, PromptPair.of(EXAMPLE))["effect"].values
    np.testing.assert_allclose(results[-1]["change"].values, expected, atol=1e-6)


def test_cells_where_the_two_disagree_are_marked(bundled: HookedTransformerLIT) -> None:
    result = analyze("Activation patching", bundled, EXAMPLE, component="attn_out")
    far = np.abs(result["effect"].values - result["estimate"].values)
    most = np.abs(result["change"].values).max()
    assert (result["apart"].values == (far > 0.2 * most)).all()
    grid = draw("Activation patching", bundled, EXAMPLE, component="attn_out")
    assert isinstance(grid, Grid)
    assert (grid.parts[0].marked == result["apart"].values).all()
    assert grid.detail == "Patched prediction"


def test_a_pinned_prompt_is_the_corrupt_one(bundled: HookedTransformerLIT) -> None:
    clean = {name: EXAMPLE[name] for name in ("text", "answer", "foil")}
    pinned = {"text": EXAMPLE["corrupted_text"]}
    own = analyze("Activation patching", bundled, EXAMPLE)
    typed = analyze(
        "Activation patching", bundled, clean, counterpart=pinned, against="pinned prompt"
    )
    np.testing.assert_allclose(own["change"].values, typed["change"].values, atol=1e-6)
    with pytest.raises(PairError, match="no prompt is pinned"):
        analyze("Activation patching", bundled, clean, against="pinned prompt")
    with pytest.raises(PairError, match="no corrupt one beside it"):
        analyze("Activation patching", bundled, clean)


def test_a_pair_without_a_path_is_estimated_by_other_means(bundled: HookedTransformerLIT) -> None:
    example = {
        "text": "The old man saw Mary and",
        "corrupted_text": "The man saw Mary and",
        "answer": " Mary",
        "foil": " John",
    }
    guessed = analyze("Activation patching", bundled, example, method="estimate")
    assert "of each layer" in guessed.attrs["method"]
    exact = analyze("Activation patching", bundled, example)
    assert exact.attrs["estimated_by"] == "attribution patching"


def test_what_a_pair_lacks_is_said_beside_its_tokens(bundled: HookedTransformerLIT) -> None:
    result = analyze("Prompt pair", bundled, {**EXAMPLE, "foil": ""})
    assert "no foil" in result.attrs["note"]
    assert result["differs"].values.sum() == 1
    longer = {**EXAMPLE, "corrupted_text": f"Well, {EXAMPLE['corrupted_text']}"}
    said = analyze("Prompt pair", bundled, longer).attrs["note"]
    assert "without a partner" in said
    assert f"and {len(bundled.loaded.tokens({'text': longer['corrupted_text']}))} tokens" in said


def test_the_patched_prediction_of_the_last_residual_is_the_clean_one(
    bundled: HookedTransformerLIT,
) -> None:
    last = len(bundled.loaded.tokens({"text": EXAMPLE["corrupted_text"]})) - 1
    result = analyze(
        "Patched prediction", bundled, EXAMPLE, component="resid_post", layer=3, position=last
    )
    clean, corrupt, patched = result["probability"].values
    np.testing.assert_allclose(patched, clean, atol=1e-5)
    assert np.abs(corrupt - clean).max() > 0.1
    assert (result["probability"].values.max(0)[:-1] + 1e-9 >= 0).all()
    for ask in ({"position": 90}, {"component": "z", "unit": 9}, {"layer": 40, "position": 1}):
        with pytest.raises(ValueError, match=r"out of range|has no"):
            analyze("Patched prediction", bundled, EXAMPLE, **ask)
    with pytest.raises(ValueError, match="give the head as unit"):
        analyze("Patched prediction", bundled, EXAMPLE, component="z")


def test_one_layer_is_looked_into_by_head_and_token(bundled: HookedTransformerLIT) -> None:
    ask = {"component": "z", "layers": "one", "layer": 1}
    result = analyze("Activation patching", bundled, EXAMPLE, **ask)
    pair, dims = PromptPair.of(EXAMPLE), ("layer", "head", "position")
    expected = patch(bundled, pair, "z", dims=dims, layers=[1])
    assert result["change"].dims == dims
    np.testing.assert_allclose(result["change"].values, expected["effect"].values, atol=1e-6)
    grid = draw("Activation patching", bundled, EXAMPLE, **ask)
    assert isinstance(grid, Grid)
    (part,) = grid.parts
    assert grid.title.startswith("z of layer 1")
    assert (part.rows.name, part.columns.name) == ("head", "position")
    np.testing.assert_allclose(part.values, expected["effect"].values[0], atol=1e-6)
    mean = analyze("Patching over data", bundled, examples=EXAMPLES, most=2, method="exact", **ask)
    assert mean["mean"].dims == dims
    drawn = draw("Patching over data", bundled, examples=EXAMPLES, most=2, method="exact", **ask)
    assert isinstance(drawn, Grid)
    assert drawn.parts[0].values.shape == part.values.shape


def test_the_neurons_of_a_layer_are_drawn_and_the_largest_named(
    bundled: HookedTransformerLIT,
) -> None:
    ask = {"component": "mlp_post", "layers": "one", "layer": 3}
    result = analyze("Activation patching", bundled, EXAMPLE, **ask)
    change = result["change"].values
    expected = patch(bundled, PromptPair.of(EXAMPLE), "mlp_post", dims=("neuron",), layers=[3])
    np.testing.assert_allclose(change, expected["effect"].values, atol=1e-6)
    most = int(np.abs(change).argmax())
    assert f"Largest neurons: {most} ({change[most]:+.3g})," in result.attrs["note"]
    grid = draw("Activation patching", bundled, EXAMPLE, **ask)
    assert isinstance(grid, Grid)
    (part,) = grid.parts
    row, column = divmod(most, 64)
    assert part.values[row, column] == pytest.approx(change[most])
    assert int(part.rows.labels[row]) + int(part.columns.labels[column]) == most
    patched = {"component": "mlp_post", "layer": 3, "unit": most}
    shown = analyze("Patched prediction", bundled, EXAMPLE, **patched)
    assert f"in neuron {most}" in shown.attrs["title"]
    probabilities = shown["probability"].values
    assert np.abs(probabilities[2] - probabilities[1]).max() > 1e-6


def test_every_position_of_a_head_moves_what_the_head_moves(bundled: HookedTransformerLIT) -> None:
    ask = {"component": "z", "layer": 1, "unit": 3}
    whole = analyze("Patched prediction", bundled, EXAMPLE, **ask)["probability"]
    last = len(bundled.loaded.tokens({"text": EXAMPLE["corrupted_text"]})) - 1
    at_last = analyze("Patched prediction", bundled, EXAMPLE, position=last, **ask)["probability"]
    before = analyze("Patched prediction", bundled, EXAMPLE, position=1, **ask)["probability"]
    moved = [np.abs(part.values[2] - part.values[1]).max() for part in (whole, at_last, before)]
    assert moved[0] == pytest.approx(moved[1], rel=0.3)
    assert moved[2] < 1e-6, "a token before the first difference"


def test_a_mean_over_data_is_that_of_its_pairs(bundled: HookedTransformerLIT) -> None:
    result = analyze(
        "Patching over data", bundled, examples=EXAMPLES, method="exact", component="z", most=4
    )
    pairs = [PromptPair.of(example) for example in EXAMPLES[:4]]
    expected = patch(bundled, pairs, "z")
    np.testing.assert_allclose(result["mean"].values, expected["mean"].values, atol=1e-6)
    np.testing.assert_allclose(result["low"].values, expected["low"].values, atol=1e-6)
    assert result.attrs["note"].startswith("4 pairs.")
    with pytest.raises(PairError, match="no prompt of this data set"):
        analyze("Patching over data", bundled, examples=[{"text": "a"}])


def test_work_that_was_stopped_goes_on_where_it_was(
    bundled: HookedTransformerLIT, passes: list[int]
) -> None:
    ask = {"component": "v", "most": 3}
    analyze("Patching over data", bundled, examples=EXAMPLES, **ask)
    first = len(passes)
    assert first > 3
    analyze("Patching over data", bundled, examples=EXAMPLES, **{**ask, "most": 4})
    assert len(passes) - first <= first // 3 + 1


def test_shares_are_listed_with_what_is_not_shown(bundled: HookedTransformerLIT) -> None:
    result = analyze("Logit attribution", bundled, EXAMPLE)
    own = logit_attribution(bundled, EXAMPLE["text"], EXAMPLE["answer"], EXAMPLE["foil"])
    np.testing.assert_allclose(result["share"].values, own["share"].values)
    assert f"{own.attrs['logit']:.3f} logits" in result.attrs["title"]
    by_source = analyze("Logit attribution", bundled, EXAMPLE, by="source", top=5)
    assert len(by_source["part"]) == 5
    assert " from " in str(by_source["part"].values[0])
    likeliest = analyze(
        "Logit attribution", bundled, {"text": EXAMPLE["text"]}, of="likeliest token"
    )
    assert likeliest["share"].values.sum() > 0
    with pytest.raises(ValueError, match="no answer and foil"):
        analyze("Logit attribution", bundled, {"text": EXAMPLE["text"]})


def test_more_edges_of_a_circuit_cost_no_pass(
    bundled: HookedTransformerLIT, passes: list[int]
) -> None:
    few = analyze("Circuit", bundled, EXAMPLE, edges=5, random=1)
    before = len(passes)
    many = analyze("Circuit", bundled, EXAMPLE, edges=30, random=1)
    assert len(passes) == before
    assert (few.attrs["drawn"], many.attrs["drawn"]) == (5, 30)
    figure = draw("Circuit", bundled, EXAMPLE, edges=5, random=1)
    assert len(figure.data) <= 5 + 1 + 4


def test_attribution_and_circuits_go_over_the_data_set(bundled: HookedTransformerLIT) -> None:
    ask = {"over": "data set", "most": 4}
    examples = [{"text": "no answer"}, *EXAMPLES[:3]]
    result = analyze("Logit attribution", bundled, EXAMPLE, examples=examples, **ask)
    pairs = [PromptPair.of(example) for example in EXAMPLES[:3]]
    expected = logit_attribution(bundled, pairs)
    np.testing.assert_allclose(result["share"].values, expected["mean"].values, atol=1e-6)
    np.testing.assert_allclose(result["low"].values, expected["low"].values, atol=1e-6)
    assert "1 of 4 pairs is left out: pair 0: no answer" in result.attrs["note"]
    figure = draw("Logit attribution", bundled, EXAMPLE, examples=examples, by="head", **ask)
    assert figure.data[0].error_y.array is not None  # type: ignore[union-attr]
    found = analyze("Circuit", bundled, EXAMPLE, examples=EXAMPLES, over="data set", most=3)
    assert "Circuits of edges of 3 pairs" in found.attrs["note"]
    assert np.isfinite(found["low"].values).all()
    alone = analyze("Circuit", bundled, EXAMPLE, examples=EXAMPLES, metric="probability")
    assert alone.attrs["metric"] == "probability"
    with pytest.raises(ValueError, match="no likeliest token in common"):
        analyze(
            "Logit attribution", bundled, EXAMPLE, examples=EXAMPLES, of="likeliest token", **ask
        )


def test_a_card_says_what_a_change_can_reach(bundled: HookedTransformerLIT) -> None:
    def reaches(**ask: object) -> list[str]:
        grid = draw("Activation patching", bundled, EXAMPLE, **ask)
        assert isinstance(grid, Grid)
        return list(grid.parts[0].reaches)

    residual = reaches(component="resid_post")
    assert residual[0] == "Reaches layers 1 and later at this token, and tokens behind it."
    assert residual[2] == "Reaches layer 3 at this token, and tokens behind it."
    assert residual[3] == "Reaches the logits of its own token alone, where it is the last token."
    assert reaches(component="k")[3] == "Reaches layer 3."
    assert reaches(component="z", layers="one", layer=1) == [
        "Reaches layers 2 and later at this token, and tokens behind it."
    ]


def test_heads_are_found_with_their_prompts(bundled: HookedTransformerLIT) -> None:
    grid = draw("Head finder", bundled, examples=EXAMPLES, sequences=2, length=10)
    own = find_heads(bundled, [each["text"] for each in EXAMPLES], sequences=2, length=10)
    assert isinstance(grid, Grid)
    assert [part.title for part in grid.parts] == list(own["score_name"].values)
    np.testing.assert_allclose(grid.parts[0].values, own["score"].values[0])
    texts = {each["text"] for each in EXAMPLES} | {""}
    tokens = grid.parts[2].top_tokens
    assert tokens is not None
    assert set(tokens.ravel()) <= texts
