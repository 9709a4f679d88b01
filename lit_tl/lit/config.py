"""Settings of the model wrapper. Loads no torch and no LIT."""

import dataclasses
from typing import Any, Collection, Literal, Optional

from lit_tl.names import split_entries, split_label
from lit_tl.settings import SettingError, Settings, Switch, setting

LossOver = Literal["all", "messages", "assistant"]
"""Tokens of a conversation that losses are of."""
_BY_LABEL = ("lens", "prepend_bos", "chat_template")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HookedTransformerLITConfig(Settings):
    """What `HookedTransformerLIT` computes, and how.

    Layer l of `embedding_layers` means the residual stream after block l. `token_budget` bounds the
    memory that logits take: token_budget x d_vocab numbers.

    Raises:
        SettingError: a value is not allowed.
    """

    max_seq_length: int = setting(
        4096,
        "Longest prompt in tokens, within the model's context; longer ones are cut at their end, "
        "and say so.",
        low=1,
        high=1_000_000,
    )
    batch_size: int = setting(8, "Most prompts in one forward pass.", low=1, high=4096)
    top_k: int = setting(10, "How many next tokens to give at each position.", low=1, high=1000)
    compute_gradients: bool = setting(True, "Give gradients to the input embeddings.")
    output_attention: bool = setting(True, "Give attention patterns.")
    output_embeddings: bool = setting(True, "Give token embeddings and pooled residual streams.")
    output_all_layers: bool = setting(
        False, "Pool the residual stream of every layer, not only the first, middle and last."
    )
    embedding_layers: Optional[tuple[int, ...]] = setting(
        None, "The layers to pool, such as 0, 3, 11, in place of that choice."
    )
    prepend_bos: Switch = setting(
        "auto",
        "Put a beginning-of-text token in front: auto (as the model expects), true or false; for "
        "each model label=true, separated by commas.",
        by_model=True,
    )
    device: Optional[str] = setting(
        None, "Where models run: cuda, cuda:1, mps, cpu. Default: the best there is."
    )
    max_new_tokens: int = setting(
        10, "Longest generated text in tokens; 0 for none.", low=0, high=4096
    )
    token_budget: int = setting(
        2048, "Most tokens in one forward pass, padding included.", low=1, high=10_000_000
    )
    lens: str = setting(
        "auto",
        "Lenses of the models: auto (the bundled or published tuned lens if there is one), none, a "
        "folder or Hub id, the .pt file of a Jacobian lens, or jacobian:NAME; several with a + "
        "between them; for each model label=lens, separated by commas.",
    )
    chat: bool = setting(
        False, "Make a plain prompt the user's turn of a conversation, in the chat template."
    )
    chat_template: str = setting(
        "auto",
        "How conversations are written: auto (as the tokenizer's own template does), or a file "
        "with a template in Jinja; for each model label=file, separated by commas.",
    )
    loss_over: LossOver = setting(
        "all",
        "Which tokens of a conversation loss, perplexity and metrics are of: all, those of "
        "messages (without the template's), or the assistant's.",
    )

    def __post_init__(self) -> None:
        if isinstance(self.embedding_layers, list):
            object.__setattr__(self, "embedding_layers", tuple(self.embedding_layers))
        super().__post_init__()

    def of_model(self, label: str) -> "HookedTransformerLITConfig":
        """The settings of one model, where `lens`, `prepend_bos` and `chat_template` may be given
        by label; a model without an entry has "auto"."""
        own = {name: _entry_of(label, getattr(self, name)) for name in _BY_LABEL}
        read = HookedTransformerLITConfig.read(own)
        return dataclasses.replace(self, **{name: getattr(read, name) for name in _BY_LABEL})

    def check_labels(self, labels: Collection[str]) -> None:
        """Refuse entries for models that there are not.

        Raises:
            SettingError: with the name of one.
        """
        for name in _BY_LABEL:
            for label in _labels(getattr(self, name)):
                if label not in labels:
                    raise SettingError(
                        f"{name} names {label!r}, but the models are {', '.join(labels)}"
                    )

    def layers(self, n_layers: int) -> list[int]:
        """The layers to pool, ascending.

        Raises:
            SettingError: a layer is out of range for a model of `n_layers`.
        """
        if self.embedding_layers is not None:
            for layer in self.embedding_layers:
                if not 0 <= layer < n_layers:
                    raise SettingError(
                        f"embedding layer {layer} is out of range: this model has layers 0 to "
                        f"{n_layers - 1}"
                    )
            return sorted(set(self.embedding_layers))
        if self.output_all_layers:
            return list(range(n_layers))
        return sorted({0, n_layers // 2, n_layers - 1})


def _entry_of(label: str, value: Any) -> Any:
    """A label's entry in `label=value,...`, or what all have."""
    return _entries(value).get(label, "auto") if _labels(value) else value


def _labels(value: Any) -> list[str]:
    """The labels in `label=value,...`; none where it is for all."""
    labels = list(_entries(value))
    return [] if labels == [""] else labels


def _entries(value: Any) -> dict[str, str]:
    texts = split_entries(value) if isinstance(value, str) else ()
    return {label or "": text for label, text in map(split_label, texts)}
