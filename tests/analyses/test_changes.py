"""What changes do, as the page and notebooks ask for it."""

import math

import numpy as np
import pytest

from lit_tl import HookedTransformerLIT, analyze, draw
from lit_tl.analyses.ablation_effects import AblationEffectSettings, ablation_effects
from lit_tl.analyses.contract import Subject
from lit_tl.analyses.loaded_model import LoadedModel
from lit_tl.data.tasks import read_task
from lit_tl.engine.runner import Runner
from lit_tl.figures.grid import Grid

EXAMPLES = [dict(example) for example in read_task("ioi").examples[:6]]
EXAMPLE = EXAMPLES[1]
STEER = 'resid_post[1] += 0.5 * dir("love" - "hate")'


def answer_of(model: HookedTransformerLIT, name: str = "answer_prob") -> float:
    (made,) = model.predict([EXAMPLE], fields=[name])
    return float(made[name])


def test_a_preview_is_what_the_variant_predicts(bundled: HookedTransformerLIT) -> None:
    changes = f"L1H3 = zero; {STEER}"
    result = analyze("Preview", bundled, EXAMPLE, changes=changes)
    variant = bundled.with_interventions(changes)
    assert result["run"].values.tolist() == ["original", "changed"]
    (own,) = bundled.predict([EXAMPLE], fields=["top_k_tokens", "generated_text"])
    (new,) = variant.predict([EXAMPLE], fields=["top_k_tokens", "generated_text"])
    for row, made in enumerate((own, new)):
        likeliest, probability = made["top_k_tokens"][-1][0]
        shown = result["probability"].sel(next_token=likeliest).values[row]
        assert float(shown) == pytest.approx(probability, abs=1e-5)
        assert made["generated_text"][:8] == result.attrs["texts"][row][:8]
    note = result.attrs["note"]
    assert f"p(answer): {answer_of(bundled):.3g} -> {answer_of(variant):.3g}." in note
    difference = (answer_of(model, "logit_diff") for model in (bundled, variant))
    assert "Logit difference: {:.3g} -> {:.3g}.".format(*difference) in note
    alone = analyze("Preview", bundled, EXAMPLE)
    assert alone["run"].values.tolist() == ["original"]
    with pytest.raises(ValueError, match="head 9 is out of range"):
        analyze("Preview", bundled, EXAMPLE, changes="L1H9 = zero")


def test_a_dose_curve_is_what_each_strength_predicts(bundled: HookedTransformerLIT) -> None:
    changes = f"{STEER}; L2H0 = zero"
    ask = {"changes": changes, "start": -0.5, "stop": 1.0, "steps": 4}
    result = analyze("Dose curve", bundled, EXAMPLE, **ask)
    np.testing.assert_allclose(result["strength"].values, [-0.5, 0.0, 0.5, 1.0])
    for place, strength in enumerate(result["strength"].values):
        variant = bundled.with_interventions(changes.replace("0.5", str(strength), 1))
        shown = float(result["value"].sel(line="answer").values[place])
        assert shown == pytest.approx(answer_of(variant), abs=1e-5)
        foil = float(result["value"].sel(line="foil").values[place])
        assert foil == pytest.approx(answer_of(variant, "foil_prob"), abs=1e-5)
        (made,) = variant.predict([EXAMPLE], fields=["generated_text"])
        assert made["generated_text"][:8] == str(result["text"].values[place])[:8]
    logs = analyze("Dose curve", bundled, EXAMPLE, curve="log-probability", **ask)
    np.testing.assert_allclose(np.exp(logs["value"].values), result["value"].values, atol=1e-5)
    lines = analyze("Dose curve", bundled, EXAMPLE, curve="logit difference", **ask)["line"]
    assert lines.values.tolist() == ["answer less foil"]
    figure = draw("Dose curve", bundled, EXAMPLE, **ask)
    assert [trace.type for trace in figure.data] == ["scatter", "scatter", "table"]  # type: ignore[union-attr]


