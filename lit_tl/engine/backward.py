"""The backward pass of a batch: from its targets to the sites."""

from typing import Mapping, Sequence, Union

import torch

from lit_tl.engine.passes import Pass
from lit_tl.engine.protocol import ModelAdapter, Point
from lit_tl.engine.requests import Batch, Objective, Targets
from lit_tl.engine.selection import select
from lit_tl.engine.sites import Site


class ReadoutDiffers(Exception):
    """The model does more to the unembedding's output than its readout knows."""


def backward(
    tree: ModelAdapter,
    run: Pass,
    batch: Batch,
    logits: torch.Tensor,
    explained: Union[Targets, Objective],
    at: Mapping[Site, Sequence[Point]],
) -> dict[Site, torch.Tensor]:
    """Gradients of a batch's targets by site, each of one layer.

    Args:
        tree: the module tree that ran.
        run: the pass, whose leaves the gradients are of.
        batch: that ran.
        logits: of the pass, `[batch, pos, d_vocab]`, with a graph or cut from it.
        explained: what the gradients are of.
        at: sites, and their points.

    Raises:
        ValueError: a target is out of range, or does not depend on a site.
        ReadoutDiffers: the readout does not give the model's own logits.
    """
    _check_targets(explained, batch)
    rows = torch.tensor(explained.example, device=logits.device)
    pos = torch.tensor(explained.pos, device=logits.device)
    read = _read(tree, run, logits, rows, pos, batch.logits_from)
    total = explained.total(read)
    points = list(dict.fromkeys(point for of_site in at.values() for point in of_site))
    values = torch.autograd.grad(total, [run.leaves[point] for point in points], allow_unused=True)
    by_point = dict(zip(points, values, strict=True))
    gradients = {}
    for site, of_site in at.items():
        for point in of_site:
            gradient = by_point[point]
            if gradient is None:
                raise ValueError(f"the target does not depend on {point} in {tree.shape.name}")
            own = site.at(None if point.layer < 0 else point.layer)
            gradients[own] = select(gradient, own, batch.lengths)
    return gradients


def _check_targets(targets: Union[Targets, Objective], batch: Batch) -> None:
    if not targets.pos:
        raise ValueError("no target is given: a gradient explains at least one token")
    for example, pos in zip(targets.example, targets.pos, strict=True):
        length = batch.lengths[example]
        if not 0 <= pos < length:
            raise ValueError(
                f"target position {pos} is out of range: its prompt has {length} tokens"
            )


def _read(
    tree: ModelAdapter,
    run: Pass,
    logits: torch.Tensor,
    rows: torch.Tensor,
    pos: torch.Tensor,
    first: int,
) -> torch.Tensor:
    """The logits of rows at positions, with a graph. Those that are given begin at `first`.

    Raises:
        ReadoutDiffers: the readout does not give the model's own logits.
    """
    if logits.requires_grad:
        return logits[rows, pos - first]
    assert run.final is not None
    readout = tree.readout
    read: torch.Tensor = readout.finish(readout.unembedding(run.final[rows, pos][None].clone())[0])
    require_near(read.detach(), logits[rows, pos - first])
    return read


def require_near(read: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare a readout's logits with the model's own.

    Raises:
        ReadoutDiffers: they are not the same.
    """
    tolerance = 3e-2 if torch.float32 not in (read.dtype, expected.dtype) else 1e-3
    if read.dtype != expected.dtype:  # models that give logits in float32 out of half precision
        read, tolerance = read.to(expected), 3e-2
    bound = tolerance * float(expected.abs().nan_to_num(0.0).max())
    if not torch.allclose(read, expected, rtol=tolerance, atol=bound, equal_nan=True):
        raise ReadoutDiffers
