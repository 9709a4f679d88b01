"""Conversations as models read them, in templates of the form of Llama 3's, Gemma's, Qwen's and
Mistral's."""

import concurrent.futures
import dataclasses
import functools
import itertools
import pathlib
import sys
from typing import Any, Iterator

import pytest
import torch
import transformers

from lit_tl.analyses.drawing import analyze
from lit_tl.data.columns import prompts_in_memory
from lit_tl.engine.chat_template import TEMPLATE
from lit_tl.engine.conversations import Conversation, ConversationError
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.lit.datasets import PromptDataset
from lit_tl.lit.metrics import LanguageModelMetrics
from lit_tl.lit.model import HookedTransformerLIT
from tests.architectures.tiny import ARCHITECTURES

TEMPLATES = pathlib.Path(__file__).parents[1] / "chat_templates"
SPECIAL = ["<|head|>", "<|/head|>", "<|eot|>", "<turn>", "</turn>", "<|begin|>", "<|end|>"]
SPECIAL += ["[INST]", "[/INST]", "</s>"]
FAMILIES = {"llama": "llama", "gemma": "gemma2", "qwen": "qwen2", "mistral": "mistral"}
USER = {"role": "user", "content": "Who ate the cake?"}
ASSISTANT = {"role": "assistant", "content": "The dog did.\nI saw it."}
MORE = {"role": "user", "content": "Is that true? "}
SYSTEM = {"role": "system", "content": "Answer in one line."}
CONVERSATIONS = {
    "one turn": [USER],
    "answered": [USER, ASSISTANT],
    "three turns": [USER, ASSISTANT, MORE],
    "four turns": [USER, ASSISTANT, MORE, {"role": "assistant", "content": "Yes, it is."}],
    "system": [SYSTEM, USER, ASSISTANT, MORE],
    "prefill": [USER, ASSISTANT, MORE, {"role": "assistant", "content": "Yes, it", "prefix": True}],
    "same words": [{"role": "user", "content": "Yes"}, {"role": "assistant", "content": "Yes"}],
}


@dataclasses.dataclass(frozen=True)
class Chatting:
    """A tiny model of one family, in transformers and here."""

    family: str
    tokenizer: Any
    reference: Any
    model: HookedTransformerLIT


