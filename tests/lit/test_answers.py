"""Answers of several tokens: their probability is that of all tokens, and what can use one token
uses the first that tells answer and foil apart."""

import math
import pathlib
from typing import Any

import pytest
import torch

from lit_tl.engine.hugging_face_models import HuggingFaceAdapter
from lit_tl.engine.prompts import first_difference
from lit_tl.engine.targets import answer_against_foil
from lit_tl.engine.transformer_lens_models import TransformerLensAdapter
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.lit.datasets import Prompts
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.lit.salience_maps import occlusion
from tests.architectures.reference import Reference
from tests.architectures.tiny import ARCHITECTURES

EXAMPLES = [
    {"text": "The capital of France is", "answer": " Paris and Rome", "foil": " Paris or"},
    {"text": "one two", "answer": " three", "foil": " unbelievably"},
    {"text": "When Mary and John went to the store, John gave", "answer": " a b c d", "foil": " a"},
    {"text": "a", "answer": "", "foil": " b"},
]
FIELDS = ["answer_prob", "answer_rank", "foil_prob", "foil_rank", "logit_diff"]


def expected(
    reference: Reference, model: HookedTransformerLIT, example: dict[str, str]
) -> dict[str, Any]:
    """By a plain pass over the prompt with the whole answer behind it."""
    prompter = model.loaded.prompter
    prompt = list(prompter.from_text(example["text"]).ids)
    values: dict[str, Any] = {"logit_diff": None}
    logits: dict[str, list[torch.Tensor]] = {}
    ids = prompter.answers(example)
    for name in ("answer", "foil"):
        values |= {f"{name}_prob": None, f"{name}_rank": None}
        if name not in ids:
            continue
        rows = reference.logits([*prompt, *ids[name]])[len(prompt) - 1 : -1]
        own = rows.gather(-1, torch.tensor(ids[name])[:, None])
        log_probs = own[:, 0] - rows.logsumexp(-1)
        values[f"{name}_prob"] = math.exp(float(log_probs.sum()))
        values[f"{name}_rank"] = 1 + int((rows > own).sum(-1).max())
        logits[name] = list(rows)
    place = first_difference(ids["answer"], ids["foil"]) if len(ids) == 2 else None
    if place is not None:
        row = logits["answer"][place]
        values["logit_diff"] = float(row[ids["answer"][place]] - row[ids["foil"][place]])
    return values


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neo", "deepseek_v3", "mamba", "qwen3_next"])
def test_they_equal_a_pass_over_the_whole_text(name: str, tmp_path: pathlib.Path) -> None:
    folder = ARCHITECTURES[name].save(tmp_path / name)
    reference, model = Reference(folder), HookedTransformerLIT.from_pretrained(str(folder))
    for fields in (FIELDS, [*FIELDS, "generated_text"]):
        predictions = list(model.predict(EXAMPLES, fields=fields))
        for example, prediction in zip(EXAMPLES, predictions, strict=True):
            for field, value in expected(reference, model, example).items():
                if value is None:
                    assert prediction[field] is None, (example, field)
                else:
                    assert prediction[field] == pytest.approx(value, rel=1e-3), (example, field)


def test_the_generated_text_is_the_same_beside_answers(bundled: HookedTransformerLIT) -> None:
    with_answers = list(bundled.predict(EXAMPLES, fields=["answer_prob", "generated_text"]))
    alone = list(bundled.predict(EXAMPLES, fields=["generated_text"]))
    assert [p["generated_text"] for p in with_answers] == [p["generated_text"] for p in alone]


def test_answers_of_one_token_cost_nothing(
    bundled: HookedTransformerLIT, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    for tree in (TransformerLensAdapter, HuggingFaceAdapter):
        step = tree.step
        monkeypatch.setattr(tree, "step", lambda *args, step=step: steps.append(1) or step(*args))
    example = {"text": "The capital of France is", "answer": " Paris", "foil": " Rome"}
    (prediction,) = bundled.predict([example], fields=FIELDS)
    assert 0 < prediction["answer_prob"] < 1
    assert (len(passes), steps) == (1, [])


def test_a_text_that_was_cut_has_no_answer(bundled_model: object) -> None:
    model = HookedTransformerLIT(bundled_model, HookedTransformerLITConfig(max_seq_length=4))
    (prediction,) = model.predict([EXAMPLES[0]], fields=FIELDS)
    assert all(value is None for value in prediction.values())


def test_an_answer_that_does_not_fit_has_no_number(models: dict[str, HookedTransformerLIT]) -> None:
    model = models["gpt2"]
    tokens = model.loaded.prompter.vocabulary.strings(range(2, 128))
    example = {"text": "", "tokens": tokens, "answer": " a b c d", "foil": " a"}
    (prediction,) = model.predict([example], fields=FIELDS)
    assert prediction["answer_prob"] is None
    assert prediction["foil_prob"] > 0


def test_a_map_compares_the_first_tokens_that_differ(bundled: HookedTransformerLIT) -> None:
    """After what answer and foil share, which stands in the map too; and it says so."""
    example = {"text": "The capital of France is", "answer": " Paris and", "foil": " Paris or"}
    (reply,) = occlusion().run(
        [example], bundled, Prompts([example]), config={"explain": "answer against foil"}
    )
    salience = reply["token_gradients"]
    assert "".join(salience.tokens).endswith("The capital of France is Paris")
    assert salience.note == "token 2 of the answer, ' and' against ' or'"
    prompt, targets, _ = answer_against_foil(
        bundled.loaded.prompter, example, bundled.loaded.prompt(example)
    )
    (batch,) = bundled.loaded.runner.run([prompt])
    (prediction,) = bundled.predict([example], fields=["logit_diff"])
    assert float(batch.target_values(targets)) == pytest.approx(prediction["logit_diff"], abs=1e-4)
    for answer, foil, sentence in (
        (" Paris", " Paris or", "no token tells them apart"),
        (" Paris", "", "has no answer and foil"),
    ):
        with pytest.raises(ValueError, match=sentence):
            answer_against_foil(
                bundled.loaded.prompter, example | {"answer": answer, "foil": foil}, prompt
            )


@pytest.mark.parametrize(
    ("answer", "foil", "place"),
    [((1,), (2,), 0), ((1, 2), (1, 3), 1), ((1,), (1, 2), None), ((5, 6), (5, 6), None)],
)
def test_the_first_difference(answer: tuple, foil: tuple, place: int | None) -> None:
    assert first_difference(answer, foil) == place
