"""Generators make twins that read as they say, token for token."""

from typing import Any

import pytest

from lit_tl import HookedTransformerLIT
from lit_tl.data.tasks import read_task
from lit_tl.lit.datasets import Prompts
from lit_tl.lit.generators.hotflip import HotFlip
from lit_tl.lit.generators.swap_names import SwapNames, names_in, swapped
from lit_tl.lit.generators.token_edits import ReplaceToken, ShuffleTokens
from lit_tl.lit.generators.twins import TwinGenerator
from tests.conftest import FAMILIES

IOI = {
    "text": "When Mary and John went to the store, John gave a book to",
    "answer": " Mary",
    "foil": " John",
    "corrupted_text": "",
}


def twins(
    generator: TwinGenerator, model: HookedTransformerLIT, example: dict[str, Any], **config: Any
) -> list[dict[str, Any]]:
    made = generator.generate(example, model, Prompts([example]), config)
    for twin in made:
        lengths = [
            len(output["tokens"]) for output in model.predict([example, twin], fields=["tokens"])
        ]
        assert lengths[0] == lengths[1]
        assert twin["text"] != example["text"]
    return made


def test_names_are_swapped_in_text_answer_and_foil(bundled: HookedTransformerLIT) -> None:
    (twin,) = twins(SwapNames(), bundled, IOI)
    assert twin == {
        "text": "When John and Mary went to the store, Mary gave a book to",
        "answer": " John",
        "foil": " Mary",
        "corrupted_text": IOI["text"],
    }
    before, after = bundled.predict([IOI, twin], fields=["logit_diff"])
    assert before["logit_diff"] > 3
    assert after["logit_diff"] > 3, "the swapped prompt has the swapped answer"
    (named,) = twins(SwapNames(), bundled, IOI, first_name="store", second_name="book")
    assert "went to the book, John gave a store to" in named["text"]


def test_names_are_found_where_none_are_given() -> None:
    assert names_in("Yesterday Ann met Bob. Then Bob left. The end") == ["Bob", "Ann"]
    assert swapped("Ann, Annie and Bob", "Ann", "Bob") == "Bob, Annie and Ann"


