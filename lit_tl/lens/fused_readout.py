"""What a loss needs of a softmax over the vocabulary, without storing the softmax.

With `x` the input of the unembedding and `W`, `b` its rows and biases, the gradient of `log sum_v
exp(x . W_v + b_v)` is `sum_v softmax(x W^T + b)_v W_v`: attention with the vocabulary as keys and
values. It is computed as FlashAttention does (Dao et al. 2022, arXiv 2205.14135, section 3.1): a
block of the vocabulary at a time, with a running maximum. Two matrix products a row, as a forward
and a backward pass through the unembedding have; no tensor of rows x d_vocab; elementwise work
stays in the cache.
"""

import dataclasses
from typing import Any, Mapping, Optional

import torch
from jaxtyping import Float

from lit_tl.lens.unembed import Unembed

_ROWS, _VOCABULARY = 512, 1024
"""Of one block of logits: 2 MB in float32, which stays in a cache."""
_GPU_ROWS, _GPU_VOCABULARY = 2048, 16384


def half_products(device: torch.device) -> Optional[torch.dtype]:
    """The half precision in which a device has units for products; None where it has none."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device.type != "cpu":
        return None
    capabilities: Mapping[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # of torch 2.10 on
    fast = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return torch.bfloat16 if fast else None


@dataclasses.dataclass(frozen=True)
class LinearReadout:
    """A readout `logits = x W^T + b`, for `x = scale * project(norm(h))`; `d_in` is d_model but
    where the model projects.

    In half precision `W` and `b` are less their means over the vocabulary. That moves all logits of
    a row alike, which no softmax and no loss sees, and leaves numbers near 0, where half precision
    is fine; GPT-2's logits, near -100, would be rounded to halves.
    """

    unembed: Unembed
    weight: Float[torch.Tensor, "d_vocab d_in"]
    bias: Optional[Float[torch.Tensor, " d_vocab"]]
    scale: float

    @classmethod
    def of(
        cls, unembed: Unembed, *, dtype: Optional[torch.dtype] = None
    ) -> Optional["LinearReadout"]:
        """The linear readout of a model, or None where there is none: a soft-cap, or more behind
        the unembedding than is known.

        Args:
            unembed: of the model. Whether the model is linear is seen on random hidden states: both
                ways must give the same logits.
            dtype: what products are made in; None for the weight's own. A half precision takes
                memory for a second `W`.
        """
        readout: Any = unembed.readout
        weight = readout.weight
        ones = torch.ones(1, 1, 1, device=weight.device)
        scale = float(readout.finish(ones))
        bias = getattr(readout.unembedding, "b_U", getattr(readout.unembedding, "bias", None))
        linear = cls(unembed, weight, None if bias is None else bias.detach(), scale)
        generator = torch.Generator().manual_seed(0)
        probe = torch.randn(4, readout.d_model, generator=generator).to(
            weight.device
        ) * torch.tensor([[1.0], [5.0], [50.0], [500.0]]).to(weight.device)
        with torch.no_grad():
            expected, computed = unembed(probe), linear.logits(linear.input(probe))
        tolerance = 1e-4 if weight.dtype in (torch.float32, torch.float64) else 3e-2
        if not torch.allclose(
            expected, computed, rtol=tolerance, atol=tolerance * float(expected.abs().max())
        ):
            return None
        return linear._in(dtype or weight.dtype)

    def _in(self, dtype: torch.dtype) -> "LinearReadout":
        if dtype not in (torch.bfloat16, torch.float16):
            return (
                self
                if dtype == self.weight.dtype
                else dataclasses.replace(self, weight=self.weight.to(dtype))
            )
        mean = self.weight.mean(0, dtype=torch.float32)
        weight = torch.empty_like(self.weight, dtype=dtype)
        for rows in torch.arange(self.weight.shape[0], device=weight.device).split(
            _GPU_VOCABULARY
        ):  # no whole copy in float32
            weight[rows] = (self.weight[rows].float() - mean).to(dtype)
        bias = None if self.bias is None else self.bias.float() - self.bias.float().mean()
        return dataclasses.replace(self, weight=weight, bias=bias)

    def input(self, h: Float[torch.Tensor, "*batch d_model"]) -> Float[torch.Tensor, "*batch d_in"]:
        """`x`, float32, with a graph where `h` has one."""
        return self.unembed.readout.normed(h).float() * self.scale

    def logits(
        self, x: Float[torch.Tensor, "*batch d_in"]
    ) -> Float[torch.Tensor, "*batch d_vocab"]:
        """All of them, float32; in half precision, up to a number for each row."""
        product = (x.to(self.weight.dtype) @ self.weight.T).float()
        return product if self.bias is None else product + self.bias.float() * self.scale

    def logits_at(
        self, x: Float[torch.Tensor, "*batch d_in"], ids: torch.Tensor
    ) -> Float[torch.Tensor, "*batch"]:
        """Of one token for each row."""
        chosen = (x * self.weight[ids].float()).sum(-1)
        return chosen if self.bias is None else chosen + self.bias[ids].float() * self.scale

    @torch.no_grad()
    def expectation(
        self, x: Float[torch.Tensor, "n d_in"]
    ) -> tuple[Float[torch.Tensor, " n"], Float[torch.Tensor, "n d_in"]]:
        """`log sum_v exp(logits_v)` and `sum_v softmax(logits)_v W_v`, float32: two products with
        the unembedding."""
        partition, mean = torch.empty(x.shape[0], device=x.device), torch.empty_like(x)
        rows, _ = _block(x.device)
        for first in range(0, x.shape[0], rows):
            part = slice(first, first + rows)
            partition[part], mean[part] = self._rows(x[part], wants_mean=True)
        return partition, mean

    @torch.no_grad()
    def log_partition(self, x: Float[torch.Tensor, "n d_in"]) -> Float[torch.Tensor, " n"]:
        """`log sum_v exp(logits_v)` alone: one product."""
        rows, _ = _block(x.device)
        return torch.cat([self._rows(part, wants_mean=False)[0] for part in x.split(rows)])

    def _rows(self, x: torch.Tensor, *, wants_mean: bool) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.to(self.weight.dtype)
        maximum = torch.full((x.shape[0], 1), -torch.inf, device=x.device)
        total = torch.zeros_like(maximum)
        mean = torch.zeros(x.shape if wants_mean else (0, 0), device=x.device)
        _, columns = _block(x.device)
        for first in range(0, self.weight.shape[0], columns):
            weight = self.weight[first : first + columns]
            block = (x @ weight.T).float()  # row column
            if self.bias is not None:
                block += self.bias[first : first + columns].float() * self.scale
            higher = torch.maximum(maximum, block.amax(-1, keepdim=True))
            block.sub_(higher).exp_()
            shrink = maximum.sub_(higher).exp_()
            total.mul_(shrink).add_(block.sum(-1, keepdim=True))
            if wants_mean and weight.dtype == torch.float32:
                mean.mul_(shrink).addmm_(block, weight)
            elif wants_mean:
                mean.mul_(shrink).add_(block.to(weight.dtype) @ weight)
            maximum = higher
        return (maximum + total.log())[:, 0], mean.div_(total) if wants_mean else mean


def _block(device: torch.device) -> tuple[int, int]:
    """Rows and columns of the logits that are made at a time."""
    return (_ROWS, _VOCABULARY) if device.type == "cpu" else (_GPU_ROWS, _GPU_VOCABULARY)
