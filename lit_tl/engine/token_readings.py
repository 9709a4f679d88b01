"""What a model thinks of each token of a prompt, without all logits being there at once."""

import dataclasses
from typing import TYPE_CHECKING, Iterator, Sequence

import torch
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from lit_tl.engine.readout import Readout
    from lit_tl.engine.requests import Batch

_PRODUCT_BYTES = 128 * 2**20
"""Of the logits that are there at a time: a product of few rows waits for the unembedding to come
out of the memory."""
_PIECE_BYTES = 32 * 2**20
"""Of those that are read at a time. The C library reuses blocks of this size; larger ones it takes
from the kernel again each time, page by page."""


@dataclasses.dataclass(frozen=True)
class ReadTokens:
    """Ask a run for readings of tokens in place of its logits.

    Args:
        top: how many of the likeliest tokens to keep at each position.
    """

    top: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenReadings:
    """What a model thinks at each position of one prompt, float32.

    Args:
        normalizer: `log sum exp` of the logits, in nats.
        own: the logit of the token that comes next in the prompt.
        ranks: where it stands among all, 1 for the likeliest.
        top_logits: the largest logits, and whose they are in `top_ids`.
        top_ids: tokens, the likeliest first.
    """

    normalizer: Float[torch.Tensor, " pos"]
    own: Float[torch.Tensor, " pos_but_last"]
    ranks: Int[torch.Tensor, " pos_but_last"]
    top_logits: Float[torch.Tensor, "pos top"]
    top_ids: Int[torch.Tensor, "pos top"]

    @property
    def losses(self) -> Float[torch.Tensor, " pos_but_last"]:
        """`-log p` of each token but the first, in nats."""
        return self.normalizer[:-1] - self.own


def ranks(values: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Where `own` `[..., 1]` stands in the last axis of `values`: 1 + how many are larger.

    Summed in float32, which is exact up to 2^24 and six times as fast as the int64 copy that a sum
    of booleans makes.
    """
    larger = torch.empty(values.shape, dtype=torch.float32, device=values.device)
    torch.gt(values.detach(), own.detach(), out=larger)
    return 1 + larger.sum(-1).long()


def readings_of_logits(
    logits: Float[torch.Tensor, "pos d_vocab"], ids: Sequence[int], top: int
) -> TokenReadings:
    """Readings of one prompt.

    Args:
        logits: of any number format.
        ids: the prompt's tokens.
        top: how many of the likeliest tokens to keep.
    """
    step = _rows_of(logits.shape[-1])
    following = _following([ids]).to(logits.device)
    pieces = (
        _read_piece(logits[first : first + step].float(), following[first : first + step], top)
        for first in range(0, len(ids), step)
    )
    (reading,) = _by_prompt(pieces, [len(ids)])
    return reading


def read_tokens(
    readout: "Readout", batch: "Batch", final: Float[torch.Tensor, "batch pos d_in"], top: int
) -> tuple[list[TokenReadings], Float[torch.Tensor, "batch d_vocab"]]:
    """Readings of each prompt of a batch, and the logits of what comes after it.

    Args:
        readout: of the model.
        batch: whose prompts these are.
        final: the input of the unembedding.
        top: how many of the likeliest tokens to keep.
    """
    lengths = torch.tensor(batch.lengths, device=final.device)
    real = torch.arange(final.shape[1], device=final.device) < lengths[:, None]
    rows = final[real]  # no padding
    following = _following([prompt.ids for prompt in batch.prompts]).to(final.device)
    ends = (lengths.cumsum(0) - 1).tolist()
    last: list[torch.Tensor] = []

    def pieces() -> Iterator[tuple[torch.Tensor, ...]]:
        step = _rows_of(readout.weight.shape[0])
        for first in range(0, len(rows), step):
            piece = rows[None, first : first + step].clone()
            logits = readout.finish(readout.unembedding(piece)[0])
            last.extend(logits[end - first].clone() for end in ends if first <= end < first + step)
            yield _read_piece(logits.float(), following[first : first + step], top)

    return _by_prompt(pieces(), batch.lengths), torch.stack(last)


def _rows_of(d_vocab: int) -> int:
    return max(1, _PIECE_BYTES // (4 * d_vocab))


def _following(prompts: Sequence[Sequence[int]]) -> Int[torch.Tensor, " n"]:
    """The token that comes after each; some token after the last."""
    return torch.tensor([token for ids in prompts for token in (*ids[1:], ids[-1])])


def _read_piece(
    logits: Float[torch.Tensor, "n d_vocab"], following: Int[torch.Tensor, " n"], top: int
) -> tuple[torch.Tensor, ...]:
    own = logits.gather(-1, following[:, None])
    values, ids = logits.topk(min(top, logits.shape[-1]), dim=-1)
    return logits.logsumexp(-1), own[:, 0], ranks(logits, own), values, ids


def _by_prompt(
    pieces: Iterator[tuple[torch.Tensor, ...]], lengths: Sequence[int]
) -> list[TokenReadings]:
    joined = [torch.cat(parts) for parts in zip(*pieces, strict=True)]
    readings = []
    for normalizer, own, rank, values, ids in zip(
        *(part.split(list(lengths)) for part in joined), strict=True
    ):
        readings.append(
            TokenReadings(
                normalizer=normalizer,
                own=own[:-1],
                ranks=rank[:-1],
                top_logits=values,
                top_ids=ids,
            )
        )
    return readings
