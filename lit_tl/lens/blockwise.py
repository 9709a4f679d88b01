"""Statistics of softmaxes over the vocabulary, made block by block of its logits.

Lenses read every layer at every position, so that their cost is the product with the unembedding.
Rows of many layers and positions go through it together. Each block of a few hundred rows and a
thousand tokens is reduced while it is in the cache: running maxima and sums, as FlashAttention has
them (Dao et al. 2022, arXiv 2205.14135, section 3.1), and the maxima of small groups of tokens,
among which the likeliest tokens are looked for at the end.
"""

import dataclasses
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

import torch
from jaxtyping import Float, Int

from lit_tl.engine import memory
from lit_tl.lens import measures
from lit_tl.lens.fused_readout import LinearReadout
from lit_tl.lens.unembed import Unembed

_COLUMNS, _GPU_COLUMNS = 4096, 16384
"""Tokens of a block."""
_BYTES, _GPU_BYTES = 128 * 2**20, 512 * 2**20
"""Of the logits that are there at a time."""
_MOST_ROWS = 512
_GROUP = 64
"""Tokens whose largest logit is kept. The k likeliest tokens lie in the k groups whose largest
logits are the largest: each of those k logits is at least the k-th one."""
_LEAST = -80.0
"""What is smaller is exp's as this is, which is nothing beside 1. The exponential of less than -87
is no normal float32, and takes twenty times as long."""
POSITIONS = 256
"""Positions whose hidden states go through a lens together."""

Rows = Float[torch.Tensor, "row pos"]


class NotFinite(ValueError):
    """A logit is infinite or no number, so that sums of blocks mean nothing."""


def linear_readout(unembed: Unembed, *, in_bfloat16: bool = False) -> Optional[LinearReadout]:
    """What rows go through; None where logits are more than a product, or in half precision, whose
    logits the model rounds in its own way.

    Args:
        unembed: of the model. Hooks on its unembedding see all rows at once: then there is no
            block by block.
        in_bfloat16: to multiply in it.
    """
    readout = unembed.readout
    if readout.weight.dtype != torch.float32 or any(
        module._forward_hooks or module._forward_pre_hooks
        for module in readout.unembedding.modules()
    ):
        return None
    return LinearReadout.of(unembed, dtype=torch.bfloat16 if in_bfloat16 else None)


@dataclasses.dataclass(kw_only=True)
class Softmaxes:
    """What is known of softmaxes, `[row, pos]` each; what was not asked for is None. Logits are
    counted from the row's largest, which keeps differences exact."""

    total: torch.Tensor
    """`log sum_v exp(logits_v)`, at least 0."""
    expected: Optional[torch.Tensor] = None
    """`sum_v q_v logits_v`"""
    under_model: Optional[torch.Tensor] = None
    """`sum_v p_v logits_v`, with the model's p at the same position."""
    above: Optional[torch.Tensor] = None
    """How many logits are larger than the target's."""
    of_targets: Optional[torch.Tensor] = None
    """The target's logit."""
    of_anti_targets: Optional[torch.Tensor] = None
    top_ids: Optional[torch.Tensor] = None
    """`[row, pos, top]`, the likeliest first."""
    top_logits: Optional[torch.Tensor] = None


@dataclasses.dataclass(frozen=True)
class _Way:
    """How a measure is made of softmaxes."""

    make: Callable[[Any], torch.Tensor]
    needs: tuple[str, ...] = ()


def _entropy(seen: Any) -> torch.Tensor:
    value: torch.Tensor = seen.total - seen.expected
    return value


def _forward_kl(seen: Any) -> torch.Tensor:
    """Against the last row, which is the model's."""
    model = seen.expected[-1:] - seen.total[-1:]
    value: torch.Tensor = model - (seen.under_model - seen.total)
    value[-1] = 0.0  # against itself
    return value


def _top(seen: Any) -> torch.Tensor:
    probabilities = (seen.top_logits - seen.total[..., None]).exp()
    return torch.stack([seen.top_ids.double(), probabilities.double()], dim=-1)