def test_a_dose_curve_without_what_it_needs_is_refused(bundled: HookedTransformerLIT) -> None:
    for example, ask, sentence in (
        (EXAMPLE, {"changes": "L1H3 = zero"}, "no direction is added: stage one"),
        ({"text": "a b"}, {"changes": STEER}, "this prompt has no answer"),
        (EXAMPLE, {"changes": STEER, "start": 1.0, "stop": 0.0}, "give a larger stop"),
        (
            {"text": "a b", "answer": " c"},
            {"changes": STEER, "curve": "logit difference"},
            "no answer and foil that differ",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            analyze("Dose curve", bundled, example, **ask)


def test_ablations_are_added_in_the_order_of_what_they_do_alone(
    bundled: HookedTransformerLIT,
) -> None:
    texts = ["L0H1 = zero", "L1H3 = zero", "L3H1 = zero"]
    result = analyze("Ablation curve", bundled, EXAMPLE, changes="; ".join(texts))
    own = answer_of(bundled)
    alone = {text: abs(answer_of(bundled.with_interventions(text)) - own) for text in texts}
    order = sorted(texts, key=lambda text: -alone[text])
    assert result["added"].values.tolist() == ["nothing", *(f"+ {text}" for text in order)]
    answers = result["value"].sel(line="answer").values
    assert float(answers[0]) == pytest.approx(own, abs=1e-5)
    for count in range(1, 4):
        variant = bundled.with_interventions(*order[:count])
        assert float(answers[count]) == pytest.approx(answer_of(variant), abs=1e-5)
    with pytest.raises(ValueError, match="at least two changes"):
        analyze("Ablation curve", bundled, EXAMPLE, changes=texts[0])


@pytest.mark.parametrize("by", ["zero", "mean", "resample"])
@pytest.mark.parametrize("ablate", ["heads", "attention and MLPs"])
def test_effects_over_data_are_those_of_each_variant(
    bundled: HookedTransformerLIT, ablate: str, by: str
) -> None:
    ask = {"ablate": ablate, "by": by, "most": 3}
    result = analyze("Effect of ablation", bundled, examples=EXAMPLES, **ask)
    how = {"zero": "zero", "mean": "mean(here)", "resample": "resample(here)"}[by]
    for layer, column in ((1, 0), (1, 1), (3, 1)):
        site = f"L{layer}H{column}"
        if ablate != "heads":
            site = f"{'mlp' if column else 'attn'}[{layer}]"
        variant = bundled.with_interventions(f"{site} = {how}", data_sets={"here": EXAMPLES})
        moved = []
        for example in EXAMPLES[:3]:
            (own,) = bundled.predict([example], fields=["answer_prob"])
            (new,) = variant.predict([example], fields=["answer_prob"])
            moved.append(math.log(new["answer_prob"]) - math.log(own["answer_prob"]))
        assert float(result["mean"].values[layer, column]) == pytest.approx(
            np.mean(moved), abs=2e-3
        )
    assert (result["low"].values <= result["mean"].values + 1e-9).all()
    assert result.attrs["note"].startswith("3 prompts.")
    grid = draw("Effect of ablation", bundled, examples=EXAMPLES, **ask)
    assert isinstance(grid, Grid)
    assert grid.parts[0].columns.name == ("head" if ablate == "heads" else "part")


def test_effects_that_were_stopped_go_on_where_they_were(
    bundled: HookedTransformerLIT, passes: list[int]
) -> None:
    fresh = LoadedModel(Runner(bundled.model))
    subject = Subject(model=fresh, examples=EXAMPLES)
    ablation_effects.answer(subject, AblationEffectSettings(most=3))
    first = len(passes)
    ablation_effects.answer(subject, AblationEffectSettings(most=4))
    assert len(passes) - first <= first // 3 + 1
    result = ablation_effects.answer(
        Subject(model=fresh, examples=[{"text": "no answer"}, *EXAMPLES]),
        AblationEffectSettings(most=2, metric="logit difference"),
    )
    assert result.attrs["prompts"] == 2
    short = [{**EXAMPLES[0], "foil": ""}, EXAMPLES[1]]
    named = ablation_effects.answer(
        Subject(model=fresh, examples=short), AblationEffectSettings(metric="logit difference")
    )
    assert "1 of 2 prompts is left out: prompt 0: this pair has no foil" in named.attrs["note"]
    with pytest.raises(ValueError, match="no prompt of this data set has an answer"):
        analyze("Effect of ablation", bundled, examples=[{"text": "a"}])
