"""What attention patterns do, in numbers."""

from typing import Literal, Optional, Sequence, get_args

import torch
from jaxtyping import Bool, Float

Score = Literal["induction", "previous token", "duplicate token", "first token", "entropy"]
HEAD_SCORES: tuple[str, ...] = get_args(Score)


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
    n = len(ids)
    token = torch.tensor(ids, device=pattern.device)
    query = torch.arange(n, device=pattern.device)[:, None]
    key = torch.arange(n, device=pattern.device)[None]
    earlier_copy = (token[:, None] == token[None]) & (key < query)
    followed = torch.zeros_like(earlier_copy)
    followed[:, 1:] = earlier_copy[:, :-1]
    keys = {
        "induction": followed & (key < query),
        "previous token": key == query - 1,
        "duplicate token": earlier_copy,
        "first token": (key == 0) & (query > 0),
    }
    scores = {name: _mean_attention(pattern, mask) for name, mask in keys.items()}
    pattern = pattern.float()
    entropy = -torch.special.xlogy(pattern, pattern).sum(-1)
    scores["entropy"] = entropy[:, 1:].mean(-1).tolist() if n > 1 else [None] * len(pattern)
    return scores


def _mean_attention(
    pattern: Float[torch.Tensor, "head query_pos key_pos"],
    mask: Bool[torch.Tensor, "query_pos key_pos"],
) -> list[Optional[float]]:
    queries = mask.any(-1).nonzero()[:, 0]
    if not len(queries):
        return [None] * len(pattern)
    chosen = pattern[:, queries].float()  # head query key
    return torch.einsum("hqk,qk->h", chosen, mask[queries].float()).div(len(queries)).tolist()
