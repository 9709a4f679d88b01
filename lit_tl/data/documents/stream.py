"""What a stream of documents is."""

import abc
import contextlib
import dataclasses
from typing import Any, Iterator, Literal, Mapping, Optional

from lit_tl.data.errors import DataError

BadLines = Literal["refuse", "skip"]
TxtDocuments = Literal["blank_lines", "file"]
"""What separates the documents of a file of plain text; `file`: nothing, it is one document."""
Place = Mapping[str, Any]
"""How far reading has come, as JSON has it; `documents`, `skipped` and `first_skipped` are counts
for the user."""
START: Place = {"line": 0, "documents": 0, "skipped": 0, "first_skipped": ""}
GROUP_DOCUMENTS = 64


@dataclasses.dataclass(frozen=True)
class Group:
    """Some documents, and the place behind them."""

    texts: list[str]
    place: Place


class Documents(abc.ABC):
    """Documents in their order."""

    where: str

    @abc.abstractmethod
    def groups(self, place: Place = START) -> Iterator[Group]:
        """From a place to the end.

        Raises:
            DataError: something there can't be read.
        """

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells this data from other data, as JSON has it."""

    def most_tokens(self) -> Optional[int]:
        """More tokens than this are not in it, unless a tokenizer writes characters out in longer
        ones. None where that can't be known beforehand."""
        return None


def text_of(record: Any, column: str, where: str) -> str:
    """The text of a JSON object.

    Raises:
        DataError: it is no object, or has no text there.
    """
    if not isinstance(record, dict):
        raise DataError(f'{where}: not a JSON object: each line must be like {{"{column}": "..."}}')
    text = record.get(column)
    if not isinstance(text, str):
        problem = (
            f"it is {type(text).__name__}"
            if column in record
            else f"there are {', '.join(map(repr, record)) or 'none'}"
        )
        raise DataError(
            f"{where}: no text under {column!r}: {problem} (--text_column names another)"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: {column!r} holds half a character: {error.reason}") from error
    return text


@contextlib.contextmanager
def counted_if_bad(what: BadLines, now: dict[str, Any]) -> Iterator[list[str]]:
    """A list for one line's text; it stays empty where the line has none and such lines are
    skipped, which is counted."""
    try:
        yield []
    except DataError as error:
        if what == "refuse":
            raise DataError(f"{error} (--bad_lines=skip goes on without such lines)") from error
        now["skipped"] += 1
        now["first_skipped"] = now["first_skipped"] or str(error)
