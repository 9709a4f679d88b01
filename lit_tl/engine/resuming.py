"""A run of one prompt, gone on with from any layer and position.

A change at layer `l` and position `p` leaves everything below `l`, and everything before `p`, as it
is. The run without changes (the trunk) therefore keeps its residuals, and its keys and values. A
changed run comes in as a row before layer `l`, computes the positions from `p` on, and attends to
the trunk's keys and values for those before. Rows that begin at later layers join the same pass, so
that a layer computes each changed position once and nothing else.
"""

import dataclasses
from typing import Any, Optional, Sequence

import torch
import transformers
from jaxtyping import Float
from transformers import cache_utils

from lit_tl.engine.batches import pad
from lit_tl.engine.passes import Pass
from lit_tl.engine.placing import ByPoint, with_rows
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import ModelAdapter
from lit_tl.engine.requests import Observe
from lit_tl.engine.selection import resolved
from lit_tl.engine.sites import Site

_RESIDUALS = "resid_pre"


@dataclasses.dataclass(frozen=True, eq=False)
class Trunk:
    """A run without changes.

    Args:
        tree: that ran.
        prompt: what ran.
        residuals: before each layer.
        keys_values: of each layer, `[1, head, pos, d_head]`.
        logits: of the last positions.
    """

    tree: ModelAdapter
    prompt: Prompt
    residuals: Float[torch.Tensor, "layer pos d_model"]
    keys_values: Sequence[tuple[torch.Tensor, torch.Tensor]]
    logits: Float[torch.Tensor, "read d_vocab"]


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """A row that leaves the trunk.

    Args:
        placed: its changes; empty for a row that must give the trunk's logits.
        layer: before which it comes in.
        start: the first position that may differ from the trunk's.
    """

    placed: ByPoint
    layer: int
    start: int


def branch_of(placed: ByPoint, prompt: Prompt) -> Optional[Branch]:
    """The branch that changes make, or None where they do not begin at a layer: at the embedding or
    the unembedding, or for one reader alone."""
    if not placed or any(point.layer < 0 for point in placed):
        return None
    start = len(prompt)
    for here in placed.values():
        for each in here:
            site = each.intervention.site
            if each.intervention.reader is not None:
                return None
            place = resolved(site.positions, len(prompt), site)
            start = min(start, place if isinstance(place, int) else place.start)
    return Branch(placed, min(point.layer for point in placed), start)


def grow_trunk(tree: ModelAdapter, prompt: Prompt, read: int) -> Optional[Trunk]:
    """Run a prompt without changes. The caller holds the tree's lock.

    Args:
        tree: to run.
        prompt: what to run.
        read: how many positions' logits are wanted, from the end on.

    Returns:
        The trunk, or None where the model keeps no keys and values of every layer.
    """
    observe = {_RESIDUALS: Observe(Site("resid_pre"), stack=True)}
    run = Pass(tree, [prompt], observe=observe, placed={})
    with tree.hooked(run.handlers()):
        # Without a config, the cache keeps all positions of a layer with a sliding window, too.
        logits, cache = tree.forward(
            pad([prompt]), keep_cache=True, last=read, cache=transformers.DynamicCache()
        )
    run.check()
    layers = getattr(cache, "layers", ())
    keys_values = [
        (layer.keys, layer.values)
        for layer in layers
        if getattr(layer, "keys", None) is not None and layer.keys.shape[-2] == len(prompt)
    ]
    if len(keys_values) != tree.shape.n_layers:
        return None
    return Trunk(tree, prompt, run.observed[_RESIDUALS][:, 0], keys_values, logits[0])


class _Before(cache_utils.DynamicLayer):
    """Keys and values before a position, for as many rows as there are. It keeps nothing."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the rows attend to."""
        rows = key_states.shape[0]
        assert self.keys is not None
        assert self.values is not None
        keys, values = (before.expand(rows, -1, -1, -1) for before in (self.keys, self.values))
        return torch.cat([keys, key_states], -2), torch.cat([values, value_states], -2)


def branches_logits(
    trunk: Trunk, branches: Sequence[Branch]
) -> Float[torch.Tensor, "branch read d_vocab"]:
    """Logits of branches, in one pass. The caller holds the tree's lock.

    Args:
        trunk: that they leave.
        branches: in the order of their layers.

    Raises:
        ValueError: numbers do not fit a site, or the model does not do what a change relies on.
    """
    tree, prompt, read = trunk.tree, trunk.prompt, trunk.logits.shape[0]
    start = min(len(prompt) - read, *(branch.start for branch in branches))
    entering = {
        layer: trunk.residuals[layer, start:].expand(
            sum(branch.layer == layer for branch in branches), -1, -1
        )
        for layer in sorted({branch.layer for branch in branches})
    }
    run = Pass(
        tree,
        [prompt] * len(branches),
        observe={},
        placed=with_rows({}, [branch.placed for branch in branches]),
        start=start,
        entering=entering,
    )
    before = [
        _Before(keys[:, :, :start], values[:, :, :start]) for keys, values in trunk.keys_values
    ]
    ids = torch.tensor([prompt.ids[start:]], device=tree.device)
    positions = torch.arange(start, len(prompt), device=tree.device)[None]
    mask = torch.ones(1, len(prompt), dtype=torch.long, device=tree.device)
    with tree.hooked(run.handlers()):
        logits = tree.step(ids, transformers.Cache(layers=before), mask, positions, last=read)
    run.check()
    return logits
