"""Text to token ids, the way TransformerLens does it, and ids to strings that people read."""

import dataclasses
import functools
import re
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from lit_tl.engine.protocol import ModelShape
    from lit_tl.engine.runner import Runner

_BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "▁"


def _byte_level_alphabet() -> dict[str, int]:
    """The characters that a byte-level BPE writes for the 256 bytes (Radford et al. 2019, section
    2.2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + i): byte for i, byte in enumerate(rest)
    }


class Vocabulary:
    """Readable strings for a tokenizer's ids.

    A leading space is a space, a newline is a newline, and text in any script reads as itself.
    Bytes that are no whole UTF-8 character, as where a token ends in the middle of an emoji, are
    written `\\xf0\\x9f`.
    """

    def __init__(self, tokenizer: Any, d_vocab: int):
        self._tokenizer = tokenizer
        self._d_vocab = d_vocab
        self._added = set(tokenizer.get_added_vocab().values())
        decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
        byte_level = "ByteLevel" in repr(decoder) or "Ġ" in tokenizer.get_vocab()
        self._alphabet = _byte_level_alphabet() if byte_level else None
        self._strings: dict[int, str] = {}

    def string(self, token_id: int) -> str:
        """The readable string of one id."""
        if token_id not in self._strings:
            self._strings[token_id] = self._read(token_id)
        return self._strings[token_id]

    def strings(self, token_ids: Iterable[int]) -> list[str]:
        """The readable strings of some ids."""
        return [self.string(token_id) for token_id in token_ids]

    def all_strings(self) -> list[str]:
        """The readable strings of ids 0 to d_vocab - 1. Ids without a token (padding of the matrix)
        read `[id 50300]`."""
        return self.strings(range(self._d_vocab))

    def ids(self, tokens: Sequence[str]) -> list[int]:
        """The ids of readable strings.

        Raises:
            ValueError: a string is no token of this vocabulary.
        """
        unknown = [token for token in tokens if token not in self._inverse]
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is not a token of this model: give tokens as the model's "
                "`tokens` output has them"
            )
        return [self._inverse[token] for token in tokens]

    @functools.cached_property
    def _inverse(self) -> dict[str, int]:
        inverse: dict[str, int] = {}
        fallback: dict[str, int] = {}
        for token_id, token in enumerate(self.all_strings()):
            raw = self._tokenizer.convert_ids_to_tokens(token_id)
            target = fallback if raw is not None and _BYTE_FALLBACK.fullmatch(raw) else inverse
            target.setdefault(token, token_id)
        return fallback | inverse

    def _read(self, token_id: int) -> str:
        raw = self._tokenizer.convert_ids_to_tokens(token_id)
        if raw is None:
            return f"[id {token_id}]"
        if token_id in self._added:
            return str(raw)
        if self._alphabet is not None:
            if not all(character in self._alphabet for character in raw):
                return str(raw)
            return bytes(self._alphabet[character] for character in raw).decode(
                "utf-8", errors="backslashreplace"
            )
        if match := _BYTE_FALLBACK.fullmatch(raw):
            return bytes([int(match[1], 16)]).decode("utf-8", errors="backslashreplace")
        return str(raw).replace(_SPACE_MARK, " ")


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

    def check(self, shape: "ModelShape") -> None:
        """Refuse a prompt that a model can't read.

        Raises:
            ValueError: it is empty, too long, or has a token that the model has not.
        """
        if not self.ids:
            raise ValueError("a prompt has no tokens: give at least one")
        if shape.context is not None and len(self.ids) > shape.context:
            raise ValueError(
                f"a prompt has {len(self.ids)} tokens, but {shape.name} reads {shape.context}"
            )
        if not (min(self.ids) >= 0 and max(self.ids) < shape.d_vocab):
            raise ValueError(
                f"a prompt has a token outside of the {shape.d_vocab} tokens of {shape.name}"
            )


def first_difference(answer: Sequence[int], foil: Sequence[int]) -> Optional[int]:
    """The place of the first token at which an answer and its foil differ, so that one prediction
    tells them apart; None where one goes on from the other."""
    shorter = min(len(answer), len(foil))
    return next((i for i in range(shorter) if answer[i] != foil[i]), None)


class Prompter:
    """Makes prompts for one model.

    Args:
        runner: of a model with a tokenizer.
        max_length: longest prompt in tokens, beginning-of-text token included; the model's own
            context may be shorter.
        prepend_bos: whether a beginning-of-text token comes first, where the tokenizer has one;
            None is what the model expects.

    Raises:
        ValueError: the model has no tokenizer.
    """

    def __init__(self, runner: "Runner", *, max_length: int, prepend_bos: Optional[bool] = None):
        if runner.tokenizer is None:
            raise ValueError(
                f"{runner.shape.name} has no tokenizer: load the model with one (tokenizer=...)"
            )
        self._d_model = runner.shape.d_model
        self._tokenizer = runner.tokenizer
        self.opening = runner.opening(prepend_bos)
        """What comes in front of every text."""
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
        expected = (len(prompt), self._d_model)
        if embeddings.shape != expected:
            raise ValueError(
                f"token_embeddings has shape {embeddings.shape}, but this prompt needs {expected}"
            )
        return dataclasses.replace(prompt, token_embeddings=embeddings)

    def _encode(self, text: str) -> list[int]:
        """The ids of a text alone, without what comes in front of it, not cut to the context."""
        # A tokenizer warns of texts longer than the context, which are cut afterwards.
        encoded = self._tokenizer(text, add_special_tokens=False, verbose=False)
        return [int(token_id) for token_id in encoded["input_ids"]]

    def from_text(self, text: str) -> Prompt:
        """Tokenize a text; what is past `max_length` tokens is cut off its end. A text that begins
        with its opening, as a chat template writes it, gets no second one."""
        ids = self._encode(text)
        if not self.beginning(ids):
            ids = [*self.opening.ids, *ids] or [self.filler_id]
        return Prompt(ids=tuple(ids[: self.max_length]), truncated=len(ids) > self.max_length)

    def from_tokens(self, tokens: Sequence[str]) -> Prompt:
        """The prompt with these tokens, as `Vocabulary` writes them, and no other.

        Raises:
            ValueError: a string is no token of the model.
        """
        ids = self.vocabulary.ids(tokens)
        return Prompt(ids=tuple(ids[: self.max_length]), truncated=len(ids) > self.max_length)

    def continuation(self, text: str) -> list[int]:
        """The ids of a text that goes on from a prompt: nothing in front."""
        return self._encode(text) if text else []

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

    def answers(self, example: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """The ids of an example's `answer` and `foil`, of those that it has."""
        named = {name: example.get(name) for name in ("answer", "foil")}
        return {name: tuple(self.answer(text)) for name, text in named.items() if text}

    def beginning(self, ids: Sequence[int]) -> int:
        """How many tokens of a prompt come before its text: 1 for a beginning-of-text token."""
        length = len(self.opening.ids)
        return length if tuple(ids[:length]) == self.opening.ids else 0

    def describe_opening(self) -> str:
        """What comes in front of every text and why, as a sentence."""
        tokens = " ".join(self.vocabulary.strings(self.opening.ids))
        what = f"{tokens} comes" if tokens else "Nothing comes"
        return f"{what} in front of a text, {self.opening.why}."

    def to_text(self, ids: Sequence[int]) -> str:
        """The text of a prompt's ids, without what was put in front."""
        rest = list(ids[self.beginning(ids) :])
        return str(self._tokenizer.decode(rest, clean_up_tokenization_spaces=False))

    @property
    def filler_id(self) -> int:
        """The token that says nothing: beginning of text, or else end of text, padding, or id 0."""
        tokenizer = self._tokenizer
        candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
        return next(int(candidate) for candidate in candidates if candidate is not None)
