"""Log-probabilities of a lens and its model by row and position, read in parts."""

import abc
import dataclasses
import math
from typing import Iterator, Optional, Sequence, Union

import torch
from jaxtyping import Float

from lit_tl.lens.lenses import Lens

BatchIndex = Union[int, slice, tuple[Union[int, slice], ...]]
"""Into batch axes."""


def lens_index(component: str, layer: int) -> int:
    """Which translator reads a layer's component: the one of the layer's input, and for the layer's
    output the next layer's."""
    return layer + 1 if component == "resid_post" else layer


CHUNK_BYTES = 16 * 2**20
"""About what the log-probabilities of one chunk take. The C library reuses blocks of this size;
larger ones it takes from the kernel again each time, page by page."""


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

    @abc.abstractmethod
    def chosen(self, index: BatchIndex) -> "Predictions":
        """Some of the batch only."""

    def read_rows(
        self, rows: Sequence[int], positions: slice
    ) -> Float[torch.Tensor, "*batch row chunk d_vocab"]:
        """Of several rows."""
        return torch.stack([self.read(row, positions) for row in rows], dim=-3)

    def chunks(self, rows: Sequence[int]) -> Iterator[tuple[slice, list[Sequence[int]]]]:
        """Positions in parts, each with groups of rows, small enough to be unembedded at once."""
        bytes_of_one = 4 * self.d_vocab * max(math.prod(self.batch_shape), 1)
        step = max(1, CHUNK_BYTES // bytes_of_one)
        together = max(1, step // max(self.n_pos, 1))
        groups = [rows[first : first + together] for first in range(0, len(rows), together)]
        for first in range(0, self.n_pos, step):
            yield slice(first, min(first + step, self.n_pos)), groups


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

    def chosen(self, index: BatchIndex) -> "DensePredictions":
        """A view."""
        return DensePredictions(self.log_probs[index])


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

    def read(self, row: int, positions: slice) -> torch.Tensor:
        """One unembedding."""
        return self.read_rows([row], positions).squeeze(-3)

    @torch.no_grad()
    def read_rows(self, rows: Sequence[int], positions: slice) -> torch.Tensor:
        """One unembedding of all rows; the model's own logits are there already."""
        last = self.n_rows - 1
        layers = [row for row in rows if row != last]
        parts = []
        if layers:
            indices = [
                lens_index(self.component, row if self.layers is None else self.layers[row])
                for row in layers
            ]
            parts.append(self.lens.read_rows(self.hidden[..., layers, positions, :], indices))
        if last in rows:
            parts.append(self.logits[..., None, positions, :].float())
        logits = torch.cat(parts, dim=-3) if len(parts) > 1 else parts[0]
        if self.masked is not None:
            ids = self.masked.to(logits.device)[..., None, None, :]
            ids = ids.expand(*logits.shape[:-1], -1)
            logits = logits.scatter(-1, ids, torch.finfo(logits.dtype).min)
        return logits.log_softmax(-1)

    def sliced(self, positions: slice) -> "LensPredictions":
        """Views; what is masked stays."""
        return dataclasses.replace(
            self, hidden=self.hidden[..., positions, :], logits=self.logits[..., positions, :]
        )

    def chosen(self, index: BatchIndex) -> "LensPredictions":
        """Views."""
        masked = None if self.masked is None else self.masked[index]
        return dataclasses.replace(
            self, hidden=self.hidden[index], logits=self.logits[index], masked=masked
        )
