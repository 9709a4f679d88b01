"""Statistics of predictions, each a function of log-probabilities `[..., pos, d_vocab]` in nats;
results `[..., pos]`.

All take `model`, `targets`, `anti_targets` and `other` as keywords, and use what they need.
"""

from typing import Any

import torch

from lit_tl.engine.token_readings import ranks


def _of(log_probs: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return log_probs.gather(-1, tokens.expand(log_probs.shape[:-1])[..., None])[..., 0]


def cross_entropy(log_probs: torch.Tensor, *, targets: torch.Tensor, **rest: Any) -> torch.Tensor:
    """-log q(target)."""
    return -_of(log_probs, targets)


def entropy(log_probs: torch.Tensor, **rest: Any) -> torch.Tensor:
    """-sum q log q."""
    return -_expected(log_probs, log_probs)


def forward_kl(log_probs: torch.Tensor, *, model: torch.Tensor, **rest: Any) -> torch.Tensor:
    """KL(model || q)."""
    return _kl(model, log_probs)


def max_probability(log_probs: torch.Tensor, **rest: Any) -> torch.Tensor:
    """max q."""
    return log_probs.amax(-1).exp()


def rank(log_probs: torch.Tensor, *, targets: torch.Tensor, **rest: Any) -> torch.Tensor:
    """1 + how many tokens are likelier than the target."""
    return ranks(log_probs, _of(log_probs, targets)[..., None])


def log_prob_diff(
    log_probs: torch.Tensor, *, targets: torch.Tensor, anti_targets: torch.Tensor, **rest: Any
) -> torch.Tensor:
    """log q(target) - log q(anti-target)."""
    return _of(log_probs, targets) - _of(log_probs, anti_targets)


def kl_divergence(log_probs: torch.Tensor, *, other: torch.Tensor, **rest: Any) -> torch.Tensor:
    """KL(p || other)."""
    return _kl(log_probs, other)


def symmetric_kl(log_probs: torch.Tensor, *, other: torch.Tensor, **rest: Any) -> torch.Tensor:
    """The mean of both KL divergences."""
    return 0.5 * ((log_probs.exp() - other.exp()) * (log_probs - other)).nan_to_num(0.0).sum(-1)


def js_divergence(log_probs: torch.Tensor, *, other: torch.Tensor, **rest: Any) -> torch.Tensor:
    """Jensen-Shannon."""
    mean = torch.logaddexp(log_probs, other) - torch.log(torch.tensor(2.0))
    return (0.5 * (_kl(log_probs, mean) + _kl(other, mean))).clamp_min(0.0)


def total_variation(log_probs: torch.Tensor, *, other: torch.Tensor, **rest: Any) -> torch.Tensor:
    """Half the sum of |p - q|."""
    return 0.5 * (log_probs.exp() - other.exp()).abs().sum(-1)


def max_abs_difference(
    log_probs: torch.Tensor, *, other: torch.Tensor, **rest: Any
) -> torch.Tensor:
    """max |p - q|."""
    return (log_probs.exp() - other.exp()).abs().amax(-1)


def _expected(log_p: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    terms = log_p.exp() * values
    total = terms.sum(-1)
    # 0 log 0 = 0, but few predictions hold a probability of 0: only then another look is worth it.
    return total if bool(total.isfinite().all()) else terms.nan_to_num(0.0).sum(-1)


def _kl(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    return _expected(log_p, log_p - log_q)


def ids_and_probabilities(log_probs: torch.Tensor, count: int, **rest: Any) -> torch.Tensor:
    """The likeliest tokens beside their probabilities, `[..., pos, count, 2]`, float64, which holds
    ids exactly."""
    values, ids = log_probs.topk(count, dim=-1)
    return torch.stack([ids.double(), values.exp().double()], dim=-1)


def largest_changes(
    log_probs: torch.Tensor, count: int, *, other: torch.Tensor, **rest: Any
) -> torch.Tensor:
    """The tokens whose probability differs most in the other, beside how much higher it is there,
    `[..., pos, count, 2]`, float64."""
    change = other.exp() - log_probs.exp()
    ids = change.abs().topk(count, dim=-1).indices
    return torch.stack([ids.double(), change.gather(-1, ids).double()], dim=-1)
