"""Text to token ids, the way TransformerLens does it, with a bound on the length."""

import dataclasses
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt

from lit_tl.engine.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lit_tl.engine.runner import Runner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
    """One example as the model reads it.

    Args:
        ids: token ids.
        truncated: whether the text was longer and its end is left out.
        token_embeddings: `[pos, d_model]`, in place of what the embedding matrix gives for `ids`.
    """

    ids: tuple[int, ...]
    truncated: bool = False
    token_embeddings: Optional["npt.NDArray[np.float32]"] = None

    def __len__(self) -> int:
        return len(self.ids)


class Prompter:
    """Makes prompts for one model.

    Args:
        runner: of a model with a tokenizer.
        max_length: longest prompt in tokens, beginning-of-text token included; the model's own
            context may be shorter.
        prepend_bos: whether a beginning-of-text token comes first, where the tokenizer has one.

    Raises:
        ValueError: the model has no tokenizer.
    """

    def __init__(self, runner: "Runner", *, max_length: int, prepend_bos: bool):
        if runner.tokenizer is None:
            raise ValueError(
                f"{runner.shape.name} has no tokenizer: load the model with one (tokenizer=...)"
            )
        self._runner = runner
        self._tokenizer = runner.tokenizer
        self._prepend_bos = prepend_bos
        self.max_length = min(max_length, runner.shape.context or max_length)
        self.vocabulary = Vocabulary(runner.tokenizer, runner.shape.d_vocab)

    def prompt(self, example: Mapping[str, Any]) -> Prompt:
        """What the model reads of an example: its `tokens` if it has some, or else its `text`; and
        its `token_embeddings` if it has some.

        Raises:
            ValueError: a token is unknown, or the embeddings have another shape than the prompt.
        """
        tokens = example.get("tokens")
        if tokens is not None and len(tokens):
            prompt = self.from_tokens(tokens)
        else:
            text = example.get("text")
            if not isinstance(text, str):
                given = "" if text is None else f", and not {text!r}"
                raise ValueError(f"an example must have a text, a string{given}")
            prompt = self.from_text(text)
        embeddings = example.get("token_embeddings")
        if embeddings is None or len(embeddings) == 0:
            return prompt
        embeddings = np.asarray(embeddings, dtype=np.float32)
        expected = (len(prompt), self._runner.shape.d_model)
        if embeddings.shape != expected:
            raise ValueError(
                f"token_embeddings has shape {embeddings.shape}, but this prompt needs {expected}"
            )
        return dataclasses.replace(prompt, token_embeddings=embeddings)

    def from_text(self, text: str) -> Prompt:
        """Tokenize a text; what is past `max_length` tokens is cut off its end."""
        return self._bounded(self._encode(text, self._prepend_bos) or [self.filler_id])

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

    def first_token(self, text: Optional[str]) -> Optional[int]:
        """The first token of a continuation, or None for an empty one."""
        ids = self.answer(text) if text else []
        return ids[0] if ids else None

    def beginning(self, ids: Sequence[int]) -> int:
        """How many tokens of a prompt come before its text: 1 for a beginning-of-text token, else
        0."""
        first = self._tokenizer.bos_token_id
        return int(self._prepend_bos and len(ids) > 0 and ids[0] == first)

    def to_text(self, ids: Sequence[int]) -> str:
        """The text of a prompt's ids, without the beginning-of-text token."""
        rest = list(ids[self.beginning(ids) :])
        return str(self._tokenizer.decode(rest, clean_up_tokenization_spaces=False))

    def _encode(self, text: str, prepend_bos: bool) -> list[int]:
        return self._runner.encode(text, prepend_bos=prepend_bos)

    def _bounded(self, ids: Sequence[int]) -> Prompt:
        return Prompt(ids=tuple(ids[: self.max_length]), truncated=len(ids) > self.max_length)

    @property
    def filler_id(self) -> int:
        """The token that says nothing: beginning of text, or else end of text, padding, or id 0."""
        tokenizer = self._tokenizer
        candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
        return next(int(candidate) for candidate in candidates if candidate is not None)
