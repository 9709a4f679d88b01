"""Truths about changed models."""

import contextlib
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch

from lit_tl import HookedTransformerLIT, analyze
from lit_tl.causal.heads import find_heads
from lit_tl.data.tasks import read_task
from lit_tl.engine.interventions import Array, Replace, Steer
from lit_tl.engine.requests import Observe
from lit_tl.engine.sites import Site
from lit_tl.lens.trajectory import PredictionTrajectory
from lit_tl.variants.text import parse_change
from tests.conftest import FAMILIES

TEXT = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
EXAMPLES = [{"text": TEXT, "answer": " Mary", "foil": " John"}, {"text": "The capital of Spain is"}]


@pytest.fixture(params=[*FAMILIES, "bundled"])
def model(
    request: pytest.FixtureRequest,
    models: dict[str, HookedTransformerLIT],
    bundled: HookedTransformerLIT,
) -> HookedTransformerLIT:
    return bundled if request.param == "bundled" else models[request.param]


def logits_of(model: HookedTransformerLIT, text: str = TEXT) -> torch.Tensor:
    loaded = model.loaded
    return loaded.runner.run_ids(torch.tensor([loaded.prompt({"text": text}).ids])).need_logits()[0]


def value_at(model: HookedTransformerLIT, site: str, text: str = TEXT) -> torch.Tensor:
    loaded = model.loaded
    observe = {"value": Observe(Site.parse(site))}
    (batch,) = loaded.runner.run([loaded.prompt({"text": text})], observe=observe)
    value: torch.Tensor = batch.observed["value"][0]
    return value


def same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    return bool(first == second)


def test_no_change_is_the_model_bit_for_bit(model: HookedTransformerLIT) -> None:
    variant = model.with_interventions()
    for own, changed in zip(model.predict(EXAMPLES), variant.predict(EXAMPLES), strict=True):
        assert own.keys() == changed.keys()
        assert all(same(own[name], changed[name]) for name in own)


def test_every_head_at_zero_is_no_attention_but_its_bias(model: HookedTransformerLIT) -> None:
    n_heads = model.loaded.runner.shape.n_heads
    heads = model.with_interventions(*(f"L1H{head} = zero" for head in range(n_heads)))
    bias = value_at(heads, "attn_out[1]@-1")
    whole = model.with_interventions(Replace(Site("attn_out", 1), Array(bias.numpy())))
    torch.testing.assert_close(logits_of(heads), logits_of(whole), atol=1e-4, rtol=1e-4)
    module = model.model.blocks[1].attn
    own = getattr(getattr(module, "o", None), "bias", None)
    expected = torch.zeros_like(bias) if own is None else own.detach()
    torch.testing.assert_close(bias, expected.reshape(bias.shape), atol=1e-5, rtol=1e-5)


def test_a_layer_at_zero_is_skipped(model: HookedTransformerLIT) -> None:
    variant = model.with_interventions("L1 = zero")
    torch.testing.assert_close(
        value_at(variant, "resid_post[1]"), value_at(model, "resid_pre[1]"), atol=1e-5, rtol=1e-5
    )


def test_the_whole_residual_of_another_prompt_gives_its_prediction(
    model: HookedTransformerLIT,
) -> None:
    tokens = [len(model.loaded.prompt({"text": text})) for text in (TEXT, OTHER)]
    assert tokens[0] == tokens[1]
    variant = model.with_interventions(f'resid_post[0] = run("{OTHER}")')
    torch.testing.assert_close(logits_of(variant), logits_of(model, OTHER), atol=1e-4, rtol=1e-4)
    last = model.with_interventions('resid_post[1]@-1 = run("The capital of Spain is")')
    final = model.loaded.runner.shape.n_layers - 1
    if final == 1:
        torch.testing.assert_close(
            logits_of(last)[-1], logits_of(model, "The capital of Spain is")[-1], atol=1e-4, rtol=0
        )


def test_steering_by_nothing_is_the_model_bit_for_bit(model: HookedTransformerLIT) -> None:
    variant = model.with_interventions('resid_post[0] += 0 * dir("love" - "hate")')
    assert torch.equal(logits_of(variant), logits_of(model))


