"""What changes would do to a prompt's answer, before a variant is made of them."""

import dataclasses
import math
from typing import Iterator

import torch
import xarray as xr

from lit_tl.analyses.answer_under import AnswerUnder, answer_under
from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.patched_prediction import likeliest
from lit_tl.figures.causal import prediction_bars
from lit_tl.settings import Settings, setting
from lit_tl.variants.text import parse_changes

CHANGES_HELP = "What is changed, as in L9H6 = zero; L9H9 = mean(ioi)."


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreviewSettings(Settings):
    """The changes."""

    changes: str = setting("", CHANGES_HELP)
    top_k: int = setting(10, "How many next tokens to show.", low=1, high=30)
    new_tokens: int = setting(12, "How many tokens to generate.", low=0, high=200)


@analysis("Preview", figure=prediction_bars, tab="Interventions")
def change_preview(subject: Subject, settings: PreviewSettings) -> Iterator[xr.Dataset]:
    """The likeliest next tokens of the model and of the model under the changes, and how both go
    on."""
    example, changes = subject.need_example(), parse_changes(settings.changes)
    own = answer_under(subject.model, example, new_tokens=settings.new_tokens)
    runs = {"original": own}
    if changes:
        changed = subject.model.with_interventions(changes)
        runs["changed"] = answer_under(changed, example, new_tokens=settings.new_tokens)
    log_probs = torch.stack([run.next_log_probs for run in runs.values()])
    ids = likeliest(log_probs, settings.top_k)
    yield xr.Dataset(
        {"probability": (("run", "next_token"), log_probs[:, ids].exp().numpy().astype(float))},
        coords={
            "run": list(runs),
            "next_token": subject.model.prompter.vocabulary.strings(ids),
        },
        attrs={
            "value": "probability",
            "unit": "probability",
            "title": "Next token",
            "texts": [run.text for run in runs.values()],
            "note": _said(runs),
            "tokens": [],
        },
    )


def _said(runs: dict[str, AnswerUnder]) -> str:
    """What becomes of answer and foil, and of the text."""
    own, new = runs["original"], runs.get("changed")
    sentences = []
    for name, log_prob in own.log_probs.items():
        after = "" if new is None else f" -> {math.exp(new.log_probs[name]):.3g}"
        sentences.append(f"p({name}): {math.exp(log_prob):.3g}{after}.")
    if own.difference is not None:
        after = "" if new is None or new.difference is None else f" -> {new.difference:.3g}"
        sentences.append(f"Logit difference: {own.difference:.3g}{after}.")
    for name, run in runs.items():
        if run.text:
            sentences.append(f"{name.capitalize()}: “{run.text.strip()}”")
    return " ".join(sentences)
