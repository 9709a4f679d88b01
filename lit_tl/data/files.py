"""Prompts in files: lines of text, and JSON lines."""

import json
import math
import pathlib
from typing import Any, Iterable, Iterator, Mapping, Sequence, TypeVar, Union

from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types

from lit_tl.data.errors import DataError

DEFAULT_MAX_EXAMPLES = 2000
_Record = TypeVar("_Record")

_TEXT_FIELDS = ("text", "answer", "foil", "target", "corrupted_text")
_LIST_FIELDS = {"tokens": "a list of texts", "target_mask": "a list of numbers", "token_embeddings": "a list of lists of numbers"}
_MOST_LABELS = 30


class Prompts(lit_dataset.Dataset):
    """Prompts that are already in memory: texts, or records as in `JsonLines`.

    Args:
        prompts: the texts or records.

    Raises:
        DataError: there is none, a record has no text, or a field has values of different kinds.
    """

    def __init__(self, prompts: Iterable[Union[str, Mapping[str, Any]]]):
        if isinstance(prompts, str):
            prompts = [prompts]
        records = [{"text": prompt} if isinstance(prompt, str) else prompt for prompt in prompts]
        if not records:
            raise DataError("an empty list of prompts: give at least one text")
        for number, record in enumerate(records, start=1):
            if not isinstance(record, Mapping) or not isinstance(record.get("text"), str):
                raise DataError(f"prompt {number} has no text: give texts, or records like {{'text': '...'}}")
        examples, spec = typed_examples("prompts", list(enumerate(records, start=1)))
        super().__init__(spec=spec, examples=_distinct(examples), description=f"{len(records)} prompts")


class TextLines(lit_dataset.Dataset):
    """One prompt on each line of a UTF-8 text file; empty lines are passed over.

    Args:
        path: the file.
        max_examples: how many prompts to read at most.

    Raises:
        DataError: the file can't be read, is not UTF-8, or holds no text.
    """

    def __init__(self, path: str, max_examples: int = DEFAULT_MAX_EXAMPLES):
        prompts = [{"text": line} for _, line in _lines(path) if line.strip()]
        super().__init__(spec={"text": lit_types.TextSegment()}, examples=at_most(_distinct(prompts), max_examples))
        self._description = _describe(path, len(self._examples), len(prompts))


class JsonLines(lit_dataset.Dataset):
    """One JSON object on each line of a UTF-8 file, with a string `text`.

    `answer` and `foil` (with their leading space), `target` and `corrupted_text` are used where they are there. Other strings
    become labels to slice by (up to 30 different ones, or else text), numbers scalars, lists of strings tokens.

    Args:
        path: the file.
        max_examples: how many prompts to read at most.

    Raises:
        DataError: the file can't be read or is not UTF-8; a line is not a JSON object with a text; a field has values of
            different kinds; or there is no line at all.
    """

    def __init__(self, path: str, max_examples: int = DEFAULT_MAX_EXAMPLES):
        records = [(number, _record(path, number, line)) for number, line in _lines(path) if line.strip()]
        examples, spec = typed_examples(path, records)
        super().__init__(spec=spec, examples=at_most(_distinct(examples), max_examples))
        self._description = _describe(path, len(self._examples), len(records))


def at_most(records: Sequence[_Record], max_examples: int) -> list[_Record]:
    """The first of them.

    Raises:
        DataError: fewer than one is asked for.
    """
    if max_examples < 1:
        raise DataError(f"max_examples is {max_examples}: give 1 or more")
    return list(records[:max_examples])


def typed_examples(
    path: str, records: Sequence[tuple[int, Mapping[str, Any]]]
) -> tuple[list[dict[str, Any]], dict[str, lit_types.LitType]]:
    """LIT examples and their spec from numbered records: each field gets one type, and a value where a record has none.

    Raises:
        DataError: a field has values of different kinds.
    """
    columns: dict[str, list[tuple[int, Any]]] = {}
    for number, record in records:
        for name, value in record.items():
            if value is not None and value != [] and not name.startswith("_"):
                columns.setdefault(name, []).append((number, value))
    spec = {name: _column_type(path, name, values) for name, values in columns.items()}
    missing = {name: _missing(kind) for name, kind in spec.items()}
    examples = [{name: _value(record.get(name), kind, missing[name]) for name, kind in spec.items()} for _, record in records]
    return examples, spec


