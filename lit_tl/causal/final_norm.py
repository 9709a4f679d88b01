"""A model's final norm as a linear map, its scale held at that of a run."""

import dataclasses

import torch
from jaxtyping import Float

from lit_tl.engine.readout import Readout

_LARGE = 1e3
"""So that what a norm adds to a variance does not count."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FinalNorm:
    """A final norm: `gamma * (x - mean(x)) * scale(x) + offset`, or the same without the mean.

    Args:
        gamma: what it multiplies each number with.
        centred: whether it takes the mean away first.
        offset: what it adds.
        readout: that it is part of.
    """

    gamma: Float[torch.Tensor, " d_model"]
    centred: bool
    offset: Float[torch.Tensor, " d_model"]
    readout: Readout

    def scales(self, residuals: Float[torch.Tensor, "n d_model"]) -> Float[torch.Tensor, " n"]:
        """The scale at each residual.

        Raises:
            ValueError: the norm is not linear at a fixed scale.
        """
        expected = _normed(self.readout, residuals) - self.offset
        x = residuals.double()
        shown = self.gamma * (x - x.mean(-1, keepdim=True) if self.centred else x)
        scales = (shown * expected).sum(-1) / shown.square().sum(-1).clamp(min=1e-30)
        apart = (shown * scales[:, None] - expected).abs().amax(-1)
        exact = self.readout.weight.dtype in (torch.float32, torch.float64)
        if bool((apart > (1e-3 if exact else 5e-2) * expected.abs().amax(-1)).any()):
            raise ValueError(
                f"the final norm of {self.readout.name} is not linear at a fixed scale, so that a "
                "logit can't be split among the parts of the model"
            )
        return scales

    def direction(
        self, row: Float[torch.Tensor, " d_model"], residual: Float[torch.Tensor, " d_model"]
    ) -> Float[torch.Tensor, " d_model"]:
        """What a part of a residual is multiplied with to give its share of `row .
        norm(residual)`, float32."""
        scaled = row.double() * self.gamma * self.scales(residual[None])[0]
        return (scaled - scaled.mean() if self.centred else scaled).float()


def final_norm(readout: Readout) -> FinalNorm:
    """The final norm of a model, found by what it does.

    It gives its offset for a constant, or for a vector and its opposite together, and its gain for
    a vector of ones and minus ones, whose scale is known. Whether it is what was found is seen when
    its scale is asked for.
    """
    x = torch.linspace(-1.0, 2.0, readout.d_model, dtype=torch.float64)
    x = x.to(readout.weight.device)
    probes = [_signs(x, 0)] if len(x) % 2 == 0 else [_signs(x, 0), _signs(x, 1)]
    rows = [_LARGE * x, _LARGE * (x + 1.0)]
    rows += [way * _LARGE * signs for signs in probes for way in (1, -1)]
    own, shifted, *answers = _normed(readout, torch.stack(rows))
    centred = bool((own - shifted).abs().max() < 1e-2 * own.abs().max())
    gamma = torch.zeros_like(x)
    for i, signs in enumerate(probes):
        gain = (answers[2 * i] - answers[2 * i + 1]) / 2 * signs * signs.square().mean().sqrt()
        gamma = torch.where(signs == 0, gamma, gain)
    offset = (answers[0] + answers[1]) / 2
    return FinalNorm(gamma=gamma, centred=centred, offset=offset, readout=readout)


def _normed(readout: Readout, rows: torch.Tensor) -> torch.Tensor:
    return readout.norm_alone(rows).double()


def _signs(x: torch.Tensor, zero: int) -> torch.Tensor:
    """Ones and minus ones that add up to 0; of an odd width with a 0 at a place."""
    signs = torch.ones_like(x)
    signs[1::2] = -1.0
    if len(x) % 2:
        signs = torch.cat([signs[:zero], signs.new_zeros(1), signs[: len(x) - 1 - zero]])
        signs[zero + 1 :] = signs[zero + 1 :] if zero == 0 else -signs[zero + 1 :]
    return signs
