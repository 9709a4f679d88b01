"""The Chat tab: a conversation is written, answered, stopped, forked, and looked at in every
panel, on a model of 30 layers."""

import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lit_tl import HookedTransformerLIT, HookedTransformerLITConfig
from lit_tl.analyses.drawing import analyze
from lit_tl.engine.conversations import Conversation, parse
from tests.browser.conftest import Watched, open_page, tab, until
from tests.browser.test_accessibility import violations
from tests.live_server import LitServer

TEMPLATE = pathlib.Path(__file__).parents[1] / "chat_templates" / "short.jinja"
MESSAGES = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "When Mary and John went to the store, who had a drink?"},
    {"role": "assistant", "content": "John had it."},
    {"role": "user", "content": "Who gave it to him?"},
]
LONG = [
    {"role": role, "content": f"Then Mary gave the book number {number} to John. " * 5}
    for number in range(8)
    for role in ("user", "assistant")
]


@pytest.fixture(scope="module")
def large(folder: pathlib.Path) -> HookedTransformerLIT:
    config = HookedTransformerLITConfig(chat_template=str(TEMPLATE))
    return HookedTransformerLIT.from_pretrained(str(folder), config)


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., LitServer],
    folder: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> LitServer:
    chats = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    lines = [{"messages": MESSAGES, "answer": "Mary", "foil": "John"}, {"messages": LONG}]
    chats.write_text("\n".join(map(json.dumps, lines)))
    return start_server(
        *("--models", f"large={folder}", "--datasets", str(chats)),
        *("--chat_template", str(TEMPLATE)),
    )


@pytest.fixture
def page(watched: Watched, server: LitServer) -> Iterator[Any]:
    opened: Any = watched.page
    opened.set_viewport_size({"width": 1440, "height": 900})
    opened.set_default_timeout(180_000)  # a thousand tokens, beside other tests
    open_page(opened, server)
    opened.locator("lit-tl-predictions-module .token").first.wait_for()
    yield opened
    watched.check()


def open_chat(page: Any) -> Any:
    tab(page, "Chat")
    panel = page.locator("lit-tl-conversation-module").first
    panel.locator(".of-conversation .token").first.wait_for()
    return panel


def set_number(panel: Any, name: str, value: float) -> None:
    field = panel.get_by_label(name, exact=True)
    field.fill(str(value))
    field.press("Tab")


def press(panel: Any, name: str) -> None:
    panel.get_by_role("button", name=name, exact=True).click()


def text_in_table(page: Any) -> str:
    return str(page.locator("datapoint-editor-module textarea").first.input_value())


def test_a_conversation_is_written_and_answered(page: Any, large: HookedTransformerLIT) -> None:
    """Messages are changed, moved, added and removed, and the answer is the one that Python gives;
    the new example has it, and every panel shows that."""
    panel = open_chat(page)
    panel.get_by_label("Message 4 of the user").fill("Who gave it to Mary?")
    panel.get_by_role("button", name="Remove message 1").click()
    set_number(panel, "Most tokens", 5)
    set_number(panel, "Temperature", 1)
    set_number(panel, "Seed", 7)
    press(panel, "Answer")
    asked = [*MESSAGES[1:3], {"role": "user", "content": "Who gave it to Mary?"}]
    how: dict[str, Any] = {"new_tokens": 5, "temperature": 1.0, "seed": 7}
    answer = analyze("Answer", large.loaded, {"messages": asked}, **how).attrs["said"]["text"]
    page.get_by_text("of 3 datapoints").first.wait_for()
    expected = Conversation.of([*asked, {"role": "assistant", "content": answer, "prefix": True}])
    until(page, lambda: text_in_table(page) == expected.text)
    panel.get_by_label("Message 4 of the assistant").wait_for()
    assert panel.get_by_label("Message 4 of the assistant").input_value() == answer
    press(panel, "Go on")  # five tokens more
    page.get_by_text("of 4 datapoints").first.wait_for()
    more = analyze("Answer", large.loaded, {"text": expected.text}, **how).attrs["said"]["text"]
    until(page, lambda: text_in_table(page) == expected.text + more.replace("\n", "\n  "))
    press(panel, "Add a message of the user")
    panel.get_by_label("Message 5 of the user").fill("Thanks.")
    panel.get_by_role("button", name="Move up message 5").click()
    assert panel.get_by_label("Message 4 of the user").input_value() == "Thanks."
    press(panel, "Undo changes")
    assert panel.get_by_label("Message 4 of the assistant").input_value() == answer + more


