"""Both ways to load a model."""

from typing import Any, Callable

import torch

from lit_tl.models.causal_lm import load_causal_lm
from lit_tl.models.loading import load_model

LOADERS: dict[str, Callable[..., Any]] = {
    "TransformerLens": load_model,
    "Hugging Face": lambda name: load_causal_lm(name, device="cpu"),
}


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        output = model(torch.arange(40, 60)[None])
    return getattr(output, "logits", output)
