"""From hidden states to logits, and back."""

import dataclasses
import hashlib
from typing import Any, Literal, Optional

import numpy as np
import torch
from jaxtyping import Float

from lit_tl.engine.readout import Readout
from lit_tl.lens.streams import as_runner


@dataclasses.dataclass(frozen=True)
class InversionOutput:
    """A hidden state whose logits come near given ones."""

    preimage: torch.Tensor
    """`[..., d_model]`"""
    grad_norm: torch.Tensor
    """Of the objective at the preimage."""
    kl: torch.Tensor
    """KL(p || q(preimage)) in nats, summed over the rows."""
    loss: torch.Tensor
    """The objective: the KL, and the weighted prior."""
    nfev: int
    """Evaluations of the objective."""


class Unembed(torch.nn.Module):
    """A model's final norm and unembedding, with its logit soft-cap and scale: the modules of the
    model itself, not copies.

    Args:
        model: a TransformerLens model, a Hugging Face causal language model, or a `Runner`.

    Raises:
        TypeError: it is neither.
        ValueError: its final norm is not found.
    """

    def __init__(self, model: Any):
        super().__init__()
        # A readout is no module, so that the model's parameters do not become the lens's.
        self.readout: Readout = as_runner(model).readout
        """The model's own modules; see `lit_tl.engine.readout.Readout`."""

    @property
    def final_norm(self) -> torch.nn.Module:
        """The model's final norm."""
        return self.readout.norm

    @property
    def unembedding(self) -> torch.nn.Module:
        """The model's unembedding: what comes behind the final norm."""
        return self.readout.unembedding

    def forward(
        self, h: Float[torch.Tensor, "*batch d_model"]
    ) -> Float[torch.Tensor, "*batch d_vocab"]:
        """Logits of hidden states, in float32."""
        return self.readout.logits(h)

    def unembedding_hash(self) -> str:
        """The hash by which published lenses name their model.

        It covers what NumPy prints of the matrix with one decimal (its corners), so that models
        that differ elsewhere share it; `full_hash` does not have that gap.
        """
        with np.printoptions(
            threshold=1000, edgeitems=3, linewidth=75, suppress=False, floatmode="maxprec", sign="-"
        ):
            printed = np.array_str(self.readout.weight.float().cpu().numpy(), precision=1)
        return hashlib.sha256(printed.encode()).hexdigest()

    def full_hash(self) -> str:
        """A hash of every number of the unembedding matrix, in float32."""
        return hashlib.sha256(
            np.ascontiguousarray(self.readout.weight.float().cpu().numpy()).data
        ).hexdigest()

    @torch.enable_grad()
    def invert(
        self,
        logits: Float[torch.Tensor, "*batch d_vocab"],
        *,
        h0: Optional[Float[torch.Tensor, "*batch d_model"]] = None,
        max_iter: int = 1000,
        optimizer: Literal["lbfgs", "sgd"] = "lbfgs",
        prior_weight: float = 0.0,
        prior: Optional[torch.distributions.Distribution] = None,
        step_size: float = 1.0,
        tol: float = 1e-3,
        weight: Optional[Float[torch.Tensor, "*batch d_vocab"]] = None,
    ) -> InversionOutput:
        """The hidden state whose prediction is nearest to `softmax(logits)`: argmin over h of KL(p
        || q(h)).

        Exact only on the image of the unembedding, since d_model is below d_vocab (Yang et al.
        2018, arXiv 1711.03953).

        Args:
            logits: what to come near.
            h0: where to begin; None for the least-squares solution of `W h = logits`.
            max_iter: steps of the optimizer at most.
            optimizer: `lbfgs`, or gradient descent.
            prior_weight: how much `-log prior(h)`, a mean over rows, counts.
            prior: a distribution over hidden states.
            step_size: of the optimizer.
            tol: stop where the gradient's norm is below it.
            weight: for each vocabulary entry; None for all alike.

        Raises:
            ValueError: an unknown optimizer, or a weight on a prior that is not given.
        """
        if optimizer not in ("lbfgs", "sgd"):
            raise ValueError(f"optimizer={optimizer!r} is not known: lbfgs and sgd are")
        if prior_weight and prior is None:
            raise ValueError(
                "prior_weight without a prior: give prior=, a torch distribution over hidden states"
            )
        logits = logits.detach().float()
        target = logits.log_softmax(-1)
        h = (
            self._least_squares(logits) if h0 is None else h0.detach().float().clone()
        ).requires_grad_(True)
        nfev = 0

        def objective() -> tuple[torch.Tensor, torch.Tensor]:
            nonlocal nfev
            nfev += 1
            terms = target.exp() * (target - self(h).log_softmax(-1))
            kl = (terms if weight is None else terms * weight).sum()
            loss = kl if prior is None else kl - prior_weight * prior.log_prob(h).mean()
            return kl, loss

        def step() -> torch.Tensor:
            h.grad = None
            _, loss = objective()
            (h.grad,) = torch.autograd.grad(loss, h)
            return loss

        self._minimise(h, step, optimizer, max_iter, step_size, tol)
        kl, loss = objective()
        (gradient,) = torch.autograd.grad(loss, h)
        return InversionOutput(
            preimage=h.detach(),
            grad_norm=gradient.norm(),
            kl=kl.detach(),
            loss=loss.detach(),
            nfev=nfev,
        )

    def _least_squares(self, logits: torch.Tensor) -> torch.Tensor:
        weight = self.readout.matrix().float()
        flat = logits.reshape(-1, logits.shape[-1]).to(weight.device)
        solved = torch.linalg.lstsq(weight, (flat - flat.mean(-1, keepdim=True)).T).solution.T
        return solved.reshape(*logits.shape[:-1], weight.shape[1])

    @staticmethod
    def _minimise(
        h: torch.Tensor, step: Any, optimizer: str, max_iter: int, step_size: float, tol: float
    ) -> None:
        if optimizer == "lbfgs":
            torch.optim.LBFGS(
                [h],
                line_search_fn="strong_wolfe",
                lr=step_size,
                max_iter=max_iter,
                tolerance_change=1e-12,
                tolerance_grad=tol,
            ).step(step)
            return
        descent = torch.optim.SGD([h], lr=step_size)
        for _ in range(max_iter):
            descent.step(step)
            if h.grad is not None and float(h.grad.norm()) < tol:
                return
