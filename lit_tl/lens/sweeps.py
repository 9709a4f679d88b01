"""What a lens and a model predict at each layer and position, read in one sweep.

Nothing of the size layers x positions x vocabulary is held: measures go through the unembedding in
chunks of positions and layers, several of them in one sweep. `log_probs` makes the whole when it is
asked for.
"""

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Optional, Sequence, get_args

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from lit_tl.engine.requests import Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.lens.lenses import Lens, lens_index
from lit_tl.lens.streams import ResidualComponent, check_component

if TYPE_CHECKING:
    from typing import Self

_OBSERVE: Mapping[str, Mapping[str, Observe]] = {
    name: {"residual": Observe(Site(name), stack=True)} for name in get_args(ResidualComponent)
}
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


Measure = Callable[..., torch.Tensor]


def checked_ids(
    values: Any, name: str, shape: Optional[tuple[int, ...]] = None
) -> "npt.NDArray[np.int64]":
    array = np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values, dtype=np.int64)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but the input ids have {shape}")
    return array


@dataclasses.dataclass(init=False)
class Trajectory:
    """Predictions of next tokens for each layer's input, and last the model's own, `[..., layer,
    pos]`.

    Statistics read through the lens when they are asked for: hooks on the final norm or the
    unembedding count as they are then, those on blocks as they were in the model's pass.

    Args:
        log_probs: `[..., n_layers + 1, pos, d_vocab]`, in nats, the model's last; or a
            `Predictions` that gives them in parts.
        input_ids: `[..., pos]`.
        targets: `[..., pos]`, what should come next.
        anti_targets: `[..., pos]`, what should not.
        tokenizer: to write tokens.

    Raises:
        ValueError: shapes do not fit.
    """

    input_ids: "npt.NDArray[np.int64]"
    targets: Optional["npt.NDArray[np.int64]"]
    anti_targets: Optional["npt.NDArray[np.int64]"]
    tokenizer: Any

    def __init__(
        self,
        log_probs: Any,
        input_ids: Any,
        targets: Any = None,
        anti_targets: Any = None,
        tokenizer: Any = None,
    ) -> None:
        self.predictions: Predictions = (
            log_probs
            if isinstance(log_probs, Predictions)
            else DensePredictions(torch.as_tensor(np.asarray(log_probs)))
        )
        self.input_ids = checked_ids(input_ids, "input_ids")
        shape = self.input_ids.shape
        if (*self.predictions.batch_shape, self.predictions.n_pos) != shape:
            raise ValueError(
                f"input_ids has shape {shape}, but the predictions "
                f"{(*self.predictions.batch_shape, self.predictions.n_pos)}"
            )
        self.targets = None if targets is None else checked_ids(targets, "targets", shape)
        self.anti_targets = (
            None if anti_targets is None else checked_ids(anti_targets, "anti_targets", shape)
        )
        self.tokenizer = tokenizer

    @classmethod
    def from_lens_and_model(
        cls,
        lens: Lens,
        model: Any,
        input_ids: Any,
        tokenizer: Any = None,
        targets: Any = None,
        anti_targets: Any = None,
        residual_component: str = "resid_pre",
        mask_input: bool = False,
    ) -> "Self":
        """One forward pass of the model, with the hooks that are on it; the lens reads when
        statistics are asked for.

        Args:
            lens: fitted to the model.
            model: a TransformerLens or Hugging Face model.
            input_ids: `[pos]`, or `[batch, pos]` without padding.
            tokenizer: None for the model's own, if it has one.
            targets: as in the class.
            anti_targets: as in the class.
            residual_component: `resid_pre`, `resid_mid` (after attention), `resid_post` (after the
                MLP).
            mask_input: give no probability to tokens of the input.
        """
        ids = checked_ids(input_ids, "input_ids")
        if residual_component not in _OBSERVE:
            check_component(residual_component)
        runner = model if isinstance(model, Runner) else Runner(model)
        batched = torch.from_numpy(np.atleast_2d(ids))
        batch = runner.run_ids(batched, observe=_OBSERVE[residual_component])
        hidden = batch.observed["residual"].transpose(0, 1)  # batch layer pos d_model
        logits = batch.logits
        assert logits is not None
        if ids.ndim == 1:
            hidden, logits = hidden[0], logits[0]
        predictions = LensPredictions(
            lens, hidden, logits.detach(), residual_component, masked_ids(ids, mask_input)
        )
        return cls(
            predictions,
            ids,
            targets,
            anti_targets,
            tokenizer if tokenizer is not None else runner.tokenizer,
        )

    # Shapes

    @property
    def batch_shape(self) -> Sequence[int]:
        """The shape before layers and positions."""
        return self.predictions.batch_shape

    @property
    def n_batch_axis(self) -> int:
        """How many batch axes there are."""
        return len(self.batch_shape)

    @property
    def num_tokens(self) -> int:
        """Positions."""
        return self.predictions.n_pos

    @property
    def vocab_size(self) -> int:
        """Tokens that could come."""
        return self.predictions.d_vocab

    @property
    def model_log_probs(self) -> "npt.NDArray[np.float32]":
        """The model's own, `[..., pos, d_vocab]`."""
        return self.predictions.read(self.predictions.n_rows - 1, slice(None)).cpu().numpy()

    def slice_sequence(self, slice: slice) -> "Self":
        """The same for some positions."""
        cut = [
            None if ids is None else ids[..., slice]
            for ids in (self.input_ids, self.targets, self.anti_targets)
        ]
        return type(self)(self.predictions.sliced(slice), cut[0], cut[1], cut[2], self.tokenizer)

    def __getitem__(self, index: BatchIndex) -> "Self":
        """One or some of a batch's sequences, by their places on the batch axes.

        Raises:
            IndexError: there is no such sequence, or this trajectory is of one.
        """
        places = index if isinstance(index, tuple) else (index,)
        if len(places) > self.n_batch_axis:
            raise IndexError(
                f"an index of {len(places)} into {self.n_batch_axis} batch axes: slice_sequence "
                "takes some of the positions"
            )
        ids = [
            None if given is None else given[index]
            for given in (self.input_ids, self.targets, self.anti_targets)
        ]
        return type(self)(self.predictions.chosen(index), ids[0], ids[1], ids[2], self.tokenizer)

    def sweep(
        self,
        reduces: Mapping[str, Measure],
        other: Optional["Trajectory"] = None,
        rows: Optional[Sequence[int]] = None,
    ) -> dict[str, "npt.NDArray[Any]"]:
        """Several measures in one pass over the predictions.

        Args:
            reduces: by name. Each is called with log-probabilities `[..., row, chunk, d_vocab]` of
                some layers; with `model` `[..., 1, chunk, d_vocab]`, `targets` and `anti_targets`
                `[..., 1, chunk]` of the same positions; and, where there is another trajectory,
                with its log-probabilities as `other`.
            other: of as many layers and positions.
            rows: some layers; None for all, and the model last.

        Returns:
            `[..., row, pos, ...]` for each measure.

        Raises:
            ValueError: the other trajectory has other layers or positions.
        """
        own = self.predictions
        if other is not None and (other.predictions.n_rows, other.num_tokens) != (
            own.n_rows,
            self.num_tokens,
        ):
            raise ValueError(
                f"trajectories of {own.n_rows} x {self.num_tokens} and {other.predictions.n_rows} "
                f"x {other.num_tokens} layers and positions can't be compared"
            )
        rows = range(own.n_rows) if rows is None else rows
        parts: dict[str, list[torch.Tensor]] = {name: [] for name in reduces}
        axis = self.n_batch_axis
        for chunk, groups in own.chunks(rows):
            model = own.read_rows([own.n_rows - 1], chunk)
            known = {name: self._known(name, chunk, model) for name in ("targets", "anti_targets")}
            values: dict[str, list[torch.Tensor]] = {name: [] for name in reduces}
            for group in groups:
                is_model = list(group) == [own.n_rows - 1]
                log_probs = model if is_model else own.read_rows(group, chunk)
                against = None if other is None else other.predictions.read_rows(group, chunk)
                against = None if against is None else against.to(log_probs.device)
                for name, reduce in reduces.items():
                    value = reduce(log_probs, model=model, other=against, **known)
                    values[name].append(value.cpu())
            for name in reduces:
                parts[name].append(torch.cat(values[name], dim=axis))
        return {name: torch.cat(pieces, dim=axis + 1).numpy() for name, pieces in parts.items()}

    def _known(self, name: str, chunk: slice, like: torch.Tensor) -> Optional[torch.Tensor]:
        ids = getattr(self, name)
        if ids is None:
            return None
        return torch.from_numpy(np.ascontiguousarray(ids[..., None, chunk])).to(like.device)


def strided(count: int, stride: int) -> list[int]:
    """Every `stride`-th of so many, and the last.

    Raises:
        ValueError: `stride` is below 1.
    """
    if stride < 1:
        raise ValueError(f"stride is {stride}: give 1 or more")
    rows = list(range(0, count, stride))
    return rows if not rows or rows[-1] == count - 1 else [*rows, count - 1]


def masked_ids(ids: "npt.NDArray[np.int64]", mask_input: bool) -> Optional[torch.Tensor]:
    return torch.from_numpy(ids) if mask_input else None
