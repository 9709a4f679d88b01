"""The cells of a map: which parts of a model, at which positions, and what is put there."""

import dataclasses
import operator
from typing import Any, Iterator, Literal, Mapping, Optional, Sequence, get_args

import numpy as np
import torch

from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import Sides
from lit_tl.engine import selfchecks
from lit_tl.engine.interventions import Intervention, Numbers, Replace
from lit_tl.engine.requests import Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import AXES, Site

MapComponent = Literal[
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_out",
    "mlp_out",
    "z",
    "q",
    "k",
    "v",
    "pattern",
    "mlp_post",
]
Dim = Literal["layer", "head", "neuron", "position"]
OF_HEADS = ("z", "q", "k", "v", "pattern")
"""Components that are patched head by head."""
_ALLOWED: Mapping[str, tuple[tuple[Dim, ...], ...]] = {
    **{name: (("layer", "position"),) for name in get_args(MapComponent) if name not in OF_HEADS},
    **{name: (("layer", "head"), ("layer", "head", "position")) for name in OF_HEADS},
    "mlp_post": (("layer", "position"), ("neuron",), ("neuron", "position")),
}
"""The axes that a map of each component can have, the usual ones first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Which cells a map has.

    Args:
        component: what is patched.
        dims: the axes of the map.
        layers: those that are patched.
        units: heads of a layer, or neurons; None where a value is patched whole.
    """

    component: MapComponent
    dims: tuple[Dim, ...]
    layers: tuple[int, ...]
    units: Optional[int]

    def shape(self, sides: Sides) -> tuple[int, ...]:
        """Of the map of a pair."""
        sizes = {
            "layer": len(self.layers),
            "head": self.units,
            "neuron": self.units,
            "position": len(sides.base),
        }
        return tuple(int(sizes[dim] or 0) for dim in self.dims)

    def coordinates(self, sides: Sides) -> dict[str, Any]:
        """Labels of the axes, and what else is known along them."""
        sizes = dict(zip(self.dims, self.shape(sides), strict=True))
        coords: dict[str, Any] = {dim: np.arange(size) for dim, size in sizes.items()}
        if "layer" in coords:
            coords["layer"] = list(self.layers)
        return coords

    def cells(self, sides: Sides) -> Iterator["Cell"]:
        """The cells that change anything: positions that differ and have a partner."""
        spans = sides.spans()
        if not spans:
            return
        groups: list[tuple[Optional[int], list[tuple[int, int, int]]]]
        if "position" in self.dims:
            groups = [(p, [(p, p + 1, int(sides.partner[p]))]) for p in sides.positions()]
        else:
            groups = [(None, spans)]
        for row, layer in enumerate(self.layers):
            for unit in range(self.units) if self.units is not None else (None,):
                for position, group in groups:
                    places = {"layer": row, "head": unit, "neuron": unit, "position": position}
                    index = tuple(int(places[dim] or 0) for dim in self.dims)
                    yield Cell(index, layer, unit, tuple(group))


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a map.

    Args:
        index: its place.
        layer: that is patched.
        unit: head or neuron; None for all of the value.
        spans: `(start, stop, start in the source)` of the positions that are patched.
    """

    index: tuple[int, ...]
    layer: int
    unit: Optional[int]
    spans: tuple[tuple[int, int, int], ...]


def plan(
    model: CausalModel,
    component: str,
    dims: Optional[Sequence[str]],
    layers: Optional[Sequence[int]],
) -> Plan:
    """Which cells a map has.

    Args:
        model: that is patched.
        component: what is patched.
        dims: the axes of the map; None for the usual ones.
        layers: only these; a map of neurons is of one layer.

    Raises:
        ValueError: there is no such component, map or layer.
    """
    if not isinstance(component, str) or component not in _ALLOWED:
        raise ValueError(f"{component!r} can't be patched: choose from {', '.join(_ALLOWED)}")
    allowed = _ALLOWED[component]
    given = [dims] if isinstance(dims, (str, int)) else allowed[0] if dims is None else dims
    wanted = tuple(map(str, given))
    if wanted not in allowed:
        ways = " or ".join(" x ".join(each) for each in allowed)
        raise ValueError(f"a map of {component} is by {ways}, and not by {' x '.join(wanted)}")
    there = model.runner.layers(component)  # type: ignore[arg-type]  # checked above
    if not there:
        raise ValueError(f"{model.runner.shape.name} has no {component}")
    layers = None if layers is None else _listed(layers)
    if layers is not None and len(set(layers)) < len(layers):
        raise ValueError(f"layers is {list(layers)}: name each layer once")
    missing = [layer for layer in layers or () if layer not in there]
    if missing:
        raise ValueError(
            f"layer {missing[0]!r} of {model.runner.shape.name} has no {component}: choose numbers "
            f"from {there[0]} to {there[-1]}"
        )
    selfchecks.require_carried(model.runner, component)  # type: ignore[arg-type]
    chosen = there if layers is None else tuple(layers)
    if "neuron" in wanted and len(chosen) != 1:
        raise ValueError("a map of neurons is of one layer: name it")
    units = None
    if component in OF_HEADS:
        shape = model.runner.shape
        units = shape.n_key_value_heads if component in ("k", "v") else shape.n_heads
    elif "neuron" in wanted:
        units = _width(model.runner, chosen[0])
    return Plan(component=component, dims=wanted, layers=chosen, units=units)  # type: ignore[arg-type]


def _listed(layers: Any) -> list[int]:
    try:
        listed = [operator.index(layer) for layer in layers]
    except TypeError:
        listed = []
    if not listed:
        raise ValueError(f"layers is {layers!r}: give a list of at least one layer")
    return listed


def dims_of_one_layer(component: str) -> Optional[tuple[Dim, ...]]:
    """The axes of a map that looks into one layer: its heads by position, or its neurons; None, for
    the usual ones, where a component is patched whole."""
    if component == "mlp_post":
        return ("neuron",)
    return ("layer", "head", "position") if component in OF_HEADS else None


def has_positions(component: str, dims: Optional[Sequence[str]]) -> bool:
    """Whether a map has an axis of positions; False for a component that there is not."""
    if not isinstance(component, str):
        return False
    wanted = dims if isinstance(dims, (list, tuple)) else _ALLOWED.get(component, ((),))[0]
    return "position" in wanted


def _width(runner: Runner, layer: int) -> int:
    """Neurons of a layer."""
    seen = {"size": Observe(Site("mlp_post", layer), lambda value, _: value.shape[-1])}
    batch = runner.run_ids(torch.zeros(1, 1, dtype=torch.long), observe=seen, logits="none")
    return int(batch.observed["size"])


def observation(chosen: Plan) -> Observe:
    """What is looked at in the source run."""
    return Observe(Site(chosen.component), layers=chosen.layers)


def check_units(chosen: Plan, values: Mapping[int, torch.Tensor], name: str) -> None:
    """See that a value has as many heads as the model is said to have.

    Args:
        chosen: the plan.
        values: of one prompt, by layer.
        name: of the model.

    Raises:
        ValueError: it has others.
    """
    if chosen.component not in OF_HEADS:
        return
    axis = AXES[chosen.component].index("head")
    for layer, value in values.items():
        if value.shape[axis] != chosen.units:
            raise ValueError(
                f"{chosen.component} of {name} has {value.shape[axis]} parts in layer {layer}, and "
                f"not one for each of its {chosen.units} heads: it can't be patched by head"
            )


def interventions_of(
    chosen: Plan, cell: Cell, source: Mapping[int, torch.Tensor]
) -> list[Intervention]:
    """What is changed for a cell.

    Args:
        chosen: the plan.
        cell: of the plan.
        source: the source run's values by layer, of one prompt.
    """
    value = source[cell.layer]
    changes: list[Intervention] = []
    for start, stop, there in cell.spans:
        site = Site(
            chosen.component,
            cell.layer,
            head=cell.unit if chosen.component in OF_HEADS else None,
            neuron=cell.unit if "neuron" in chosen.dims else None,
            positions=(start, stop),
        )
        numbers = value[part_of(site, cell.unit, slice(there, there + stop - start))]
        changes.append(Replace(site, Numbers(numbers)))
    return changes


def part_of(site: Site, unit: Optional[int], place: slice) -> tuple[Any, ...]:
    """Where a head's or neuron's positions lie in a value of one prompt."""
    index: list[Any] = []
    for axis in AXES[site.component]:
        if axis in ("pos", "query_pos"):
            index.append(place)
        elif axis in ("head", "neuron") and unit is not None:
            index.append(unit)
        else:
            index.append(slice(None))
    return tuple(index)
