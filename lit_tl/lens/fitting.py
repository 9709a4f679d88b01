"""Fit a tuned lens: in closed form, and by gradient steps on the KL divergence from there."""

from typing import Any, Callable, Iterable, Sequence

import torch

from lit_tl.lens.lenses import TunedLens
from lit_tl.lens.streams import residual_streams


@torch.no_grad()
def ridge(lens: TunedLens, model: Any, batches: Iterable[torch.Tensor], penalty: float = 1e-3) -> int:
    """Set each translator to the ridge regression of `final residual - residual` on the residual.

    Sums are kept in float64, `n_layers x (d_model + 1)^2` of them; one forward pass for each batch `[batch, pos]` of ids.
    `penalty` is relative to the mean square of the residual. Gives the number of tokens.

    Raises:
        ValueError: there is no batch.
    """
    n_layers, d_model = lens.config.num_hidden_layers, lens.config.d_model
    gram = torch.zeros(n_layers, d_model + 1, d_model + 1, dtype=torch.float64)
    moment = torch.zeros(n_layers, d_model + 1, d_model, dtype=torch.float64)
    count = 0
    for ids in batches:
        before, _ = residual_streams(model, ids)
        after, _ = residual_streams(model, ids, "resid_post")
        x = before.transpose(0, 1).reshape(n_layers, -1, d_model).double().cpu()
        y = after[:, -1].reshape(1, -1, d_model).double().cpu() - x
        x = torch.cat([x, torch.ones(*x.shape[:-1], 1, dtype=x.dtype)], dim=-1)  # layer token d_model+1
        gram += x.transpose(1, 2) @ x
        moment += x.transpose(1, 2) @ y
        count += x.shape[1]
    if not count:
        raise ValueError("a ridge regression over no text: give at least one batch of token ids")
    scale = gram.diagonal(dim1=1, dim2=2)[:, :-1].mean(-1)  # layer
    ridge_term = torch.eye(d_model + 1, dtype=torch.float64).repeat(n_layers, 1, 1)
    ridge_term[:, -1, -1] = 0.0  # the bias is free
    solved = torch.linalg.solve(gram + penalty * scale[:, None, None] * ridge_term, moment)
    for translator, solution in zip(lens.translators, solved, strict=True):
        assert isinstance(translator, torch.nn.Linear)
        translator.weight.copy_(solution[:-1].T)
        if lens.config.bias:
            translator.bias.copy_(solution[-1])
    return count


def refine(
    lens: TunedLens,
    model: Any,
    batches: Sequence[torch.Tensor],
    *,
    lr: float = 1e-3,
    report: Callable[[int, list[float]], None] = lambda step, losses: None,
) -> None:
    """One Adam step on `KL(model || lens)` for each batch `[batch, pos]`, all layers at once, the learning rate falling to 0."""
    optimizer = torch.optim.Adam(lens.translators.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=len(batches))
    for step, ids in enumerate(batches):
        hidden, logits = residual_streams(model, ids)
        target = logits.float().log_softmax(-1)
        losses = []
        for layer in range(lens.config.num_hidden_layers):
            with torch.enable_grad():
                loss = _kl(target, lens(hidden[:, layer], layer))
                loss.backward()
            losses.append(float(loss.detach()))
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        report(step, losses)


@torch.no_grad()
def kl_to_model(lens: Any, model: Any, batches: Iterable[torch.Tensor]) -> list[float]:
    """Mean `KL(model || lens)` in nats for each layer's input."""
    total: list[float] = []
    count = 0
    for ids in batches:
        hidden, logits = residual_streams(model, ids)
        target = logits.float().log_softmax(-1)
        values = [float(_kl(target, lens(hidden[:, layer], layer))) * ids.numel() for layer in range(hidden.shape[1])]
        total = values if not total else [a + b for a, b in zip(total, values, strict=True)]
        count += ids.numel()
    return [value / count for value in total]


def _kl(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return (target.exp() * (target - logits.log_softmax(-1))).sum(-1).mean()
