"""What each attention head does on a prompt, in a number."""

import dataclasses
import math
from typing import Iterator, Mapping, Optional, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.causal.attention_patterns import Score, head_scores
from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.sites import Site
from lit_tl.figures.grids import layer_by_head
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadScoreSettings(Settings):
    """Which score."""

    score: Score = setting("induction", "What to score heads by.")


@analysis("Head scores", figure=layer_by_head)
def head_scores_of(subject: Subject, settings: HeadScoreSettings) -> Iterator[xr.Dataset]:
    """Attention to what followed an earlier copy (induction), to the previous, duplicate or first
    token, or its entropy."""
    model, example = subject.model, subject.need_example()
    prompt = model.prompt(example)

    def score(patterns: torch.Tensor, seen: Seen) -> list[Optional[float]]:
        return head_scores(patterns[0], prompt.ids)[settings.score]

    observe = {"scores": Observe(Site("pattern"), score)}
    (batch,) = model.runner.run([prompt], observe=observe, logits="none")
    by_layer: Mapping[int, list[Optional[float]]] = batch.observed["scores"]
    values = np.array([by_layer[layer] for layer in sorted(by_layer)], dtype=float)
    yield scored(settings.score, values, sorted(by_layer), len(prompt))


def scored(
    score: str, values: Float[np.ndarray, "layer head"], layers: Sequence[int], n_tokens: int
) -> xr.Dataset:
    """A score of all heads on a prompt of so many tokens, as a result."""
    is_entropy = score == "entropy"
    nothing = bool(np.isnan(values).all())
    return xr.Dataset(
        {score: (("layer", "head"), values)},
        coords={"layer": list(layers), "head": np.arange(values.shape[1])},
        attrs={
            "value": score,
            "title": f"Head scores: {score}",
            "unit": "nats" if is_entropy else "attention",
            "most": math.log(max(n_tokens, 2)) if is_entropy else 0.5,
            "note": "No token of this prompt stood in it before, so that this score has nothing to "
            "go by."
            if nothing
            else "",
        },
    )
