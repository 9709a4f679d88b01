"""Parts inside the blocks of a plain Hugging Face model, where a TransformerLens bridge over the
same weights shows which modules they are: what heads give, attention and MLP outputs, neurons.

Changes of these need no bridge then, and attention stays fused. Each part is tried once: halved in
every layer, it must give the same logits in both trees.
"""

import dataclasses
from typing import Any, Literal, Mapping, Optional

import torch

from lit_tl.engine.agreement import near, probe_ids
from lit_tl.engine.hugging_face_models import HuggingFaceAdapter, Part
from lit_tl.engine.protocol import Handler, ModelAdapter, Point
from lit_tl.engine.sites import Component
from lit_tl.engine.transformer_lens_models import TransformerLensAdapter

_WRAPPED = "_original_component"
_PROBE = 8
_PARTS: Mapping[Component, tuple[tuple[str, ...], Literal["input", "output"]]] = {
    "z": (("attn", "o"), "input"),
    "attn_out": (("attn",), "output"),
    "mlp_post": (("mlp", "out"), "input"),
    "mlp_out": (("mlp",), "output"),
}
"""Modules of the bridge's blocks, and which side of them the part is."""


def with_parts(twin: HuggingFaceAdapter, bridge: TransformerLensAdapter) -> HuggingFaceAdapter:
    """The plain model with those parts that do in it what they do in the bridge. The caller holds
    the bridge's lock."""
    names = {id(module): name for name, module in bridge.module.original_model.named_modules()}
    found: dict[Point, Part] = {}
    for component in _PARTS:
        parts = _parts(twin, bridge, component, names)
        tried = HuggingFaceAdapter(
            twin.module, name=twin.shape.name, tokenizer=twin.tokenizer, parts=parts
        )
        if parts and _same(tried, bridge, component):
            found |= parts
    return HuggingFaceAdapter(
        twin.module, name=twin.shape.name, tokenizer=twin.tokenizer, parts=found
    )


def _parts(
    twin: HuggingFaceAdapter,
    bridge: TransformerLensAdapter,
    component: Component,
    names: Mapping[int, str],
) -> dict[Point, Part]:
    """The modules of a component; none where one of them is not found."""
    path, side = _PARTS[component]
    parts: dict[Point, Part] = {}
    for layer in range(bridge.shape.n_layers):
        point = Point(layer, component)
        if point not in bridge.points or bridge.is_read_only(point):
            continue
        own = _counterpart(twin, _module_of(bridge.module.blocks[layer], path), names)
        if own is None:
            return {}
        heads = bridge.shape.n_heads if component == "z" else None
        parts[point] = Part(module=own, side=side, heads=heads)
    return parts


def _counterpart(
    twin: HuggingFaceAdapter, module: Any, names: Mapping[int, str]
) -> Optional[torch.nn.Module]:
    """The plain model's module that is one of the bridge: that with the same weight, or else that
    of the same name, since the bridge renames some."""
    weight = getattr(module, "weight", None)
    if weight is not None:
        return next(
            (own for own in twin.module.modules() if own._parameters.get("weight") is weight), None
        )
    pieces = names.get(id(module), "").split(".")
    try:
        return twin.module.get_submodule(".".join(each for each in pieces if each != _WRAPPED))
    except AttributeError:
        return None


def _module_of(block: Any, path: tuple[str, ...]) -> Optional[Any]:
    for name in path:
        block = getattr(block, name, None)
    return getattr(block, "original_component", None)


@torch.no_grad()
def _same(twin: HuggingFaceAdapter, bridge: TransformerLensAdapter, component: Component) -> bool:
    """Whether a component that is halved in every layer gives the same logits in both trees, and is
    the same value there."""
    ids = probe_ids(bridge.shape.d_vocab, min(_PROBE, bridge.shape.context or _PROBE))
    try:
        runs = [_halved(tree, component, ids[None].to(tree.device)) for tree in (bridge, twin)]
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
        return False
    (expected, values), (logits, own) = (dataclasses.astuple(run) for run in runs)
    return (
        own.keys() == values.keys()
        and all(own[p].shape == values[p].shape and near(own[p], values[p]) for p in values)
        and near(logits, expected)
    )


@dataclasses.dataclass
class _Halved:
    logits: torch.Tensor
    values: dict[Point, torch.Tensor]


def _halved(tree: ModelAdapter, component: Component, ids: torch.Tensor) -> _Halved:
    values: dict[Point, torch.Tensor] = {}

    def at(point: Point) -> Handler:
        def handle(value: torch.Tensor) -> torch.Tensor:
            values[point] = value.clone()
            return value * 0.5

        return handle

    points = [point for point in tree.points if point.component == component]
    with tree.hooked({point: at(point) for point in points}):
        logits, _ = tree.forward(ids, keep_cache=False, last=None)
    return _Halved(logits, values)
