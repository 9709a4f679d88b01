"""Records with a kind for each field: what a table of prompts is made of."""

import dataclasses
import json
import math
from typing import Any, Iterable, Literal, Mapping, Sequence, Union

from lit_tl.data.errors import DataError
from lit_tl.engine.conversations import Conversation, ConversationError
from lit_tl.engine.prompts import text_of

Kind = Literal["text", "label", "scalar", "boolean", "tokens", "token scores"]
Numbered = Sequence[tuple[int, Mapping[str, Any]]]
"""Records with the numbers of their lines."""

_TEXT_FIELDS = ("text", "answer", "foil", "target", "corrupted_text")
_LIST_FIELDS = {
    "tokens": "a list of texts",
    "target_mask": "a list of numbers",
    "token_embeddings": "a list of lists of numbers",
}
_MOST_LABELS = 30
_OF_CONVERSATIONS = ("messages", "corrupted_messages", "continue_final_message", "tools")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """What a field holds in every record.

    Args:
        kind: of its values.
        required: whether every record has one.
        labels: of kind "label": all of them, sorted.
        low: of kind "scalar": the least value.
        high: of kind "scalar": the greatest value.
    """

    kind: Kind
    required: bool = False
    labels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @property
    def missing(self) -> Any:
        """The value of a record that has none."""
        empty: Mapping[Kind, Any] = {"scalar": None, "boolean": False}
        if self.kind in ("tokens", "token scores"):
            return []
        return empty.get(self.kind, "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptData:
    """Prompts in memory.

    Args:
        examples: one mapping a prompt, each with every column.
        columns: by name.
        description: one line.
    """

    examples: list[dict[str, Any]]
    columns: Mapping[str, Column]
    description: str


def prompt_data(where: str, records: Numbered, *, read: int = 0) -> PromptData:
    """Make prompts of records.

    Args:
        where: what errors and the description call them.
        records: with a `text` each.
        read: how many there were before some were left out; 0 for these.

    Raises:
        DataError: there is none, or a field has values of different kinds.
    """
    if not records:
        raise DataError(f"{where} holds no prompts")
    examples, columns = typed(where, read_conversations(where, records))
    unique = distinct(examples)
    left = max(read, len(records)) - len(unique)
    more = f" ({left} more are repeated or past the limit)" if left > 0 else ""
    description = f"{len(unique)} prompts from {where}{more}"
    return PromptData(examples=unique, columns=columns, description=description)


def prompts_in_memory(prompts: Union[str, Iterable[Union[str, Mapping[str, Any]]]]) -> PromptData:
    """Prompts from texts, or from records with a text.

    Raises:
        DataError: there is none, a record has no text, or a field has values of different kinds.
    """
    listed = [prompts] if isinstance(prompts, str) else prompts
    records = [{"text": prompt} if isinstance(prompt, str) else prompt for prompt in listed]
    if not records:
        raise DataError("an empty list of prompts: give at least one text")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, Mapping) or not has_prompt(record):
            raise DataError(
                f"prompt {number} has no text: give texts, or records like {{'text': '...'}} or "
                "{'messages': [...]}"
            )
    data = prompt_data("prompts", list(enumerate(records, start=1)))
    return dataclasses.replace(data, description=f"{len(records)} prompts")


def has_prompt(record: Mapping[str, Any]) -> bool:
    """Whether a record has something to read: a text, or a conversation."""
    return isinstance(record.get("text"), str) or record.get("messages") is not None


def read_conversations(where: str, records: Numbered) -> Numbered:
    """Records with `messages` as records with the text that stands for them, and for slices
    `turns`, how many messages there are, and `roles`, whose.

    Raises:
        DataError: messages are no conversation.
    """
    if not any(
        record.get(name) is not None
        for _, record in records
        for name in ("messages", "corrupted_messages")
    ):
        return records
    return [(number, _with_text(f"{where}:{number}", record)) for number, record in records]


