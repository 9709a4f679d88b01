"""The pair that a causal analysis looks at: the selected prompt and its corrupt one."""

import dataclasses
from typing import Any, Iterator, Literal, Optional

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.loaded_model import Example
from lit_tl.causal.maps import MapComponent, dims_of_one_layer, has_positions
from lit_tl.causal.metrics import Metric, MetricName
from lit_tl.causal.metrics import measure as measure_of
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import NONE, Direction, PairError, PromptPair, read_pair
from lit_tl.figures.causal import pair_strip
from lit_tl.settings import Settings, setting

Against = Literal["corrupt text", "pinned prompt"]
AGAINST_HELP = "The corrupt prompt: the selected one's corrupted_text, or the pinned prompt."


Over = Literal["this pair", "data set"]
OVER_HELP = "The selected prompt's pair, or the mean over the pairs of the data set."
MOST_HELP = "How many pairs of the data set."


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapSettings(Settings):
    """What is patched, where, and what is measured."""

    component: MapComponent = setting(
        "resid_pre", "What is patched: the residual and what is added to it by token, heads whole."
    )
    layers: Literal["all", "one"] = setting(
        "all", "All layers; or one, and in it heads by token, or the single neurons of mlp_post."
    )
    layer: int = setting(
        0, "The one that is looked into.", low=0, high=10_000, only_with=("layers", ("one",))
    )
    direction: Direction = setting(
        "denoise", "Put the clean run's part into the corrupt run, or the other way round (noise)."
    )
    metric: MetricName = setting(
        "normalised logit difference", "What is measured; normalised: 0 corrupt, 1 clean."
    )

    @property
    def has_positions(self) -> bool:
        """Whether the map has an axis of positions."""
        return has_positions(self.component, self.asked["dims"])

    @property
    def asked(self) -> dict[str, Any]:
        """What `patch` and `estimate` are asked with beside pair and component."""
        one = self.layers == "one"
        return {
            "direction": self.direction,
            "metric": self.metric,
            "dims": dims_of_one_layer(self.component) if one else None,
            "layers": [self.layer] if one else None,
        }


def pair_of(subject: Subject, against: Against) -> PromptPair:
    """The selected prompt as clean, and what it is set against as corrupt.

    Raises:
        PairError: there is nothing to set it against.
    """
    example = subject.need_example()
    if against == "pinned prompt":
        if subject.counterpart is None:
            raise PairError("no prompt is pinned: pin the corrupt one, or type it in")
        if not subject.counterpart.get("text"):
            raise PairError("the pinned prompt is empty: pin another one, or type it in")
        example = {
            **example,
            "corrupted_text": subject.counterpart.get("text"),
            "foil": example.get("foil") or subject.counterpart.get("answer"),
        }
    return PromptPair.of(example)


def pairs_in(examples: "tuple[Example, ...] | list[Example]", most: int) -> list[PromptPair]:
    """The pairs of a data set, up to so many that have a corrupt text; those without one are among
    them, so that they are counted.

    Raises:
        PairError: none has a corrupt text.
    """
    there = [place for place, each in enumerate(examples) if each.get("corrupted_text")]
    if not there:
        raise PairError(
            "no prompt of this data set has a corrupted_text: choose a data set of pairs, such as "
            "ioi, or give your prompts that column"
        )
    last = there[:most][-1]
    return [
        PromptPair(
            clean=str(example.get("text") or ""),
            corrupt=str(example.get("corrupted_text") or ""),
            answer=str(example.get("answer") or ""),
            foil=str(example.get("foil") or ""),
        )
        for example in examples[: last + 1]
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSettings(Settings):
    """What the prompt is set against."""

    against: Against = setting("corrupt text", AGAINST_HELP)


@analysis("Prompt pair", figure=pair_strip, uses=("example", "counterpart"), tab="Details")
def prompt_pair(subject: Subject, settings: PairSettings) -> Iterator[xr.Dataset]:
    """Which tokens of a clean and a corrupt prompt stand for each other, and which differ."""
    model = CausalModel(subject.model.runner, subject.model.prompter)
    pair = pair_of(subject, settings.against)
    tokens = read_pair(model, pair)
    strings = model.prompter.vocabulary.strings
    differs = [
        partner == NONE or tokens.clean.ids[partner] != token
        for token, partner in zip(tokens.corrupt.ids, tokens.partner.tolist(), strict=True)
    ]
    unaligned = int((tokens.partner == NONE).sum())
    lengths = (
        f"The prompts have {len(tokens.clean)} and {len(tokens.corrupt)} tokens: "
        f"{unaligned} of the corrupt one without a partner, and without a number."
        if unaligned
        else ""
    )
    lacks = _lacks(model, pair)
    yield xr.Dataset(
        {"differs": ("position", np.array(differs, float))},
        coords={
            "position": np.arange(len(tokens.corrupt)),
            "token": ("position", strings(tokens.corrupt.ids)),
            "partner": ("position", tokens.partner),
        },
        attrs={
            "value": "differs",
            "clean_tokens": strings(tokens.clean.ids),
            "note": " ".join(filter(None, [lengths, lacks or ""])),
        },
    )


def _lacks(model: CausalModel, pair: PromptPair) -> Optional[str]:
    """Why the pair's logit difference can't be measured, as a sentence."""
    metric: Metric = "logit difference"
    try:
        note = measure_of(model, pair, read_pair(model, pair), metric).note
    except PairError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}."
    return f"Compared: {note}." if note else None
