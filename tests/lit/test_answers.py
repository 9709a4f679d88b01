"""Answers of several tokens: their probability is that of all tokens, and what can use one token
uses the first that tells answer and foil apart."""

import math
import pathlib
from typing import Any

import pytest
import torch

import lit_tl
from lit_tl.analyses.token_salience import explained
from lit_tl.engine.hugging_face_models import HuggingFaceAdapter
from lit_tl.engine.prompts import first_difference
from lit_tl.engine.targets import answer_against_foil, difference
from lit_tl.engine.transformer_lens_models import TransformerLensAdapter
from lit_tl.lit.config import HookedTransformerLITConfig
from lit_tl.lit.datasets import Prompts
from lit_tl.lit.generators.hotflip import HotFlip
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.lit.salience_maps import occlusion
from lit_tl.lit.sequence_salience import siblings
from lit_tl.salience import methods
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


@pytest.mark.parametrize("name", ["gpt2", "llama", "deepseek_v3", "mamba", "qwen3_next"])
def test_they_are_the_same_beside_gradients(name: str, tmp_path: pathlib.Path) -> None:
    model = HookedTransformerLIT.from_pretrained(
        str(ARCHITECTURES[name].save(tmp_path / "m")), HookedTransformerLITConfig(max_new_tokens=3)
    )
    cheap = model.predict(EXAMPLES, fields=FIELDS)
    for alone, whole in zip(cheap, model.predict(EXAMPLES), strict=True):
        assert whole["token_gradients"].any()
        for field in FIELDS:
            known = alone[field] is not None
            assert whole[field] == (pytest.approx(alone[field], rel=1e-4) if known else None), field


def test_the_first_tokens_tell_where_a_longer_answer_does_not_fit(
    models: dict[str, HookedTransformerLIT],
) -> None:
    model = models["gpt2"]
    context = model.loaded.runner.shape.context
    tokens = model.loaded.prompter.vocabulary.strings(range(2, 2 + context))
    example = {"text": "", "tokens": tokens, "answer": " a b", "foil": " c"}
    (prediction,) = model.predict([example], fields=FIELDS)
    assert prediction["answer_prob"] is None
    assert prediction["answer_rank"] is None
    (single,) = model.predict([example | {"answer": " a"}], fields=FIELDS)
    assert prediction["logit_diff"] == pytest.approx(single["logit_diff"], abs=1e-5)


def test_logits_that_are_no_numbers_are_refused(tmp_path: pathlib.Path) -> None:
    model = HookedTransformerLIT.from_pretrained(
        str(ARCHITECTURES["gpt2"].save(tmp_path / "m")),
        HookedTransformerLITConfig(max_new_tokens=0),
    )
    with torch.no_grad():
        next(model.model.original_model.parameters())[5:].fill_(float("nan"))
    for field in ("loss", "token_rank", "answer_rank", "answer_prob", "logit_diff", "next_tokens"):
        with pytest.raises(ValueError, match="the model's logits are not numbers"):
            list(model.predict(EXAMPLES[:1], fields=[field]))


def test_a_map_compares_the_first_tokens_that_differ(bundled: HookedTransformerLIT) -> None:
    """After what answer and foil share, which stands in the map too; and it says so."""
    example = {"text": "The capital of France is", "answer": " Paris and", "foil": " Paris or"}
    (reply,) = occlusion().run(
        [example], bundled, Prompts([example]), config={"explain": "answer against foil"}
    )
    salience = reply["token_gradients"]
    assert "".join(salience.tokens).endswith("The capital of France is Paris")
    assert salience.note == "token 2 of the answer, ' and' against ' or'"
    prompt = bundled.loaded.prompt(example)
    contrast = answer_against_foil(bundled.loaded.prompter, example, prompt)
    (batch,) = bundled.loaded.runner.run([contrast.prompt])
    (prediction,) = bundled.predict([example], fields=["logit_diff"])
    assert float(batch.target_values(contrast.targets)) == pytest.approx(
        prediction["logit_diff"], abs=1e-4
    )
    for answer, foil, sentence in (
        (" Paris", " Paris or", "no token tells them apart"),
        (" Paris", "", "has no answer and foil"),
    ):
        with pytest.raises(ValueError, match=sentence):
            answer_against_foil(
                bundled.loaded.prompter, example | {"answer": answer, "foil": foil}, prompt
            )


SHARED = {"text": "The capital of France is", "answer": " Paris and", "foil": " Paris or"}


def test_a_map_of_the_target_says_that_the_first_token_stands_for_all(
    bundled: HookedTransformerLIT,
) -> None:
    (reply,) = occlusion().run([SHARED], bundled, Prompts([SHARED]))
    assert reply["token_gradients"].note == "' Paris' is the first of 2 tokens of the answer"
    single = SHARED | {"answer": " Paris"}
    (reply,) = occlusion().run([single], bundled, Prompts([single]))
    assert reply["token_gradients"].note == ""


