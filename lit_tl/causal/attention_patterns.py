"""What attention patterns do, in numbers."""

import functools
from typing import Literal, Mapping, Optional, Sequence, get_args

import torch
from jaxtyping import Float, Int

Score = Literal["induction", "previous token", "duplicate token", "first token", "entropy"]
HEAD_SCORES: tuple[str, ...] = get_args(Score)
_ROWS = 256  # queries at a time


def head_scores(
    pattern: Float[torch.Tensor, "head query_pos key_pos"], ids: Sequence[int]
) -> dict[str, list[Optional[float]]]:
    """For each of `HEAD_SCORES`, a number for each head: a mean over the prompt's queries but the
    first. None where no query qualifies.

    induction: the attention from a token that stood before to the tokens that followed it there
    (Olsson et al. 2022, "prefix matching"). previous token, first token: the attention to these.
    duplicate token: to earlier copies of the token itself (Wang et al. 2022, section 3). All are
    probabilities, over those queries for which such a key exists. entropy: of the attention, in
    nats.

    Args:
        pattern: of one layer, rows summing to 1.
        ids: the prompt's tokens.
    """
    scores: dict[str, list[Optional[float]]] = {}
    for name, cells in _cells(tuple(ids)).items():
        query, key = (places.to(pattern.device) for places in cells)
        count = len(torch.unique(query))
        if not count:
            scores[name] = [None] * len(pattern)
            continue
        scores[name] = pattern[:, query, key].float().sum(-1).div(count).tolist()
    if len(ids) > 1:
        scores["entropy"] = _entropy(pattern).div(len(ids) - 1).tolist()
    else:
        scores["entropy"] = [None] * len(pattern)
    return scores


@functools.lru_cache(maxsize=4)
def _cells(
    ids: tuple[int, ...],
) -> Mapping[str, tuple[Int[torch.Tensor, " cell"], Int[torch.Tensor, " cell"]]]:
    """The queries and keys whose attention makes a score."""
    n = len(ids)
    token = torch.tensor(ids)
    query = torch.arange(n)[:, None]
    key = torch.arange(n)[None]
    earlier_copy = (token[:, None] == token[None]) & (key < query)
    followed = torch.zeros_like(earlier_copy)
    followed[:, 1:] = earlier_copy[:, :-1]
    masks = {
        "induction": followed & (key < query),
        "previous token": key == query - 1,
        "duplicate token": earlier_copy,
        "first token": (key == 0) & (query > 0),
    }
    cells = {name: mask.nonzero(as_tuple=True) for name, mask in masks.items()}
    return {name: (queries, keys) for name, (queries, keys) in cells.items()}


def _entropy(
    pattern: Float[torch.Tensor, "head query_pos key_pos"],
) -> Float[torch.Tensor, " head"]:
    """The sum over queries but the first. Keys behind a causal model's queries are left out."""
    n = pattern.shape[-1]
    causal = not bool(pattern[:, 0, 1:].any())
    total = torch.zeros(len(pattern), dtype=torch.float64, device=pattern.device)
    for start in range(1, n, _ROWS):
        end = min(n, start + _ROWS)
        rows = pattern[:, start:end, : end if causal else n].float()
        total -= torch.special.xlogy(rows, rows).sum((1, 2), dtype=torch.float64)
    return total
