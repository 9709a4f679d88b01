"""Which heads attend to the token before, to copies, to what followed them; and which copy."""

import dataclasses
from typing import Iterator

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.causal.heads import find_heads
from lit_tl.causal.model import CausalModel
from lit_tl.figures.causal import head_table
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadFinderSettings(Settings):
    """What heads are tried on."""

    sequences: int = setting(8, "How many sequences of random tokens, said twice.", low=1, high=64)
    length: int = setting(25, "Tokens of a sequence, before it is said again.", low=2, high=512)
    prompts: int = setting(20, "How many prompts of the data set.", low=0, high=1000)


@analysis("Head finder", figure=head_table, uses=("examples",), tab="Causes")
def head_finder(subject: Subject, settings: HeadFinderSettings) -> Iterator[xr.Dataset]:
    """Scores of all heads over generated sequences and over the data set, with the prompts that
    have the largest."""
    model = CausalModel(subject.model.runner, subject.model.prompter)
    texts = [str(example.get("text") or "") for example in subject.examples]
    texts = [text for text in texts if text][: settings.prompts]
    result = find_heads(model, texts, sequences=settings.sequences, length=settings.length)
    if texts:
        named = np.array([*texts, ""], dtype=object)
        result["top_texts"] = (result["top_text"].dims, named[result["top_text"].values])
    note = f"Over {settings.sequences} sequences of {settings.length} random tokens, said twice."
    yield result.assign_attrs(note=note, tokens=[])