@pytest.fixture(scope="module", params=[*FAMILIES, "marked"])
def chatting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chatting]:
    """With random weights, and the bundled tokenizer with its template's tokens."""
    family: str = request.param
    folder = tmp_path_factory.mktemp(family)
    tiny = ARCHITECTURES[FAMILIES.get(family, "qwen2")]
    changes = {**tiny.changes, "vocab_size": 2048 + len(SPECIAL), "max_position_embeddings": 512}
    dataclasses.replace(tiny, changes=changes).save(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.chat_template = (TEMPLATES / f"{family}.jinja").read_text()
    tokenizer.save_pretrained(folder)
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Chatting(family, tokenizer, reference, HookedTransformerLIT.from_pretrained(str(folder)))


def _takes(chatting: Chatting, messages: list[dict[str, Any]]) -> bool:
    """Whether the template has what these messages need."""
    return not (chatting.family == "gemma" and messages[0]["role"] == "system")


def _ids(tokenizer: Any, messages: list[dict[str, Any]], **how: Any) -> list[int]:
    plain = [{"role": m["role"], "content": m["content"]} for m in messages]
    return list(tokenizer.apply_chat_template(plain, **how)["input_ids"])


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_ids_are_those_of_apply_chat_template(chatting: Chatting, name: str) -> None:
    """With the assistant's turn opened behind another's message, and a prefill gone on from."""
    messages = CONVERSATIONS[name]
    if not _takes(chatting, messages):
        with pytest.raises(ConversationError, match=r"refuses .*: System role not supported"):
            chatting.model.loaded.prompt({"messages": messages})
        return
    last = messages[-1]
    expected = _ids(
        chatting.tokenizer,
        messages,
        add_generation_prompt=last["role"] != "assistant",
        continue_final_message=bool(last.get("prefix")),
    )
    prompt = chatting.model.loaded.prompt({"messages": messages})
    assert list(prompt.ids) == expected
    assert (
        list(chatting.model.loaded.prompt({"text": Conversation.of(messages).text}).ids) == expected
    )
    assert len(prompt.roles) == len(prompt.turns) == len(expected)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_spans_of_roles_say_what_the_messages_say(chatting: Chatting, name: str) -> None:
    """Every token has one role, and a message's tokens read as its content."""
    messages = CONVERSATIONS[name]
    if not _takes(chatting, messages):
        return
    prompt = chatting.model.loaded.prompt({"messages": messages})
    decode = chatting.tokenizer.decode
    for place, message in enumerate(messages):
        said = [i for i, turn in zip(prompt.ids, prompt.turns, strict=True) if turn == place]
        text = decode(said, clean_up_tokenization_spaces=False)
        content = message["content"].strip()
        if message["role"] == "assistant":
            assert text.strip().startswith(content)
            closing = text.strip()[len(content) :].strip()
            assert closing in ("", "<|eot|>", "</turn>", "<|end|>", "</s>")
            assert bool(closing) != bool(message.get("prefix"))
        else:
            assert text.strip() == content
    spans = [key for key, _ in itertools.groupby(prompt.turns)]
    assert [turn for turn in spans if turn >= 0]
    assert set(prompt.roles) >= {TEMPLATE}
    assert [
        role
        for role, turn in zip(prompt.roles, prompt.turns, strict=True)
        if (role == TEMPLATE) != (turn == -1)
    ] == []


@pytest.mark.parametrize("name", ["answered", "four turns", "system"])
def test_the_assistants_loss_is_transformers_own(chatting: Chatting, name: str) -> None:
    """Where the template marks them, of the marked tokens; else of those that it adds for the
    assistant's turns."""
    messages = CONVERSATIONS[name]
    if not _takes(chatting, messages):
        return
    messages = messages if messages[-1]["role"] == "assistant" else messages[:-1]
    ids = torch.tensor([_ids(chatting.tokenizer, messages)])
    labels = torch.full_like(ids, -100)
    mask = _assistant_tokens(chatting, messages, ids.shape[1])
    labels[0, mask] = ids[0, mask]
    expected = float(chatting.reference(ids, labels=labels).loss.detach())
    config = dataclasses.replace(chatting.model.config, loss_over="assistant")
    over = HookedTransformerLIT(chatting.model.model, config)
    (own,) = over.predict([{"messages": messages}], fields=["loss", "assistant_loss"])
    assert own["loss"] == pytest.approx(expected, abs=1e-4)
    assert own["assistant_loss"] == pytest.approx(expected, abs=1e-4)


def _assistant_tokens(
    chatting: Chatting, messages: list[dict[str, Any]], length: int
) -> torch.Tensor:
    """By another way than the code: marks of transformers, or token by token, turn by turn."""
    tokenizer, mask = chatting.tokenizer, torch.zeros(length, dtype=torch.bool)
    if chatting.family == "marked":
        marked = tokenizer.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True
        )
        return torch.tensor(marked["assistant_masks"]).bool()
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _ids(tokenizer, messages[:place], add_generation_prompt=True)
        after = _ids(tokenizer, messages[: place + 1])
        added = after[len(before) :]
        whole = _ids(tokenizer, messages)
        starts = [
            at for at in range(length) if whole[at : at + len(added)] == added and len(added) > 2
        ]
        assert len(starts) == 1
        mask[starts[0] : starts[0] + len(added)] = True
    return mask


def test_a_prefill_is_gone_on_from(chatting: Chatting) -> None:
    """The answer's tokens are those that transformers writes behind the same ids, and stop before
    the turn's end."""
    messages = CONVERSATIONS["prefill"]
    ids = _ids(chatting.tokenizer, messages, continue_final_message=True)
    written = chatting.reference.generate(
        torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=1, eos_token_id=None
    )[0, len(ids) :].tolist()
    ends = set(chatting.model.loaded.prompter.template.closing_ids()) | {0}
    expected = list(itertools.takewhile(lambda token: token not in ends, written))
    result = analyze("Answer", chatting.model.loaded, {"messages": messages}, new_tokens=12)
    strings = chatting.model.loaded.prompter.vocabulary.strings
    assert result["token"].values.tolist() == strings(expected)
    assert result.attrs["said"]["text"] == chatting.tokenizer.decode(expected)


def test_answers_are_drawn_from_a_seed(chatting: Chatting) -> None:
    """The same seed writes the same, and probabilities are those at temperature 1."""
    example = {"messages": CONVERSATIONS["three turns"]}
    how: dict[str, Any] = {"new_tokens": 6, "temperature": 1.5}
    one = analyze("Answer", chatting.model.loaded, example, seed=1, **how)
    fresh = HookedTransformerLIT(chatting.model.model, chatting.model.config)
    again = analyze("Answer", fresh.loaded, example, seed=1, **how)
    others = [
        analyze("Answer", fresh.loaded, example, seed=seed, **how).attrs["said"]["text"]
        for seed in range(2, 6)
    ]
    assert one.equals(again)
    assert any(other != one.attrs["said"]["text"] for other in others)
    prompt = fresh.loaded.prompt(example)
    with torch.no_grad():
        logits = chatting.reference(torch.tensor([prompt.ids])).logits[0, -1]
    first = str(one["token"].values[0])
    (token,) = fresh.loaded.prompter.vocabulary.ids([first])
    assert float(one["probability"][0]) == pytest.approx(float(logits.softmax(-1)[token]), abs=1e-5)


