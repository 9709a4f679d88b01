"""The loss of a lens for all layers, its gradient in closed form, in memory that does not grow with
the vocabulary."""

import abc
import dataclasses
from typing import Any, Iterator, Optional

import torch
from jaxtyping import Float, Int

from lit_tl.lens.fused_readout import LinearReadout
from lit_tl.lens.lenses import TunedLens
from lit_tl.lens.unembed import Unembed

_CHUNK_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """What a lens is to say at each row: the model's final residual (`kl`), or the next tokens
    (`ce`)."""

    final: Optional[Float[torch.Tensor, "n d_model"]] = None
    labels: Optional[Int[torch.Tensor, " n"]] = None


class RowLoss(abc.ABC):
    """Mean loss over rows for one hidden state a row, with its gradient."""

    @abc.abstractmethod
    def prepare(self, truth: Truth) -> Any:
        """What all layers share."""

    @abc.abstractmethod
    def value_and_gradient(
        self, moved: torch.Tensor, prepared: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean over `moved`, `[n, d_model]`, in nats, and its gradient there."""

    @abc.abstractmethod
    def kl_and_cross_entropy(
        self, moved: torch.Tensor, prepared: Any, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each row, in nats, without a gradient: KL(model || lens), where `prepared` is of the
        model, and `-log q(label)`."""


def row_loss(unembed: Unembed, *, dtype: Optional[torch.dtype] = None) -> RowLoss:
    """The fastest exact loss for a model's readout."""
    readout = LinearReadout.of(unembed, dtype=dtype)
    return Unstored(unembed) if readout is None else Fused(readout)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    x: Optional[torch.Tensor]
    partition: Optional[torch.Tensor]
    mean: torch.Tensor
    labels: Optional[torch.Tensor]


class Fused(RowLoss):
    """For a linear readout. With `x`, `log Z` and `E = sum_v softmax_v W_v` of a hidden state, the
    model's marked p, the lens's q: `KL(p || q) = log Z_q - log Z_p + E_p . (x_p - x_q)`, and its
    gradient to `x_q` is `E_q - E_p`. Cross-entropy has the label's row in place of `E_p`. Two
    products with the unembedding for each layer, and two for the model."""

    def __init__(self, readout: LinearReadout):
        self._readout = readout

    @torch.no_grad()
    def prepare(self, truth: Truth) -> _Prepared:
        """The model's own expectation, or the labels' rows."""
        if truth.final is None:
            return _Prepared(
                x=None,
                partition=None,
                mean=self._readout.weight[truth.labels].float(),
                labels=truth.labels,
            )
        x = self._readout.input(truth.final)
        partition, mean = self._readout.expectation(x)
        return _Prepared(x=x, partition=partition, mean=mean, labels=None)

    def value_and_gradient(
        self, moved: torch.Tensor, prepared: _Prepared
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `RowLoss`."""
        leaf = moved.detach().requires_grad_()
        with torch.enable_grad():
            x = self._readout.input(leaf)
        partition, mean = self._readout.expectation(x.detach())
        if prepared.x is None or prepared.partition is None:
            assert prepared.labels is not None
            values = partition - self._readout.logits_at(x.detach(), prepared.labels)
        else:
            values = (
                partition - prepared.partition + (prepared.mean * (prepared.x - x.detach())).sum(-1)
            )
        (gradient,) = torch.autograd.grad(x, leaf, mean.sub_(prepared.mean).div_(moved.shape[0]))
        return values.mean(), gradient

    @torch.no_grad()
    def kl_and_cross_entropy(
        self, moved: torch.Tensor, prepared: _Prepared, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `RowLoss`: one product with the unembedding."""
        assert prepared.x is not None
        assert prepared.partition is not None
        x = self._readout.input(moved)
        partition = self._readout.log_partition(x)
        kl = partition - prepared.partition + (prepared.mean * (prepared.x - x)).sum(-1)
        return kl, partition - self._readout.logits_at(x, labels)


class Unstored(RowLoss):
    """For any readout, a soft-cap say: plain autograd, a chunk of rows at a time."""

    def __init__(self, unembed: Unembed):
        self._unembed = unembed

    def prepare(self, truth: Truth) -> Truth:
        """Nothing: the model's logits are made again for each layer, so that they need no room."""
        return truth

    def value_and_gradient(
        self, moved: torch.Tensor, prepared: Truth
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `RowLoss`."""
        total, gradients = torch.zeros((), device=moved.device), []
        for part in self._parts(moved.shape[0]):
            leaf = moved[part].detach().requires_grad_()
            with torch.enable_grad():
                log_q = self._unembed(leaf).log_softmax(-1)
                if prepared.final is None:
                    assert prepared.labels is not None
                    value = torch.nn.functional.nll_loss(
                        log_q, prepared.labels[part], reduction="sum"
                    )
                else:
                    with torch.no_grad():
                        log_p = self._unembed(prepared.final[part]).log_softmax(-1)
                    value = torch.nn.functional.kl_div(
                        log_q, log_p, reduction="sum", log_target=True
                    )
                (gradient,) = torch.autograd.grad(value, leaf)
            total += value.detach()
            gradients.append(gradient)
        return total / moved.shape[0], torch.cat(gradients).div_(moved.shape[0])

    @torch.no_grad()
    def kl_and_cross_entropy(
        self, moved: torch.Tensor, prepared: Truth, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `RowLoss`."""
        assert prepared.final is not None
        divergences, entropies = [], []
        for part in self._parts(moved.shape[0]):
            log_q, log_p = (self._unembed(h[part]).log_softmax(-1) for h in (moved, prepared.final))
            divergences.append((log_p.exp() * (log_p - log_q)).sum(-1))
            entropies.append(-log_q.gather(-1, labels[part, None])[:, 0])
        return torch.cat(divergences), torch.cat(entropies)

    def _parts(self, count: int) -> Iterator[slice]:
        rows = max(1, _CHUNK_BYTES // (4 * self._unembed.readout.weight.shape[0]))
        for first in range(0, count, rows):
            yield slice(first, first + rows)


class _WithItsGradient(torch.autograd.Function):
    """The loss; its gradient is made on the way forward, and is all that is kept for the way
    back."""

    @staticmethod
    def forward(ctx: Any, moved: torch.Tensor, loss: RowLoss, prepared: Any) -> torch.Tensor:
        value, gradient = loss.value_and_gradient(moved, prepared)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None


class LensLoss(torch.nn.Module):
    """Translators and loss in one module, as DistributedDataParallel wants them: `forward` gives
    each layer's mean loss.

    Args:
        lens: whose translators are trained.
        loss: of the lens's model.
    """

    def __init__(self, lens: TunedLens, loss: RowLoss):
        super().__init__()
        self.translators = lens.layer_translators
        self._loss = loss

    def forward(
        self, hidden: Float[torch.Tensor, "layer n d_model"], truth: Truth
    ) -> Float[torch.Tensor, " layer"]:
        """In nats, each layer's with a graph to its translator."""
        prepared = self._loss.prepare(truth)
        losses = []
        for translator, h in zip(self.translators, hidden, strict=True):
            h = h.float()
            losses.append(_WithItsGradient.apply(h + translator(h), self._loss, prepared))
        return torch.stack(losses)
