"""A model's chat template: from a conversation to token ids, with the role of each token.

Where a template marks what the assistant says (`{% generation %}`), those are the assistant's
tokens. Elsewhere they are what the template adds for the assistant's turn behind the opening that
it gives the model to answer, found by rendering the conversation turn by turn: the content and what
closes it. Of other turns, the content has the turn's role. All else is the template's.
"""

import dataclasses
import json
import re
import threading
from typing import Any, Iterator, Optional, Sequence

import jinja2

from lit_tl.engine.conversations import Conversation, ConversationError

TEMPLATE = "template"
"""The role of tokens that no message says."""
NO_TURN = -1
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
_STAND_IN = re.compile("\ue000(\\d+)\ue001")
_ONE_AT_A_TIME = threading.Lock()
"""transformers keeps a compiled template for all threads and tokenizers, and notes in it where the
assistant speaks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rendered:
    """A conversation as a model reads it.

    Args:
        text: what the template makes of it.
        ids: its tokens.
        roles: of each token: `template`, or that of the message it belongs to. Empty where they
            can't be told, as the template changes what messages say, or the tokenizer does not say
            where its tokens stand.
        turns: for each token, the place of its message, or `NO_TURN`.
    """

    text: str
    ids: tuple[int, ...]
    roles: tuple[str, ...]
    turns: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Span:
    """Characters of a rendered text that belong to a message."""

    start: int
    stop: int
    turn: int


class ChatTemplate:
    """Renders conversations for one model.

    Args:
        tokenizer: Hugging Face's.
        name: of the model, for errors.
        template: in place of the tokenizer's own, in Jinja.

    Raises:
        ConversationError: the template is no Jinja.
    """

    def __init__(self, tokenizer: Any, name: str, template: Optional[str] = None):
        self._tokenizer, self._name, self._template = tokenizer, name, template
        if template is None:
            return
        asked = [{"role": "user", "content": "a"}]
        try:
            tokenizer.apply_chat_template(asked, chat_template=template, tokenize=False)
        except jinja2.TemplateSyntaxError as error:
            raise ConversationError(
                f"line {error.lineno} of the chat template is no Jinja: {error.message}"
            ) from error
        except jinja2.TemplateError:
            pass  # it refuses this conversation, and may take others

    @property
    def exists(self) -> bool:
        """Whether there is a template."""
        return bool(self._template or getattr(self._tokenizer, "chat_template", None))

    def require(self) -> None:
        """Refuse a tokenizer that has no template.

        Raises:
            ConversationError: it has none.
        """
        if not self.exists:
            raise ConversationError(
                f"the tokenizer of {self._name} has no chat template, so that it can't read "
                "conversations: give one with --chat_template FILE, or take a model that was "
                "trained to chat"
            )

    def render(self, conversation: Conversation) -> Rendered:
        """What a model reads of a conversation: the ids that `apply_chat_template` of its tokenizer
        gives. A conversation that ends with another's message opens the assistant's turn.

        Raises:
            ConversationError: there is no template, or it refuses the conversation; the message has
                the template's own words.
        """
        self.require()
        text = self._render(conversation)
        fast = bool(getattr(self._tokenizer, "is_fast", False))
        encoded = self._tokenizer(
            text,
            add_special_tokens=False,
            verbose=False,
            return_offsets_mapping=fast,
        )
        offsets = encoded["offset_mapping"] if fast else []
        ids = tuple(int(token_id) for token_id in encoded["input_ids"])
        spans = self._spans(conversation, text) if fast else None
        if spans is None:
            return Rendered(text=text, ids=ids, roles=(), turns=())
        owner = [NO_TURN] * (len(text) + 1)
        for span in spans:
            owner[span.start : span.stop] = [span.turn] * (span.stop - span.start)
        turns = [_owner(owner[start : max(stop, start + 1)]) for start, stop in offsets]
        if self._marks:
            turns = self._as_marked(conversation, turns)
        roles = tuple(
            TEMPLATE if turn == NO_TURN else conversation.messages[turn].role for turn in turns
        )
        return Rendered(text=text, ids=ids, roles=roles, turns=tuple(turns))

    def closing_ids(self) -> tuple[int, ...]:
        """Tokens that end an assistant's turn: the first that the template puts behind one."""
        asked = Conversation.of([{"role": "user", "content": "a"}])
        answer = {"role": "assistant", "content": "\ue0000\ue001"}
        answered = Conversation.of([*asked.to_json(), answer])
        try:
            text = self._render(answered)
        except ConversationError:
            return ()
        closing = _STAND_IN.split(text)[-1]
        ids = self._tokenizer(closing, add_special_tokens=False)["input_ids"]
        special = set(self._tokenizer.all_special_ids) | set(
            self._tokenizer.get_added_vocab().values()
        )
        return tuple(int(i) for i in ids[:1] if int(i) in special)

    @property
    def _marks(self) -> bool:
        template = self._template or self._tokenizer.get_chat_template()
        return _MARKS.search(template) is not None

    def _render(self, conversation: Conversation, *, opens: Optional[bool] = None) -> str:
        return str(self._apply(conversation, opens=opens, tokenize=False))

    def _apply(self, conversation: Conversation, *, opens: Optional[bool], **how: Any) -> Any:
        try:
            with _ONE_AT_A_TIME:
                return self._tokenizer.apply_chat_template(
                    conversation.to_json(),
                    tools=json.loads(conversation.tools) if conversation.tools else None,
                    chat_template=self._template,
                    add_generation_prompt=conversation.wants_answer if opens is None else opens,
                    continue_final_message=conversation.continues,
                    **how,
                )
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            said = " ".join(str(error).split()).split(" Final message to continue:")[0]
            raise ConversationError(
                f"the chat template of {self._name} refuses this conversation: {said[:300]}"
            ) from error

    def _spans(self, conversation: Conversation, text: str) -> Optional[list[_Span]]:
        """Where the messages stand in the rendered text; None where that can't be told."""
        contents = _contents(conversation, self._with_stand_ins(conversation), text)
        if contents is None:
            return None
        if self._marks:
            return contents
        whole = {span.turn: span for span in contents}
        for turn, message in enumerate(conversation.messages):
            if message.role == "assistant":
                span = self._whole_turn(conversation, text, turn, whole.get(turn))
                whole |= {turn: span} if span else {}
        return [*contents, *whole.values()]

    def _with_stand_ins(self, conversation: Conversation) -> str:
        """The rendered text with a stand-in for the content of each message."""
        names = [
            f"\ue000{place}\ue001" if message.content else ""
            for place, message in enumerate(conversation.messages)
        ]
        try:
            return self._render(conversation.with_contents(names))
        except ConversationError:
            return ""

    def _whole_turn(
        self, conversation: Conversation, text: str, turn: int, content: Optional[_Span]
    ) -> Optional[_Span]:
        """What an assistant's turn adds behind the opening; its content alone where rendering turn
        by turn does not lead there."""
        messages = conversation.messages
        if turn == len(messages) - 1 and conversation.continues:
            return content and dataclasses.replace(content, stop=len(text))
        if turn == 0:
            return self._first_turn(conversation, text, content)
        before = dataclasses.replace(conversation, messages=messages[:turn], continues=False)
        after = dataclasses.replace(conversation, messages=messages[: turn + 1], continues=False)
        try:
            opened, closed = self._render(before, opens=True), self._render(after, opens=False)
        except ConversationError:
            return content
        added = closed[len(opened) :] if closed.startswith(opened) else ""
        if content is None:  # a call of a tool, say
            fits = added and text.startswith(closed)
            return _Span(len(opened), len(closed), turn) if fits else None
        start = content.start - max(added.find(text[content.start : content.stop]), 0)
        if added and text.startswith(added, start):
            return _Span(start, start + len(added), turn)
        return content

    def _first_turn(
        self, conversation: Conversation, text: str, content: Optional[_Span]
    ) -> Optional[_Span]:
        """An assistant's turn that nothing comes before: no rendering opens it."""
        alone = dataclasses.replace(
            conversation, messages=conversation.messages[:1], continues=False
        )
        try:
            closed = self._render(alone, opens=False)
        except ConversationError:
            return content
        fits = content is not None and text.startswith(closed) and len(closed) >= content.stop
        return dataclasses.replace(content, stop=len(closed)) if content and fits else content

    def _as_marked(self, conversation: Conversation, turns: Sequence[int]) -> list[int]:
        """The turns of tokens, the assistant's being those that the template marks."""
        complete = dataclasses.replace(conversation, continues=False)
        mask = self._apply(
            complete,
            opens=None,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )["assistant_masks"]
        roles = [message.role for message in conversation.messages]
        answers = [place for place, role in enumerate(roles) if role == "assistant"]
        marked, ordinal, inside = [], -1, False
        for token, turn in enumerate(turns):
            on = bool(token < len(mask) and mask[token])
            ordinal += on and not inside
            inside = on
            if on:
                own = turn if turn in answers else answers[min(ordinal, len(answers) - 1)]
                marked.append(own)
            else:
                marked.append(NO_TURN if turn in answers else turn)
        return marked


