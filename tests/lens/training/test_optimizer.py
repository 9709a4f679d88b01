"""The optimizers step as their papers say, and their schedule rises and falls."""

import copy
from typing import Any

import pytest
import torch

from lit_tl.lens import TunedLens
from lit_tl.lens.training import optimizer as optimizers
from lit_tl.lens.training.config import TrainConfig


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(model="m", data="d", output="o", **settings)


@pytest.fixture
def lens(causal_lm: tuple) -> TunedLens:
    """A lens with gradients of a known draw."""
    lens = TunedLens.from_model(causal_lm[0])
    for translator in lens.layer_translators:
        translator.requires_grad_(True)
    torch.manual_seed(0)
    for parameter in lens.layer_translators.parameters():
        parameter.grad = torch.randn_like(parameter)
    return lens


def test_sgd_with_nesterov_momentum(lens: TunedLens) -> None:
    settings = config(optimizer="sgd", momentum=0.9, weight_decay=0.0, lr_scale=2.0)
    before = [parameter.detach().clone() for parameter in lens.layer_translators.parameters()]
    rate = optimizers.learning_rate(settings, lens.config.d_model)
    assert rate == pytest.approx(2.0 * (1 - 0.9))
    optimizers.make_optimizer(lens, settings).step()
    for parameter, old in zip(lens.layer_translators.parameters(), before, strict=True):
        # The first step's buffer is the gradient; Nesterov adds it once more, times the momentum.
        expected = old - rate * (parameter.grad + 0.9 * parameter.grad)
        assert torch.allclose(parameter, expected, atol=1e-6)


def test_adam_moves_by_its_rate_and_decays_weights_alone(lens: TunedLens) -> None:
    settings = config(optimizer="adam", momentum=0.9, weight_decay=0.1)
    rate = optimizers.learning_rate(settings, lens.config.d_model)
    assert rate == pytest.approx(optimizers.ADAM_WIDTH / lens.config.d_model)
    first = lens.layer_translators[0]
    weight, bias = first.weight.detach().clone(), first.bias.detach().clone()
    optimizers.make_optimizer(lens, settings).step()
    moved = rate * first.weight.grad.sign()
    assert torch.allclose(first.weight, weight * (1 - rate * 0.1) - moved, atol=1e-6)
    assert torch.allclose(first.bias, bias - rate * first.bias.grad.sign(), atol=1e-6)


def test_what_is_not_trained_does_not_move(lens: TunedLens) -> None:
    for translator in lens.layer_translators:
        translator.weight.requires_grad_(False)
    made = optimizers.make_optimizer(lens, config(optimizer="adam"))
    (group,) = made.param_groups
    assert {id(parameter) for parameter in group["params"]} == {
        id(translator.bias) for translator in lens.layer_translators
    }


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_restored_optimizer_takes_the_same_next_step(lens: TunedLens, optimizer: str) -> None:
    settings = config(optimizer=optimizer)
    first = optimizers.make_optimizer(lens, settings)
    first.step()
    state = copy.deepcopy(first.state_dict())
    saved = [parameter.detach().clone() for parameter in lens.layer_translators.parameters()]
    first.step()
    expected = [parameter.detach().clone() for parameter in lens.layer_translators.parameters()]
    with torch.no_grad():
        for parameter, value in zip(lens.layer_translators.parameters(), saved, strict=True):
            parameter.copy_(value)
    second = optimizers.make_optimizer(lens, settings)
    optimizers.restore(second, state)
    second.step()
    for parameter, value in zip(lens.layer_translators.parameters(), expected, strict=True):
        assert torch.equal(parameter, value)


def test_the_rate_rises_over_the_warm_up_and_reaches_zero_behind_the_last_step(
    lens: TunedLens,
) -> None:
    settings = config(optimizer="sgd", num_steps=10, warmup_steps=4)
    optimizer = optimizers.make_optimizer(lens, settings)
    schedule = optimizers.make_schedule(optimizer, settings)
    highest = optimizers.learning_rate(settings, lens.config.d_model)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"] / highest)
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert optimizer.param_groups[0]["lr"] == 0
