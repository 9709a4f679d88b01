"""Where translators begin: in closed form, from forward passes alone."""

from typing import Any, Callable, Optional, Sequence

import torch
from jaxtyping import Int

from lit_tl.lens.lenses import TunedLens
from lit_tl.lens.streams import all_residuals

PENALTY = 1e-3
_SUM_BYTES = 2**30
Batches = Sequence[Int[torch.Tensor, "_batch pos"]]
Reduce = Callable[[torch.Tensor], None]


@torch.no_grad()
def ridge(
    lens: TunedLens,
    model: Any,
    batches: Batches,
    *,
    penalty: float = PENALTY,
    shift: int = 0,
    reduce: Optional[Reduce] = None,
    report: Callable[[int], None] = lambda tokens: None,
    bias_only: bool = False,
) -> None:
    """Set each translator to the ridge regression of `final residual - residual` on the residual.

    One forward pass over the text for each 1 GiB of sums; sums are float64, two of `(d_model + 1) x
    d_model` for a layer.

    Args:
        lens: whose translators are set.
        model: a TransformerLens or Hugging Face model.
        batches: token ids. Of many processes each has as many; one without rows takes part in a
            sharded model's pass alone.
        penalty: on the weights, relative to the mean square of the residual; the bias is free.
        shift: how many positions ahead of the input the final residual lies.
        reduce: adds up a tensor over processes, in place, where each has its own batches.
        report: is told how many tokens were read.
        bias_only: leave the weights, and set each bias to what is missing on average.

    Raises:
        ValueError: there is no batch.
    """
    if not batches:
        raise ValueError("a ridge regression over no text: give at least one batch of token ids")
    n_layers, d_model = lens.config.num_hidden_layers, lens.config.d_model
    at_once = max(1, _SUM_BYTES // (2 * 8 * (d_model + 1) ** 2))
    groups = [range(first, min(first + at_once, n_layers)) for first in range(0, n_layers, at_once)]
    for layers in groups:
        gram, moment = _sums(
            lens, model, batches, layers, shift, _share(report, layers in groups[:-1], len(groups))
        )
        if reduce is not None:
            reduce(gram)
            reduce(moment)
        for layer, layer_gram, layer_moment in zip(layers, gram, moment, strict=True):
            _set(lens.layer_translators[layer], layer_gram, layer_moment, penalty, bias_only)


def _share(report: Callable[[int], None], not_last: bool, count: int) -> Callable[[int], None]:
    """Tokens are read once for each group of layers: each reports its part of them, the last one
    also what does not divide."""

    def part(tokens: int) -> None:
        report(tokens // count if not_last else tokens - tokens // count * (count - 1))

    return part


def _sums(
    lens: TunedLens,
    model: Any,
    batches: Batches,
    layers: range,
    shift: int,
    report: Callable[[int], None],
) -> tuple[torch.Tensor, torch.Tensor]:
    d_model, device = lens.config.d_model, lens.unembed.readout.weight.device
    wide = torch.float64 if device.type != "mps" else torch.float32  # which has no float64
    gram = torch.zeros(len(layers), d_model + 1, d_model + 1, dtype=wide, device=device)
    moment = torch.zeros(len(layers), d_model + 1, d_model, dtype=wide, device=device)
    for ids in batches:
        residuals = aligned(
            all_residuals(model, ids if len(ids) else ids.new_zeros(1, ids.shape[1])), shift
        )
        if not len(ids):
            continue
        final = residuals[-1].to(device).float()
        for at, layer in enumerate(layers):
            x = residuals[layer].to(device).float()
            missing = final - x
            x = torch.cat([x, torch.ones_like(x[:, :1])], dim=-1)  # n d_model+1
            gram[at] += x.T @ x
            moment[at] += x.T @ missing
        report(ids.numel())
    return gram, moment


def _set(
    translator: Any, gram: torch.Tensor, moment: torch.Tensor, penalty: float, bias_only: bool
) -> None:
    if bias_only:
        explained = translator.weight.to(gram.dtype) @ gram[-1, :-1]
        translator.bias.copy_((moment[-1] - explained) / gram[-1, -1])
        return
    gram.diagonal()[:-1].add_(penalty * gram.diagonal()[:-1].mean())
    solution = torch.linalg.solve(gram, moment)
    translator.weight.copy_(solution[:-1].T)
    if translator.bias is not None:
        translator.bias.copy_(solution[-1])


def aligned(residuals: torch.Tensor, shift: int) -> torch.Tensor:
    """Rows `[layer_and_final, n, d_model]` of `[layer_and_final, batch, pos, d_model]`: layers'
    inputs at a position, and the final residual `shift` positions behind it; positions without a
    partner are left out."""
    if shift == 0:
        return residuals.flatten(1, 2)
    length = residuals.shape[2] - abs(shift)
    here, there = max(-shift, 0), max(shift, 0)
    return torch.cat(
        [residuals[:-1, :, here : here + length], residuals[-1:, :, there : there + length]]
    ).flatten(1, 2)
