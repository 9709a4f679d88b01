"""Settings of the model wrapper."""

import dataclasses
import typing
from typing import Any, Mapping, Optional

from lit_nlp.api import types as lit_types

_UPPER = {"max_seq_length": 8192, "batch_size": 256, "top_k": 100, "max_new_tokens": 256, "token_budget": 65536}


@dataclasses.dataclass(kw_only=True)
class HookedTransformerLITConfig:
    """What `HookedTransformerLIT` computes, and how.

    Args:
        max_seq_length: longest prompt in tokens, the beginning-of-text token included. Longer texts are cut at their end and
            their `truncated` output says so. A model with a shorter context cuts there.
        batch_size: most prompts in one forward pass.
        top_k: how many next tokens to give at each position.
        compute_gradients: whether to give gradients to the input embeddings.
        output_attention: whether to give attention patterns.
        output_embeddings: whether to give token embeddings and pooled residual streams.
        output_all_layers: pooled residual streams of every layer, rather than of the first, the middle and the last.
        embedding_layers: the layers to pool, in place of that choice. Layer l means the residual stream after block l.
        prepend_bos: whether a beginning-of-text token goes first, for models that have one.
        device: where to run; None leaves the model where it is.
        max_new_tokens: longest greedy continuation in the `generated_text` output; 0 leaves that output away.
        token_budget: most tokens in one forward pass, padding included. It bounds the memory that logits take:
            token_budget x d_vocab numbers.
        lens: `auto` (the bundled or published tuned lens if there is one), `none`, a folder or Hub id of a tuned lens, the `.pt`
            file of a Jacobian lens, or `jacobian:` and the name of a published one; several with a `+` between them. The logit
            lens is always there.

    Raises:
        ValueError: a number is out of its range.
    """

    max_seq_length: int = 512
    batch_size: int = 8
    top_k: int = 10
    compute_gradients: bool = True
    output_attention: bool = True
    output_embeddings: bool = True
    output_all_layers: bool = False
    embedding_layers: Optional[list[int]] = None
    prepend_bos: bool = True
    device: Optional[str] = None
    max_new_tokens: int = 10
    token_budget: int = 2048
    lens: str = "auto"

    def __post_init__(self) -> None:
        for name in ("max_seq_length", "batch_size", "top_k", "token_budget"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.max_new_tokens < 0:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}, but must be 0 (no generated text) or more")

    def layers(self, n_layers: int) -> list[int]:
        """The layers to pool, ascending.

        Raises:
            ValueError: a layer is out of range for a model of `n_layers`.
        """
        if self.embedding_layers is not None:
            for layer in self.embedding_layers:
                if not 0 <= layer < n_layers:
                    raise ValueError(f"embedding layer {layer} is out of range: this model has layers 0 to {n_layers - 1}")
            return sorted(set(self.embedding_layers))
        if self.output_all_layers:
            return list(range(n_layers))
        return sorted({0, n_layers // 2, n_layers - 1})

    @classmethod
    def from_form(cls, values: Mapping[str, Any]) -> "HookedTransformerLITConfig":
        """A config from what LIT's dialog sends for `form_spec()`: numbers as text, layers as `0, 3, 11`.

        Raises:
            ValueError: a value can't be read.
        """
        kinds = {field.name: field.type for field in dataclasses.fields(cls)}
        read: dict[str, Any] = {}
        for name, value in values.items():
            if value is None or value == "":
                continue
            if name == "embedding_layers":
                layers = [part.strip() for part in str(value or "").split(",") if part.strip()]
                if not all(layer.isdigit() for layer in layers):
                    raise ValueError(f"embedding_layers is {value!r}, but must be layer numbers such as 0, 3, 11")
                read[name] = [int(layer) for layer in layers] or None
            elif kinds[name] is bool:
                read[name] = value if isinstance(value, bool) else str(value).lower() == "true"
            elif kinds[name] is int:
                try:
                    read[name] = int(value)
                except ValueError as error:
                    raise ValueError(f"{name} is {value!r}, but must be a whole number") from error
            else:
                read[name] = value
        return cls(**read)


def form_spec() -> lit_types.Spec:
    """The config's fields as LIT's dialog asks for them, with their defaults."""
    spec: dict[str, lit_types.LitType] = {}
    for field in dataclasses.fields(HookedTransformerLITConfig):
        kind = typing.get_origin(field.type) or field.type
        if kind is bool:
            spec[field.name] = lit_types.BooleanLitType(default=bool(field.default), required=False)
        elif kind is int:
            low = 0 if field.name == "max_new_tokens" else 1
            spec[field.name] = lit_types.Integer(default=field.default, min_val=low, max_val=_UPPER[field.name], required=False)
        else:
            spec[field.name] = lit_types.String(default="", required=False)
    return spec
