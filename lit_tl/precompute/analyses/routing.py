"""Where a mixture sends tokens, for every prompt."""

import dataclasses
from typing import Sequence

import numpy as np
import torch

from lit_tl.analyses.loaded_model import Example
from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.sites import Site
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.analyses.activations import widths_at
from lit_tl.precompute.contract import over_rows
from lit_tl.settings import Settings, setting
from lit_tl.store import Column, Described
from lit_tl.store.columns import Record

_ROUTER = Site("router")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoutingSettings(Settings):
    """How experts are counted."""

    experts: int = setting(
        0, "How many experts a token goes to; 0 for what the model's config says.", low=0, high=1024
    )


def _columns(model: HookedTransformerLIT, settings: RoutingSettings) -> Described:
    runner = model.loaded.runner
    layers = runner.layers("router")
    if not layers:
        raise ValueError(f"{runner.shape.name} is no mixture of experts: it has no router")
    count = chosen(model, settings)
    _, (n_experts,) = widths_at(runner, _ROUTER)
    axes, shape = ("layer", "expert"), (len(layers), n_experts)
    return Described(
        columns={
            "share": Column(kind="number", axes=axes, shape=shape),
            "probability": Column(kind="number", axes=axes, shape=shape, unit="probability"),
            "entropy": Column(kind="number", axes=("layer",), shape=(len(layers),), unit="nats"),
        },
        coords={"layer": list(layers), "expert": list(range(n_experts))},
        note=f"share: of the tokens whose {count} largest router logits have the expert among them",
    )


def chosen(model: HookedTransformerLIT, settings: RoutingSettings) -> int:
    """How many experts a token goes to.

    Raises:
        ValueError: nothing says.
    """
    count = settings.experts or model.loaded.runner.shape.experts_of_token
    if not count:
        raise ValueError(
            "the model's config does not say how many experts a token goes to: set experts"
        )
    return count


@over_rows("routing", columns=_columns)
def routing(
    model: HookedTransformerLIT, examples: Sequence[Example], settings: RoutingSettings
) -> Sequence[Record]:
    """Of each expert, the share of tokens that go to it, and its mean probability."""
    loaded, count = model.loaded, chosen(model, settings)

    def reduce(logits: torch.Tensor, seen: Seen) -> list[list[np.ndarray]]:
        found = []
        for row, length in enumerate(seen.lengths.tolist()):
            own = logits[row, :length].double()
            top = torch.zeros_like(own).scatter_(-1, own.topk(count, dim=-1).indices, 1.0)
            probability = own.softmax(-1)
            entropy = -torch.special.xlogy(probability, probability).sum(-1).mean()
            parts = (top.mean(0), probability.mean(0), entropy)
            found.append([part.cpu().numpy() for part in parts])
        return found

    prompts = [loaded.prompt(example) for example in examples]
    records: list[Record] = [{} for _ in examples]
    for batch in loaded.runner.run(
        prompts, observe={"router": Observe(_ROUTER, reduce)}, logits="none"
    ):
        by_layer = list(batch.observed["router"].values())
        for row, place in enumerate(batch.index):
            share, probability, entropy = (
                np.stack([found[row][part] for found in by_layer]) for part in range(3)
            )
            records[place] = {"share": share, "probability": probability, "entropy": entropy}
    return records
