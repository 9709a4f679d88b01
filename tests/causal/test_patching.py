"""Truths about exact patching, and that no shortcut changes a number."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformer_lens import patching

from lit_tl import HookedTransformerLIT, analyze
from lit_tl.causal import maps
from lit_tl.causal.estimates import estimate
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PairError, PromptPair, Sides
from lit_tl.causal.patching import patch, patch_steps
from lit_tl.engine.interventions import Numbers, Replace
from lit_tl.engine.requests import Observe
from lit_tl.engine.sites import Site
from lit_tl.engine.variations import variations
from lit_tl.models.errors import BUNDLED_MODELS
from tests.causal.conftest import OTHER_LENGTH, SAME_LENGTH

COMPONENTS = (
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_out",
    "mlp_out",
    "mlp_post",
    "z",
    "q",
    "k",
    "v",
    "pattern",
)


def components_of(model: CausalModel) -> list[str]:
    return [name for name in COMPONENTS if model.runner.layers(name)]  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("pair", [SAME_LENGTH, OTHER_LENGTH], ids=["same length", "other length"])
def test_every_shortcut_equals_the_plain_loop(
    model: CausalModel, pair: PromptPair, direction: Any
) -> None:
    for component in components_of(model):
        if component == "pattern" and pair is OTHER_LENGTH:
            continue
        ask = {"direction": direction, "metric": "logit difference"}
        fast = patch(model, pair, component, **ask)  # type: ignore[arg-type]
        *_, plain = patch_steps(model, pair, component, resume=False, **ask)  # type: ignore[arg-type]
        assert fast.attrs["method"] == "exact patching"
        assert "whole pass" in plain.attrs["method"]
        assert np.isfinite(fast["effect"].values).any()
        np.testing.assert_allclose(
            fast["effect"].values, plain["effect"].values, atol=1e-4, err_msg=component
        )


def test_heads_by_position_equal_the_plain_loop(model: CausalModel) -> None:
    for component in ("z", "q", "k", "v", "pattern"):
        ask = {"dims": ("layer", "head", "position"), "metric": "logit difference"}
        fast = patch(model, SAME_LENGTH, component, **ask)  # type: ignore[arg-type]
        *_, plain = patch_steps(model, SAME_LENGTH, component, resume=False, **ask)  # type: ignore[arg-type]
        np.testing.assert_allclose(fast["effect"].values, plain["effect"].values, atol=1e-4)


def test_neurons_of_a_layer_equal_the_plain_loop(model: CausalModel) -> None:
    ask = {"dims": ("neuron",), "layers": [1], "metric": "logit difference"}
    fast = patch(model, SAME_LENGTH, "mlp_post", **ask)  # type: ignore[arg-type]
    *_, plain = patch_steps(model, SAME_LENGTH, "mlp_post", resume=False, **ask)  # type: ignore[arg-type]
    assert fast["effect"].shape[0] > 50
    np.testing.assert_allclose(fast["effect"].values, plain["effect"].values, atol=1e-4)


def test_clean_into_clean_changes_nothing(model: CausalModel) -> None:
    prompt = model.prompter.prompt({"text": SAME_LENGTH.clean})
    sides = Sides(base=prompt, source=prompt, partner=np.arange(len(prompt)))
    for component in components_of(model):
        chosen = maps.plan(model, component, None, None)
        observe = {"value": maps.observation(chosen)}
        (batch,) = model.runner.run([prompt], observe=observe)
        source = {layer: value[0] for layer, value in batch.observed["value"].items()}
        own = [(p, p + 1, p) for p in (0, 3, len(prompt) - 1)]
        cells = [
            maps.Cell((0, 0), layer, unit, tuple(own))
            for layer in chosen.layers
            for unit in (None if chosen.units is None else 0,)
        ]
        changes = [maps.interventions_of(chosen, cell, source) for cell in cells]
        assert sides.first == len(prompt)
        for part in variations(model.runner, prompt, changes):
            expected = batch.need_logits()[0, -1].expand(len(part.index), -1)
            torch.testing.assert_close(part.logits[:, 0], expected, atol=1e-5, rtol=1e-4)


def test_patching_every_position_of_a_residual_gives_the_clean_logits(model: CausalModel) -> None:
    clean = model.prompter.prompt({"text": SAME_LENGTH.clean})
    corrupt = model.prompter.prompt({"text": SAME_LENGTH.corrupt})
    observe = {"value": Observe(Site("resid_pre"))}
    (batch,) = model.runner.run([clean], observe=observe)
    layers = model.runner.layers("resid_pre")
    changes = [
        [
            Replace(
                Site("resid_pre", layer, positions=(0, len(clean))),
                Numbers(batch.observed["value"][layer][0]),
            )
        ]
        for layer in layers
    ]
    seen = 0
    for part in variations(model.runner, corrupt, changes):
        assert part.resumed
        seen += len(part.index)
        expected = batch.need_logits()[0, -1].expand(len(part.index), -1)
        torch.testing.assert_close(part.logits[:, 0], expected, atol=1e-4, rtol=1e-4)
    assert seen == len(layers)


def test_the_last_residual_at_the_last_position_is_the_whole_answer(model: CausalModel) -> None:
    result = patch(model, SAME_LENGTH, "resid_post")
    assert result["effect"].values[-1, -1] == pytest.approx(1.0, abs=1e-4)
    assert result.attrs["clean"] == pytest.approx(1.0)
    assert result.attrs["corrupt"] == pytest.approx(0.0)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_what_comes_before_the_first_difference_is_the_unchanged_run(
    model: CausalModel, direction: Any
) -> None:
    result = patch(model, SAME_LENGTH, "resid_pre", direction=direction)
    first = next(
        i
        for i, (one, two) in enumerate(
            zip(result.attrs["tokens"], result.attrs["source_tokens"], strict=True)
        )
        if one != two
    )
    assert first > 3
    unchanged = result.attrs["corrupt" if direction == "denoise" else "clean"]
    assert (result["effect"].values[:, :first] == unchanged).all()
    assert not (result["effect"].values[:, first:] == unchanged).all()


def test_positions_without_a_partner_have_no_number(model: CausalModel) -> None:
    result = patch(model, OTHER_LENGTH, "resid_pre", metric="logit difference")
    tokens, effect = result.attrs["tokens"], result["effect"].values
    missing = [i for i, token in enumerate(tokens) if np.isnan(effect[:, i]).all()]
    assert [tokens[i] for i in missing]
    assert result["partner"].values[missing].tolist() == [-1] * len(missing)
    assert np.isfinite(np.delete(effect, missing, axis=1)).all()
    assert f"{len(missing)} tokens have no partner" in result.attrs["note"]


@pytest.mark.parametrize("component", ["resid_pre", "z"])
def test_numbers_are_those_of_transformer_lens(
    bundled: HookedTransformerLIT, component: str
) -> None:
    model = CausalModel.of(bundled)
    clean, corrupt = (
        torch.tensor([model.prompter.prompt({"text": text}).ids])
        for text in (SAME_LENGTH.clean, SAME_LENGTH.corrupt)
    )
    answer, foil = (model.prompter.answer(text)[0] for text in (" Mary", " John"))
    with torch.no_grad():
        _, cache = bundled.model.run_with_cache(clean)
        theirs = {
            "resid_pre": patching.get_act_patch_resid_pre,
            "z": patching.get_act_patch_attn_head_out_all_pos,
        }[component](
            bundled.model,
            corrupt,
            cache,
            lambda logits: logits[0, -1, answer] - logits[0, -1, foil],
        )
    ours = patch(bundled, SAME_LENGTH, component, metric="logit difference")
    np.testing.assert_allclose(ours["effect"].values, theirs.cpu().numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("pair", "metric", "sentence"),
    [
        (dataclasses.replace(SAME_LENGTH, answer=""), "logit difference", "no answer"),
        (dataclasses.replace(SAME_LENGTH, foil=""), "logit difference", "no foil"),
        (dataclasses.replace(SAME_LENGTH, answer=""), "probability", "no answer"),
        (dataclasses.replace(SAME_LENGTH, foil=" Mary"), "logit difference", "begin alike"),
        (dataclasses.replace(SAME_LENGTH, corrupt=SAME_LENGTH.clean), "KL divergence", "same"),
        (dataclasses.replace(SAME_LENGTH, clean=""), "KL divergence", "clean prompt is empty"),
        (dataclasses.replace(SAME_LENGTH, corrupt="x " * 9000), "KL divergence", "shorten it"),
        (dataclasses.replace(SAME_LENGTH, alignment=((90, 0),)), "KL divergence", "position 90"),
        (dataclasses.replace(SAME_LENGTH, alignment=()), "KL divergence", "alignment is empty"),
    ],
)
def test_a_pair_that_does_not_do_is_refused_in_a_sentence(
    bundled: HookedTransformerLIT, pair: PromptPair, metric: Any, sentence: str
) -> None:
    with pytest.raises(PairError, match=sentence) as refused:
        patch(bundled, pair, metric=metric)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        ({"component": "resid"}, "can't be patched"),
        ({"metric": "accuracy"}, "no metric"),
        ({"direction": "both"}, "denoise and noise"),
        ({"layers": [40]}, "layer 40"),
        ({"dims": ("head",)}, "layer x position"),
        ({"component": "mlp_post", "dims": ("neuron",)}, "of one layer"),
        ({"metric": lambda logits: logits}, "one number for each run"),
    ],
)
def test_a_setting_that_does_not_do_is_refused_in_a_sentence(
    bundled: HookedTransformerLIT, ask: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        patch(bundled, SAME_LENGTH, **ask)


def test_an_answer_of_several_tokens_is_measured_whole(bundled: HookedTransformerLIT) -> None:
    model = CausalModel.of(bundled)
    pair = dataclasses.replace(SAME_LENGTH, answer=" Mary and Arthur")
    count = len(model.prompter.answer(pair.answer))
    assert count > 1
    result = patch(model, pair, "resid_post", metric="log-probability")
    assert f"All {count} tokens of the answer" in result.attrs["note"]
    prompt = model.prompter.prompt({"text": pair.clean + pair.answer})
    (batch,) = model.runner.run([prompt])
    log_probs = batch.need_logits()[0].log_softmax(-1)
    expected = sum(
        float(log_probs[-count - 1 + i, token]) for i, token in enumerate(prompt.ids[-count:])
    )
    assert result.attrs["clean_metric"] == pytest.approx(expected, abs=1e-3)


def test_answer_and_foil_that_begin_alike_are_told_apart_where_they_differ(
    bundled: HookedTransformerLIT,
) -> None:
    pair = dataclasses.replace(SAME_LENGTH, answer=" Mary and Arthur", foil=" Mary and Denise")
    result = patch(bundled, pair, "resid_pre")
    assert "against" in result.attrs["note"]
    assert len(result["position"]) > len(
        CausalModel.of(bundled).prompter.prompt({"text": pair.corrupt})
    )


def test_kl_divergence_is_nothing_for_the_clean_run(bundled: HookedTransformerLIT) -> None:
    pair = dataclasses.replace(SAME_LENGTH, answer="", foil="")
    result = patch(bundled, pair, "resid_post", metric="KL divergence")
    assert result.attrs["clean_metric"] == pytest.approx(0.0, abs=1e-6)
    assert result.attrs["corrupt_metric"] > 0.1
    assert result["effect"].values[-1, -1] == pytest.approx(0.0, abs=1e-4)


def test_a_metric_of_ones_own_is_measured(bundled: HookedTransformerLIT) -> None:
    def spread(logits: torch.Tensor) -> torch.Tensor:
        return logits.std(-1)

    result = patch(bundled, SAME_LENGTH, "resid_post", metric=spread)
    assert result.attrs["metric"] == "spread"
    assert result["effect"].values[-1, -1] == pytest.approx(result.attrs["clean"], abs=1e-4)


def test_a_metric_that_is_no_number_is_refused_in_a_sentence(bundled: HookedTransformerLIT) -> None:
    def nothing(logits: torch.Tensor) -> torch.Tensor:
        return logits[:, 0] * float("nan")

    def steep(logits: torch.Tensor) -> torch.Tensor:
        return (logits[:, 0] - logits[:, 0]).sqrt()  # 0, with an infinite gradient

    for work in (patch, estimate):
        with pytest.raises(ValueError, match="nothing is nan in a run"):
            work(bundled, SAME_LENGTH, metric=nothing)
    with pytest.raises(ValueError, match="the metric's gradient is nan"):
        estimate(bundled, SAME_LENGTH, metric=steep)


def test_a_model_of_hugging_face_is_patched_as_it_is(
    bundled: HookedTransformerLIT, tmp_path: pathlib.Path
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(next(iter(BUNDLED_MODELS.values())))
    before = {name: type(module) for name, module in model.named_modules()}
    result = patch(model, SAME_LENGTH, "z")
    expected = patch(bundled, SAME_LENGTH, "z")
    np.testing.assert_allclose(result["effect"].values, expected["effect"].values, atol=1e-4)
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert model.config._attn_implementation == "sdpa"
    example = {
        "text": SAME_LENGTH.clean,
        "corrupted_text": SAME_LENGTH.corrupt,
        "answer": " Mary",
        "foil": " John",
    }
    drawn = analyze("Activation patching", model, example, component="z")
    np.testing.assert_allclose(drawn["effect"].values, expected["effect"].values, atol=1e-4)
    hook = model.transformer.h[1].attn.register_forward_hook(
        lambda module, given, made: (made[0] * 0.5, *made[1:])
    )
    with pytest.raises(ValueError, match="do not give its own logits: take off"):
        patch(model, SAME_LENGTH, "z")
    hook.remove()
    model.name_or_path = str(tmp_path)
    with pytest.raises(ValueError, match="no tokenizer is found for this model") as refused:
        patch(model, SAME_LENGTH, "z")
    assert "\n" not in str(refused.value)
