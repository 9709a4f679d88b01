"""Whether two ways to a number agree, seen on a short prompt."""

import torch


def probe_ids(d_vocab: int, length: int) -> torch.Tensor:
    """Tokens from all over a vocabulary, `[pos]`."""
    return torch.linspace(0, d_vocab - 1, length).long()


def apart(own: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    own, expected = own.float(), expected.float().to(own.device)
    return float((own - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def near(own: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether numbers are those of the model, up to rounding in its number format."""
    exact = expected.dtype in (torch.float32, torch.float64)
    return apart(own, expected) <= (1e-3 if exact else 5e-2)