def _owner(characters: Sequence[int]) -> int:
    """Whose a token is: a token that a message shares with the template is the message's."""
    return next((turn for turn in characters if turn != NO_TURN), NO_TURN)


def _contents(conversation: Conversation, pattern: str, text: str) -> Optional[list[_Span]]:
    """Where the contents stand in a text, found by the same text with stand-ins."""
    parts = _STAND_IN.split(pattern)
    literals, turns = parts[::2], [int(turn) for turn in parts[1::2]]
    if not pattern or not text.startswith(literals[0]):
        return None
    if not turns:
        return [] if text == literals[0] else None
    spans: list[_Span] = []
    at = len(literals[0])
    for turn, literal, last in zip(
        turns, literals[1:], [False] * (len(turns) - 1) + [True], strict=True
    ):
        for content in _variants(conversation.messages[turn].content):
            stop = at + len(content)
            fits = text.startswith(content, at) and text.startswith(literal, stop)
            if fits and (not last or stop + len(literal) == len(text)):
                break
        else:
            return None
        spans.append(_Span(at, stop, turn))
        at = stop + len(literal)
    return spans


def _variants(content: str) -> Iterator[str]:
    """A content as templates write it."""
    yield from (content, content.strip(), content.rstrip(), content.lstrip(), content.strip("\n"))
