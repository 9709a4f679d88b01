"""What to change in a run: a site, and what becomes of its value there."""

import abc
import dataclasses
import hashlib
import math
import re
from typing import Any, Mapping, Optional, Union

import numpy as np
import numpy.typing as npt
import torch

from lit_tl.engine.sites import Site

WRITERS = frozenset({"embed", "result", "attn_out", "mlp_out"})
"""Components whose values are summands of the residual."""
READERS = frozenset({"attn_in", "q_input", "k_input", "v_input", "mlp_in", "resid_post"})
"""Components that read the residual. `resid_post` of the last layer is what the final norm
reads."""


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

    Raises:
        ValueError: site and reader make no edge.
    """

    site: Site
    reader: Optional[Site] = dataclasses.field(default=None, kw_only=True)

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
        return f"{where} {self._right_hand_side()}"


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
class ProjectOut(Intervention):
    """Remove the component along a direction of the last axis: `x - (x . d) d`, `d` of length 1."""

    direction: Value = dataclasses.field(default_factory=lambda: Array(0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.direction, Array) and not self.direction.values.any():
            raise ValueError(f"{self.site}: a direction of zeros can't be projected out")

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


_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_VALUE = r"(?:array\((?P<digest>[0-9a-f]+)\)|run\((?P<ids>[\d, ]*)\))"
_FORMS: dict[str, str] = {
    "zero": r"= 0",
    "replace": rf"= {_VALUE}",
    "add": rf"\+= (?P<scale>{_NUMBER}) \* {_VALUE}",
    "project": rf"without {_VALUE}",
}


def parse_intervention(text: str, arrays: Mapping[str, Array] = {}) -> Intervention:
    """Read the text form of an intervention.

    Args:
        text: such as `L9H6 = 0`, `attn_out[3] -> mlp_in[5] = 0`, `resid_post[4]@-1 = run(0, 17)`,
            `resid_post[12] += 0.5 * array(9f3a...)`, `resid_post[12] without array(9f3a...)`.
        arrays: the arrays that the text names, by digest.

    Returns:
        The intervention, equal to the one that the text was made from.

    Raises:
        ValueError: the text is not of that form, or names an array that is not given.
    """
    match = re.fullmatch(
        r"(?P<site>\S+)(?: -> (?P<reader>\S+))? (?P<rest>(=|\+=|without) .*)", text.strip()
    )
    if match is None:
        raise ValueError(f"{text!r} is not an intervention: write L9H6 = 0, for example")
    site = Site.parse(match["site"])
    reader = None if match["reader"] is None else Site.parse(match["reader"])
    for kind, form in _FORMS.items():
        if change := re.fullmatch(form, match["rest"]):
            return _make(kind, site, reader, change.groupdict(), arrays)
    raise ValueError(f"{text!r}: {match['rest']!r} is not a change that can be made at a site")


def _make(
    kind: str,
    site: Site,
    reader: Optional[Site],
    parts: Mapping[str, Any],
    arrays: Mapping[str, Array],
) -> Intervention:
    if kind == "zero":
        return Zero(site, reader=reader)
    if parts["digest"] is not None:
        if parts["digest"] not in arrays:
            raise ValueError(
                f"array({parts['digest']}) is not among the {len(arrays)} arrays given"
            )
        value: Value = arrays[parts["digest"]]
    else:
        value = FromRun(tuple(int(i) for i in parts["ids"].split(",") if i.strip()))
    if kind == "replace":
        return Replace(site, value, reader=reader)
    if kind == "add":
        return Add(site, value, float(parts["scale"]), reader=reader)
    return ProjectOut(site, value, reader=reader)