def test_changes_at_different_sites_commute(model: HookedTransformerLIT) -> None:
    changes = ["L0H1 = zero", 'resid_post[0]@1: += 0.5 * dir("love")', "mlp_out[1] = mean(ioi)"]
    forth, back = (model.with_interventions(*each) for each in (changes, changes[::-1]))
    assert torch.equal(logits_of(forth), logits_of(back))


def test_a_mean_is_that_of_every_token_of_the_data_set(model: HookedTransformerLIT) -> None:
    data = [{"text": TEXT}, {"text": "The capital of Spain is"}, {"text": "a"}]
    variant = model.with_interventions("L1H2 = mean(mine)", data_sets={"mine": data})
    every = torch.cat([value_at(model, "L1H2", each["text"]) for each in data])
    expected = every.mean(0).expand_as(value_at(model, "L1H2"))
    torch.testing.assert_close(value_at(variant, "L1H2"), expected, atol=1e-5, rtol=1e-4)
    last = model.with_interventions("L1H2@-1 = mean(mine)", data_sets={"mine": data})
    ends = torch.stack([value_at(model, "L1H2@-1", each["text"]) for each in data])
    torch.testing.assert_close(value_at(last, "L1H2@-1"), ends.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(value_at(last, "L1H2@0:3"), value_at(model, "L1H2@0:3"))


def test_resampled_values_are_those_of_the_data_set(model: HookedTransformerLIT) -> None:
    data = [{"text": OTHER}, {"text": "The capital of Spain is"}]
    variant = model.with_interventions("L1H2 = resample(mine, 3)", data_sets={"mine": data})
    pool = torch.cat([value_at(model, "L1H2", each["text"]) for each in data])
    values = value_at(variant, "L1H2")
    assert torch.cdist(values, pool).min(dim=1).values.max() < 1e-4
    assert len({tuple(row) for row in values.tolist()}) > 3, "each token has its own"
    again = model.with_interventions("L1H2 = resample(mine, 3)", data_sets={"mine": data})
    assert torch.equal(value_at(again, "L1H2"), values)
    other = model.with_interventions("L1H2 = resample(mine, 4)", data_sets={"mine": data})
    assert not torch.equal(value_at(other, "L1H2"), values)


def test_a_variant_is_made_of_a_variant(bundled: HookedTransformerLIT) -> None:
    both = bundled.with_interventions("L1H3 = zero").with_interventions("L2H0 = zero")
    at_once = bundled.with_interventions("L1H3 = zero; L2H0 = zero")
    assert torch.equal(logits_of(both), logits_of(at_once))
    assert [str(change) for change in both.loaded.changes] == ["L1H3 = zero", "L2H0 = zero"]
    assert both.original is bundled
    assert both.loaded.state() != at_once.loaded.state() != bundled.loaded.state()
    twice = parse_change('resid_post[1] += 0.5 * dir("love")')
    steered = bundled.with_interventions(twice, twice)
    (vector,) = {change.values[0] for change in steered.loaded.runner.interventions}
    steers = [Steer(Site("resid_post", 1), vector, 0.5)] * 2
    assert torch.equal(logits_of(steered), logits_of(bundled.with_interventions(*steers)))
    assert "Changed: L1H3 = zero; L2H0 = zero." in both.description()


def test_equal_changes_are_equal_whether_made_at_once_or_one_by_one(
    bundled: HookedTransformerLIT,
) -> None:
    texts = ["L0 = zero", "L3 = mean(mine)", 'resid_post[2] += 0.5 * dir("love")']
    data = {"mine": [{"text": OTHER}, {"text": "a b c"}]}
    at_once = bundled.with_interventions(*texts, data_sets=data)
    first = bundled.with_interventions(texts[0], data_sets=data)
    one_by_one = first.with_interventions(texts[1]).with_interventions(texts[2])
    assert one_by_one.loaded.changes == at_once.loaded.changes
    assert torch.equal(logits_of(one_by_one), logits_of(at_once))


@pytest.mark.parametrize(
    "change",
    [
        "L1H3@12 = zero",
        "resid_post[3] = mean(ioi)",
        "unembed_in = zero",
        "z = zero",
        "L0@20 = zero",
    ],
)
@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("Circuit", {"random": 0}),
        ("Activation patching", {}),
        ("Attention", {"value_weighted": True}),
    ],
)
def test_what_a_variant_can_not_do_its_original_still_can(
    change: str, name: str, ask: dict[str, Any]
) -> None:
    model = HookedTransformerLIT.from_pretrained("lit-tl-tiny")
    example = {**EXAMPLES[0], "corrupted_text": OTHER}
    with contextlib.suppress(ValueError):
        analyze(name, model.with_interventions(change), example, **ask)
    assert analyze(name, model, example, **ask).attrs["value"]