def test_roles_are_metrics_and_slices(chatting: Chatting) -> None:
    """Mean losses by role over a data set, which has columns to slice by."""
    data = PromptDataset(
        prompts_in_memory(
            [{"messages": CONVERSATIONS["answered"]}, {"messages": CONVERSATIONS["four turns"]}]
        )
    )
    assert {"turns", "roles"} <= set(data.spec())
    assert [example["turns"] for example in data.examples] == [2, 4]
    (found,) = LanguageModelMetrics().run(data.examples, chatting.model, data)
    rows = list(chatting.model.predict(data.examples, fields=["token_loss"]))
    prompts = [chatting.model.loaded.prompt(example) for example in data.examples]
    for role in ("user", "assistant", "template"):
        losses = [
            loss
            for row, prompt in zip(rows, prompts, strict=True)
            for loss, own in list(zip(row["token_loss"], prompt.roles, strict=True))[1:]
            if own == role
        ]
        assert found["metrics"][f"{role}_loss"] == pytest.approx(sum(losses) / len(losses))


def test_a_plain_prompt_becomes_a_users_turn(chatting: Chatting) -> None:
    """With --chat, and nothing is added twice; a conversation stays what it is."""
    config = dataclasses.replace(chatting.model.config, chat=True)
    model = HookedTransformerLIT(chatting.model.model, config)
    asked = _ids(chatting.tokenizer, [USER], add_generation_prompt=True)
    assert list(model.loaded.prompt({"text": USER["content"]}).ids) == asked
    assert list(model.loaded.prompt({"messages": [USER]}).ids) == asked
    plain = chatting.model.loaded.prompt({"text": USER["content"]})
    assert len(plain) < len(asked)
    assert plain.roles == ()


def test_tools_and_their_answers_are_written(chatting: Chatting) -> None:
    """Where the template knows them; where it does not, its own words say so."""
    call = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}]
    tools = [{"type": "function", "function": {"name": "add", "description": "Adds."}}]
    messages = [
        {"role": "user", "content": "1+2?"},
        {"role": "assistant", "content": "", "tool_calls": call},
        {"role": "tool", "name": "add", "content": "3"},
    ]
    if chatting.family in ("gemma", "mistral"):
        with pytest.raises(ConversationError, match="refuses this conversation"):
            chatting.model.loaded.prompt({"messages": messages})
        return
    example = {"messages": messages, "tools": tools}
    expected = chatting.tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=True
    )["input_ids"]
    prompt = chatting.model.loaded.prompt(example)
    assert list(prompt.ids) == list(expected)
    said = [i for i, turn in zip(prompt.ids, prompt.turns, strict=True) if turn == 2]
    assert chatting.tokenizer.decode(said).strip() == "3"
    called = [i for i, turn in zip(prompt.ids, prompt.turns, strict=True) if turn == 1]
    assert ("add" in chatting.tokenizer.decode(called)) == (chatting.family != "marked")


def test_a_twin_of_a_conversation_is_a_conversation(chatting: Chatting) -> None:
    """Other tokens in a message give the message that reads so; the template's can't be changed."""
    prompter = chatting.model.loaded.prompter
    text = Conversation.of(CONVERSATIONS["three turns"]).text
    prompt = prompter.from_text(text)
    (dog, cat) = (prompter.continuation(word)[0] for word in (" dog", " cat"))
    place = prompt.ids.index(dog)
    ids = [*prompt.ids[:place], cat, *prompt.ids[place + 1 :]]
    twin = prompter.retold(text, ids)
    assert twin.split() == text.replace("dog", "cat").split()  # some templates trim
    assert list(prompter.from_text(twin).ids) == ids
    outside = prompt.roles.index(TEMPLATE)
    broken = [*prompt.ids[:outside], cat, *prompt.ids[outside + 1 :]]
    with pytest.raises(ConversationError, match="chat template can't be changed"):
        prompter.retold(text, broken)


def test_a_conversation_is_forked_at_a_token(chatting: Chatting) -> None:
    """What comes before the token stays, and goes on with another one."""
    loaded = chatting.model.loaded
    text = Conversation.of(CONVERSATIONS["four turns"]).text
    prompt = loaded.prompter.from_text(text)
    place = [pos for pos, turn in enumerate(prompt.turns) if turn == 1][2]
    (cat,) = loaded.prompter.continuation(" cat")
    result = analyze("Fork", loaded, {"text": text}, position=place, token=" cat")
    forked = loaded.prompter.from_text(result.attrs["said"]["text"])
    assert forked.ids == (*prompt.ids[:place], cat)
    conversation = result.attrs["said"]["conversation"]
    assert conversation["continues"]
    assert len(conversation["messages"]) == 2
    cut = analyze("Fork", loaded, {"text": text}, position=place)
    assert loaded.prompter.from_text(cut.attrs["said"]["text"]).ids == prompt.ids[:place]
    with pytest.raises(ConversationError, match="token 0 is no message's"):
        analyze("Fork", loaded, {"text": text}, position=0)
    with pytest.raises(ConversationError, match="only a conversation"):
        analyze("Fork", loaded, {"text": "plain"}, position=1)


