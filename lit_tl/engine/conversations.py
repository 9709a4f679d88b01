"""Conversations: messages with roles, and the one text that stands for them."""

import dataclasses
import json
import re
from typing import Any, Iterable, Mapping, Optional, Sequence

OPENING = "messages:"
"""First line of a text that is a conversation."""
_WITH_TOOLS = "messages, tools "
_ROLE = re.compile(r"[A-Za-z][\w-]*")
_CONTINUES = " …"
_INDENT = "  "


class ConversationError(ValueError):
    """A conversation can't be read. The message says why, and what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Message:
    """One turn.

    Args:
        role: `system`, `user`, `assistant`, `tool`, or another that the model's template knows.
        content: its text.
        more: further keys as a JSON object (`tool_calls`, `name`, `tool_call_id`, ...); "" for
            none.
    """

    role: str
    content: str
    more: str = ""

    def to_json(self) -> dict[str, Any]:
        """As transformers and fine-tuning data have it."""
        return {"role": self.role, "content": self.content, **json.loads(self.more or "{}")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversation:
    """Messages in their order.

    Args:
        messages: at least one.
        continues: whether the last message, an assistant's, is a prefill: the model goes on in it.
        tools: what the assistant may call, as a JSON list of schemas; "" for nothing.

    Raises:
        ConversationError: there is no message, a role is no word, or what should go on is not the
            assistant's.
    """

    messages: tuple[Message, ...]
    continues: bool = False
    tools: str = ""

    def __post_init__(self) -> None:
        if not self.messages:
            raise ConversationError("a conversation has no messages: give at least one")
        for message in self.messages:
            if not _ROLE.fullmatch(message.role):
                raise ConversationError(
                    f"role {message.role!r} is no word: give system, user, assistant or tool"
                )
        if self.continues and self.messages[-1].role != "assistant":
            raise ConversationError(
                "a prefill is the last message and the assistant's, but the last one is the "
                f"{self.messages[-1].role}'s"
            )

    @property
    def wants_answer(self) -> bool:
        """Whether the assistant's turn comes next, so that the template opens it."""
        return self.messages[-1].role != "assistant"

    @property
    def text(self) -> str:
        """The conversation as a text, which `parse` reads back: a line `messages:`, then each
        message behind its role, further lines of it indented."""
        lines = [f"{_WITH_TOOLS}{self.tools}:" if self.tools else OPENING]
        for place, message in enumerate(self.messages):
            mark = _CONTINUES if self.continues and place == len(self.messages) - 1 else ""
            more = f" {message.more}" if message.more else ""
            content = message.content.replace("\n", f"\n{_INDENT}")
            lines.append(f"{message.role}{mark}{more}: {content}")
        return "\n".join(lines)

    def described(self) -> dict[str, Any]:
        """For the page: `messages` with `role`, `content` and `more`, `continues`, `tools`."""
        return dataclasses.asdict(self)

    def to_json(self) -> list[dict[str, Any]]:
        """The messages as transformers has them."""
        return [message.to_json() for message in self.messages]

    def with_contents(self, contents: Sequence[str]) -> "Conversation":
        """The same turns with other texts."""
        messages = zip(self.messages, contents, strict=True)
        replaced = (dataclasses.replace(message, content=text) for message, text in messages)
        return dataclasses.replace(self, messages=tuple(replaced))

    def followed_by(self, text: str) -> "Conversation":
        """The conversation in which the assistant has begun to say a text, and goes on."""
        messages = self.messages
        if self.wants_answer:
            messages = (*messages, Message(role="assistant", content=""))
        last = dataclasses.replace(messages[-1], content=messages[-1].content + text)
        return dataclasses.replace(self, messages=(*messages[:-1], last), continues=True)

    @classmethod
    def of(
        cls, messages: Any, *, continues: Optional[bool] = None, tools: Any = None
    ) -> "Conversation":
        """A conversation from a list of `{"role": ..., "content": ...}`.

        Args:
            messages: the list. A content may be a list of parts `{"type": "text", "text": ...}`,
                and nothing beside `tool_calls`.
            continues: whether the last message is a prefill; None for what its key `prefix` says.
            tools: a list of JSON schemas that the assistant may call.

        Raises:
            ConversationError: it is no such list; the message says which entry.
        """
        if isinstance(messages, Conversation):
            return messages
        if not isinstance(messages, Iterable) or isinstance(messages, (str, bytes, Mapping)):
            raise ConversationError(
                f"messages are a list like [{{'role': 'user', 'content': '...'}}], and not "
                f"{_short(messages)}"
            )
        if tools and not isinstance(tools, list):
            raise ConversationError(f"tools are a list of JSON schemas, and not {_short(tools)}")
        read, prefix = [], False
        for number, message in enumerate(messages, start=1):
            if prefix:
                raise ConversationError(f"message {number - 1} is a prefill, but not the last one")
            read.append(_message(message, number))
            prefix = bool(message.get("prefix"))
        return cls(
            messages=tuple(read),
            continues=prefix if continues is None else continues,
            tools=_json(tools, "tools") if tools else "",
        )