def test_a_change_from_a_later_position_on_leaves_what_comes_before(
    bundled: HookedTransformerLIT,
) -> None:
    """Also in generated tokens and in answers behind a shorter prompt."""
    fields = ["generated_text", "answer_prob"]
    example = {"text": TEXT, "answer": " Mary and went home"}
    (own,) = bundled.predict([example], fields=fields)
    (never,) = bundled.with_interventions("L1@100: = zero").predict([example], fields=fields)
    assert never["generated_text"] == own["generated_text"]
    assert never["answer_prob"] == pytest.approx(own["answer_prob"], rel=1e-4)
    length = len(bundled.loaded.prompt({"text": TEXT}))
    later = bundled.with_interventions(f"L1@{length + 2}: = zero")
    (made,) = later.predict([{"text": TEXT}, {"text": "a"}][:1], fields=["generated_text"])
    ids = list(bundled.loaded.prompt({"text": TEXT}).ids)

    def zero(value: torch.Tensor, hook: Any) -> torch.Tensor:
        value = value.clone()
        value[:, length + 2 :] = 0
        return value

    hooks = [(f"blocks.1.{name}", zero) for name in ("hook_attn_out", "hook_mlp_out")]
    for _ in range(later.config.max_new_tokens):
        with torch.no_grad():
            logits = bundled.model.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)
        ids.append(int(logits[0, -1].argmax()))
    new = ids[length:]
    new = new[: new.index(0)] if 0 in new else new
    assert made["generated_text"] == bundled.model.tokenizer.decode(new)


def test_generated_text_is_that_of_a_plain_loop_with_hooks(bundled: HookedTransformerLIT) -> None:
    variant = bundled.with_interventions(
        'resid_post[1]@1: += 0.8 * dir("happy" - "sad"); L2H0 = zero in prompt'
    )
    model, prompt = bundled.model, bundled.loaded.prompt({"text": TEXT})
    vector = value_at(bundled, "resid_post[1]@-1", "happy") - value_at(
        bundled, "resid_post[1]@-1", "sad"
    )

    def steer(value: torch.Tensor, hook: Any) -> torch.Tensor:
        value = value.clone()
        value[:, 1:] += 0.8 * value[:, 1:].norm(dim=-1, keepdim=True) * vector / vector.norm()
        return value

    def ablate(value: torch.Tensor, hook: Any) -> torch.Tensor:
        value = value.clone()
        value.reshape(*value.shape[:2], 4, -1)[:, : len(prompt), 0] = 0
        return value

    ids = list(prompt.ids)
    hooks = [("blocks.1.hook_resid_post", steer), ("blocks.2.attn.hook_z", ablate)]
    for _ in range(variant.config.max_new_tokens):
        with torch.no_grad():
            logits = model.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)
        ids.append(int(logits[0, -1].argmax()))
    (prediction,) = variant.predict([{"text": TEXT}], fields=["generated_text"])
    (plain,) = bundled.predict([{"text": TEXT}], fields=["generated_text"])
    new = ids[len(prompt) :]
    new = new[: new.index(0)] if 0 in new else new
    assert prediction["generated_text"] == model.tokenizer.decode(new)
    assert prediction["generated_text"] != plain["generated_text"]