def _with_text(where: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
    if record.get("messages") is None and record.get("corrupted_messages") is None:
        return record
    read = {name: value for name, value in record.items() if name not in _OF_CONVERSATIONS}
    prefill = record.get("continue_final_message")
    try:
        conversation = None
        if record.get("messages") is not None:
            conversation = Conversation.of(
                record["messages"],
                continues=None if prefill is None else bool(prefill),
                tools=record.get("tools"),
            )
        if record.get("corrupted_messages") is not None:
            read["corrupted_text"] = text_of(record, "corrupted_text")
    except ConversationError as error:
        raise DataError(f"{where}: {error}") from error
    if conversation is None:
        return read
    roles = dict.fromkeys(message.role for message in conversation.messages)
    known = {"turns": len(conversation.messages), "roles": ", ".join(roles)}
    return {
        "text": conversation.text,
        **{name: value for name, value in read.items() if name != "text"},
        **{name: value for name, value in known.items() if name not in read},
    }


def typed(path: str, records: Numbered) -> tuple[list[dict[str, Any]], dict[str, Column]]:
    """Records in which each field has one kind, and a value where a record has none.

    Raises:
        DataError: a field has values of different kinds.
    """
    values: dict[str, list[tuple[int, Any]]] = {}
    for number, record in records:
        for name, value in record.items():
            if value is not None and value != [] and not name.startswith("_"):
                values.setdefault(name, []).append((number, value))
    columns = {name: _column(path, name, column) for name, column in values.items()}
    examples = [
        {name: _value(record.get(name), column) for name, column in columns.items()}
        for _, record in records
    ]
    return examples, columns


def distinct(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without repeated examples: LIT knows an example by its content, so that a second copy would
    be lost in confusion."""
    seen: dict[str, dict[str, Any]] = {}
    for example in examples:
        seen.setdefault(json.dumps(example, sort_keys=True), example)
    return list(seen.values())


def _column(path: str, name: str, values: Sequence[tuple[int, Any]]) -> Column:
    first, kind = values[0][0], _kind(values[0][1])
    if name in _LIST_FIELDS and kind != _LIST_FIELDS[name]:
        raise DataError(
            f"{path}:{first}: {name!r} is {kind}, but models read it as {_LIST_FIELDS[name]}: give "
            "it another name"
        )
    for number, value in values:
        _check(path, number, name, value)
        if _kind(value) != kind:
            raise DataError(
                f"{path}:{number}: {name!r} is {_kind(value)} here, but {kind} on line {first}"
            )
    if name in _TEXT_FIELDS:
        if kind not in ("text", "a number"):
            raise DataError(f"{path}:{first}: {name!r} is {kind}, but must be text")
        return Column(kind="text", required=name == "text" and kind == "text")
    simple: Mapping[str, Kind] = {
        "a list of texts": "tokens",
        "a list of numbers": "token scores",
        "true or false": "boolean",
    }
    if kind in simple:
        return Column(kind=simple[kind])
    if kind == "a number":
        return _scalar(path, name, [value for _, value in values])
    labels = tuple(sorted({_text(value) for _, value in values}))
    if len(labels) <= _MOST_LABELS:
        return Column(kind="label", labels=labels)
    return Column(kind="text")


def _scalar(path: str, name: str, values: Sequence[Any]) -> Column:
    try:
        numbers = [float(value) for value in values]
    except OverflowError as error:
        raise DataError(f"{path}: a number in {name!r} is too large") from error
    return Column(kind="scalar", low=min(numbers), high=max(numbers))


def _check(path: str, number: int, name: str, value: Any) -> None:
    """Refuse what JSON for a browser can't hold."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{path}:{number}: {name!r} holds half a character: {error.reason}"
            ) from error
    elif isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{path}:{number}: {name!r} is {value}, which is no number")


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


def _value(value: Any, column: Column) -> Any:
    if value is None:
        return column.missing
    if column.kind == "scalar":
        return float(value) if abs(value) >= 2**53 else value
    return _text(value) if column.kind in ("text", "label") else value
