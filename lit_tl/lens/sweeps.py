"""What a lens and a model predict at each layer and position, read in one sweep.

Nothing of the size layers x positions x vocabulary is held: measures go through the unembedding in
chunks of positions and layers, several of them in one sweep. `log_probs` makes the whole when it is
asked for.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Callable, Literal, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt
import torch

from lit_tl.engine import jobs
from lit_tl.engine.requests import Batch, Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.lens.blockwise import Plan
from lit_tl.lens.lenses import Lens
from lit_tl.lens.predictions import (
    BatchIndex,
    DensePredictions,
    LensPredictions,
    Predictions,
)
from lit_tl.lens.streams import check_component

if TYPE_CHECKING:
    from typing import Self

Measure = Callable[..., torch.Tensor]


def observed(runner: Runner, component: str) -> dict[str, Observe]:
    """What a pass is to look at for `Trajectory.from_batch`: what a lens reads in each layer, and
    the residual after the last block."""
    check_component(component)
    return {
        "residual": Observe(Site(component), stack=True),  # type: ignore[arg-type]  # it was checked
        "final": Observe(Site("resid_post"), layers=[runner.shape.n_layers - 1], stack=True),
    }


def kept(runner: Runner) -> Literal["all", "none"]:
    """Which logits a pass is to keep for `Trajectory.from_batch`: all where they are not what the
    readout makes of the last residual."""
    return "none" if runner.output_is_read_out() else "all"


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
        check_component(residual_component)
        runner = model if isinstance(model, Runner) else Runner(model)
        batched = torch.from_numpy(np.atleast_2d(ids))
        observe = observed(runner, residual_component)
        batch = runner.run_ids(batched, observe=observe, logits=kept(runner))
        hidden = batch.observed["residual"].transpose(0, 1)  # batch layer pos d_model
        after, logits = batch.observed["final"][0], batch.logits
        if ids.ndim == 1:
            hidden, after = hidden[0], after[0]
            logits = None if logits is None else logits[0]
        predictions = LensPredictions(
            lens,
            hidden,
            residual_component,
            final=after if logits is None else None,
            logits=logits,
            masked=masked_ids(ids, mask_input),
        )
        return cls(
            predictions,
            ids,
            targets,
            anti_targets,
            tokenizer if tokenizer is not None else runner.tokenizer,
        )

    @classmethod
    def from_batch(cls, lens: Lens, batch: Batch, residual_component: str) -> "Self":
        """A batch's prompts, one behind the other as a single sequence, without their padding.

        Args:
            lens: fitted to the model.
            batch: of a run that looked at `observed`, with the logits that `kept` says.
            residual_component: that it looked at.
        """
        hidden, final = batch.observed["residual"], batch.observed["final"][0]
        lengths = torch.tensor(batch.lengths, device=final.device)
        real = torch.arange(final.shape[1], device=final.device) < lengths[:, None]
        predictions = LensPredictions(
            lens,
            hidden[:, real.to(hidden.device)],
            residual_component,
            final=final[real] if batch.logits is None else None,
            logits=None if batch.logits is None else batch.logits[real.to(batch.logits.device)],
        )
        return cls(predictions, [token for prompt in batch.prompts for token in prompt.ids])

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

    def through(self, lens: Lens) -> "Self":
        """The same pass of the model, read through another lens.

        Raises:
            TypeError: these predictions were not read through a lens.
        """
        if not isinstance(self.predictions, LensPredictions):
            raise TypeError("these log-probabilities were not read through a lens")
        return self._of(dataclasses.replace(self.predictions, lens=lens))

    def unembedded_in(self, dtype: Literal["float32", "bfloat16"]) -> "Self":
        """The same, with the product of one trajectory's statistics made in a number format.
        bfloat16 is several times as fast on processors that have units for it, and less exact.

        Raises:
            TypeError: these predictions were not read through a lens.
        """
        if not isinstance(self.predictions, LensPredictions):
            raise TypeError("these log-probabilities were not read through a lens")
        return self._of(dataclasses.replace(self.predictions, in_bfloat16=dtype == "bfloat16"))

    def _of(self, predictions: Predictions) -> "Self":
        return type(self)(
            predictions, self.input_ids, self.targets, self.anti_targets, self.tokenizer
        )

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
        plan = Plan.of(reduces) if other is None and isinstance(own, LensPredictions) else None
        if plan is not None and isinstance(own, LensPredictions):
            ids = [
                None if given is None else torch.from_numpy(np.ascontiguousarray(given))
                for given in (self.targets, self.anti_targets)
            ]
            read = own.statistics(plan, rows, ids[0], ids[1])
            if read is not None:
                return {name: value.numpy() for name, value in read.items()}
        parts: dict[str, list[torch.Tensor]] = {name: [] for name in reduces}
        axis = self.n_batch_axis
        for chunk, groups in jobs.each(list(own.chunks(rows))):
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
