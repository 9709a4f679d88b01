"""Optimizers and their schedule."""

from typing import Any, Mapping

import torch

from lit_tl.lens.lenses import TunedLens
from lit_tl.lens.training.config import TrainConfig

ADAM_WIDTH = 1.28
"""Adam's learning rate times d_model. Adam moves every number of a translator by about the learning
rate, and `d_model` of them add up in an output, so that the rate has to fall with the width (Yang
et al. 2022, arXiv 2203.03466, table 3)."""


def learning_rate(config: TrainConfig, d_model: int) -> float:
    """The highest of the schedule."""
    return config.lr_scale * (
        1 - config.momentum if config.optimizer == "sgd" else min(ADAM_WIDTH / d_model, 1e-2)
    )


def make_optimizer(lens: TunedLens, config: TrainConfig) -> torch.optim.Optimizer:
    """Over the translators that are trained: decay on weights, and on biases where that is asked.

    Adam's decay is decoupled (Loshchilov and Hutter 2019, arXiv 1711.05101).
    """
    weights = [
        translator.weight
        for translator in lens.layer_translators
        if translator.weight.requires_grad
    ]
    biases = [
        translator.bias for translator in lens.layer_translators if translator.bias is not None
    ]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": biases, "weight_decay": config.weight_decay * config.decay_biases},
    ]
    groups = [group for group in groups if group["params"]]
    options: dict[str, Any] = {"lr": learning_rate(config, lens.config.d_model), "fused": True}
    kind: type[torch.optim.Optimizer]
    if config.optimizer == "adam":
        kind = torch.optim.AdamW
        options |= {"betas": (config.momentum, 0.999)}
    else:
        kind = torch.optim.SGD
        options |= {"momentum": config.momentum, "nesterov": config.momentum > 0}
    if config.zero and torch.distributed.is_initialized():
        from torch.distributed.optim import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer(groups, optimizer_class=kind, **options)
    return kind(groups, **options)


def restore(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimizer the state in which one like it was."""
    optimizer.load_state_dict(dict(state))
    inner = getattr(
        optimizer, "optim", optimizer
    )  # ZeRO's own, to which it gives Adam's count of steps on the CPU: fused Adam
    for (
        parameter,
        entry,
    ) in inner.state.items():  # wants it where the parameter is (pytorch/pytorch issue 124133)
        if "step" in entry:
            entry["step"] = entry["step"].to(parameter.device)


def make_schedule(
    optimizer: torch.optim.Optimizer, config: TrainConfig
) -> torch.optim.lr_scheduler.LambdaLR:
    """Up to the learning rate over the first `config.warmup` steps, then down, to reach 0 behind
    the last."""

    def fraction(step: int) -> float:
        rising = (step + 1) / (config.warmup + 1)
        return min(rising, (config.num_steps - step) / max(config.num_steps - config.warmup, 1))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, fraction)