_WAYS: Mapping[Callable[..., torch.Tensor], _Way] = {
    measures.entropy: _Way(_entropy, ("expected",)),
    measures.forward_kl: _Way(_forward_kl, ("expected", "under_model")),
    measures.max_probability: _Way(lambda seen: (-seen.total).exp()),
    measures.cross_entropy: _Way(lambda seen: seen.total - seen.of_targets, ("of_targets",)),
    measures.rank: _Way(lambda seen: 1 + seen.above.long(), ("of_targets", "above")),
    measures.log_prob_diff: _Way(
        lambda seen: seen.of_targets - seen.of_anti_targets, ("of_targets", "of_anti_targets")
    ),
    measures.ids_and_probabilities: _Way(_top, ("top",)),
}
"""The measures that are made here, by their functions."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Measures by name, and what they need of softmaxes."""

    ways: Mapping[str, _Way]
    needs: frozenset[str]
    top: int

    @classmethod
    def of(cls, reduces: Mapping[str, Callable[..., torch.Tensor]]) -> Optional["Plan"]:
        """For measures of `lit_tl.lens.measures`; None where one of them has to see all
        log-probabilities."""
        functions = {name: getattr(each, "func", each) for name, each in reduces.items()}
        if not all(function in _WAYS for function in functions.values()):
            return None
        ways = {name: _WAYS[function] for name, function in functions.items()}
        counts = [getattr(each, "keywords", {}).get("count", 0) for each in reduces.values()]
        needs = frozenset(need for way in ways.values() for need in way.needs)
        return cls(ways, needs, max(counts, default=0))

    def values(self, seen: Softmaxes) -> dict[str, torch.Tensor]:
        """Each measure's, `[row, pos, ...]`."""
        return {name: way.make(seen) for name, way in self.ways.items()}


