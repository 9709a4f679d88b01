"""Text and conversations to token ids, the way TransformerLens and chat templates do it."""

import dataclasses
import threading
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

import cachetools
import numpy as np
import numpy.typing as npt

from lit_tl.engine import conversations
from lit_tl.engine.chat_template import ChatTemplate
from lit_tl.engine.conversations import Conversation, ConversationError, Message
from lit_tl.engine.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lit_tl.engine.protocol import ModelShape
    from lit_tl.engine.runner import Runner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
    """One example as the model reads it.

    Args:
        ids: token ids.
        truncated: whether the text was longer and its end is left out.
        token_embeddings: `[pos, d_model]`, in place of what the embedding matrix gives for `ids`.
        roles: of a conversation's tokens, one for each; see `lit_tl.engine.chat_template`. Empty
            for plain text.
        turns: the place of each token's message, or -1 for the template's.
    """

    ids: tuple[int, ...]
    truncated: bool = False
    roles: tuple[str, ...] = ()
    turns: tuple[int, ...] = ()
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


_KNOWN = 64
"""Conversations whose tokens a prompter remembers: several panels ask for the same ones."""
_HALF = "\ufffd"
"""What a decoder writes for bytes that are no whole character."""


def first_difference(answer: Sequence[int], foil: Sequence[int]) -> Optional[int]:
    """The place of the first token at which an answer and its foil differ, so that one prediction
    tells them apart; None where one goes on from the other."""
    shorter = min(len(answer), len(foil))
    return next((i for i in range(shorter) if answer[i] != foil[i]), None)


def text_of(example: Mapping[str, Any], name: str = "text") -> str:
    """What an example gives to read: a text, or `messages` as the text that stands for them.

    Args:
        example: with the text under `name`, or `messages` (`corrupted_messages` for
            `corrupted_text`).
        name: of the text.

    Raises:
        ValueError: it has neither.
    """
    messages = example.get(name.replace("text", "messages"))
    if messages is not None:
        prefill = example.get("continue_final_message")
        return Conversation.of(
            messages,
            continues=None if prefill is None else bool(prefill),
            tools=example.get("tools"),
        ).text
    text = example.get(name)
    if not isinstance(text, str):
        given = "" if text is None else f", and not {text!r}"
        raise ValueError(f"an example must have a text, a string{given}")
    return text


