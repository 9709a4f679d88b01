"""What to change in a run: a site, and what becomes of its value there."""

import abc
import dataclasses
import hashlib
import math
from typing import Any, ClassVar, Optional, Union

import numpy as np
import numpy.typing as npt
import torch

from lit_tl.engine.sites import Site

WRITERS = frozenset({"embed", "result", "attn_out", "mlp_out"})
"""Components whose values are summands of the residual."""
READERS = frozenset({"attn_in", "q_input", "k_input", "v_input", "mlp_in", "resid_post"})
"""Components that read the residual. `resid_post` of the last layer is what the final norm
reads."""

IN_PROMPT = " in prompt"
"""Ends the text of a change that leaves generated tokens alone."""


class Array:
    """Numbers that can be compared and hashed by their content.

    Args:
        values: numbers, or what NumPy makes an array of; a copy is kept as float32.

    Raises:
        ValueError: a number is not finite.
    """

    def __init__(self, values: Any):
        self.values: npt.NDArray[np.float32] = np.array(values, dtype=np.float32)
        self.values.setflags(write=False)
        if not np.isfinite(self.values).all():
            raise ValueError("an intervention's array holds numbers that are not finite")
        content = str(self.values.shape).encode() + self.values.tobytes()
        self.digest = hashlib.sha256(content).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"array({self.digest})"


@dataclasses.dataclass(frozen=True)
class FromRun:
    """The value that a site has in the run of another prompt.

    Args:
        ids: the token ids of that prompt.
    """

    ids: tuple[int, ...]

    def __repr__(self) -> str:
        return f"run({', '.join(map(str, self.ids))})"


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """A tensor as it is, for changes that are made by the thousand and kept nowhere: equal only to
    itself, and its text does not parse back.

    Args:
        tensor: of one prompt, on any device; float64 keeps its digits.
    """

    tensor: torch.Tensor

    def __repr__(self) -> str:
        return f"numbers{list(self.tensor.shape)}"


Value = Union[Array, FromRun, Numbers]


