"""Where tokens look: heads of a layer as matrices, and all heads in small."""

import dataclasses
from typing import Iterator, Literal, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.loaded_model import Example, LoadedModel
from lit_tl.causal.attention_patterns import HEAD_SCORES, head_scores
from lit_tl.engine.reductions import grouped_to_heads, norms
from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.selfchecks import require_values
from lit_tl.engine.sites import Site
from lit_tl.figures.grids import attention_grids
from lit_tl.settings import Settings, setting

MAP_SIZE = 28
"""Small maps have at most so many rows: those of a longer prompt keep the strongest weight of each
patch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionSettings(Settings):
    """Which heads, and how they are weighted."""

    heads: Literal["one head", "heads of the layer", "mean of the layer", "mean of all layers"] = (
        setting("one head", "What is drawn.")
    )
    layer: int = setting(0, "The layer.", low=0, high=10_000)
    head: int = setting(0, "The head.", low=0, high=10_000)
    value_weighted: bool = setting(
        False,
        "Multiply each weight by the norm of the value that it reads (Kobayashi et al. 2020, "
        "without the output projection).",
    )


def _cells(subject: Subject, settings: AttentionSettings) -> tuple[int, int]:
    matrices = subject.model.runner.shape.n_heads if settings.heads == "heads of the layer" else 1
    tokens = len(subject.model.prompt(subject.need_example()).ids)
    return matrices * tokens * tokens, 0


@analysis("Attention", figure=attention_grids, tab="Attention", cells=_cells)
def attention(subject: Subject, settings: AttentionSettings) -> Iterator[xr.Dataset]:
    """How much each token (query, downwards) takes from each token before it (key, across)."""
    model, example = subject.model, subject.need_example()
    with_pattern = need_patterns(model)
    layers = with_pattern if settings.heads == "mean of all layers" else [settings.layer]
    _check("layer", layers[0], model.runner.shape.n_layers)
    if layers[0] not in with_pattern:
        listed = ", ".join(map(str, with_pattern))
        raise ValueError(f"layer {layers[0]} has no attention: layers {listed} of this model have")
    one = settings.heads == "one head"
    if one:
        _check("head", settings.head, model.runner.shape.n_heads)
    weights = _value_norms(model, example, layers) if settings.value_weighted else {}

    def reduce(patterns: torch.Tensor, seen: Seen) -> Float[torch.Tensor, "head query key"]:
        chosen = patterns[0, settings.head : settings.head + 1] if one else patterns[0]
        chosen = chosen.float()
        if seen.layer in weights:
            of_head = weights[seen.layer].to(chosen.device)
            of_head = of_head[settings.head : settings.head + 1] if one else of_head
            chosen = chosen * of_head[:, None]
        return chosen if one or settings.heads == "heads of the layer" else chosen.mean(0)[None]

    observe = {"pattern": Observe(Site("pattern"), reduce, layers=layers)}
    prompt = model.prompt(example)
    (batch,) = model.runner.run([prompt], observe=observe, logits="none")
    matrices = sum(batch.observed["pattern"][layer] for layer in layers) / len(layers)
    assert isinstance(matrices, torch.Tensor)
    tokens = model.prompter.vocabulary.strings(prompt.ids)
    unit = "weight times norm of the value" if settings.value_weighted else "weight"
    yield xr.Dataset(
        {"attention": (("head", "query", "key"), matrices.cpu().numpy())},
        coords={
            "head": _names(settings, model.runner.shape.n_heads),
            "query": np.arange(len(tokens)),
            "key": np.arange(len(tokens)),
            "query_token": ("query", tokens),
            "key_token": ("key", tokens),
        },
        attrs={"value": "attention", "unit": unit, "tokens": tokens},
    )


def need_patterns(model: LoadedModel) -> Sequence[int]:
    """The layers that have attention.

    Raises:
        ValueError: none has.
    """
    layers = model.runner.layers("pattern")
    if not layers:
        raise ValueError(
            f"{model.runner.shape.name} has no attention to show: TransformerLens gives no pattern "
            "in any of its layers"
        )
    return layers


def _check(kind: str, value: int, count: int) -> None:
    if value >= count:
        raise ValueError(f"{kind} {value} is out of range: this model has {kind}s 0 to {count - 1}")


def _names(settings: AttentionSettings, n_heads: int) -> list[str]:
    if settings.heads == "one head":
        return [f"L{settings.layer}H{settings.head}"]
    if settings.heads == "heads of the layer":
        return [f"L{settings.layer}H{head}" for head in range(n_heads)]
    if settings.heads == "mean of the layer":
        return [f"mean over the heads of layer {settings.layer}"]
    return ["mean over all heads"]


def _value_norms(
    model: LoadedModel, example: Example, layers: Sequence[int]
) -> dict[int, Float[torch.Tensor, "head key"]]:
    require_values(model.runner)
    observe = {"norms": Observe(Site("v"), norms, layers=layers)}
    (batch,) = model.runner.run([model.prompt(example)], observe=observe, logits="none")
    n_heads = model.runner.shape.n_heads
    by_layer = batch.observed["norms"]  # layer: batch pos value_head
    return {layer: grouped_to_heads(by_layer[layer][0].T, n_heads, axis=0) for layer in layers}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionOverviewSettings(Settings):
    """None."""


@analysis("Attention overview", figure=attention_grids, tab="Attention")
def attention_overview(
    subject: Subject, settings: AttentionOverviewSettings
) -> Iterator[xr.Dataset]:
    """All scores of all heads, and a small map of each, in one pass."""
    del settings
    model = subject.model
    layers = need_patterns(model)
    prompt = model.prompt(subject.need_example())

    def reduce(patterns: torch.Tensor, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        del seen
        scores = head_scores(patterns[0], prompt.ids)
        small = _small(patterns[0]).cpu().numpy()
        return np.array([scores[name] for name in HEAD_SCORES], dtype=float), small

    observe = {"seen": Observe(Site("pattern"), reduce)}
    (batch,) = model.runner.run([prompt], observe=observe, logits="none")
    seen = [batch.observed["seen"][layer] for layer in layers]
    tokens = model.prompter.vocabulary.strings(prompt.ids)
    yield xr.Dataset(
        {
            "scores": (("layer", "score", "head"), np.stack([scores for scores, _ in seen])),
            "maps": (("layer", "head", "row", "column"), np.stack([small for _, small in seen])),
        },
        coords={"layer": list(layers), "score": list(HEAD_SCORES)},
        attrs={"value": "scores", "tokens": tokens, "size": min(len(tokens), MAP_SIZE)},
    )


def _small(pattern: Float[torch.Tensor, "head query key"]) -> torch.Tensor:
    """Maps of 8 bits, each scaled to its strongest weight."""
    size = min(pattern.shape[-1], MAP_SIZE)
    small = torch.nn.functional.adaptive_max_pool2d(pattern.float()[None], size)[0]
    small = small / small.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return (255 * small).round().to(torch.uint8)
