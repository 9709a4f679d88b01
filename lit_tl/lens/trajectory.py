"""What a lens and a model predict at each layer and position, and statistics of it.

Nothing of the size layers x positions x vocabulary is held: statistics go through the unembedding
in chunks of positions, several of them in one sweep. `log_probs` makes the whole when it is asked
for.
"""

import dataclasses
from typing import Any, Callable, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from lit_tl.lens import measures
from lit_tl.lens.labels import TokenFormatter, TrajectoryLabels
from lit_tl.lens.lenses import Lens
from lit_tl.lens.predictions import DensePredictions, LensPredictions, Predictions
from lit_tl.lens.statistics import DECLARED, NATS_PER, Declared, Units
from lit_tl.lens.streams import as_runner, check_component, residual_streams
from lit_tl.lens.trajectory_statistic import TrajectoryStatistic

Measure = Callable[..., torch.Tensor]
Ids = "npt.NDArray[np.int64]"


def _ids(
    values: Any, name: str, shape: Optional[tuple[int, ...]] = None
) -> "npt.NDArray[np.int64]":
    array = np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values, dtype=np.int64)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but the input ids have {shape}")
    return array


@dataclasses.dataclass(init=False)
class PredictionTrajectory:
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
        self.input_ids = _ids(input_ids, "input_ids")
        shape = self.input_ids.shape
        if (*self.predictions.batch_shape, self.predictions.n_pos) != shape:
            raise ValueError(
                f"input_ids has shape {shape}, but the predictions "
                f"{(*self.predictions.batch_shape, self.predictions.n_pos)}"
            )
        self.targets = None if targets is None else _ids(targets, "targets", shape)
        self.anti_targets = (
            None if anti_targets is None else _ids(anti_targets, "anti_targets", shape)
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
    ) -> "PredictionTrajectory":
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
        ids = _ids(input_ids, "input_ids")
        device = lens.unembed.readout.weight.device
        hidden, logits = residual_streams(
            model, torch.from_numpy(np.atleast_2d(ids)).to(device), residual_component
        )
        if ids.ndim == 1:
            hidden, logits = hidden[0], logits[0]
        predictions = LensPredictions(
            lens, hidden, logits.detach(), residual_component, _masked(ids, mask_input)
        )
        return cls(
            predictions,
            ids,
            targets,
            anti_targets,
            tokenizer if tokenizer is not None else as_runner(model).tokenizer,
        )

    @classmethod
    def from_lens_and_cache(
        cls,
        lens: Lens,
        input_ids: Any,
        cache: Any,
        model_logits: Float[torch.Tensor, "*batch pos d_vocab"],
        targets: Any = None,
        anti_targets: Any = None,
        residual_component: str = "resid_pre",
        mask_input: bool = False,
        tokenizer: Any = None,
    ) -> "PredictionTrajectory":
        """From TransformerLens' `run_with_cache`;
        `cache[f"blocks.{layer}.hook_{residual_component}"]` is read.

        Raises:
            KeyError: the cache lacks the component.
            ValueError: shapes do not fit.
        """
        check_component(residual_component)
        ids = _ids(input_ids, "input_ids")
        layers = [
            cache[f"blocks.{layer}.hook_{residual_component}"]
            for layer in range(lens.unembed.readout.n_layers)
        ]
        hidden = torch.stack(
            [layer.detach().reshape(*ids.shape, layer.shape[-1]) for layer in layers], dim=-3
        )
        logits = model_logits.detach().reshape(*ids.shape, model_logits.shape[-1])
        predictions = LensPredictions(
            lens, hidden, logits, residual_component, _masked(ids, mask_input)
        )
        return cls(predictions, ids, targets, anti_targets, tokenizer)

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
    def batch_axes(self) -> Sequence[int]:
        """Their places."""
        return tuple(range(self.n_batch_axis))

    @property
    def num_layers(self) -> int:
        """Layers that the lens reads, the model's output not among them."""
        return self.predictions.n_rows - 1

    @property
    def num_tokens(self) -> int:
        """Positions."""
        return self.predictions.n_pos

    @property
    def vocab_size(self) -> int:
        """Tokens that could come."""
        return self.predictions.d_vocab

    @property
    def log_probs(self) -> "npt.NDArray[np.float32]":
        """All of it, `[..., n_layers + 1, pos, d_vocab]`, in nats: mind the memory."""
        rows = [
            self.predictions.read(row, slice(None)).cpu() for row in range(self.predictions.n_rows)
        ]
        return torch.stack(rows, dim=-3).numpy()

    @property
    def probs(self) -> "npt.NDArray[np.float32]":
        """The exponential of `log_probs`."""
        return np.exp(self.log_probs)

    @property
    def model_log_probs(self) -> "npt.NDArray[np.float32]":
        """The model's own, `[..., pos, d_vocab]`."""
        return self.predictions.read(self.predictions.n_rows - 1, slice(None)).cpu().numpy()

    def slice_sequence(self, slice: slice) -> "PredictionTrajectory":
        """The same for some positions."""
        cut = [
            None if ids is None else ids[..., slice]
            for ids in (self.input_ids, self.targets, self.anti_targets)
        ]
        return PredictionTrajectory(
            self.predictions.sliced(slice), cut[0], cut[1], cut[2], self.tokenizer
        )

    # Statistics

    def sweep(
        self,
        reduces: Mapping[str, Measure],
        other: Optional["PredictionTrajectory"] = None,
        rows: Optional[Sequence[int]] = None,
    ) -> dict[str, "npt.NDArray[Any]"]:
        """Several measures in one pass over the predictions: `[..., layer, pos, ...]` for each, of
        all layers or of some `rows`.

        Each is called with log-probabilities `[..., chunk, d_vocab]` of one layer, `model`,
        `targets` and `anti_targets` of the same positions, and, where there is another trajectory,
        its log-probabilities as `other`.
        """
        if other is not None and (other.predictions.n_rows, other.input_ids.shape[-1]) != (
            self.predictions.n_rows,
            self.num_tokens,
        ):
            mine, its = (
                (self.predictions.n_rows, self.num_tokens),
                (other.predictions.n_rows, other.num_tokens),
            )
            raise ValueError(
                f"trajectories of {mine[0]} x {mine[1]} and {its[0]} x {its[1]} layers and "
                "positions can't be compared"
            )
        rows = range(self.predictions.n_rows) if rows is None else rows
        parts: dict[str, list[list[torch.Tensor]]] = {name: [[] for _ in rows] for name in reduces}
        for chunk in self.predictions.chunks():
            model = self.predictions.read(self.predictions.n_rows - 1, chunk)
            known = {
                name: self._known(name, chunk, model.device) for name in ("targets", "anti_targets")
            }
            for place, row in enumerate(rows):
                log_probs = (
                    model
                    if row == self.predictions.n_rows - 1
                    else self.predictions.read(row, chunk)
                )
                against = (
                    None
                    if other is None
                    else other.predictions.read(row, chunk).to(log_probs.device)
                )
                for name, reduce in reduces.items():
                    parts[name][place].append(
                        reduce(log_probs, model=model, other=against, **known).cpu()
                    )
        axis = self.n_batch_axis
        return {
            name: torch.stack([torch.cat(row, dim=axis) for row in found], dim=axis).numpy()
            for name, found in parts.items()
        }

    def _known(self, name: str, chunk: slice, device: torch.device) -> Optional[torch.Tensor]:
        ids = getattr(self, name)
        return (
            None
            if ids is None
            else torch.from_numpy(np.ascontiguousarray(ids[..., chunk])).to(device)
        )

    def _statistic(
        self,
        name: str,
        *,
        units: Units = "nats",
        other: Optional["PredictionTrajectory"] = None,
        formatter: Optional[TokenFormatter] = None,
        topk: int = 10,
    ) -> TrajectoryStatistic:
        declared = DECLARED[name]
        self._check_needs(declared)
        labelled = self.tokenizer is not None and self.n_batch_axis == 0
        reduces: dict[str, Measure] = {"stats": declared.measure}
        if labelled:
            top = measures.top_tokens if other is None else measures.largest_changes
            pair = measures.parts(top, min(topk, self.vocab_size))
            reduces |= dict(zip(("ids", "values"), pair, strict=True))
        arrays = self.sweep(reduces, other)
        write = formatter or TokenFormatter()
        in_nats = declared.unit == "nats"
        scale = 1.0 / NATS_PER[units] if in_nats else 1.0
        return TrajectoryStatistic(
            name=declared.title,
            stats=arrays["stats"] * scale if scale != 1.0 else arrays["stats"],
            sequence_labels=self._tokens(self.input_ids, write) if labelled else None,
            trajectory_labels=(
                self._labels(arrays["ids"], arrays["values"], write) if labelled else None
            ),
            units=(units if in_nats else declared.unit) or None,
            # Colours of divergences span their own values; only shares have two fixed ends.
            min=declared.low if declared.unit != "nats" else None,
            max=float(self.vocab_size) if name == "rank" else _high(declared),
        )

    def _check_needs(self, declared: Declared) -> None:
        for name in declared.needs:
            if name != "other" and getattr(self, name) is None:
                raise ValueError(
                    f"{declared.function} needs {name}=: token ids, one for each position"
                )

    def _tokens(
        self, ids: "npt.NDArray[np.int64]", formatter: TokenFormatter
    ) -> "npt.NDArray[np.character]":
        known = {
            int(i): formatter.format(self.tokenizer.convert_ids_to_tokens(int(i)))
            for i in np.unique(ids)
        }
        return np.vectorize(known.__getitem__, otypes=[str])(ids)

    def _labels(
        self,
        ids: "npt.NDArray[np.int64]",
        values: "npt.NDArray[np.float32]",
        formatter: TokenFormatter,
    ) -> TrajectoryLabels:
        percent = np.vectorize(lambda value: f"{100 * value:.2f}%", otypes=[str])(values)
        tokens = self._tokens(ids, formatter)
        return TrajectoryLabels(
            label_strings=tokens[..., 0], hover_over_entries=np.stack([tokens, percent], axis=-1)
        )

    def cross_entropy(self, units: Units = "nats", **kwargs: Any) -> TrajectoryStatistic:
        """`-log q(target)`.

        Raises:
            ValueError: there are no targets.
        """
        return self._statistic("cross_entropy", units=units, **kwargs)

    def entropy(self, units: Units = "nats", **kwargs: Any) -> TrajectoryStatistic:
        """`-sum q log q`."""
        return self._statistic("entropy", units=units, **kwargs)

    def forward_kl(self, units: Units = "nats", **kwargs: Any) -> TrajectoryStatistic:
        """`KL(p || q)` of the model's p against the lens's q; 0 in the last row."""
        return self._statistic("forward_kl", units=units, **kwargs)

    def max_probability(self, **kwargs: Any) -> TrajectoryStatistic:
        """`max q`."""
        return self._statistic("max_probability", **kwargs)

    def rank(self, show_ranks: bool = False, **kwargs: Any) -> TrajectoryStatistic:
        """The target's rank, 1 where it is the likeliest.

        Args:
            show_ranks: write the rank into the cells rather than the likeliest token.
            **kwargs: `formatter` and `topk` of the labels.

        Raises:
            ValueError: there are no targets.
        """
        ranks = self._statistic("rank", **kwargs)
        if show_ranks and ranks.trajectory_labels is not None:
            ranks.trajectory_labels.label_strings = np.vectorize(str, otypes=[str])(ranks.stats)
        return ranks

    def log_prob_diff(
        self, delta: bool = False, units: Units = "nats", **kwargs: Any
    ) -> TrajectoryStatistic:
        """`log q(target) - log q(anti_target)`, or, with `delta`, what each layer adds to it: one
        row fewer.

        Raises:
            ValueError: there are no targets or no anti-targets.
        """
        whole = self._statistic("log_prob_diff", units=units, **kwargs)
        if not delta:
            return whole
        labels = whole.trajectory_labels
        if labels is not None:
            hover = labels.hover_over_entries
            labels = TrajectoryLabels(
                labels.label_strings[1:], None if hover is None else hover[1:]
            )
        return TrajectoryStatistic(
            name="Change of Log Prob. Difference",
            stats=np.diff(whole.stats, axis=-2),
            sequence_labels=whole.sequence_labels,
            trajectory_labels=labels,
            units=units,
            includes_output=False,
        )

    def kl_divergence(
        self, other: "PredictionTrajectory", units: Units = "nats", **kwargs: Any
    ) -> TrajectoryStatistic:
        """`KL(self || other)`."""
        return self._statistic("kl_divergence", other=other, units=units, **kwargs)

    def js_divergence(
        self, other: "PredictionTrajectory", units: Units = "nats", **kwargs: Any
    ) -> TrajectoryStatistic:
        """The Jensen-Shannon divergence (Lin 1991): `(KL(p || m) + KL(q || m)) / 2` with `m = (p +
        q) / 2`; at most ln 2 nats."""
        return self._statistic("js_divergence", other=other, units=units, **kwargs)

    def symmetric_kl(
        self, other: "PredictionTrajectory", units: Units = "nats", **kwargs: Any
    ) -> TrajectoryStatistic:
        """`(KL(p || q) + KL(q || p)) / 2`: what the tuned-lens package calls its JS divergence.
        Unbounded."""
        return self._statistic("symmetric_kl", other=other, units=units, **kwargs)

    def total_variation(self, other: "PredictionTrajectory", **kwargs: Any) -> TrajectoryStatistic:
        """`sum |p - q| / 2`, between 0 and 1."""
        return self._statistic("total_variation", other=other, **kwargs)

    def max_abs_difference(
        self, other: "PredictionTrajectory", **kwargs: Any
    ) -> TrajectoryStatistic:
        """`max |p - q|`: what the tuned-lens package calls its total variation."""
        return self._statistic("max_abs_difference", other=other, **kwargs)


def _high(declared: Declared) -> Optional[float]:
    return declared.high if declared.unit == "probability" else None


def _masked(ids: "npt.NDArray[np.int64]", mask_input: bool) -> Optional[torch.Tensor]:
    return torch.from_numpy(ids) if mask_input else None