@dataclasses.dataclass(frozen=True)
class Intervention(abc.ABC):
    """A change of the value at a site.

    Args:
        site: where. Without a layer: in each layer that has the component.
        reader: None to change the value for all that read it. Otherwise an edge: only this reader
            of the residual (`attn_in`, `q_input`, `k_input`, `v_input`, `mlp_in`, or `resid_post`
            of the last layer for the final norm) sees the changed value of `site`, which must be
            a summand of the residual (`embed`, `result` of one head, `attn_out`, `mlp_out`).
        prompt_only: leave generated tokens alone. Otherwise a change at all positions, or from a
            position on, holds in them too.

    Raises:
        ValueError: site and reader make no edge.
    """

    site: Site
    reader: Optional[Site] = dataclasses.field(default=None, kw_only=True)
    prompt_only: bool = dataclasses.field(default=False, kw_only=True)
    counts_positions: ClassVar[bool] = False
    """Whether what is done at a position depends on where it is among the selected ones."""

    def __post_init__(self) -> None:
        if self.reader is None:
            return
        if self.site.component not in WRITERS or self.reader.component not in READERS:
            raise ValueError(
                f"{self.site} -> {self.reader} is no edge: it goes from "
                f"{', '.join(sorted(WRITERS))} to {', '.join(sorted(READERS))}"
            )
        if self.site.component == "result" and self.site.head is None:
            raise ValueError(f"{self.site} -> {self.reader}: name one head, as in result[9].h6")
        if self.reader.layer is None or (
            self.site.component != "embed" and self.site.layer is None
        ):
            raise ValueError(f"{self.site} -> {self.reader}: an edge names the layers of both ends")
        if self.site.layer is not None and not self._reads_later():
            raise ValueError(f"{self.site} -> {self.reader}: the reader comes before the site")

    def _reads_later(self) -> bool:
        assert self.site.layer is not None
        assert self.reader is not None
        assert self.reader.layer is not None
        if self.reader.component == "resid_post":
            return self.reader.layer >= self.site.layer
        later = self.reader.layer > self.site.layer
        same = self.reader.layer == self.site.layer
        writes_before_mlp = self.site.component in ("attn_out", "result")
        return later or (same and self.reader.component == "mlp_in" and writes_before_mlp)

    @property
    def values(self) -> tuple[Value, ...]:
        """The arrays and other runs that the change takes numbers from."""
        return ()

    @abc.abstractmethod
    def change(self, value: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The new value.

        Args:
            value: what the model computed at the selected heads and positions: of one example, or
                of several with the batch axis first.
            given: `values` of one example, as tensors that broadcast to `value`.
        """

    @abc.abstractmethod
    def _right_hand_side(self) -> str:
        """The text behind the site."""

    def __str__(self) -> str:
        where = str(self.site) if self.reader is None else f"{self.site} -> {self.reader}"
        return f"{where} {self._right_hand_side()}{IN_PROMPT if self.prompt_only else ''}"


@dataclasses.dataclass(frozen=True)
class Zero(Intervention):
    """Replace the value by 0."""

    def change(self, value: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See `Intervention`."""
        return torch.zeros_like(value)

    def _right_hand_side(self) -> str:
        return "= 0"


@dataclasses.dataclass(frozen=True)
class Replace(Intervention):
    """Replace the value by an array, or by the value of another run at the same site."""

    value: Value = dataclasses.field(default_factory=lambda: Array(0.0))

    @property
    def values(self) -> tuple[Value, ...]:
        """See `Intervention`."""
        return (self.value,)

    def change(self, value: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See `Intervention`."""
        return given[0].expand_as(value)

    def _right_hand_side(self) -> str:
        return f"= {self.value!r}"


@dataclasses.dataclass(frozen=True)
class Add(Intervention):
    """Add `scale` times an array."""

    vector: Value = dataclasses.field(default_factory=lambda: Array(0.0))
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.scale):
            raise ValueError(f"{self.site}: the scale is {self.scale}, but must be finite")

    @property
    def values(self) -> tuple[Value, ...]:
        """See `Intervention`."""
        return (self.vector,)

    def change(self, value: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See `Intervention`."""
        return value + self.scale * given[0]

    def _right_hand_side(self) -> str:
        return f"+= {self.scale!r} * {self.vector!r}"


@dataclasses.dataclass(frozen=True)
class Steer(Intervention):
    """Add a direction, as long as a share of the value's own norm: `x + strength |x| d`, `d` of
    length 1 and `|x|` that of each position (and head)."""

    direction: Value = dataclasses.field(default_factory=lambda: Array(0.0))
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_direction(self.site, self.direction)
        if not math.isfinite(self.strength):
            raise ValueError(f"{self.site}: the strength is {self.strength}, but must be finite")

    @property
    def values(self) -> tuple[Value, ...]:
        """See `Intervention`."""
        return (self.direction,)

    def change(self, value: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See `Intervention`."""
        direction = given[0].float() / given[0].float().norm(dim=-1, keepdim=True)
        length = value.float().norm(dim=-1, keepdim=True)
        return value + (self.strength * length * direction).to(value.dtype)

    def _right_hand_side(self) -> str:
        return f"+= {self.strength!r} * |x| * {self.direction!r}"


@dataclasses.dataclass(frozen=True)
class Draw(Intervention):
    """Replace each position's value by one of several, in an order that the seed says.

    Args:
        values_to_draw: `[choice, ...]`, of one position each.
        seed: of the order.
    """

    values_to_draw: Value = dataclasses.field(default_factory=lambda: Array([0.0]))
    seed: int = 0
    counts_positions: ClassVar[bool] = True

    @property
    def values(self) -> tuple[Value, ...]:
        """See `Intervention`."""
        return (self.values_to_draw,)

    def change(self, value: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See `Intervention`."""
        (choices,) = given
        order = torch.randperm(len(choices), generator=torch.Generator().manual_seed(self.seed))
        axes = self.site.selected_axes
        if "pos" not in axes:
            return choices[order[0].to(choices.device)].expand_as(value)
        axis = value.ndim - len(axes) + axes.index("pos")
        places = order[torch.arange(value.shape[axis]) % len(order)].to(choices.device)
        return choices[places].movedim(0, axes.index("pos")).expand_as(value)

    def _right_hand_side(self) -> str:
        return f"= draw({self.values_to_draw!r}, {self.seed})"


@dataclasses.dataclass(frozen=True)
class ProjectOut(Intervention):
    """Remove the component along a direction of the last axis: `x - (x . d) d`, `d` of length 1."""

    direction: Value = dataclasses.field(default_factory=lambda: Array(0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_direction(self.site, self.direction)

    @property
    def values(self) -> tuple[Value, ...]:
        """See `Intervention`."""
        return (self.direction,)

    def change(self, value: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """See `Intervention`."""
        direction = given[0] / given[0].norm(dim=-1, keepdim=True)
        return value - (value * direction).sum(-1, keepdim=True) * direction

    def _right_hand_side(self) -> str:
        return f"without {self.direction!r}"


def _check_direction(site: Site, direction: Value) -> None:
    if not site.selected_axes or site.selected_axes[-1] not in ("d_model", "d_head", "neuron"):
        raise ValueError(
            f"{site} holds no vector at a position, and takes no direction: name a site such as "
            "resid_post, or z of a head"
        )
    if isinstance(direction, Array) and not direction.values.any():
        raise ValueError(f"{site}: a vector of zeros is no direction")