def test_an_answer_is_stopped_and_a_token_is_forked(page: Any, large: HookedTransformerLIT) -> None:
    """What was written until then stays as a prefill; a fork has what comes before its token, and
    another token in its place where one is chosen."""
    panel = open_chat(page)
    set_number(panel, "Most tokens", 1500)
    set_number(panel, "Temperature", 0)
    press(panel, "Answer")
    answer = panel.get_by_label("Message 5 of the assistant")
    until(page, lambda: len(answer.input_value()) > 20)
    press(panel, "Stop")
    so_far = answer.input_value()
    panel.get_by_text("Stopped: the answer so far is a prefill").wait_for()
    assert panel.get_by_role("button", name="Go on", exact=True).is_enabled()
    page.wait_for_timeout(500)
    assert answer.input_value() == so_far
    until(page, lambda: "session=page-" in page.url)  # the server keeps the draft
    page.reload()
    page.locator("lit-data-table tbody tr").first.wait_for()
    panel = open_chat(page)
    until(page, lambda: answer.input_value() == so_far)
    press(panel, "Use in all panels")
    page.get_by_text("of 3 datapoints").first.wait_for()
    text = text_in_table(page)
    assert parse(text).continues
    prompt = large.loaded.prompter.from_text(text)
    place = [pos for pos, turn in enumerate(prompt.turns) if turn == 4][3]
    panel.locator(f".of-conversation [data-pos='{place}']").click()
    press(panel, "Fork here")
    page.get_by_text("of 4 datapoints").first.wait_for()
    until(page, lambda: text_in_table(page) == large.loaded.prompter.forked(text, place))
    last = panel.locator(".of-conversation .token").last
    until(page, lambda: last.get_attribute("data-pos") == str(place - 1))
    last.click()
    other = panel.locator(".guesses button.name").nth(2)
    token = str(other.inner_text()).replace("·", " ").replace("↵", "\n")
    now = text_in_table(page)
    other.click()
    page.get_by_text("of 5 datapoints").first.wait_for()
    forked = large.loaded.prompter.forked(now, place - 1, token)
    until(page, lambda: text_in_table(page) == forked)


def test_every_panel_knows_the_roles(page: Any, large: HookedTransformerLIT) -> None:
    """Predictions, Attention, Lens and Salience show whose tokens are whose, and leave the
    template's out of colours, of losses and of sight, together."""
    (fields,) = large.predict([{"messages": MESSAGES}], fields=["loss", "assistant_loss"])
    prompt = large.loaded.prompt({"messages": MESSAGES})
    messages = [role for role in prompt.roles if role != "template"]
    predictions = page.locator("lit-tl-predictions-module").first
    assert predictions.locator(".span .whose").all_inner_texts() == [
        message["role"] for message in MESSAGES
    ]
    predictions.get_by_text(f"mean loss {fields['loss']:.2f} nats").wait_for()
    predictions.get_by_label("Loss of").select_option("assistant")
    count = prompt.roles.count("assistant")
    predictions.get_by_text(f"mean loss of {count} {fields['assistant_loss']:.2f} nats").wait_for()
    shown = predictions.locator(".tokens .token:visible")
    assert shown.count() == len(prompt)
    predictions.get_by_label("Template tokens").select_option("hidden")
    assert shown.count() == len(messages)
    tab(page, "Lens")
    lens = page.locator("lit-tl-lens-module").first
    lens.locator(".figure[aria-busy=false] .grid .view").first.wait_for()
    assert lens.get_by_label("Template tokens").input_value() == "hidden"
    across = lens.locator(".labels.across span")
    assert across.count() > 0
    assert lens.locator(".labels.across .role-template").count() == 0
    lens.get_by_label("Template tokens").select_option("shown")
    lens.locator(".labels.across .role-template").first.wait_for()
    tab(page, "Attention")
    attention = page.locator("lit-tl-attention-module").first
    attention.locator(".large .labels .role-user").first.wait_for()
    assert attention.locator(".text-view .span.role-system .token").count() == prompt.roles.count(
        "system"
    )
    tab(page, "Salience")
    salience = page.locator("lit-tl-salience-module").first
    salience.locator(".salience .token").first.wait_for()
    salience.get_by_label("Template tokens").select_option("not in the colours")
    template = salience.locator(".span.role-template .token").first
    template.wait_for()
    assert template.evaluate("e => getComputedStyle(e).backgroundColor") == "rgba(0, 0, 0, 0)"
    ranked = salience.locator(".guesses .rank")
    until(
        page,
        lambda: all(prompt.roles[int(place)] != "template" for place in ranked.all_inner_texts()),
    )


