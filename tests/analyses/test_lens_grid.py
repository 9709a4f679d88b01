"""The lens grid and the lens over a data set."""

from typing import Any

import numpy as np
import pytest

import lit_tl
from lit_tl import HookedTransformerLIT
from lit_tl.analyses import lens_grid
from lit_tl.analyses.contract import Subject
from lit_tl.analyses.lens_grid import LensGridSettings, in_turn
from lit_tl.analyses.lens_reading import read
from lit_tl.data.tasks import read_task
from lit_tl.engine.intervention_text import parse_intervention

EXAMPLES = read_task("ioi").examples[:6]


@pytest.mark.parametrize("rows", [1, 4, 5, 13, 31])
def test_every_row_is_read_once_and_the_models_first(rows: int) -> None:
    turns = in_turn(range(rows), cells=10**6)
    assert sorted(row for turn in turns for row in turn) == [*range(rows)]
    assert rows - 1 in turns[0]
    assert in_turn(range(rows), cells=10) == [[*range(rows)]]


def test_rows_that_fill_in_come_to_the_whole(
    bundled: HookedTransformerLIT, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(model=bundled.loaded, example=EXAMPLES[0])
    settings = LensGridSettings(lens="logit", beside="tuned", statistic="forward KL")
    (whole,) = lens_grid.lens_grid.function(subject, settings)
    monkeypatch.setattr(lens_grid, "_AT_ONCE", 0)
    monkeypatch.setattr(lens_grid, "_EVERY", 2)
    first, last = lens_grid.lens_grid.function(subject, settings)
    assert "3 of 5 rows so far" in first.attrs["note"]
    read_now = np.isfinite(first["forward KL"].values[0]).all(-1)
    assert read_now.tolist() == [True, False, True, False, True]
    assert (first["top_tokens"].values[0, 1] == "").all()
    assert np.allclose(first["forward KL"].values[:, read_now], whole["forward KL"][:, read_now])
    assert np.allclose(last["forward KL"], whole["forward KL"], atol=1e-5)
    assert (last["top_token"].values == whole["top_token"].values).all()
    for place, kind in enumerate(("logit", "tuned")):
        alone = read(bundled.loaded, kind, EXAMPLES[0], "resid_pre").forward_kl().stats  # type: ignore[arg-type]
        assert np.allclose(whole["forward KL"].values[place], alone, atol=1e-4), "each its own lens"


def test_two_lenses_take_one_pass(bundled: HookedTransformerLIT, passes: list[int]) -> None:
    bundled.loaded.results.clear()
    assert bundled.loaded.runner.readout  # it is checked once, by a pass of its own
    passes.clear()
    lit_tl.analyze("Lens", bundled, EXAMPLES[1], lens="logit", beside="tuned")
    assert passes == [1]


@pytest.mark.parametrize("statistic", ["forward KL", "cross entropy", "rank"])
def test_over_data_is_the_mean_over_each_prompt(
    statistic: str, bundled: HookedTransformerLIT, passes: list[int]
) -> None:
    examples = [*EXAMPLES[:4], {"text": "The capital of France is"}]
    bundled.loaded.results.clear()
    assert bundled.loaded.runner.readout  # it is checked once, by a pass of its own
    passes.clear()
    result = lit_tl.analyze(
        "Lens over the data set", bundled, examples=examples, statistic=statistic, lens="logit"
    )
    assert sum(passes) == len(examples)
    assert len(passes) < len(examples), "prompts run together"
    alone = [
        lit_tl.analyze("Lens", bundled, example, statistic=statistic, lens="logit")[statistic][0]
        for example in examples
    ]
    joined = np.concatenate(alone, axis=1).astype(float)
    assert np.allclose(result[f"mean {statistic}"], joined.mean(1), rtol=1e-3)
    assert np.allclose(result["standard deviation"], joined.std(1), rtol=1e-3)


def test_bfloat16_says_how_far_off_it_is(bundled: HookedTransformerLIT) -> None:
    exact = lit_tl.analyze("Lens", bundled, EXAMPLES[0], lens="logit")
    rounded = lit_tl.analyze("Lens", bundled, EXAMPLES[0], lens="logit", unembed_in="bfloat16")
    off = np.abs(exact["entropy"] - rounded["entropy"]).values
    assert 0 < off.max() < 0.05
    note = rounded.attrs["note"]
    assert "In bfloat16: entropy is off by up to " in note
    assert note.split("up to ")[1].startswith(f"{off[0, :, :8].max():.2g} at the first 8 positions")
    assert "bfloat16" not in exact.attrs["note"]


def test_bfloat16_changes_no_comparison_and_says_so(bundled: HookedTransformerLIT) -> None:
    settings = {"statistic": "KL divergence", "against": "pinned prompt", "lens": "logit"}
    given = {"counterpart": EXAMPLES[1], **settings}
    exact = lit_tl.analyze("Lens", bundled, EXAMPLES[0], **given)
    asked = lit_tl.analyze("Lens", bundled, EXAMPLES[0], unembed_in="bfloat16", **given)
    assert np.array_equal(exact["KL divergence"], asked["KL divergence"])
    assert "In float32: this is no statistic of one product" in asked.attrs["note"]


def test_a_change_behind_the_last_residual_is_in_the_output_row(
    bundled_model: Any, bundled: HookedTransformerLIT
) -> None:
    changed = HookedTransformerLIT(
        bundled_model, interventions=[parse_intervention("unembed_in = 0")]
    )
    result = lit_tl.analyze("Lens", changed, EXAMPLES[0], lens="logit")
    flat = np.log(changed.loaded.runner.shape.d_vocab)
    assert np.allclose(result["entropy"][0, -1], flat, atol=1e-4), "no token is likelier"
    plain = lit_tl.analyze("Lens", bundled, EXAMPLES[0], lens="logit")
    assert np.allclose(result["entropy"][0, :-1], plain["entropy"][0, :-1], atol=1e-4)
    over = lit_tl.analyze(
        "Lens over the data set", changed, examples=EXAMPLES[:2], statistic="entropy", lens="logit"
    )
    assert float(over["mean entropy"][-1]) == pytest.approx(flat, abs=1e-4)
