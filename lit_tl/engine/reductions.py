"""What is made of values: inside their hooks, and of grouped heads."""

import torch

from lit_tl.engine.requests import Seen


def last_and_mean(residual: torch.Tensor, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
    """A residual `[batch, pos, d_model]` at each prompt's last position, and its mean over
    positions, both `[batch, d_model]`, the mean in float32."""
    lengths = seen.lengths.to(residual.device)
    rows = torch.arange(len(residual), device=residual.device)
    real = torch.arange(residual.shape[1], device=residual.device) < lengths[:, None]
    total = torch.einsum("bpd,bp->bd", residual.float(), real.float())
    return residual[rows, lengths - 1], total / lengths[:, None]


def norms(vectors: torch.Tensor, seen: Seen) -> torch.Tensor:
    """Euclidean norms over the last axis, float32."""
    del seen
    return vectors.float().norm(dim=-1)


def grouped_to_heads(values: torch.Tensor, n_heads: int, axis: int) -> torch.Tensor:
    """Values of key-value heads, repeated for the query heads that read them."""
    return values.repeat_interleave(n_heads // values.shape[axis], dim=axis)
