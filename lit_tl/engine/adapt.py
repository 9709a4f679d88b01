"""The adapter for a model of any kind."""

from typing import Any

import torch

from lit_tl.engine.hugging_face_models import HuggingFaceAdapter, is_hugging_face
from lit_tl.engine.protocol import ModelAdapter
from lit_tl.engine.quantized import keep_unpacked
from lit_tl.engine.transformer_lens_models import TransformerLensAdapter, is_transformer_lens


def adapt(model: Any, *, tokenizer: Any = None) -> ModelAdapter:
    """The adapter for a model.

    Args:
        model: a TransformerLens or Hugging Face causal language model, or an adapter.
        tokenizer: of a Hugging Face model, or None.

    Raises:
        TypeError: the model is of another kind.
    """
    if isinstance(model, ModelAdapter):
        return model
    if isinstance(model, torch.nn.Module):
        keep_unpacked(model)
    if is_transformer_lens(model):
        return TransformerLensAdapter(model)
    if is_hugging_face(model):
        return HuggingFaceAdapter(model, tokenizer=tokenizer)
    raise TypeError(
        "a TransformerLens model or a Hugging Face causal language model is needed, not "
        f"{type(model).__qualname__}"
    )
