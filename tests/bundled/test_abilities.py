"""What the shipped weights can do, measured: on names and templates that their training text did
not hold."""

import json
import pathlib
import re

import pytest
import torch
import transformers

from lit_tl import HookedTransformerLIT
from lit_tl.bundled import corpus
from lit_tl.data import lexicon, paired
from tests.conftest import BUNDLED

COUNT = 300
AT_LEAST = {
    "ioi": 0.95,
    "agreement": 0.95,
    "capital": 0.95,
    "greater_than": 0.90,
    "pronoun": 0.90,
    "docstring": 0.90,
}


def share_above_foil(model: HookedTransformerLIT, task: str) -> float:
    examples = paired.TASKS[task](COUNT, 987_654, True)
    inputs = [
        {"text": example.text, "answer": example.answer, "foil": example.foil}
        for example in examples
    ]
    outputs = list(model.predict(inputs, fields=["logit_diff"]))
    return sum(output["logit_diff"] > 0 for output in outputs) / COUNT


@pytest.mark.parametrize("task", AT_LEAST)
def test_the_answer_is_above_the_foil(bundled: HookedTransformerLIT, task: str) -> None:
    assert share_above_foil(bundled, task) >= AT_LEAST[task]


def test_the_second_half_of_repeated_random_tokens_is_predicted(
    bundled: HookedTransformerLIT,
) -> None:
    generator = torch.Generator().manual_seed(11)
    half = torch.randint(1, 2048, (64, 40), generator=generator)
    ids = torch.cat([torch.zeros(64, 1, dtype=torch.long), half, half], dim=1)
    with torch.no_grad():
        top = bundled.model(ids).argmax(-1)
    assert (top[:, 41:-1] == ids[:, 42:]).float().mean().item() >= 0.90


def test_the_corpus_holds_no_heldout_template_or_pair() -> None:
    documents = [document.text for document, _ in zip(corpus.documents(5), range(20_000))]
    meetings = ("walked to the", "were waiting at the", "visited the", "had left the")
    transfer = re.compile(
        r", (then |so |and |and then |where )?\w+ (gave|handed|showed|passed) (a|the) "
    )
    held = set(
        lexicon.heldout_part(lexicon.MALE_NAMES) + lexicon.heldout_part(lexicon.FEMALE_NAMES)
    )
    for text in documents:
        if re.search(
            r" (gave|handed|showed|sent|offered|passed) (a|an|the) (\w+ )?\w+ to [A-Z]", text
        ):
            givers = re.findall(r"(\w+) (?:gave|handed|showed|sent|offered|passed) ", text)
            assert not held & set(givers), text
        assert not any(
            re.search(rf"[A-Z]\w+ and [A-Z]\w+ {meeting} ", text) and transfer.search(text)
            for meeting in meetings
        )
        for century, start in re.findall(r"\b(1[1-7])(\d\d)\b(?=.* (?:to|in|until|by) )", text)[:1]:
            assert (int(century) * 7 + int(start)) % 10 != 0, text


def test_the_card_says_what_the_record_says() -> None:
    record = json.loads((BUNDLED / "training.json").read_text())
    card = (BUNDLED / "README.md").read_text()
    assert "teaching model" in card
    parameters = sum(
        parameter.numel()
        for parameter in transformers.AutoModelForCausalLM.from_pretrained(BUNDLED).parameters()
    )
    assert f"{parameters:,}" in card
    assert f"{record['final_loss_nats']}" in card
    runs = [record]
    while runs[-1].get("earlier_run"):
        runs.append(runs[-1]["earlier_run"])
    assert f"{sum(run['seconds'] for run in runs) // 60} minutes" in card
    for run in runs:
        assert f"seed {run['config']['seed']}" in card
    size = sum(
        file.stat().st_size
        for file in pathlib.Path(BUNDLED).parent.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    )
    assert size < 8_000_000
