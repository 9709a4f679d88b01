"""Where a trajectory's log-probabilities come from: an array, or a lens that reads residuals when
it is asked."""

import abc
import dataclasses
from typing import Iterator, Optional, Sequence

import torch
from jaxtyping import Float

from lit_tl.lens.lenses import Lens
from lit_tl.lens.streams import lens_index

CHUNK_BYTES = 64 * 2**20
"""About what the log-probabilities of one layer and one chunk of positions take."""


class Predictions(abc.ABC):
    """Log-probabilities by row (layers, and last the model) and position."""

    batch_shape: tuple[int, ...]
    n_rows: int
    n_pos: int
    d_vocab: int

    @abc.abstractmethod
    def read(self, row: int, positions: slice) -> Float[torch.Tensor, "*batch chunk d_vocab"]:
        """Of one row and some positions, in nats, float32."""

    @abc.abstractmethod
    def sliced(self, positions: slice) -> "Predictions":
        """Some positions only."""

    def chunks(self) -> Iterator[slice]:
        """Positions in parts small enough to be unembedded at once."""
        batch = 1
        for size in self.batch_shape:
            batch *= size
        step = max(1, CHUNK_BYTES // (4 * self.d_vocab * max(batch, 1)))
        for first in range(0, self.n_pos, step):
            yield slice(first, min(first + step, self.n_pos))


@dataclasses.dataclass
class DensePredictions(Predictions):
    """All of them, `[..., row, pos, d_vocab]`."""

    log_probs: torch.Tensor

    def __post_init__(self) -> None:
        *batch, self.n_rows, self.n_pos, self.d_vocab = self.log_probs.shape
        self.batch_shape = tuple(batch)

    def read(self, row: int, positions: slice) -> torch.Tensor:
        """A view."""
        return self.log_probs[..., row, positions, :].float()

    def sliced(self, positions: slice) -> "DensePredictions":
        """A view."""
        return DensePredictions(self.log_probs[..., positions, :])


@dataclasses.dataclass
class LensPredictions(Predictions):
    """A lens on residuals `[..., layer, pos, d_model]`, and the model's logits `[..., pos,
    d_vocab]`."""

    lens: Lens
    hidden: torch.Tensor
    logits: torch.Tensor
    component: str
    masked: Optional[torch.Tensor] = None
    """Token ids, `[..., pos]`, that get no probability anywhere in their sequence."""
    layers: Optional[Sequence[int]] = None
    """Which layers `hidden` holds; None for all."""

    def __post_init__(self) -> None:
        *batch, n_layers, self.n_pos, _ = self.hidden.shape
        self.batch_shape, self.n_rows, self.d_vocab = (
            tuple(batch),
            n_layers + 1,
            int(self.logits.shape[-1]),
        )

    @torch.no_grad()
    def read(self, row: int, positions: slice) -> torch.Tensor:
        """One unembedding."""
        if row == self.n_rows - 1:
            logits = self.logits[..., positions, :].float()
        else:
            layer = row if self.layers is None else self.layers[row]
            logits = self.lens(
                self.hidden[..., row, positions, :], lens_index(self.component, layer)
            )
        if self.masked is not None:
            ids = self.masked.to(logits.device)[..., None, :].expand(*logits.shape[:-1], -1)
            logits = logits.scatter(-1, ids, torch.finfo(logits.dtype).min)
        return logits.log_softmax(-1)

    def sliced(self, positions: slice) -> "LensPredictions":
        """Views; what is masked stays."""
        return dataclasses.replace(
            self, hidden=self.hidden[..., positions, :], logits=self.logits[..., positions, :]
        )
