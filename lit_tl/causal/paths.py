"""Path patching: put what one part writes in another run into one of its readers alone."""

import operator
from typing import Any, Literal, Union

import numpy as np
import xarray as xr

from lit_tl.causal.edges import sides_of_one_length
from lit_tl.causal.metrics import Metric, measure, scale_between
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import one_or_many
from lit_tl.causal.pairs import Direction, Pairs, PromptPair, check_direction, read_pair
from lit_tl.engine import selfchecks
from lit_tl.engine.interventions import Intervention, Numbers, Replace
from lit_tl.engine.one_pass import LastLogits
from lit_tl.engine.requests import Observe
from lit_tl.engine.sites import Site
from lit_tl.engine.variations import variations

Into = Literal["q", "k", "v"]


def patch_paths(
    model: Any,
    pairs: Pairs,
    sender: Union[str, tuple[int, int]],
    into: Into = "q",
    *,
    direction: Direction = "denoise",
    metric: Metric = "normalised logit difference",
) -> xr.Dataset:
    """What a head tells each later head: the metric when the other run's output of the head reaches
    only that one's queries, keys or values (Wang et al. 2022). Exact; a pass for each later head.

    Args:
        model: of ours, of TransformerLens or of Hugging Face, or a `Runner`.
        pairs: clean and corrupt, of one length in tokens; or several, whose mean is asked for.
        sender: layer and head whose output is patched, as numbers or as `L0H1`.
        into: what of a later head reads it. Keys and values are those of key-value heads.
        direction: of the patch.
        metric: its name, or a function of your own.

    Returns:
        Of one pair `effect` by `layer` and `head`; NaN where a head does not come behind the
        sender. Of several also what `over_pairs` gives.

    Raises:
        PairError: the prompts have not one length, or the pair does not suit the metric.
        ValueError: there is no such head, or the model's edges can't be told apart.
    """
    check_direction(direction)
    of = CausalModel.of(model)
    layer, head = _sender(sender)

    def make(pair: PromptPair) -> xr.Dataset:
        return _paths_of(of, pair, (layer, head), into, direction, metric)

    return one_or_many(of, pairs, make, direction=direction, metric=metric, by_position=False)


def _sender(given: Any) -> tuple[int, int]:
    """Layer and head of what a user gives.

    Raises:
        ValueError: it is neither `L0H1` nor a pair of numbers.
    """
    try:
        if isinstance(given, str):
            site = Site.parse(given)
            layer, head = site.layer, site.head
        else:
            layer, head = given
        return operator.index(layer), operator.index(head)  # type: ignore[arg-type]  # tried
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"sender is {given!r}: give layer and head, as in (0, 1) or 'L0H1'"
        ) from error


def _paths_of(
    of: CausalModel,
    pair: PromptPair,
    sender: tuple[int, int],
    into: Into,
    direction: Direction,
    metric: Metric,
) -> xr.Dataset:
    layer, head = sender
    if into not in ("q", "k", "v"):
        raise ValueError(f"into is {into!r}: choose from q, k and v")
    selfchecks.require_edges(of.runner)
    shape = of.runner.shape
    if layer == shape.n_layers - 1:
        raise ValueError(f"no head comes behind layer {layer}: choose an earlier sender")
    heads = shape.n_heads if into == "q" else shape.n_key_value_heads
    site = Site("result", layer, head=head)
    measured = measure(of, pair, read_pair(of, pair), metric)
    sides = sides_of_one_length(measured, direction)
    (batch,) = of.runner.run(
        [sides.source], observe={"sent": Observe(site)}, logits=LastLogits(measured.read)
    )
    sent = Numbers(batch.observed["sent"][0])
    later = [(to, at) for to in range(layer + 1, shape.n_layers) for at in range(heads)]
    changes: list[list[Intervention]] = [
        [Replace(site, sent, reader=Site(f"{into}_input", to, head=at))]  # type: ignore[arg-type]
        for to, at in later
    ]
    effect = np.full((shape.n_layers, heads), np.nan)
    (base,) = of.runner.run([sides.base], logits=LastLogits(measured.read))
    bound, scale = scale_between(measured, direction, base.need_logits()[0], batch.need_logits()[0])
    for part in variations(of.runner, sides.base, changes, read=measured.read, resume=False):
        for index, number in zip(part.index, bound.value(part.logits).tolist(), strict=True):
            effect[later[index]] = scale.of(number)
    return xr.Dataset(
        {"effect": (("layer", "head"), effect)},
        coords={"layer": np.arange(shape.n_layers), "head": np.arange(heads)},
        attrs={
            "value": "effect",
            "sender": f"L{layer}H{head}",
            "into": into,
            "direction": direction,
            "metric": measured.name,
            "unit": measured.unit,
            "method": "exact path patching",
            "clean": scale.of(scale.clean),
            "corrupt": scale.of(scale.corrupt),
            "note": measured.sentence,
        },
    )
