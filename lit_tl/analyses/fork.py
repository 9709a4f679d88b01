"""A conversation up to one of its tokens, which goes on in another way."""

import dataclasses
from typing import Iterator

import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.engine.conversations import parse
from lit_tl.engine.prompts import text_of
from lit_tl.figures.along_prompt import token_bars
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForkSettings(Settings):
    """Where, and with what."""

    position: int = setting(0, "Of the token that something else takes the place of.", low=0)
    token: str = setting("", "What stands there now; empty for nothing.")


@analysis("Fork", figure=token_bars, tab="Details")
def fork(subject: Subject, settings: ForkSettings) -> Iterator[xr.Dataset]:
    """The conversation up to a token, as a text that the model can go on from."""
    prompter = subject.model.prompter
    text = prompter.forked(
        text_of(subject.need_example()), settings.position, settings.token or None
    )
    conversation = parse(text)
    tokens = prompter.vocabulary.strings(prompter.from_text(text).ids)
    said = {"text": text, "conversation": conversation.described()}
    yield xr.Dataset(
        {"kept": ("position", [1.0] * len(tokens))},
        coords={"position": range(len(tokens)), "token": ("position", tokens)},
        attrs={"value": "kept", "unit": "kept", "said": said, "tokens": tokens},
    )