def test_a_changed_turn_is_set_against_the_conversation(
    page: Any, large: HookedTransformerLIT
) -> None:
    """In Causes, with the numbers that Python gives."""
    panel = open_chat(page)
    changed = "When Mary and Tom went to the store, who had a drink?"
    panel.get_by_label("Message 2 of the user").fill(changed)
    press(panel, "Compare in Causes")
    causes = page.locator("lit-tl-causes-module").first
    causes.locator(".figure[aria-busy=false] .grid .view").first.wait_for()
    corrupt = [MESSAGES[0], {"role": "user", "content": changed}, *MESSAGES[2:]]
    example = {"text": Conversation.of(MESSAGES).text, "answer": "Mary", "foil": "John"}
    example["corrupted_text"] = Conversation.of(corrupt).text
    assert causes.get_by_label("corrupt prompt").input_value() == example["corrupted_text"]
    found = analyze("Activation patching", large.loaded, example)
    high = causes.locator(".legend .high").first
    expected = float(abs(found[found.attrs["value"]]).max())
    until(page, lambda: float(re.sub("[^0-9.e-]", "", high.inner_text())) != 0)
    assert float(high.inner_text()) == pytest.approx(expected, rel=0.02)
    assert causes.locator(".labels.across .role-user").count() > 0


def test_a_conversation_of_two_thousand_tokens_is_shown(
    page: Any, large: HookedTransformerLIT
) -> None:
    """In Chat, Predictions, Attention and Lens."""
    length = len(large.loaded.prompt({"messages": LONG}))
    assert 1000 < length < 2048
    page.locator("lit-data-table tbody tr").nth(1).click()
    predictions = page.locator("lit-tl-predictions-module").first
    predictions.get_by_text(f"{length} tokens, mean loss").wait_for()
    panel = open_chat(page)
    until(page, lambda: panel.locator(".of-conversation .token").count() == length)
    assert panel.locator(".turn").count() == len(LONG)
    tab(page, "Lens")
    lens = page.locator("lit-tl-lens-module").first
    lens.locator(".figure[aria-busy=false] .grid .view").first.wait_for()
    lens.get_by_label("Template tokens").select_option("hidden")
    assert lens.locator(".labels.across .role-template").count() == 0
    tab(page, "Attention")
    page.locator("lit-tl-attention-module .large .labels .role").first.wait_for()


def test_the_chat_tab_breaks_no_rule_of_axe(page: Any) -> None:
    panel = open_chat(page)
    panel.locator(".of-conversation .token").nth(12).hover()
    panel.locator(".guesses li").first.wait_for()
    assert violations(page) == []


def test_a_broken_conversation_takes_nothing_from_others(
    watched: Watched, server: LitServer
) -> None:
    """It is refused in a sentence, and the table keeps the numbers of the rest."""
    page: Any = watched.page
    open_page(page, server)
    page.locator("lit-tl-predictions-module .token").first.wait_for()
    editor = page.locator("datapoint-editor-module textarea").first
    editor.fill("messages:\nhello there")
    page.locator("datapoint-editor-module").get_by_text("Add", exact=True).click()
    sentence = "line 2 of a conversation is 'hello there': begin a message with its role"
    for name, tag in (("Predictions", "predictions"), ("Chat", "conversation"), ("Lens", "lens")):
        tab(page, name)
        page.locator(f"lit-tl-{tag}-module .failed", has_text=sentence).first.wait_for()
    service = "document.createElement('data-table-module').dataService"
    values = f"[...{service}.getColumn('large:loss').map((value) => value ?? null)]"
    until(
        page,
        lambda: sum(isinstance(each, float) for each in page.evaluate(f"() => {values}")) == 2,
        seconds=180,
    )
    assert page.locator("lit-app-statusbar").get_by_text(sentence).count() == 1
