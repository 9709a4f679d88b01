"""Starts in closed form."""

from typing import Callable

import pytest
import torch

from lit_tl.lens import LogitLens, TunedLens
from lit_tl.lens.evaluation import evaluate
from lit_tl.lens.streams import all_residuals
from lit_tl.lens.training import start
from lit_tl.lens.training.loss import row_loss

Batches = Callable[[int], list[torch.Tensor]]


def squared_error(lens: TunedLens, layer: int, rows: torch.Tensor) -> float:
    with torch.no_grad():
        return float((lens.transform_hidden(rows[layer], layer) - rows[-1]).double().square().sum())


def test_the_regression_is_the_least_squares_solution(causal_lm: tuple, batches: Batches) -> None:
    model = causal_lm[0]
    lens = TunedLens.from_model(model)
    start.ridge(lens, model, batches(8), penalty=0.0)
    rows = torch.cat(
        [start.aligned(all_residuals(model, ids), 0) for ids in batches(8)], dim=1
    ).double()
    for layer in (0, 3):
        x = torch.cat([rows[layer], torch.ones_like(rows[layer][:, :1])], dim=-1)
        solution = torch.linalg.lstsq(x, rows[-1] - rows[layer]).solution
        assert torch.allclose(
            lens.layer_translators[layer].weight, solution[:-1].T.float(), atol=2e-3
        )
        best = float((x @ solution + rows[layer] - rows[-1]).square().sum())
        assert squared_error(lens, layer, rows.float()) == pytest.approx(best, rel=1e-3)


def test_one_regression_brings_every_layer_nearer_to_the_model(
    causal_lm: tuple, batches: Batches
) -> None:
    model = causal_lm[0]
    lens, logit = TunedLens.from_model(model), LogitLens.from_model(model)
    start.ridge(lens, model, batches(32))
    result = evaluate(
        model, {"logit": logit, "ridge": lens}, row_loss(logit.unembed), batches(40)[32:]
    ).lenses
    assert (result["ridge"].kl < result["logit"].kl).all(), result


def test_layers_in_groups_give_the_same(
    causal_lm: tuple, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenses = []
    for size in (2**30, 2 * 8 * 129**2 * 3):
        monkeypatch.setattr(start, "_SUM_BYTES", size)
        lens = TunedLens.from_model(causal_lm[0])
        start.ridge(lens, causal_lm[0], batches(4))
        lenses.append(lens)
    for own, expected in zip(
        lenses[0].layer_translators.parameters(),
        lenses[1].layer_translators.parameters(),
        strict=True,
    ):
        assert torch.equal(own, expected)


def test_tokens_are_reported_once_however_many_groups_of_layers_read_them(
    causal_lm: tuple, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = batches(3)
    for most in (2**30, 3 * 2 * 8 * 129**2, 1):
        monkeypatch.setattr(start, "_SUM_BYTES", most)
        reported: list[int] = []
        start.ridge(TunedLens.from_model(causal_lm[0]), causal_lm[0], text, report=reported.append)
        assert len(reported) == len(text) * {2**30: 1, 3 * 2 * 8 * 129**2: 2, 1: 4}[most]
        assert sum(reported) == sum(ids.numel() for ids in text)


def test_a_bias_alone_is_what_is_missing_on_average(causal_lm: tuple, batches: Batches) -> None:
    model = causal_lm[0]
    lens = TunedLens.from_model(model)
    start.ridge(lens, model, batches(4), bias_only=True)
    rows = torch.cat([start.aligned(all_residuals(model, ids), 0) for ids in batches(4)], dim=1)
    assert not any(bool(translator.weight.any()) for translator in lens.layer_translators)
    assert torch.allclose(lens.layer_translators[2].bias, (rows[-1] - rows[2]).mean(0), atol=1e-4)
    torch.nn.init.eye_(lens.layer_translators[2].weight)  # weights that are there stay, and count
    start.ridge(lens, model, batches(4), bias_only=True)
    assert torch.allclose(
        lens.layer_translators[2].bias, (rows[-1] - 2 * rows[2]).mean(0), atol=1e-4
    )


def test_batches_without_rows_count_for_nothing(causal_lm: tuple, batches: Batches) -> None:
    lenses = []
    for more in ([], [batches(1)[0][:0]]):
        lens = TunedLens.from_model(causal_lm[0])
        start.ridge(lens, causal_lm[0], [*batches(4), *more])
        lenses.append(lens.layer_translators.state_dict())
    assert all(torch.equal(value, lenses[1][name]) for name, value in lenses[0].items())


@pytest.mark.parametrize("shift", [0, 1, 3, -2])
def test_rows_are_paired_with_the_final_residual_a_shift_away(shift: int) -> None:
    pos = torch.arange(7.0)
    residuals = torch.stack([pos, pos, pos + 100])[:, None, :, None].expand(3, 2, 7, 1)
    rows = start.aligned(residuals, shift)
    assert rows.shape == (3, 2 * (7 - abs(shift)), 1)
    assert (rows[2] - 100 - rows[0] == shift).all()


def test_no_text_is_refused(causal_lm: tuple) -> None:
    with pytest.raises(ValueError, match="over no text"):
        start.ridge(TunedLens.from_model(causal_lm[0]), causal_lm[0], [])
