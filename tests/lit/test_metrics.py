"""Metrics over a slice are the means that their names say."""

import math

import pytest
import torch

from lit_tl import HookedTransformerLIT
from lit_tl.lit.datasets import Prompts
from lit_tl.lit.fields import ROLES
from lit_tl.lit.metrics import LanguageModelMetrics

EXAMPLES = [
    {"text": "The capital of France is", "answer": " Paris", "foil": " Rome"},
    {"text": "The capital of Italy is", "answer": " Berlin", "foil": " Rome"},
    {"text": "", "answer": "", "foil": ""},
]


def test_metrics_equal_what_the_logits_say(bundled: HookedTransformerLIT) -> None:
    ((got),) = LanguageModelMetrics().run(EXAMPLES, bundled, Prompts(EXAMPLES))
    model = bundled.model
    losses, ranks, hits, differences = [], [], [], []
    for example in EXAMPLES[:2]:
        ids = model.to_tokens(example["text"])
        with torch.no_grad():
            logits = model(ids)[0]
        for pos in range(1, ids.shape[1]):
            losses.append(-logits[pos - 1].log_softmax(-1)[ids[0, pos]].item())
            ranks.append(1 + int((logits[pos - 1] > logits[pos - 1, ids[0, pos]]).sum()))
        answer, foil = (model.to_single_token(example[name]) for name in ("answer", "foil"))
        hits.append(int(logits[-1].argmax()) == answer)
        differences.append((logits[-1, answer] - logits[-1, foil]).item())
    assert hits == [True, False]
    mean = sum(losses) / len(losses)
    expected = {
        "loss": mean,
        "perplexity": math.exp(mean),
        "top_1": sum(rank <= 1 for rank in ranks) / len(ranks),
        "top_5": sum(rank <= 5 for rank in ranks) / len(ranks),
        "answer_accuracy": 0.5,
        "logit_diff": sum(differences) / 2,
    }
    assert got["metrics"] == pytest.approx(expected, abs=1e-3)
    of_roles = {f"{role}_loss" for role in ROLES}
    assert set(got["metrics"]) | of_roles == set(LanguageModelMetrics().meta_spec())


def test_what_nothing_speaks_of_is_left_out(bundled: HookedTransformerLIT) -> None:
    (got,) = LanguageModelMetrics().run([{"text": "The king"}], bundled, Prompts(["The king"]))
    assert set(got["metrics"]) == {"loss", "perplexity", "top_1", "top_5"}
    assert LanguageModelMetrics().run([], bundled, Prompts(["The king"])) == []
