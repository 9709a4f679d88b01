"""What each attention head does, for every prompt."""

import dataclasses
from typing import Sequence

from lit_tl.analyses.loaded_model import Example
from lit_tl.causal.heads import SCORES, scores_of
from lit_tl.causal.model import CausalModel
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.contract import over_rows
from lit_tl.settings import Settings
from lit_tl.store import Column, Described
from lit_tl.store.columns import Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredHeadSettings(Settings):
    """Nothing to be set."""


def _columns(model: HookedTransformerLIT, settings: StoredHeadSettings) -> Described:
    del settings
    layers = model.loaded.runner.layers("pattern")
    if not layers:
        raise ValueError(f"{model.loaded.runner.shape.name} shows no attention")
    n_heads = model.loaded.runner.shape.n_heads
    shape, axes = (len(layers), n_heads), ("layer", "head")
    columns = {
        name.replace(" ", "_"): Column(
            kind="number",
            axes=axes,
            shape=shape,
            unit="logits" if name == "copying" else "attention",
        )
        for name in SCORES
    }
    return Described(columns=columns, coords={"layer": list(layers), "head": list(range(n_heads))})


@over_rows("heads", columns=_columns)
def heads(
    model: HookedTransformerLIT, examples: Sequence[Example], settings: StoredHeadSettings
) -> Sequence[Record]:
    """Scores of every head: previous token, duplicate token, induction, copying."""
    del settings
    of = CausalModel.of(model)
    prompts = [of.prompter.prompt(example) for example in examples]
    names = [name.replace(" ", "_") for name in SCORES]
    return [dict(zip(names, scores, strict=True)) for scores in scores_of(of, prompts)]