def test_contents_may_be_empty(chatting: Chatting) -> None:
    """All tokens then are the template's; and of several, those of the empty one."""
    for messages in (
        [{"role": "user", "content": ""}],
        [USER, {"role": "assistant", "content": ""}],
    ):
        prompt = chatting.model.loaded.prompt({"messages": messages})
        expected = _ids(
            chatting.tokenizer, messages, add_generation_prompt=messages[-1]["role"] == "user"
        )
        assert list(prompt.ids) == expected
        assert "user" not in prompt.roles or messages[0] is USER


def test_a_delimiter_ends_a_fork(chatting: Chatting) -> None:
    """It never stands in a content."""
    prompter = chatting.model.loaded.prompter
    text = Conversation.of([USER, ASSISTANT]).text
    prompt = prompter.from_text(text)
    closing = [
        pos
        for pos, (turn, token) in enumerate(zip(prompt.turns, prompt.ids, strict=True))
        if turn == 1 and prompter.vocabulary.is_added(token)
    ]
    if closing:
        (pos,) = closing
        cut = prompter.forked(text, pos)
        assert cut == Conversation.of([USER, {**ASSISTANT, "prefix": True}]).text
        delimiter = prompter.vocabulary.string(prompt.ids[pos])
        assert prompter.forked(text, pos, delimiter) == text
        behind = [p for p in range(pos + 1, len(prompt)) if prompt.turns[p] == 1]
        assert all(prompter.forked(text, p) == text for p in behind)
    place = prompt.turns.index(1)
    (added,) = prompter.vocabulary.ids(["<|end|>"])
    broken = [*prompt.ids[:place], added, *prompt.ids[place + 1 :]]
    with pytest.raises(ConversationError, match="delimiter can't stand in a message"):
        prompter.retold(text, broken)


def test_an_assistant_may_come_first(chatting: Chatting) -> None:
    """Its turn is closed by the same tokens as any other."""
    if chatting.family != "qwen":
        return
    prompt = chatting.model.loaded.prompt({"messages": [ASSISTANT, USER]})
    said = [i for i, turn in zip(prompt.ids, prompt.turns, strict=True) if turn == 0]
    assert chatting.tokenizer.decode(said) == f"{ASSISTANT['content']}<|end|>\n"


def test_threads_may_read_together(chatting: Chatting, request: pytest.FixtureRequest) -> None:
    """More of them than are remembered."""
    prompter = chatting.model.loaded.prompter
    texts = [Conversation.of([{**USER, "content": f"{i} cakes?"}]).text for i in range(100)]
    expected = [prompter.from_text(text).ids for text in texts]
    request.addfinalizer(functools.partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-5)  # they get into each other's way as often as they can
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert [each.ids for each in pool.map(prompter.from_text, texts)] == expected


def test_a_template_that_changes_what_is_said_leaves_roles_unknown() -> None:
    """Ids are right, and what needs roles is not made up."""
    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | upper }}{% endfor %}"
    model = HookedTransformerLIT.from_pretrained("lit-tl-tiny")
    from lit_tl.engine.prompts import Prompter

    prompter = Prompter(model.loaded.runner, max_length=100, chat_template=template)
    prompt = prompter.prompt({"messages": [{"role": "user", "content": "the dog"}]})
    assert prompter.to_text(prompt.ids) == "<user>THE DOG"
    assert prompt.roles == ()


def test_a_tokenizer_without_a_template_is_refused(tmp_path: pathlib.Path) -> None:
    """Or takes one out of a file, which has to be Jinja."""
    model = HookedTransformerLIT.from_pretrained("lit-tl-tiny")
    with pytest.raises(ConversationError, match=r"no chat template.*--chat_template FILE"):
        model.loaded.prompt({"messages": [USER]})
    with pytest.raises(ConversationError, match="no chat template"):
        HookedTransformerLIT(model.model, HookedTransformerLITConfig(chat=True))
    own = tmp_path / "own.jinja"
    own.write_text("{% for m in messages %}{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}")
    config = HookedTransformerLITConfig(chat=True, chat_template=str(own))
    prompt = HookedTransformerLIT(model.model, config).loaded.prompt({"text": "the dog"})
    assert model.loaded.prompter.to_text(prompt.ids) == "user> the dog\n"
    own.write_text("{% for m in %}")
    with pytest.raises(ConversationError, match="line 1 of the chat template is no Jinja"):
        HookedTransformerLIT(model.model, config)
