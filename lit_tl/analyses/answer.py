"""The model's answer, token by token, with what else it might have said."""

import dataclasses
import time
from typing import Any, Iterator

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.engine import jobs
from lit_tl.engine.conversations import ConversationError
from lit_tl.engine.prompts import text_of
from lit_tl.engine.sampling import Written, stop_ids, write
from lit_tl.figures.grids import written_tokens
from lit_tl.settings import Settings, setting

_EVERY = 0.05
"""Seconds between two partial answers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerSettings(Settings):
    """How long, and how free."""

    new_tokens: int = setting(200, "Longest answer in tokens.", low=1, high=8192)
    temperature: float = setting(
        0.0, "0 takes the likeliest token; above, tokens are drawn.", low=0.0, high=10.0
    )
    seed: int = setting(0, "Of the draws.", low=0, high=2**31 - 1)


@analysis("Answer", figure=written_tokens, tab="Chat")
def answer(subject: Subject, settings: AnswerSettings) -> Iterator[xr.Dataset]:
    """What the model writes next, each token with its probability and the likeliest in its
    place."""
    model, example = subject.model, subject.need_example()
    prompt = model.prompt(example)
    conversation = model.prompter.conversation(text_of(example))
    if conversation is not None and not (conversation.wants_answer or conversation.continues):
        raise ConversationError(
            "this conversation ends with the assistant's answer: add a turn, or make its last "
            "message a prefill that the model goes on from"
        )
    if prompt.truncated:
        raise ValueError(
            f"the prompt is longer than the {len(prompt)} tokens that are read: shorten it"
        )
    stops = stop_ids(model.runner) | set(
        model.prompter.template.closing_ids() if conversation is not None else ()
    )
    written: list[Written] = []
    tokens = write(
        model.runner,
        prompt,
        max_new_tokens=settings.new_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
        stops=stops,
    )
    shown = 0.0
    for token in tokens:
        written.append(token)
        jobs.current().advance(len(written), settings.new_tokens)
        if time.monotonic() - shown > _EVERY:
            yield _result(subject, written, ended=False)
            shown = time.monotonic()
    yield _result(subject, written, ended=len(written) < settings.new_tokens)


def _result(subject: Subject, written: list[Written], *, ended: bool) -> xr.Dataset:
    prompter = subject.model.prompter
    strings = prompter.vocabulary.strings
    width = max((len(token.top) for token in written), default=0)
    shape = (len(written), width)
    said: dict[str, Any] = {
        "text": prompter.written([token.id for token in written]),
        "ended": ended,
    }
    return xr.Dataset(
        {
            "probability": ("position", np.exp([token.log_prob for token in written])),
            "top_probability": (
                ("position", "rank"),
                np.exp([[value for _, value in token.top] for token in written]).reshape(shape),
            ),
            "top_token": (
                ("position", "rank"),
                np.array(
                    [strings(each for each, _ in token.top) for token in written], dtype=object
                ).reshape(shape),
            ),
        },
        coords={
            "position": np.arange(len(written)),
            "token": ("position", np.array(strings(t.id for t in written), dtype=object)),
            "rank": np.arange(width),
        },
        attrs={
            "value": "probability",
            "unit": "probability",
            "said": said,
            "tokens": [],
            "note": "" if ended else f"{len(written)} tokens; the answer goes on.",
        },
    )