def test_a_lens_compares_the_first_tokens_that_differ(bundled: HookedTransformerLIT) -> None:
    grid = lit_tl.analyze("Lens", bundled, SHARED, statistic="log prob. difference")
    assert str(grid["token"].values[-1]) == " Paris", "what they share stands in the grid"
    (prediction,) = bundled.predict([SHARED], fields=["logit_diff"])
    last = float(grid["log prob. difference"][0, -1, -1])
    assert last == pytest.approx(prediction["logit_diff"], abs=1e-3)
    assert "Token 2 of the answer, ' and' against ' or'." in grid.attrs["note"]
    with pytest.raises(ValueError, match="no token tells them apart"):
        lit_tl.analyze(
            "Lens", bundled, SHARED | {"foil": " Paris"}, statistic="log prob. difference"
        )


def test_lenses_say_where_a_first_token_stands_for_all(bundled: HookedTransformerLIT) -> None:
    sentence = "' Paris' is the first of 2 tokens of the answer."
    for statistic in ("cross entropy", "rank"):
        note = lit_tl.analyze("Lens", bundled, SHARED, statistic=statistic).attrs["note"]
        assert sentence in note
    assert sentence not in lit_tl.analyze("Lens", bundled, SHARED).attrs["note"]
    drawn = lit_tl.analyze("Lens trajectory", bundled, SHARED)
    assert {" and", " or"} <= set(drawn["token"].values.tolist())
    assert "token 2 of the answer, ' and' against ' or'" in drawn.attrs["note"]
    assert drawn.attrs["title"].endswith("·Paris")
    other = lit_tl.analyze("Lens trajectory", bundled, SHARED | {"foil": " Rome"})
    assert sentence in other.attrs["note"]
    assert {" Paris", " Rome"} <= set(other["token"].values.tolist())
    named = lit_tl.analyze("Lens trajectory", bundled, SHARED, tokens=" a b, king")
    assert named["token"].values.tolist() == [" a", " king"]
    assert "' a' is the first of 2 tokens of ' a b'." in named.attrs["note"]
    data = lit_tl.analyze(
        "Lens over the data set",
        bundled,
        examples=[SHARED, SHARED | {"answer": " Paris"}],
        statistic="rank",
    )
    assert "Of 1 prompts the answer has several tokens" in data.attrs["note"]


def test_hotflip_overturns_the_first_tokens_that_differ(bundled: HookedTransformerLIT) -> None:
    (before,) = bundled.predict([SHARED], fields=["logit_diff"])
    example = dict(SHARED)
    if before["logit_diff"] < 0:
        example |= {"answer": SHARED["foil"], "foil": SHARED["answer"]}
    config = {"max_flips": "5", "candidates": "64"}
    (twin,) = HotFlip().generate(example, bundled, Prompts([example]), config)
    assert twin["text"] != example["text"]
    assert not twin["text"].endswith(" Paris")
    both = list(bundled.predict([example, twin], fields=["logit_diff", "tokens"]))
    assert both[0]["logit_diff"] > 0 > both[1]["logit_diff"]
    assert len(both[0]["tokens"]) == len(both[1]["tokens"])


def test_sequence_salience_contrasts_with_the_foils_token_at_that_place(
    bundled: HookedTransformerLIT,
) -> None:
    sibling = siblings("m", bundled)["_m_salience"]
    example = {"text": SHARED["text"], "target": SHARED["answer"], "foil": SHARED["foil"]}
    whole = bundled.loaded.prompt({"text": example["text"] + example["target"]})
    ids, end = bundled.loaded.prompter.answers(SHARED | {"text": ""}), len(whole) - 1
    likeliest = bundled.loaded.runner.run_ids(torch.tensor([whole.ids])).need_logits()[0]

    def scores(marked: int, foil: int) -> Any:
        given = example | {"target_mask": [float(i == marked) for i in range(len(whole))]}
        (output,) = sibling.fetch([given], ["contrast_grad_l2"])
        targets = difference(whole.ids[marked], foil, marked - 1)
        by_hand = methods.grad_l2(explained(bundled.loaded, whole, targets))
        assert output["contrast_grad_l2"] == pytest.approx(abs(by_hand).tolist(), rel=1e-4)

    scores(end, ids["foil"][1])
    for marked in (end - 1, end - 3):  # the same token as in the foil; before the answer
        order = likeliest[marked - 1].argsort(descending=True).tolist()
        scores(marked, next(i for i in order if i != whole.ids[marked]))


@pytest.mark.parametrize(
    ("answer", "foil", "place"),
    [((1,), (2,), 0), ((1, 2), (1, 3), 1), ((1,), (1, 2), None), ((5, 6), (5, 6), None)],
)
def test_the_first_difference(answer: tuple, foil: tuple, place: int | None) -> None:
    assert first_difference(answer, foil) == place
