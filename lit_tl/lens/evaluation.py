"""How near lenses come to the model, layer by layer, over much text."""

import csv
import dataclasses
import io
import math
from typing import Any, Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import torch

from lit_tl.figures.training import by_layer
from lit_tl.lens.lenses import Lens
from lit_tl.lens.streams import all_residuals, as_runner
from lit_tl.lens.training.loss import RowLoss, Truth
from lit_tl.lens.training.processes import ALONE, Processes
from lit_tl.lens.training.start import aligned

Numbers = npt.NDArray[np.float64]
_MEASURES = ("kl", "cross_entropy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """Means over tokens of one lens, each `[layer]`, and their standard errors over sequences,
    which are taken as independent; nan where there was one sequence."""

    kl: Numbers
    """KL(model || lens) in nats."""
    cross_entropy: Numbers
    """Of the text's next tokens, in nats."""
    kl_error: Numbers
    cross_entropy_error: Numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured.

    Args:
        lenses: by name.
        model: its cross-entropy, as a lens of one layer whose KL is 0.
        tokens: that were predicted.
        bits_per_byte: what a nat a token is in bits a byte of the text: tokens / bytes / ln 2.
    """

    lenses: Mapping[str, Measured]
    model: Measured
    tokens: int
    bits_per_byte: float

    def rows(self) -> list[dict[str, Any]]:
        """One for each layer and lens, and last the model."""
        entries = [
            (name, layer, measured)
            for name, measured in self.lenses.items()
            for layer in range(len(measured.kl))
        ]
        last = max((len(measured.kl) for measured in self.lenses.values()), default=0)
        rows = [self._row(name, layer, layer, measured) for name, layer, measured in entries]
        return sorted(rows, key=lambda row: row["layer"]) + [
            self._row("model", last, 0, self.model)
        ]

    def _row(self, name: str, layer: int, at: int, measured: Measured) -> dict[str, Any]:
        row: dict[str, Any] = {"layer": layer, "lens": name}
        for measure in _MEASURES:
            value, error = (
                float(getattr(measured, measure)[at]),
                float(getattr(measured, f"{measure}_error")[at]),
            )
            row[f"{measure}_nats"] = value
            row[f"{measure}_nats_error"] = None if math.isnan(error) else error
            row[f"{measure}_bits_per_byte"] = value * self.bits_per_byte
        return row

    def csv(self) -> str:
        """All rows as a table."""
        rows = self.rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def figure(self, title: str) -> go.Figure:
        """KL to the model, cross-entropy, and bits per byte by layer, with standard errors; the
        model's own as a line across."""
        kl = {name: (measured.kl, measured.kl_error) for name, measured in self.lenses.items()}
        nats = {
            name: (measured.cross_entropy, measured.cross_entropy_error)
            for name, measured in self.lenses.items()
        }
        bits = {
            name: (value * self.bits_per_byte, error * self.bits_per_byte)
            for name, (value, error) in nats.items()
        }
        units = {"KL to the model": "nats", "Cross-entropy": "nats", "Bits per byte": "bits / byte"}
        of_the_model = float(self.model.cross_entropy[0])
        across = {"Cross-entropy": of_the_model, "Bits per byte": of_the_model * self.bits_per_byte}
        drawn = by_layer(dict(zip(units, (kl, nats, bits), strict=True)), units, across)
        return drawn.update_layout(title=title)

    def table(self) -> str:
        """For a terminal."""
        lines = [
            "layer  lens    KL to model      cross-entropy",
            "               nats  bits/byte  nats  bits/byte",
        ]
        for row in self.rows():
            numbers = [
                row[f"{measure}_{unit}"]
                for measure in _MEASURES
                for unit in ("nats", "bits_per_byte")
            ]
            lines.append(
                f"{row['layer']:5d}  {row['lens']:6s}"
                + "".join(f" {value:8.3f}" for value in numbers)
            )
        return "\n".join(lines)


def evaluate(
    model: Any,
    lenses: Mapping[str, Lens],
    loss: RowLoss,
    batches: Iterable[torch.Tensor],
    *,
    token_shift: int = 1,
    bits_per_byte: Callable[[], float] = lambda: math.nan,
    processes: Processes = ALONE,
    report: Callable[[int], None] = lambda tokens: None,
) -> Evaluation:
    """Measure lenses on sequences of token ids, `[batch, pos]`: one forward pass, two products with
    the unembedding for the model, and one for each lens and layer.

    Args:
        model: a TransformerLens or Hugging Face model.
        lenses: of that model.
        loss: of its readout; see `row_loss`.
        batches: of this process. One without rows takes part in a sharded model's pass and counts
            for nothing.
        token_shift: how far ahead the label lies; lens and model are compared at the same position.
        bits_per_byte: what a nat a token is in bits a byte, asked for at the end.
        processes: this one among all.
        report: is told how many tokens were worked through.

    Raises:
        ValueError: there is no token to predict, or what is measured is not finite.
    """
    runner = as_runner(model)
    n_layers = next(iter(lenses.values())).unembed.readout.n_layers
    sums = torch.zeros(2 * len(lenses) * n_layers + 2, 2, dtype=torch.float64)
    counts = torch.zeros(2, dtype=torch.float64)
    for ids in batches:
        residuals = all_residuals(runner, ids if len(ids) else ids.new_zeros(1, ids.shape[1]))
        if not len(ids):
            continue
        length = ids.shape[1] - abs(token_shift)
        here, there = max(-token_shift, 0), max(token_shift, 0)
        labels = ids[:, there : there + length].flatten()
        rows = aligned(residuals[:, :, here : here + length], 0)
        means = (
            _means(rows, labels, lenses, loss).reshape(-1, len(ids), length).mean(-1).cpu().double()
        )  # measure batch
        sums += torch.stack([means.sum(-1), means.square().sum(-1)], dim=-1)
        counts += torch.tensor([len(ids), labels.numel()], dtype=torch.float64)
        report(ids.numel())
    for tensor in (sums, counts):
        processes.sum(tensor)
    if not counts[1]:
        raise ValueError(
            "a lens can't be measured on no text: give at least one whole sequence of tokens"
        )
    _check_finite(sums, list(lenses), n_layers)
    return _evaluation(sums.numpy(), counts.numpy(), list(lenses), n_layers, bits_per_byte())


def _check_finite(sums: torch.Tensor, names: Sequence[str], n_layers: int) -> None:
    for at, row in enumerate(sums):
        if not bool(torch.isfinite(row).all()):
            whose = (
                f"layer {at // 2 % n_layers} of the {names[at // 2 // n_layers]} lens"
                if at < len(sums) - 2
                else "the model"
            )
            raise ValueError(
                f"{whose} gives numbers that are not finite: a lens like that has diverged; "
                "train it again"
            )


def _means(
    rows: torch.Tensor, labels: torch.Tensor, lenses: Mapping[str, Lens], loss: RowLoss
) -> torch.Tensor:
    """KL and cross-entropy of each row, for each lens and layer and then the model: `[measure,
    n]`."""
    prepared = loss.prepare(Truth(final=rows[-1].float()))
    entries: list[torch.Tensor] = []
    with torch.no_grad():
        for lens in lenses.values():
            for layer, h in enumerate(rows[:-1]):
                entries += loss.kl_and_cross_entropy(
                    lens.transform_hidden(h.float(), layer), prepared, labels
                )
        entries += loss.kl_and_cross_entropy(rows[-1].float(), prepared, labels)
    return torch.stack(entries)


def _evaluation(
    sums: Numbers, counts: Numbers, names: list[str], n_layers: int, bits_per_byte: float
) -> Evaluation:
    sequences = counts[0]
    mean = sums[:, 0] / sequences
    spread = np.maximum(sums[:, 1] / sequences - mean**2, 0)
    error = np.sqrt(spread / (sequences - 1)) if sequences > 1 else np.full_like(spread, np.nan)

    def measured(part: slice) -> Measured:
        value, value_error = mean[part].reshape(-1, 2), error[part].reshape(-1, 2)
        return Measured(
            kl=value[:, 0],
            cross_entropy=value[:, 1],
            kl_error=value_error[:, 0],
            cross_entropy_error=value_error[:, 1],
        )

    step = 2 * n_layers
    return Evaluation(
        lenses={name: measured(slice(at * step, (at + 1) * step)) for at, name in enumerate(names)},
        model=measured(slice(len(names) * step, None)),
        tokens=int(counts[1]),
        bits_per_byte=bits_per_byte,
    )
