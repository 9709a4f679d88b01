"""Where in a model: a component, a layer, a head or neuron, positions."""

import dataclasses
import operator
import re
from typing import Any, Literal, Optional, Union, get_args

Component = Literal[
    "embed",
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_in",
    "q_input",
    "k_input",
    "v_input",
    "q",
    "k",
    "v",
    "attn_scores",
    "pattern",
    "z",
    "result",
    "attn_out",
    "mlp_in",
    "mlp_pre",
    "mlp_post",
    "mlp_out",
    "router",
    "unembed_in",
]
"""TransformerLens' names. `router` holds a mixture's logits over experts, `unembed_in` the input
of the unembedding."""

Axis = Literal["pos", "head", "query_pos", "key_pos", "d_head", "d_model", "neuron", "expert"]

AXES: dict[str, tuple[Axis, ...]] = {
    **{name: ("pos", "d_model") for name in ("embed", "resid_pre", "resid_mid", "resid_post")},
    **{name: ("pos", "head", "d_model") for name in ("attn_in", "q_input", "k_input", "v_input")},
    **{name: ("pos", "head", "d_head") for name in ("q", "k", "v", "z")},
    **{name: ("head", "query_pos", "key_pos") for name in ("attn_scores", "pattern")},
    "result": ("pos", "head", "d_model"),
    **{name: ("pos", "d_model") for name in ("attn_out", "mlp_in", "mlp_out", "unembed_in")},
    **{name: ("pos", "neuron") for name in ("mlp_pre", "mlp_post")},
    "router": ("pos", "expert"),
}
"""The axes of each component after the batch axis."""

POSITION_AXES = frozenset({"pos", "query_pos", "key_pos"})
WITHOUT_LAYER = frozenset({"embed", "unembed_in"})
INSIDE_ATTENTION = frozenset(
    "attn_in q_input k_input v_input q k v attn_scores pattern z result".split()
)

Positions = Union[None, int, tuple[Optional[int], Optional[int]]]
"""None for all positions, one position, or a span `(start, stop)` as in a slice. Negative numbers
count from the end of each prompt, padding left out. For scores and patterns: of the query."""

_INDEX = r"\[(?P<layer>\d+)\]"
_FULL = re.compile(
    rf"(?P<component>[a-z_]+)(?:{_INDEX})?(?:\.(?P<kind>[hn])(?P<unit>\d+))?(?:@(?P<positions>\S+))?"
)
_HEAD = re.compile(r"L(?P<layer>\d+)H(?P<unit>\d+)(?:@(?P<positions>\S+))?")
_SPAN = re.compile(r"(?P<start>-?\d+)?(?P<colon>:)?(?P<stop>-?\d+)?")


@dataclasses.dataclass(frozen=True)
class Site:
    """A place in a model.

    Args:
        component: what is there.
        layer: of the block; None for all layers that have the component, and for the components
            of no layer (`embed`, `unembed_in`).
        head: a head of a component that has heads; of `k`, `v`, `k_input` and `v_input` a
            key-value head.
        neuron: a neuron of `mlp_pre` or `mlp_post`.
        positions: see `Positions`.

    Raises:
        ValueError: there is no such component, or it has no such axis.
    """

    component: Component
    layer: Optional[int] = None
    head: Optional[int] = None
    neuron: Optional[int] = None
    positions: Positions = None

    def __post_init__(self) -> None:
        _check_component(self.component)
        for name in ("layer", "head", "neuron"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        object.__setattr__(self, "positions", _positions(self.positions))
        if self.layer is not None and self.component in WITHOUT_LAYER:
            raise ValueError(f"{self.component} belongs to no layer: leave layer={self.layer} out")
        for name, axis in (("layer", None), ("head", "head"), ("neuron", "neuron")):
            value = getattr(self, name)
            if value is None:
                continue
            if value < 0:
                raise ValueError(f"{name} is {value}: count {name}s from 0")
            if axis is not None and axis not in AXES[self.component]:
                raise ValueError(f"{self.component} has no {name}s: leave {name}={value} out")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The names of the axes after the batch axis."""
        return AXES[self.component]

    @property
    def selected_axes(self) -> tuple[Axis, ...]:
        """The axes that are left where a single head, neuron or position is named."""
        single = {"head": self.head, "neuron": self.neuron}
        if isinstance(self.positions, int):
            single |= {"pos": self.positions, "query_pos": self.positions}
        return tuple(axis for axis in self.axes if single.get(axis) is None)

    def at(self, layer: Optional[int]) -> "Site":
        """The same place in one layer."""
        return dataclasses.replace(self, layer=layer)

    def __str__(self) -> str:
        positions = "" if self.positions is None else f"@{positions_text(self.positions)}"
        if self.component == "z" and self.layer is not None and self.head is not None:
            return f"L{self.layer}H{self.head}{positions}"
        layer = "" if self.layer is None else f"[{self.layer}]"
        unit = "" if self.head is None else f".h{self.head}"
        unit += "" if self.neuron is None else f".n{self.neuron}"
        return f"{self.component}{layer}{unit}{positions}"

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Read the text form of a site.

        `resid_post[12]@-1` is the residual after block 12 at the last position, `L9H6` the output
        `z` of head 6 in layer 9, `q[3].h2`, `mlp_post[3].n17@2:5`, `embed@0`.

        Raises:
            ValueError: the text is not of that form.
        """
        text = text.strip()
        if match := _HEAD.fullmatch(text):
            return cls(
                "z",
                layer=int(match["layer"]),
                head=int(match["unit"]),
                positions=_parse_positions(match["positions"], text),
            )
        match = _FULL.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text!r} is not a site: write resid_post[12]@-1, L9H6, q[3].h2 or embed@0"
            )
        unit = None if match["unit"] is None else int(match["unit"])
        _check_component(match["component"])
        return cls(
            match["component"],  # type: ignore[arg-type]  # checked above
            layer=None if match["layer"] is None else int(match["layer"]),
            head=unit if match["kind"] == "h" else None,
            neuron=unit if match["kind"] == "n" else None,
            positions=_parse_positions(match["positions"], text),
        )


def _whole(name: str, value: Any) -> Optional[int]:
    """A whole number, NumPy's among them, as Python's own."""
    if value is None:
        return None
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{name} is {value!r}: give a whole number")


def _positions(value: Any) -> Positions:
    if not isinstance(value, tuple):
        return _whole("positions", value)
    if len(value) != 2:
        raise ValueError(f"positions are {value!r}: a span is (start, stop)")
    start, stop = (_whole("a bound of positions", bound) for bound in value)
    return start, stop


def _check_component(name: str) -> None:
    if name not in get_args(Component):
        names = ", ".join(get_args(Component))
        raise ValueError(f"component {name!r} does not exist: choose from {names}")


def positions_text(positions: Positions) -> str:
    if isinstance(positions, tuple):
        start, stop = ("" if bound is None else str(bound) for bound in positions)
        return f"{start}:{stop}"
    return str(positions)


def _parse_positions(text: Optional[str], site: str) -> Positions:
    if text is None:
        return None
    match = _SPAN.fullmatch(text)
    if match is None or text == "" or (match["colon"] is None and match["start"] is None):
        raise ValueError(f"{site!r}: positions are written @3, @-1 or @2:5")
    start, stop = (
        None if bound is None else int(bound) for bound in (match["start"], match["stop"])
    )
    return (start, stop) if match["colon"] else start
