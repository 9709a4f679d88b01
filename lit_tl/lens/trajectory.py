"""Statistics of what a lens and a model predict, as the tuned-lens package names them."""

import functools
from typing import Any, Optional, Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from lit_tl.lens import measures
from lit_tl.lens.labels import CellLabels, TokenFormatter, TrajectoryLabels, in_common
from lit_tl.lens.lenses import Lens
from lit_tl.lens.predictions import LensPredictions
from lit_tl.lens.statistics import DECLARED, NATS_PER, Declared, Units
from lit_tl.lens.streams import check_component
from lit_tl.lens.sweeps import Measure, Trajectory, checked_ids, masked_ids
from lit_tl.lens.trajectory_statistic import TrajectoryStatistic


class PredictionTrajectory(Trajectory):
    """Predictions of next tokens for each layer's input, and last the model's own.

    Arguments and constructors are those of `Trajectory`. A statistic of a batch is drawn as
    its mean; `trajectory[i]` is one of its sequences. Every statistic takes these settings of its
    labels, where there is a tokenizer:

    - `formatter`: a `TokenFormatter`;
    - `topk`: how many tokens are shown when a cell is pointed at;
    - `min_prob`: a cell is written into where its likeliest token's probability is above it, in
      all sequences of a batch;
    - `min_prob_delta`, where two trajectories are compared: the same for the largest change of a
      probability;
    - `max_entries_to_show`: of how many sequences of a batch tokens are shown.
    """

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
        `cache[f"blocks.{layer}.hook_{residual_component}"]` is read. Without a tokenizer, the one
        of the cache's model is taken.

        Raises:
            KeyError: the cache lacks the component.
            ValueError: shapes do not fit.
        """
        check_component(residual_component)
        ids = checked_ids(input_ids, "input_ids")
        layers = [
            cache[f"blocks.{layer}.hook_{residual_component}"]
            for layer in range(lens.unembed.readout.n_layers)
        ]
        if layers[0].shape[:-1].numel() != ids.size or layers[0].shape[-2] != ids.shape[-1]:
            raise ValueError(
                f"the cache is of tokens {list(layers[0].shape[:-1])}, but input_ids has shape "
                f"{list(ids.shape)}"
            )
        hidden = torch.stack(
            [layer.detach().reshape(*ids.shape, layer.shape[-1]) for layer in layers], dim=-3
        )
        logits = model_logits.detach().reshape(*ids.shape, model_logits.shape[-1])
        predictions = LensPredictions(
            lens,
            hidden,
            residual_component,
            logits=logits,
            masked=masked_ids(ids, mask_input),
        )
        if tokenizer is None:
            tokenizer = getattr(getattr(cache, "model", None), "tokenizer", None)
        return cls(predictions, ids, targets, anti_targets, tokenizer)

    @property
    def batch_axes(self) -> Sequence[int]:
        """Their places."""
        return tuple(range(self.n_batch_axis))

    @property
    def num_layers(self) -> int:
        """Layers that the lens reads, the model's output not among them."""
        return self.predictions.n_rows - 1

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

    def _statistic(
        self,
        name: str,
        *,
        units: Units = "nats",
        other: Optional["Trajectory"] = None,
        **settings: Any,
    ) -> TrajectoryStatistic:
        declared = DECLARED[name]
        self._check_needs(declared)
        labels = CellLabels.of(settings, changes=other is not None)
        reduces: dict[str, Measure] = {"stats": getattr(measures, declared.function)}
        if self.tokenizer is not None:
            top = measures.ids_and_probabilities if other is None else measures.largest_changes
            reduces["top"] = functools.partial(top, count=min(labels.topk, self.vocab_size))
        arrays = self.sweep(reduces, other)
        stats = arrays["stats"]
        in_nats = declared.unit == "nats"
        scale = 1.0 / NATS_PER[units] if in_nats else 1.0
        return TrajectoryStatistic(
            name=declared.title,
            stats=stats * scale if scale != 1.0 else stats,
            sequence_labels=(
                None
                if self.tokenizer is None
                else in_common(self._tokens(self.input_ids, labels.formatter), self.n_batch_axis)
            ),
            trajectory_labels=(
                None
                if self.tokenizer is None
                else labels.write(
                    self._tokens(arrays["top"][..., 0].astype(np.int64), labels.formatter),
                    arrays["top"][..., 1],
                    self.n_batch_axis,
                )
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
            **kwargs: of the labels.

        Raises:
            ValueError: there are no targets.
        """
        ranks = self._statistic("rank", **kwargs)
        if show_ranks and ranks.trajectory_labels is not None:
            written = np.vectorize(lambda rank: f"{rank:.10g}", otypes=[str])(ranks.mean().stats)
            ranks.trajectory_labels.label_strings = written
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
        self, other: "Trajectory", units: Units = "nats", **kwargs: Any
    ) -> TrajectoryStatistic:
        """`KL(self || other)`."""
        return self._statistic("kl_divergence", other=other, units=units, **kwargs)

    def js_divergence(
        self, other: "Trajectory", units: Units = "nats", **kwargs: Any
    ) -> TrajectoryStatistic:
        """The Jensen-Shannon divergence (Lin 1991): `(KL(p || m) + KL(q || m)) / 2` with `m = (p +
        q) / 2`; at most ln 2 nats."""
        return self._statistic("js_divergence", other=other, units=units, **kwargs)

    def symmetric_kl(
        self, other: "Trajectory", units: Units = "nats", **kwargs: Any
    ) -> TrajectoryStatistic:
        """`(KL(p || q) + KL(q || p)) / 2`: what the tuned-lens package calls its JS divergence.
        Unbounded."""
        return self._statistic("symmetric_kl", other=other, units=units, **kwargs)

    def total_variation(self, other: "Trajectory", **kwargs: Any) -> TrajectoryStatistic:
        """`sum |p - q| / 2`, between 0 and 1."""
        return self._statistic("total_variation", other=other, **kwargs)

    def max_abs_difference(self, other: "Trajectory", **kwargs: Any) -> TrajectoryStatistic:
        """`max |p - q|`: what the tuned-lens package calls its total variation."""
        return self._statistic("max_abs_difference", other=other, **kwargs)


def _high(declared: Declared) -> Optional[float]:
    return declared.high if declared.unit == "probability" else None
