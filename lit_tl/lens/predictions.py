"""Predictions by row (layers, and last the model) and position, read in parts."""

import abc
import dataclasses
import math
from typing import Iterator, Optional, Sequence

import torch
from jaxtyping import Float

from lit_tl.engine import jobs, memory
from lit_tl.lens import blockwise
from lit_tl.lens.fused_readout import LinearReadout
from lit_tl.lens.lenses import Lens, lens_index

BatchIndex = int | slice | tuple[int | slice, ...]
"""Into batch axes."""
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
    """A lens on residuals `[..., layer, pos, d_model]`, and the model's own prediction: read from
    the final residual, or given as logits."""

    lens: Lens
    hidden: torch.Tensor
    component: str
    final: Optional[torch.Tensor] = None
    """The residual after the last block, `[..., pos, d_model]`."""
    logits: Optional[torch.Tensor] = None
    """The model's, `[..., pos, d_vocab]`, where there is no `final`."""
    masked: Optional[torch.Tensor] = None
    """Token ids, `[..., pos]`, that get no probability anywhere in their sequence."""
    in_bfloat16: bool = False
    """Whether statistics multiply by the unembedding in bfloat16."""

    def __post_init__(self) -> None:
        *batch, n_layers, self.n_pos, _ = self.hidden.shape
        self.batch_shape, self.n_rows = tuple(batch), n_layers + 1
        self.d_vocab = (
            int(self.lens.unembed.readout.weight.shape[0])
            if self.logits is None
            else int(self.logits.shape[-1])
        )

    def read(self, row: int, positions: slice) -> torch.Tensor:
        """One unembedding."""
        return self.read_rows([row], positions).squeeze(-3)

    @torch.no_grad()
    def read_rows(self, rows: Sequence[int], positions: slice) -> torch.Tensor:
        """One unembedding of all rows; logits that were given are there already."""
        last = self.n_rows - 1
        given = self.logits is not None and last in rows
        read = [row for row in rows if row != last] if given else rows
        parts = []
        if read:
            hidden = self._hidden(read, positions)
            parts.append(self.lens.unembed.readout.logits(torch.stack(hidden, dim=-3)))
        if given and self.logits is not None:
            parts.append(self.logits[..., None, positions, :].float())
        logits = torch.cat(parts, dim=-3) if len(parts) > 1 else parts[0]
        if self.masked is not None:
            ids = self.masked.to(logits.device)[..., None, None, :]
            ids = ids.expand(*logits.shape[:-1], -1)
            logits = logits.scatter(-1, ids, torch.finfo(logits.dtype).min)
        return logits.log_softmax(-1)

    def _hidden(self, rows: Sequence[int], positions: slice) -> list[torch.Tensor]:
        """What goes through the final norm, of each row."""
        hidden = []
        for row in rows:
            if row == self.n_rows - 1:
                assert self.final is not None
                hidden.append(self.final[..., positions, :])
            else:
                index = lens_index(self.component, row)
                hidden.append(
                    self.lens.transform_hidden(self.hidden[..., row, positions, :], index)
                )
        device = hidden[-1].device
        return [each.to(device) for each in hidden]

    @torch.no_grad()
    def statistics(
        self,
        plan: blockwise.Plan,
        rows: Sequence[int],
        targets: Optional[torch.Tensor] = None,
        anti_targets: Optional[torch.Tensor] = None,
    ) -> Optional[dict[str, torch.Tensor]]:
        """Measures block by block of the vocabulary.

        Args:
            plan: the measures.
            rows: whose.
            targets: `[..., pos]`, where a measure needs them.
            anti_targets: the same.

        Returns:
            `[..., row, pos, ...]` by name, on the CPU; None where these predictions can't be read
            so.

        Raises:
            lit_tl.engine.memory.OutOfMemory: the hidden states do not fit.
        """
        linear = None
        if self.final is not None and self.masked is None:
            linear = blockwise.linear_readout(self.lens.unembed, in_bfloat16=self.in_bfloat16)
        if linear is None:
            return None
        try:
            return self._block_by_block(linear, plan, rows, targets, anti_targets)
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
            free = memory.said(memory.free_on(linear.weight.device))
            raise memory.OutOfMemory(
                f"a lens over {self.n_pos} tokens does not fit into the {free} of memory that are "
                "free: shorten the prompt, or show fewer layers (stride)"
            ) from error

    def _block_by_block(
        self,
        linear: LinearReadout,
        plan: blockwise.Plan,
        rows: Sequence[int],
        targets: Optional[torch.Tensor],
        anti_targets: Optional[torch.Tensor],
    ) -> Optional[dict[str, torch.Tensor]]:
        flat = self._flat()
        last = self.n_rows - 1
        read = [*rows] if rows[-1] == last else [*rows, last]  # the model's row is compared with
        reader = blockwise.Reader(linear, plan)
        known = [
            None if ids is None else ids.reshape(-1).to(linear.weight.device)
            for ids in (targets, anti_targets)
        ]
        parts: dict[str, list[torch.Tensor]] = {name: [] for name in plan.ways}
        firsts = range(0, flat.n_pos, blockwise.POSITIONS)
        for first in jobs.each(firsts):
            here = slice(first, min(first + blockwise.POSITIONS, flat.n_pos))
            x = linear.input(torch.stack(flat._hidden(read, here)))
            ids = [None if each is None else each[here] for each in known]
            try:
                for seen in reader.read(x, ids[0], ids[1]):
                    for name, value in plan.values(seen).items():
                        parts[name].append(value[: len(rows)].cpu())
            except blockwise.NotFinite:
                return None
        n = len(self.batch_shape)
        joined = {}
        for name, pieces in parts.items():
            whole = torch.cat(pieces, dim=1)
            whole = whole.reshape(len(rows), *self.batch_shape, self.n_pos, *whole.shape[2:])
            joined[name] = whole.movedim(0, n)
        return joined

    def _flat(self) -> "LensPredictions":
        """All sequences of a batch as one."""
        if not self.batch_shape or self.final is None:
            return self
        hidden = self.hidden.movedim(-3, 0).flatten(1, -2)
        return dataclasses.replace(self, hidden=hidden, final=self.final.flatten(0, -2))

    def sliced(self, positions: slice) -> "LensPredictions":
        """Views; what is masked stays."""
        final, logits = self.final, self.logits
        return dataclasses.replace(
            self,
            hidden=self.hidden[..., positions, :],
            final=None if final is None else final[..., positions, :],
            logits=None if logits is None else logits[..., positions, :],
        )

    def chosen(self, index: BatchIndex) -> "LensPredictions":
        """Views."""
        final, logits, masked = self.final, self.logits, self.masked
        return dataclasses.replace(
            self,
            hidden=self.hidden[index],
            final=None if final is None else final[index],
            logits=None if logits is None else logits[index],
            masked=None if masked is None else masked[index],
        )