def test_without_its_induction_heads_a_model_repeats_no_sequence(
    bundled: HookedTransformerLIT,
) -> None:
    scores = find_heads(bundled)["score"].sel(score_name="induction")
    found = sorted(
        ((float(scores[layer, head]), layer, head) for layer in range(4) for head in range(4)),
        reverse=True,
    )
    induction = [(layer, head) for score, layer, head in found if score > 0.5]
    others = [(layer, head) for _, layer, head in found[len(induction) :]]
    assert 2 <= len(induction) <= 6
    half = torch.randint(100, 2048, (20, 20), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([torch.zeros(20, 1, dtype=torch.long), half, half], 1)

    def accuracy(heads: list[tuple[int, int]]) -> float:
        variant = bundled.with_interventions(*(f"L{layer}H{head} = zero" for layer, head in heads))
        logits = variant.loaded.runner.run_ids(ids).need_logits()
        return float((logits[:, 21:40].argmax(-1) == ids[:, 22:41]).float().mean())

    assert accuracy([]) > 0.9
    assert accuracy(induction) < 0.5
    drawn = [random.Random(seed).sample(others, len(induction)) for seed in range(10)]
    # A draw may hit the previous-token head that the induction heads read.
    assert np.median([accuracy(heads) for heads in drawn]) > 0.7


def test_a_direction_of_agreement_pairs_makes_plurals_of_singulars(
    bundled: HookedTransformerLIT,
) -> None:
    pairs = read_task("agreement").examples
    sets: dict[str, list[dict[str, Any]]] = {"plural": [], "singular": []}
    for pair in pairs[:50]:
        own, other = ("plural", "singular")[:: 1 if pair["template"] == "plural subject" else -1]
        sets[own].append({"text": pair["text"]})
        sets[other].append({"text": pair["corrupted_text"]})
    held_out = [pair for pair in pairs[50:] if pair["template"] == "singular subject"]
    assert len(held_out) > 10

    def singular(strength: float) -> float:
        variant = bundled.with_interventions(
            f"resid_post[0] += {strength} * dir(mean(plural) - mean(singular))", data_sets=sets
        )
        made = variant.predict(held_out, fields=["logit_diff"])
        return float(np.mean([prediction["logit_diff"] > 0 for prediction in made]))

    assert singular(0.0) > 0.95
    assert singular(1.0) < 0.05
    assert singular(0.5) < singular(0.25)


def test_eight_threads_ask_original_and_variants_alternately(
    bundled: HookedTransformerLIT,
) -> None:
    asked = [
        bundled,
        bundled.with_interventions("L1H3 = zero"),
        bundled.with_interventions('resid_post[1] += 0.5 * dir("love")'),
    ]
    examples = [dict(example) for example in read_task("ioi").examples[:6]]
    fields = ["loss", "answer_prob", "logit_diff", "next_tokens"]

    def answers(which: int, example: int) -> dict[str, Any]:
        (made,) = asked[which].predict([examples[example]], fields=fields)
        return made

    serial = {(which, at): answers(which, at) for which in range(3) for at in range(6)}
    assert serial[0, 0]["answer_prob"] != serial[1, 0]["answer_prob"]
    wrong: list[Any] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(50):
            key = draw.randrange(3), draw.randrange(6)
            made = answers(*key)
            if any(not same(made[name], serial[key][name]) for name in fields):
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_trajectory_of_a_variant_is_that_of_the_changed_run(
    bundled: HookedTransformerLIT,
) -> None:
    variant = bundled.with_interventions("L1H3 = zero")
    ids = torch.tensor([bundled.loaded.prompt({"text": TEXT}).ids])
    lens = bundled.loaded.lenses.lenses["tuned"]
    made = PredictionTrajectory.from_lens_and_model(lens, variant.loaded.runner, ids[0])
    (batch,) = variant.loaded.runner.run(
        [bundled.loaded.prompt({"text": TEXT})], observe={"resid": Observe(Site("resid_pre"))}
    )
    for layer, value in batch.observed["resid"].items():
        expected = lens(value[0], layer).log_softmax(-1).detach().numpy()
        np.testing.assert_allclose(made.log_probs[layer], expected, atol=1e-3)
    final = batch.need_logits()[0].log_softmax(-1).numpy()
    np.testing.assert_allclose(made.log_probs[-1], final, atol=1e-3)
    plain = PredictionTrajectory.from_lens_and_model(lens, bundled.loaded.runner, ids[0])
    assert np.abs(plain.log_probs[2] - made.log_probs[2]).max() > 0.1
    np.testing.assert_allclose(plain.log_probs[1], made.log_probs[1], atol=1e-4)


def test_a_variant_takes_no_memory_for_weights(bundled: HookedTransformerLIT) -> None:
    variant = bundled.with_interventions("L1H3 = zero")
    assert variant.model is bundled.model
    assert variant.loaded.prompter is bundled.loaded.prompter
    assert variant.loaded.lenses is bundled.loaded.lenses
    assert variant.loaded.runner is not bundled.loaded.runner