@pytest.mark.parametrize(
    ("text", "config", "message"),
    [
        ("the king went home", {}, "no two names to swap"),
        ("Ann met Bob", {"first_name": "Eve"}, "'Eve' does not stand in this prompt"),
    ],
)
def test_prompts_without_names_say_so(
    bundled: HookedTransformerLIT, text: str, config: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        twins(SwapNames(), bundled, {"text": text}, **config)


def test_a_token_is_replaced_everywhere_or_at_one_place(bundled: HookedTransformerLIT) -> None:
    (twin,) = twins(ReplaceToken(), bundled, IOI, token="John", replacement="Mary")
    assert twin["text"] == "When Mary and Mary went to the store, Mary gave a book to"
    (one,) = twins(ReplaceToken(), bundled, IOI, position="4", replacement=" Mary")
    assert one["text"] == "When Mary and Mary went to the store, John gave a book to"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"token": "John"}, "write the token to put there"),
        (
            {"token": "John", "replacement": "xylophonist"},
            "is [2-9] tokens, and a twin must stay as long",
        ),
        ({"token": "Peter", "replacement": "Mary"}, "'Peter' is no token of this prompt"),
        ({"position": "99", "replacement": "Mary"}, "position is 99: this prompt has 1 to 14"),
        ({"replacement": "Mary"}, "write the token to replace into token"),
    ],
)
def test_a_replacement_that_makes_no_twin_says_why(
    bundled: HookedTransformerLIT, config: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        twins(ReplaceToken(), bundled, IOI, **config)


def test_shuffled_prompts_hold_the_same_tokens(bundled: HookedTransformerLIT) -> None:
    made = twins(ShuffleTokens(), bundled, IOI, count=3, keep_last=2, seed=1)
    assert len({twin["text"] for twin in made}) == 3
    (before, *after) = bundled.predict([IOI, *made], fields=["tokens"])
    for output in after:
        assert sorted(output["tokens"]) == sorted(before["tokens"])
        assert output["tokens"][-2:] == before["tokens"][-2:]
    assert made == twins(ShuffleTokens(), bundled, IOI, count=3, keep_last=2, seed=1)
    with pytest.raises(ValueError, match="too few tokens to shuffle"):
        twins(ShuffleTokens(), bundled, {"text": "king"})


def test_hotflip_overturns_the_answer_with_few_tokens(bundled: HookedTransformerLIT) -> None:
    examples = read_task("ioi", 0, 10).examples[:4]
    for example in examples:
        (twin,) = twins(HotFlip(), bundled, dict(example), max_flips=4)
        before, after = bundled.predict([example, twin], fields=["tokens", "logit_diff"])
        assert before["logit_diff"] > 0 > after["logit_diff"]
        changed = [
            pair
            for pair in zip(before["tokens"], after["tokens"], strict=True)
            if pair[0] != pair[1]
        ]
        assert 1 <= len(changed) <= 4
        assert not {example["answer"], example["foil"]} & {new for _, new in changed}


def test_hotflip_leaves_alone_what_it_is_told_to(bundled: HookedTransformerLIT) -> None:
    example = dict(read_task("capital", 0, 5).examples[0])
    (free,) = twins(HotFlip(), bundled, example, max_flips=4)
    before, after = bundled.predict([example, free], fields=["tokens"])
    changed = [
        old for old, new in zip(before["tokens"], after["tokens"], strict=True) if old != new
    ]
    (saved,) = twins(HotFlip(), bundled, example, max_flips=6, tokens_to_ignore=changed)
    (again,) = bundled.predict([saved], fields=["tokens"])
    for old in changed:
        assert old in again["tokens"]


@pytest.mark.parametrize("family", FAMILIES)
def test_hotflip_runs_on_each_family(family: str, models: dict[str, HookedTransformerLIT]) -> None:
    (twin,) = twins(HotFlip(), models[family], {"text": "The capital of France is"}, max_flips=4)
    before, after = models[family].predict(
        [{"text": "The capital of France is"}, twin], fields=["next_tokens"]
    )
    assert before["next_tokens"][0][0] != after["next_tokens"][0][0]


def test_hotflip_says_when_there_is_nothing_to_overturn(bundled: HookedTransformerLIT) -> None:
    with pytest.raises(ValueError, match="there is nothing to overturn"):
        twins(HotFlip(), bundled, {**IOI, "answer": " John", "foil": " Mary"})


def test_twins_of_another_length_or_none_at_all_are_refused(bundled: HookedTransformerLIT) -> None:
    with pytest.raises(ValueError, match="changes nothing"):
        twins(SwapNames(), bundled, IOI, first_name="Mary", second_name="Mary")
    with pytest.raises(
        ValueError, match=r"a prompt of \d+ tokens out of one of \d+, and a twin must be as long"
    ):
        twins(SwapNames(), bundled, {"text": "Then Zoe met Priyanka, and Priyanka said"})
    with pytest.raises(
        ValueError, match="stands 2 times in this prompt, 1 of them as a single token"
    ):
        twins(ReplaceToken(), bundled, {"text": "Mary saw Mary"}, token="Mary", replacement="John")


def test_hotflip_leaves_the_end_and_pieces_of_words_alone(bundled: HookedTransformerLIT) -> None:
    example = {"text": "When Mary and John went to the store, John gave a drink to"}
    (twin,) = twins(HotFlip(), bundled, example, max_flips=5)
    assert twin["text"].endswith(" to")


def test_hotflip_keeps_a_whole_prompt_that_is_to_stay(bundled: HookedTransformerLIT) -> None:
    for keep_last in (6, 7, 100):
        with pytest.raises(ValueError, match="no token of this prompt can be swapped"):
            twins(HotFlip(), bundled, {"text": "The capital of France is"}, keep_last=keep_last)


def test_hotflip_says_that_the_foil_is_what_the_model_says(bundled: HookedTransformerLIT) -> None:
    (output,) = bundled.predict([IOI], fields=["next_tokens"])
    foil = output["next_tokens"][0][0]
    with pytest.raises(ValueError, match="there is nothing to overturn"):
        twins(HotFlip(), bundled, {"text": IOI["text"], "foil": foil})