class Reader:
    """Reads softmaxes of rows that come in parts of some positions.

    Args:
        linear: the model's readout.
        plan: what is wanted.
    """

    def __init__(self, linear: LinearReadout, plan: Plan):
        self._linear, self._plan = linear, plan
        self._on_gpu = linear.weight.device.type != "cpu"
        d_vocab = linear.weight.shape[0]
        self._width = -(-d_vocab // _GROUP) * _GROUP
        self._columns = min(_GPU_COLUMNS if self._on_gpu else _COLUMNS, self._width)
        device = linear.weight.device
        bytes_ = min(_GPU_BYTES if self._on_gpu else _BYTES, memory.free_on(device) // 4)
        self.most_rows = max(16, bytes_ // (4 * self._width))
        if not self._on_gpu:
            self.most_rows = min(self.most_rows, _MOST_ROWS)
        # Reused: new memory of this size would come from the kernel page by page each time.
        self._logits = torch.empty(self.most_rows, self._width, device=device)
        self._logits[:, d_vocab:] = -torch.inf
        self._work = torch.empty(2, self.most_rows * self._columns, device=device)

    @torch.no_grad()
    def read(
        self,
        x: Float[torch.Tensor, "row pos d_in"],
        targets: Optional[Int[torch.Tensor, " pos"]],
        anti_targets: Optional[Int[torch.Tensor, " pos"]],
    ) -> Iterator[Softmaxes]:
        """Softmaxes of some positions at a time, in their order.

        Args:
            x: inputs of the unembedding; the last row is the model's own.
            targets: token ids, where a measure needs them.
            anti_targets: the same.

        Raises:
            NotFinite: see there.
            lit_tl.engine.memory.OutOfMemory: not even one position fits.
        """
        if x.shape[0] > self.most_rows:
            raise memory.no_room()
        step = max(1, self.most_rows // x.shape[0])
        readout, model = self._linear.unembed.readout, None
        if "under_model" in self._plan.needs:
            with readout.alone():
                model = self._linear.log_partition(x[-1])[:, None]
        for first in range(0, x.shape[1], step):
            here = slice(first, first + step)
            known = [None if ids is None else ids[here] for ids in (targets, anti_targets)]
            with readout.alone():
                of_model = None if model is None else model[here]
                seen = self._read(x[:, here].contiguous(), known, of_model)
            yield seen

    def _read(
        self,
        x: torch.Tensor,
        known: Sequence[Optional[torch.Tensor]],
        model: Optional[torch.Tensor],
    ) -> Softmaxes:
        n_rows, n_pos, _ = x.shape
        rows = x.flatten(0, 1)
        sums = _Sums(self._plan, rows, model)
        n, d_vocab = len(rows), self._linear.weight.shape[0]
        for first in range(0, d_vocab, self._columns):
            block = self._product(rows, first)
            work = self._work[:, : block.numel()].unflatten(-1, block.shape)
            sums.add(block, work, self._padded(n, first), n_rows)
        logits = self._logits[:n]
        own = [
            None if ids is None else logits.gather(-1, ids.expand(n_rows, -1).reshape(-1, 1))
            for ids in known
        ]
        above = None
        if "above" in self._plan.needs and own[0] is not None:
            above = self._above(logits[:, :d_vocab], own[0])
        of = [None if logit is None else logit - sums.highest for logit in own]
        return sums.finish(logits, (n_rows, n_pos), of, above)

    def _above(self, logits: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        count = torch.zeros_like(own)
        for block in logits.split(self._columns, dim=-1):
            larger = self._work[0, : block.numel()].unflatten(-1, block.shape)
            count += torch.gt(block, own, out=larger).sum(-1, keepdim=True)
        return count

    def _product(self, x: torch.Tensor, first: int) -> torch.Tensor:
        """Logits of a block of the vocabulary, in their place among all."""
        linear = self._linear
        weight = linear.weight[first : first + self._columns]
        block = self._logits[: len(x), first : first + len(weight)]
        if weight.dtype == torch.float32:
            torch.mm(x, weight.T, out=block)
        else:
            block.copy_(x.to(weight.dtype) @ weight.T)
        if linear.bias is not None:
            block += linear.bias[first : first + len(weight)].float() * linear.scale
        return block

    def _padded(self, n: int, first: int) -> torch.Tensor:
        last = min(first + self._columns, self._width)
        return self._logits[:n, first:last].unflatten(-1, (-1, _GROUP))


class _Sums:
    """Of the blocks so far, of rows `x`."""

    def __init__(self, plan: Plan, x: torch.Tensor, model: Optional[torch.Tensor]):
        self._plan, self._model = plan, model
        zeros = x.new_zeros(len(x), 1)
        self.highest = zeros  # before the first block
        self._started = False
        self._total, self._expected = zeros.clone(), zeros.clone()
        self._under_model, self._shares = zeros.clone(), zeros.clone()
        self._groups: list[torch.Tensor] = []

    def add(
        self, block: torch.Tensor, work: torch.Tensor, groups: torch.Tensor, n_rows: int
    ) -> None:
        """One more block `[n, column]`.

        Args:
            block: logits.
            work: room for two of them.
            groups: the same logits, filled up, `[n, group, _GROUP]`.
            n_rows: of how many rows there are positions.
        """
        maxima = groups.amax(-1)
        if self._plan.top:
            self._groups.append(maxima)
        higher = maxima.amax(-1, keepdim=True)
        if self._started:
            higher = torch.maximum(self.highest, higher)
            self._count_from(self.highest - higher)
        self.highest, self._started = higher, True
        from_highest = torch.sub(block, higher, out=work[0])
        if self._model is not None:
            self._weigh_by_model(block, from_highest, work[1], n_rows)
        weights = torch.exp(from_highest.clamp_min_(_LEAST), out=work[1])
        self._total += weights.sum(-1, keepdim=True)
        if "expected" in self._plan.needs:
            self._expected += weights.mul_(from_highest).sum(-1, keepdim=True)

    def _weigh_by_model(
        self, block: torch.Tensor, from_highest: torch.Tensor, work: torch.Tensor, n_rows: int
    ) -> None:
        assert self._model is not None
        by_row = (n_rows, -1)
        shares = (block.unflatten(0, by_row)[-1] - self._model).clamp_min_(_LEAST).exp_()
        self._shares += shares.sum(-1).repeat(n_rows)[:, None]
        weighed = work.unflatten(0, by_row)
        torch.mul(from_highest.unflatten(0, by_row), shares, out=weighed)
        self._under_model += weighed.sum(-1).reshape(-1, 1)

    def _count_from(self, rise: torch.Tensor) -> None:
        """Count logits from a larger one: by `rise`, at most 0, less each."""
        shrink = rise.exp()
        self._expected.addcmul_(self._total, rise).mul_(shrink)
        self._total.mul_(shrink)
        self._under_model.addcmul_(self._shares, rise)

    def finish(
        self,
        logits: torch.Tensor,
        shape: tuple[int, int],
        of: Sequence[Optional[torch.Tensor]],
        above: Optional[torch.Tensor],
    ) -> Softmaxes:
        """What the sums say, `[row, pos]`.

        Raises:
            NotFinite: see there.
        """
        needs = self._plan.needs
        values = {
            "total": self._total.log(),
            "expected": self._expected / self._total if "expected" in needs else None,
            "under_model": self._under_model / self._shares if self._model is not None else None,
            "above": above,
            "of_targets": of[0],
            "of_anti_targets": of[1],
        }
        for value in values.values():
            if value is not None and not bool(value.isfinite().all()):
                raise NotFinite
        seen = {name: None if v is None else v.reshape(shape) for name, v in values.items()}
        top_logits = top_ids = None
        if self._plan.top:
            top_logits, top_ids = self._likeliest(logits)
            top_logits = (top_logits - self.highest).reshape(*shape, -1)
            top_ids = top_ids.reshape(*shape, -1)
        return Softmaxes(
            **seen,  # type: ignore[arg-type]  # the total is never None
            top_logits=top_logits,
            top_ids=top_ids,
        )

    def _likeliest(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maxima = torch.cat(self._groups, dim=-1)
        groups = maxima.topk(min(self._plan.top, maxima.shape[-1]), dim=-1).indices
        within = torch.arange(_GROUP, device=logits.device)
        ids = (groups[..., None] * _GROUP + within).flatten(-2)
        values, places = logits.gather(-1, ids).topk(self._plan.top, dim=-1)
        return values, ids.gather(-1, places)
