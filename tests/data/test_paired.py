"""Paired tasks are right by construction."""

import dataclasses
import hashlib
import json
import re

import pytest

from lit_tl import HookedTransformerLIT
from lit_tl.data import lexicon, paired, tasks
from lit_tl.data.errors import DataError


@pytest.mark.parametrize("name", paired.TASKS)
@pytest.mark.parametrize("heldout", [True, False])
def test_examples_are_pairs(name: str, heldout: bool) -> None:
    examples = paired.TASKS[name](200, 3, heldout)
    assert len(examples) == 200
    assert examples == paired.TASKS[name](200, 3, heldout)
    assert examples != paired.TASKS[name](200, 4, heldout)
    for example in examples:
        assert example.answer != example.foil
        assert example.text != example.corrupted_text
        assert not example.text.endswith(" ")


def test_ioi_answers_are_the_name_that_stands_once() -> None:
    for example in paired.ioi(200, 0):
        assert len(re.findall(example.answer.strip(), example.text)) == 1
        assert len(re.findall(example.foil.strip(), example.text)) == 2
        assert len(re.findall(example.answer.strip(), example.corrupted_text)) == 2
        first, second = sorted(
            (example.text.index(example.answer), example.text.index(example.foil))
        )
        order = "ABBA" if first == example.text.index(example.answer) else "BABA"
        assert order == example.template
        assert first < second


def test_induction_answers_follow_the_earlier_copy() -> None:
    for example in paired.induction(200, 0):
        words, corrupted = example.text.split(), example.corrupted_text.split()
        last = words.index(words[-1])
        assert words[last + 1] == example.answer.strip()
        assert corrupted[last + 1] == example.foil.strip()


def test_years_end_after_they_start() -> None:
    for example in paired.greater_than(200, 0):
        start = int(re.search(r"1[1-7](\d\d)", example.text)[1])
        assert int(example.foil) < start < int(example.answer)
        assert re.search(r"1[1-7]01", example.corrupted_text)


def test_verbs_agree_with_their_subjects() -> None:
    plurals = {plural for _, plural in lexicon.NOUNS}
    nouns = plurals | {singular for singular, _ in lexicon.NOUNS}
    for example in paired.agreement(200, 0):
        subject = next(word for word in example.text.split() if word in nouns)
        assert (example.answer in (" are", " were", " have")) == (subject in plurals)


def test_capitals_and_pronouns_are_those_of_the_prompt() -> None:
    capitals = dict(lexicon.CAPITALS)
    for example in paired.capital(100, 0):
        country = next(
            word.strip(",") for word in example.text.split() if word.strip(",") in capitals
        )
        assert example.answer == f" {capitals[country]}"
        other = next(
            word.strip(",")
            for word in example.corrupted_text.split()
            if word.strip(",") in capitals
        )
        assert example.foil == f" {capitals[other]}"
    for example in paired.pronoun(100, 0):
        male = any(word.strip(",") in lexicon.MALE_NAMES for word in example.text.split())
        assert example.answer == (" he" if male else " she")


def test_docstrings_go_on_in_the_order_of_the_signature() -> None:
    for example in paired.docstring(100, 0):
        arguments = re.search(r"self, (.*)\)", example.text)[1].split(", ")
        documented = re.findall(r":param (\w+):", example.text)
        assert documented == arguments[:2]
        assert example.answer == f" {arguments[2]}"
        assert example.foil.strip() in example.corrupted_text


def test_heldout_words_and_templates_are_not_in_the_training_part() -> None:
    for words in (lexicon.MALE_NAMES, lexicon.NOUNS, lexicon.ARGUMENTS):
        assert not set(lexicon.train_part(words)) & set(lexicon.heldout_part(words))
        assert set(lexicon.train_part(words)) | set(lexicon.heldout_part(words)) == set(words)
    assert not set(paired.IOI_TEMPLATES) & set(paired.IOI_HELDOUT_TEMPLATES)
    assert not set(paired.AGREEMENT_TEMPLATES) & set(paired.AGREEMENT_HELDOUT_TEMPLATES)


def test_every_shipped_example_fits_the_bundled_tokenizer(bundled: HookedTransformerLIT) -> None:
    for name in paired.TASKS:
        assert tasks.misfits(tasks.read_task(name).examples, bundled.loaded.prompter) == []


def test_misfits_are_found_and_explained(bundled: HookedTransformerLIT) -> None:
    example = {
        "text": "The king",
        "answer": " queen",
        "foil": " king",
        "corrupted_text": "The queen",
    }
    cases = {
        "no token tells": example | {"foil": " queen"},
        "no token tells its answer from its foil": example | {"foil": " queen zyxw"},
        "prompt has 3 tokens, but the corrupted one 4": example
        | {"corrupted_text": "The old queen"},
    }
    for reason, bad in cases.items():
        (misfit,) = tasks.misfits([example, bad, {"text": "no answer"}], bundled.loaded.prompter)
        assert misfit.index == 1
        assert re.search(reason, misfit.reason)


def test_answers_of_several_tokens_fit(bundled: HookedTransformerLIT) -> None:
    example = {"text": "The king", "answer": " zyxw", "foil": " king"}
    assert len(bundled.loaded.prompter.answer(" zyxw")) > 1
    assert tasks.misfits([example], bundled.loaded.prompter) == []


def test_the_shipped_files_are_what_the_program_writes() -> None:
    manifest = json.loads((tasks.shipped_folder() / "manifest.json").read_text())
    assert list(manifest) == list(paired.TASKS)
    for name, entry in manifest.items():
        text = (tasks.shipped_folder() / entry["file"]).read_text("utf-8")
        assert hashlib.sha256(text.encode()).hexdigest() == entry["sha256"]
        assert len(text.splitlines()) == entry["examples"] == len(tasks.read_task(name).examples)
        assert (tasks.shipped_folder() / entry["card"]).read_text().startswith(f"# {name}")
        generated = [
            dataclasses.asdict(example)
            for example in paired.TASKS[name](4 * entry["examples"], entry["seed"], True)
        ]
        texts = {example["text"] for example in generated}
        assert all(example["text"] in texts for example in tasks.read_task(name).examples)


def test_new_examples_come_from_a_seed() -> None:
    assert tasks.read_task("ioi", seed=7).examples == tasks.read_task("ioi", seed=7).examples
    assert tasks.read_task("ioi", seed=7).examples != tasks.read_task("ioi").examples
    assert len(tasks.read_task("capital", seed=1, count=20).examples) <= 20
    with pytest.raises(DataError, match="unknown task 'ioii': there are ioi"):
        tasks.read_task("ioii")
    with pytest.raises(DataError, match="a count of 0"):
        tasks.read_task("ioi", count=0)