def is_conversation(text: str) -> bool:
    """Whether a text stands for a conversation."""
    return text.startswith((f"{OPENING}\n", f"{_WITH_TOOLS}["))


def parse(text: str) -> Conversation:
    """The conversation that a text stands for.

    Raises:
        ConversationError: a line is neither a role with its message nor indented.
    """
    lines = text.split("\n")
    tools = _tools(lines[0])
    turns: list[tuple[_Head, list[str]]] = []
    for number, line in enumerate(lines[1:], start=2):
        head = _head(line)
        if head is not None:
            turns.append((head, [line[head.end :]]))
        elif turns and line.startswith(_INDENT):
            turns[-1][1].append(line.removeprefix(_INDENT))
        elif turns and not line.strip():
            turns[-1][1].append("")
        else:
            raise ConversationError(
                f"line {number} of a conversation is {_short(line)}: begin a message with its "
                "role, as in 'user: Hello', and indent its further lines by two spaces"
            )
    if any(head.continues for head, _ in turns[:-1]):
        raise ConversationError("only the last message of a conversation can go on (' …')")
    return Conversation(
        messages=tuple(
            Message(role=head.role, content="\n".join(contents), more=head.more)
            for head, contents in turns
        ),
        continues=bool(turns and turns[-1][0].continues),
        tools=tools,
    )


def _tools(line: str) -> str:
    """Of the first line."""
    if line.startswith(_WITH_TOOLS) and line.endswith(":"):
        try:
            tools = json.loads(line.removeprefix(_WITH_TOOLS).removesuffix(":"))
        except (ValueError, RecursionError) as error:
            raise ConversationError(f"the tools of a conversation are no JSON: {error}") from error
        return _json(tools, "tools") if tools else ""
    if line != OPENING:
        raise ConversationError(f"a conversation begins with a line {OPENING!r}")
    return ""


@dataclasses.dataclass(frozen=True)
class _Head:
    """What stands in front of a message."""

    role: str
    continues: bool
    more: str
    end: int


def _head(line: str) -> Optional[_Head]:
    """The head of a line that begins a message: `role`, ` …` for a prefill, further keys as JSON,
    and a colon."""
    match = _ROLE.match(line)
    if match is None:
        return None
    end, more = match.end(), ""
    continues = line.startswith(_CONTINUES, end)
    end += len(_CONTINUES) if continues else 0
    if line.startswith(" {", end):
        try:
            value, end = json.JSONDecoder().raw_decode(line, end + 1)
        except (ValueError, RecursionError):
            return None
        if {"role", "content", "prefix"} & set(value):
            raise ConversationError(
                f"{_short(line)} gives a role or a content twice: further keys of a message are "
                "others, such as tool_calls"
            )
        more = json.dumps(value, ensure_ascii=False) if value else ""
    if line[end:] == ":":
        return _Head(match[0], continues, more, end + 1)
    return _Head(match[0], continues, more, end + 2) if line.startswith(": ", end) else None


def _message(message: Any, number: int) -> Message:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise ConversationError(
            f"message {number} is {_short(message)}: give {{'role': 'user', 'content': '...'}}"
        )
    content = message.get("content")
    more = {
        name: value
        for name, value in message.items()
        if name not in ("role", "content", "prefix") and value is not None
    }
    if content is None and more:
        content = ""
    elif isinstance(content, list) and all(_is_text(part) for part in content):
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ConversationError(
            f"message {number} has content {_short(content)}: language models read text, or parts "
            "{'type': 'text', 'text': '...'}"
        )
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise ConversationError(f"message {number} holds half a character") from error
    written = _json(more, f"message {number}") if more else ""
    return Message(role=message["role"], content=content, more=written)


def _json(value: Any, where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConversationError(f"{where} can't be written as JSON: {error}") from error


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, Mapping)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
