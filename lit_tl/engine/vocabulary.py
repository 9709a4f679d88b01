"""Token ids to strings that people read, and back."""

import functools
import re
from typing import Any, Iterable, Sequence

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

    def is_added(self, token_id: int) -> bool:
        """Whether a token is one of those that were added to the vocabulary, as delimiters are."""
        return token_id in self._added

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
