"""How well the model predicts each token of a prompt."""

import dataclasses
from typing import Iterator, Literal

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.engine.token_readings import ReadTokens
from lit_tl.figures.along_prompt import token_bars
from lit_tl.settings import Settings, setting

_UNITS = {"loss": "nats", "probability": "probability", "rank": "rank, 1 is the likeliest"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenValueSettings(Settings):
    """Which quantity."""

    quantity: Literal["loss", "probability", "rank"] = setting("loss", "What each bar shows.")


@analysis("Loss along the prompt", figure=token_bars)
def token_values(subject: Subject, settings: TokenValueSettings) -> Iterator[xr.Dataset]:
    """How well the model predicts each token from those before it."""
    model = subject.model
    prompt = model.prompt(subject.need_example())
    (batch,) = model.runner.run([prompt], logits=ReadTokens())
    reading = batch.reading(0, top=0)
    values = {
        "loss": reading.losses,
        "probability": (-reading.losses).exp(),
        "rank": reading.ranks,
    }[settings.quantity]
    name, tokens = settings.quantity, model.prompter.vocabulary.strings(prompt.ids)
    yield xr.Dataset(
        {name: ("position", [np.nan, *values.tolist()])},  # nothing predicts the first token
        coords={
            "position": np.arange(len(prompt)),
            "token": ("position", tokens),
        },
        attrs={
            "value": name,
            "tokens": tokens,
            "unit": _UNITS[name],
            "logarithmic": name == "rank",
            "whole_numbers": name == "rank",
            "skip_missing": True,
        },
    )