def _check(path: str, number: int, name: str, value: Any) -> None:
    """What JSON for a browser can hold."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{path}:{number}: {name!r} holds half a character: {error.reason}") from error
    elif isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{path}:{number}: {name!r} is {value}, which is no number")


def _column_type(path: str, name: str, values: Sequence[tuple[int, Any]]) -> lit_types.LitType:
    kind = _kind(values[0][1])
    if name in _LIST_FIELDS and kind != _LIST_FIELDS[name]:
        raise DataError(
            f"{path}:{values[0][0]}: {name!r} is {kind}, but models read it as {_LIST_FIELDS[name]}: give it another name"
        )
    for number, value in values:
        _check(path, number, name, value)
        if _kind(value) != kind:
            raise DataError(f"{path}:{number}: {name!r} is {_kind(value)} here, but {kind} on line {values[0][0]}")
    if name in _TEXT_FIELDS:
        if kind == "a number":
            return lit_types.TextSegment(required=False)
        if kind != "text":
            raise DataError(f"{path}:{values[0][0]}: {name!r} is {kind}, but must be text")
        return lit_types.TextSegment(required=name == "text")
    if kind == "a list of texts":
        return lit_types.Tokens(parent="text", required=False)
    if kind == "a list of numbers":
        return lit_types.TokenScores(align="tokens", required=False)
    if kind == "true or false":
        return lit_types.BooleanLitType(required=False)
    if kind == "a number":
        try:
            numbers = [float(value) for _, value in values]
        except OverflowError as error:
            raise DataError(f"{path}: a number in {name!r} is too large") from error
        return lit_types.Scalar(min_val=min(numbers), max_val=max(numbers), required=False)
    labels = sorted({_text(value) for _, value in values})
    if len(labels) <= _MOST_LABELS:
        return lit_types.CategoryLabel(vocab=labels, required=False)
    return lit_types.TextSegment(required=False)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "a list of texts"
    if isinstance(value, list) and value and all(isinstance(part, (int, float)) for part in value):
        return "a list of numbers"
    return "text" if isinstance(value, str) else "nested data"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _missing(kind: lit_types.LitType) -> Any:
    if isinstance(kind, lit_types.ListLitType):
        return []
    if isinstance(kind, lit_types.BooleanLitType):
        return False
    return None if isinstance(kind, lit_types.Scalar) else ""


def _value(value: Any, kind: lit_types.LitType, missing: Any) -> Any:
    if value is None:
        return missing
    if isinstance(kind, lit_types.Scalar):
        return float(value) if abs(value) >= 2**53 else value
    return _text(value) if isinstance(kind, (lit_types.TextSegment, lit_types.CategoryLabel)) else value


def _record(path: str, number: int, line: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line, parse_constant=lambda name: _refuse(path, number, f"{name} is not JSON"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError(f"{path}:{number}: nested too deeply") from error
    if not isinstance(record, dict):
        raise DataError(f'{path}:{number}: not a JSON object: each line must be like {{"text": "..."}}')
    if not isinstance(record.get("text"), str):
        raise DataError(f'{path}:{number}: no text: each line must be like {{"text": "..."}}')
    return record


def _refuse(path: str, number: int, reason: str) -> Any:
    raise DataError(f"{path}:{number}: {reason}")


def read_text(path: str) -> str:
    """A whole UTF-8 file, lines ending in a newline alone.

    Raises:
        DataError: it can't be read, is not UTF-8, or holds no text.
    """
    return "\n".join(line for _, line in _lines(path))


def typed_dataset(data: lit_dataset.Dataset, where: str, records: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Make a data set of numbered records.

    Raises:
        DataError: there is none, or a field has values of different kinds.
    """
    if not records:
        raise DataError(f"{where} holds no prompts")
    examples, spec = typed_examples(where, records)
    lit_dataset.Dataset.__init__(data, spec=spec, examples=_distinct(examples))
    data._description = _describe(where, len(data.examples), len(records))


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, from 1, without their ends."""
    file = pathlib.Path(path).expanduser()
    if file.is_dir():
        raise DataError(f"{path} is a folder, not a file of prompts")
    if not file.is_file():
        raise DataError(f"{path} does not exist")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
    empty = True
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            line = raw.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: not UTF-8: byte {raw[error.start]:#04x} at column {error.start + 1}") from error
        empty = empty and not line.strip()
        yield number, line
    if empty:
        raise DataError(f"{path} holds no text")


def _distinct(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without repeated examples: LIT knows an example by its content, so that a second copy would be lost in confusion."""
    seen: dict[str, dict[str, Any]] = {}
    for example in examples:
        seen.setdefault(json.dumps(example, sort_keys=True), example)
    return list(seen.values())


def _describe(path: str, kept: int, read: int) -> str:
    left = f" ({read - kept} more are repeated or past the limit)" if read > kept else ""
    return f"{kept} prompts from {path}{left}"