class Prompter:
    """Makes prompts for one model.

    Args:
        runner: of a model with a tokenizer.
        max_length: longest prompt in tokens, beginning-of-text token included; the model's own
            context may be shorter.
        prepend_bos: whether a beginning-of-text token comes first, where the tokenizer has one;
            None is what the model expects. Conversations have what their template writes.
        chat: whether a plain text is a user's turn of a conversation.
        chat_template: in Jinja, in place of the tokenizer's own.

    Raises:
        ValueError: the model has no tokenizer, or should chat and has no chat template.
    """

    def __init__(
        self,
        runner: "Runner",
        *,
        max_length: int,
        prepend_bos: Optional[bool] = None,
        chat: bool = False,
        chat_template: Optional[str] = None,
    ):
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
        self.template = ChatTemplate(runner.tokenizer, runner.shape.name, chat_template)
        self.chat = chat
        """Whether a plain text is a user's turn."""
        if chat:
            self.template.require()
        self._lock = threading.Lock()
        self._rendered: cachetools.LRUCache[Conversation, Prompt] = cachetools.LRUCache(_KNOWN)

    def prompt(self, example: Mapping[str, Any]) -> Prompt:
        """What the model reads of an example: its `tokens` if it has some, or else its `messages`,
        or its `text`; and its `token_embeddings` if it has some.

        Raises:
            ValueError: a token is unknown, a conversation can't be read, or the embeddings have
                another shape than the prompt.
        """
        tokens = example.get("tokens")
        if tokens is not None and len(tokens):
            prompt = self._with_roles(self.from_tokens(tokens), example)
        else:
            prompt = self.from_text(text_of(example))
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
        with its opening, as a chat template writes it, gets no second one. A text that stands for a
        conversation (see `lit_tl.engine.conversations`) is read in the model's chat template.

        Raises:
            ConversationError: it stands for a conversation that can't be read.
        """
        conversation = self.conversation(text)
        if conversation is not None:
            return self._from_conversation(conversation)
        ids = self._encode(text)
        if not self.beginning(ids):
            ids = [*self.opening.ids, *ids] or [self.filler_id]
        return Prompt(ids=tuple(ids[: self.max_length]), truncated=len(ids) > self.max_length)

    def conversation(self, text: str) -> Optional[Conversation]:
        """The conversation that a text stands for; None for plain text.

        Raises:
            ConversationError: it begins as a conversation and is none.
        """
        if conversations.is_conversation(text):
            return conversations.parse(text)
        return Conversation(messages=(Message(role="user", content=text),)) if self.chat else None

    def followed_by(self, text: str, behind: str) -> str:
        """A prompt's text with more behind it: of a conversation, the assistant says it."""
        conversation = self.conversation(text) if behind else None
        return f"{text}{behind}" if conversation is None else conversation.followed_by(behind).text

    def _from_conversation(self, conversation: Conversation) -> Prompt:
        with self._lock:
            known = self._rendered.get(conversation)
        if known is None:
            rendered, most = self.template.render(conversation), self.max_length
            known = Prompt(
                ids=rendered.ids[:most] or (self.filler_id,),
                truncated=len(rendered.ids) > most,
                roles=rendered.roles[:most],
                turns=rendered.turns[:most],
            )
            with self._lock:
                self._rendered[conversation] = known
        return known

    def _with_roles(self, prompt: Prompt, example: Mapping[str, Any]) -> Prompt:
        """A prompt of tokens, with the roles that they have as the example's conversation."""
        if example.get("messages") is None and not isinstance(example.get("text"), str):
            return prompt
        try:
            said = self.from_text(text_of(example))
        except ConversationError:
            return prompt
        return (
            dataclasses.replace(prompt, roles=said.roles, turns=said.turns)
            if (said.ids == prompt.ids)
            else prompt
        )

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

    def retold(self, text: str, ids: Sequence[int]) -> str:
        """The text that reads as other ids of the same number: of a conversation, each message has
        the text of its tokens.

        Args:
            text: as it was.
            ids: of the new text; the template's tokens are as they were.

        Raises:
            ConversationError: a token of the template is another one, or the roles of this model's
                tokens are not known.
        """
        conversation = self.conversation(text)
        if conversation is None:
            return self.to_text(ids)
        prompt = self._from_conversation(conversation)
        if not prompt.roles:
            raise ConversationError(
                "which tokens belong to which message is not known of this model's chat template"
            )
        contents: list[list[int]] = [[] for _ in conversation.messages]
        was: list[list[int]] = [[] for _ in conversation.messages]
        for old, new, turn in zip(prompt.ids, ids, prompt.turns, strict=True):
            if new != old and self.vocabulary.is_added(new):
                raise ConversationError("a delimiter can't stand in a message")
            if turn >= 0:
                was[turn].append(old)
                contents[turn].append(new)
            elif old != new:
                raise ConversationError("a token of the chat template can't be changed")
        told = conversation.with_contents(
            [
                self._content(message.content, self._decode(old), self._decode(new))
                for message, old, new in zip(conversation.messages, was, contents, strict=True)
            ]
        )
        return told.text if conversations.is_conversation(text) else told.messages[0].content

    def to_text(self, ids: Sequence[int]) -> str:
        """The text of a prompt's ids, without what was put in front."""
        return self._decode(ids[self.beginning(ids) :])

    def written(self, ids: Sequence[int]) -> str:
        """The text of tokens that the model wrote."""
        return self._decode(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def forked(self, text: str, pos: int, token: Optional[str] = None) -> str:
        """A conversation up to one of its tokens, to be gone on with from there.

        Args:
            text: that stands for the conversation.
            pos: of the token, which belongs to a message; what comes from here on is left out.
            token: what stands there now; None for nothing.

        Returns:
            The text of the conversation whose last message is the one that was cut: of the
            assistant's, a prefill.

        Raises:
            ConversationError: it is no conversation, or the token is not a message's.
        """
        conversation = self.conversation(text)
        prompt = None if conversation is None else self._from_conversation(conversation)
        if conversation is None or prompt is None or not prompt.turns:
            raise ConversationError("only a conversation whose roles are known can be forked")
        if not 0 <= pos < len(prompt) or prompt.turns[pos] < 0:
            raise ConversationError(f"token {pos} is no message's: choose one of a message")
        turn = prompt.turns[pos]
        own = [place for place, each in enumerate(prompt.turns) if each == turn]
        message = conversation.messages[turn]
        whole = self._decode([prompt.ids[place] for place in own])
        said = message.content if message.content in whole else message.content.strip()
        front = whole.partition(said)[0] if said else ""
        kept = [prompt.ids[place] for place in own if place < pos]
        new = [] if token is None else self.vocabulary.ids([token])
        ended = bool(new) and self.vocabulary.is_added(new[0])  # a delimiter closes the turn
        content = self._decode(kept if ended else [*kept, *new]).removeprefix(front)
        if said and content.startswith(said) and len(content) > len(said):
            behind = not (new and not ended and self._decode(kept).removeprefix(front) == said)
            ended, content = (True, said) if behind else (ended, content)
        if _HALF in content and _HALF not in whole:
            raise ConversationError(
                f"token {pos} ends in the middle of a character: choose the one before it"
            )
        cut = dataclasses.replace(message, content=content)
        return dataclasses.replace(
            conversation,
            messages=(*conversation.messages[:turn], cut),
            continues=message.role == "assistant" and not ended,
        ).text

    def _content(self, content: str, before: str, after: str) -> str:
        """What a turn whose tokens read `after` says, where it said `content` when they read
        `before`: what the template writes around it stays away."""
        said = content if content in before else content.strip()
        front, _, back = before.partition(said)
        if not (after.startswith(front) and after.endswith(back)):
            raise ConversationError("a token of the chat template can't be changed")
        return after[len(front) : len(after) - len(back)]

    @property
    def filler_id(self) -> int:
        """The token that says nothing: beginning of text, or else end of text, padding, or id 0."""
        tokenizer = self._tokenizer
        candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
        return next(int(candidate) for candidate in candidates if candidate is not None)
