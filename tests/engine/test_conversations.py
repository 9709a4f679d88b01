"""Conversations as texts."""

import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_tl.engine.conversations import Conversation, ConversationError, is_conversation, parse

_NOTHING = st.nothing()
_TEXTS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=("Cs",))),
    st.lists(
        st.sampled_from(
            ["\n", "user: ", "  ", "assistant …: ", " {", "}: ", "messages:", "a", "\t", "…", '"']
        )
    ).map("".join),
)
_ROLES = st.sampled_from(["system", "user", "assistant", "tool", "developer"])
_MORE = st.dictionaries(
    st.sampled_from(["name", "tool_calls", "tool_call_id"]),
    st.recursive(
        _TEXTS | st.integers() | st.booleans(), lambda inner: st.lists(inner), max_leaves=4
    ),
)
_MESSAGES = st.lists(
    st.tuples(_ROLES, _TEXTS, _MORE).map(lambda m: {"role": m[0], "content": m[1], **m[2]}),
    min_size=1,
    max_size=6,
)


@given(_MESSAGES, st.booleans(), st.lists(st.dictionaries(_TEXTS, _TEXTS), max_size=2))
@settings(max_examples=500, deadline=None)
def test_a_conversation_is_read_back_from_its_text(
    messages: list[dict[str, Any]], continues: bool, tools: list[dict[str, str]]
) -> None:
    """Whatever its messages say."""
    continues = continues and messages[-1]["role"] == "assistant"
    conversation = Conversation.of(messages, continues=continues, tools=tools)
    assert is_conversation(conversation.text)
    assert parse(conversation.text) == conversation
    assert parse(conversation.text).to_json() == messages


def test_the_text_reads_as_people_write_it() -> None:
    """And may be written by hand."""
    text = "messages:\nsystem: Be kind.\nuser: Two\n  lines.\nassistant …: Yes"
    conversation = parse(text)
    assert [message.content for message in conversation.messages] == [
        "Be kind.",
        "Two\nlines.",
        "Yes",
    ]
    assert conversation.continues
    assert conversation.text == text


def test_parts_and_missing_contents_are_read_as_transformers_has_them() -> None:
    """Lists of text parts, and an assistant that calls a tool without a word."""
    call = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
    conversation = Conversation.of(
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "1+"}, {"type": "text", "text": "1"}],
            },
            {"role": "assistant", "content": None, "tool_calls": call},
            {"role": "tool", "content": "2", "name": "add"},
        ]
    )
    assert conversation.messages[0].content == "1+1"
    assert conversation.messages[1].content == ""
    assert json.loads(conversation.messages[1].more)["tool_calls"] == call
    assert conversation.wants_answer


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "has no messages"),
        ("hello", "messages are a list like"),
        (["hello"], "message 1 is 'hello'"),
        ([{"role": "user"}], "message 1 has content None"),
        ([{"role": "user", "content": 3}], "message 1 has content 3"),
        ([{"role": "user", "content": [{"type": "image"}]}], "language models read text"),
        ([{"role": "", "content": "a"}], "role '' is no word"),
        ([{"role": "user", "content": "a", "prefix": True}], "a prefill is the last message"),
        (
            [
                {"role": "assistant", "content": "a", "prefix": True},
                {"role": "user", "content": "b"},
            ],
            "message 1 is a prefill, but not the last",
        ),
        ([{"role": "user", "content": "\ud800"}], "half a character"),
    ],
)
def test_what_is_no_conversation_is_refused_in_a_sentence(messages: Any, sentence: str) -> None:
    """That names the message."""
    with pytest.raises(ConversationError, match=sentence):
        Conversation.of(messages)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("messages:\n", "line 2 of a conversation is ''"),
        ("messages:\nhello", "line 2 of a conversation is 'hello': begin a message with its role"),
        ("messages:\nuser: a\nb", "line 3 .* indent its further lines"),
        ('messages:\nuser {"role": "system"}: a', "gives a role or a content twice"),
        ("messages:\nassistant …: a\nuser: b", "only the last message"),
        ("messages, tools [}:\nuser: a", "tools of a conversation are no JSON"),
    ],
)
def test_a_text_that_was_broken_is_refused(text: str, sentence: str) -> None:
    """And not read as plain text."""
    assert is_conversation(text)
    with pytest.raises(ConversationError, match=sentence):
        parse(text)


@pytest.mark.parametrize("text", ["messages", "messages: hello", "user: a", "", string.printable])
def test_plain_text_stays_plain(text: str) -> None:
    """Only a first line `messages:` opens a conversation."""
    assert not is_conversation(text)
