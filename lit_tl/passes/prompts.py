"""Text to token ids, the way TransformerLens does it, with a bound on the length."""

import dataclasses
from typing import Any, Optional, Sequence

import numpy as np
import numpy.typing as npt

from lit_tl.passes.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
    """One example as the model reads it."""

    ids: tuple[int, ...]
    truncated: bool = False
    token_embeddings: Optional["npt.NDArray[np.float32]"] = None
    """`[pos, d_model]`, in place of what the embedding matrix gives for `ids`."""

    def __len__(self) -> int:
        return len(self.ids)


class Prompter:
    """Makes prompts for one TransformerLens model.

    Args:
        model: a TransformerLens model with a tokenizer.
        max_length: longest prompt in tokens, beginning-of-text token included; the model's own context may be shorter.
        prepend_bos: whether a beginning-of-text token comes first, where the tokenizer has one.

    Raises:
        ValueError: the model has no tokenizer.
    """

    def __init__(self, model: Any, *, max_length: int, prepend_bos: bool):
        if model.tokenizer is None:
            raise ValueError(f"{model.cfg.model_name} has no tokenizer: load the model with one (tokenizer=...)")
        self._model = model
        self._prepend_bos = prepend_bos
        self.max_length = min(max_length, int(model.cfg.n_ctx)) if model.cfg.n_ctx else max_length
        self.vocabulary = Vocabulary(model.tokenizer, int(model.cfg.d_vocab))

    def from_text(self, text: str) -> Prompt:
        """Tokenize a text; what is past `max_length` tokens is cut off its end."""
        ids = self._encode(text, self._prepend_bos)
        if not ids:
            ids = [self.filler_id]
        return self._bounded(ids)

    def from_tokens(self, tokens: Sequence[str]) -> Prompt:
        """The prompt with these tokens, as `Vocabulary` writes them, and no other.

        Raises:
            ValueError: a string is no token of the model.
        """
        return self._bounded(self.vocabulary.ids(tokens))

    def continuation(self, text: str) -> list[int]:
        """The ids of a text that goes on from a prompt: no beginning-of-text token."""
        return self._encode(text, False) if text else []

    def answer(self, text: str) -> list[int]:
        """The ids of a continuation; a text that reads as one token is that token."""
        try:
            return self.vocabulary.ids([text])
        except ValueError:
            return self.continuation(text)

    def beginning(self, ids: Sequence[int]) -> int:
        """How many tokens of a prompt come before its text: 1 where it begins with a beginning-of-text token, else 0."""
        return int(self._prepend_bos and len(ids) > 0 and ids[0] == self._model.tokenizer.bos_token_id)

    def to_text(self, ids: Sequence[int]) -> str:
        """The text of a prompt's ids, without the beginning-of-text token."""
        tokenizer = self._model.tokenizer
        return str(tokenizer.decode(list(ids[self.beginning(ids) :]), clean_up_tokenization_spaces=False))

    def _encode(self, text: str, prepend_bos: bool) -> list[int]:
        # A tokenizer warns of texts longer than the context, which are cut here in any case.
        tokens = self._model.to_tokens(text, prepend_bos=prepend_bos, truncate=False, move_to_device=False)
        return [int(token_id) for token_id in tokens[0]]

    def _bounded(self, ids: Sequence[int]) -> Prompt:
        return Prompt(ids=tuple(ids[: self.max_length]), truncated=len(ids) > self.max_length)

    @property
    def filler_id(self) -> int:
        """The token that says nothing: beginning of text, or else end of text, padding, or id 0."""
        tokenizer = self._model.tokenizer
        candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
        return next(int(candidate) for candidate in candidates if candidate is not None)
