"""A change of a model as people write it: where, and what becomes of the value there.

    L9H6 = zero                                     a head's output is 0
    mlp_out[3] = mean(ioi)                          the mean over a data set
    L9 = resample(ioi)                              attention and MLP of a layer: others' values
    resid_post[12]@-1 = run("The capital of Spain is")      the value of another prompt
    resid_post[12] += 0.5 * dir("love" - "hate")    half as long as the residual, along a direction
    resid_post[12] without dir(unembed(" Paris"))   nothing along a direction

`lit_tl.variants.text` reads such texts; `lit_tl.variants.making` makes interventions of the engine
of them, for a model.
"""

import abc
import dataclasses
import json
import math
from typing import Literal, Optional, Union

from lit_tl.engine.interventions import IN_PROMPT
from lit_tl.engine.sites import Positions, Site, positions_text

TermKind = Literal["prompt", "mean", "unembed", "lens", "file"]


@dataclasses.dataclass(frozen=True)
class Layer:
    """Attention and MLP of a block.

    Args:
        layer: of the block.
        positions: as of a `Site`.
    """

    layer: int
    positions: Positions = None

    def __str__(self) -> str:
        where = "" if self.positions is None else f"@{positions_text(self.positions)}"
        return f"L{self.layer}{where}"


@dataclasses.dataclass(frozen=True)
class Term:
    """Where a vector comes from.

    Args:
        kind: `prompt`: the value at the prompt's last token; `mean`: the mean of that over a data
            set; `unembed`: a token's row of the unembedding; `lens`: what a lens reads as a token;
            `file`: a vector of a file.
        name: the prompt, the data set, the token or the file.
        key: of a tensor in a file of several.
    """

    kind: TermKind
    name: str
    key: str = ""

    def __str__(self) -> str:
        if self.kind == "prompt":
            return quoted(self.name)
        if self.kind == "mean":
            return f"mean({data_set_text(self.name)})"
        key = f", {quoted(self.key)}" if self.key else ""
        return f"{self.kind}({quoted(self.name)}{key})"


@dataclasses.dataclass(frozen=True)
class Direction:
    """A vector, or the difference of two."""

    plus: Term
    minus: Optional[Term] = None

    def __str__(self) -> str:
        less = "" if self.minus is None else f" - {self.minus}"
        return f"dir({self.plus}{less})"


class Action(abc.ABC):
    """What becomes of a value."""

    @abc.abstractmethod
    def __str__(self) -> str:
        """The text behind the site."""


@dataclasses.dataclass(frozen=True)
class ToZero(Action):
    """0 in its place."""

    def __str__(self) -> str:
        return "= zero"


@dataclasses.dataclass(frozen=True)
class ToMean(Action):
    """The mean over the tokens of a data set in its place: over those at the change's positions,
    where it names some."""

    data_set: str

    def __str__(self) -> str:
        return f"= mean({data_set_text(self.data_set)})"


@dataclasses.dataclass(frozen=True)
class ToOthers(Action):
    """At each token, the value at a token of a data set, drawn by a seed (resample ablation)."""

    data_set: str
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"the seed of resample is {self.seed}: give 0 to {2**63 - 1}")

    def __str__(self) -> str:
        seed = f", {self.seed}" if self.seed else ""
        return f"= resample({data_set_text(self.data_set)}{seed})"


@dataclasses.dataclass(frozen=True)
class ToRun(Action):
    """The value of another prompt's run at the same positions."""

    prompt: str

    def __str__(self) -> str:
        return f"= run({quoted(self.prompt)})"


@dataclasses.dataclass(frozen=True)
class Along(Action):
    """A direction is added, as long as a share of the value's norm at each token."""

    strength: float
    direction: Direction

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength):
            raise ValueError(f"a strength is {self.strength}: give a finite number")

    def __str__(self) -> str:
        return f"+= {self.strength!r} * {self.direction}"


@dataclasses.dataclass(frozen=True)
class Without(Action):
    """What lies along a direction is taken out."""

    direction: Direction

    def __str__(self) -> str:
        return f"without {self.direction}"


@dataclasses.dataclass(frozen=True)
class Change:
    """A change of a model.

    Args:
        where: a site, without a layer for all layers that have it; or a layer.
        action: what becomes of the value there.
        prompt_only: leave generated tokens alone. Otherwise a change at all positions, or from a
            position on, holds in them too.

    Raises:
        ValueError: a direction is to be added to a whole layer.
    """

    where: Union[Site, Layer]
    action: Action
    prompt_only: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.where, Layer) and isinstance(self.action, (Along, Without)):
            raise ValueError(
                f"{self}: a direction is one of a site: write resid_post[{self.where.layer}]"
            )

    def __str__(self) -> str:
        return f"{self.where} {self.action}{IN_PROMPT if self.prompt_only else ''}"

    def with_strength(self, strength: float) -> "Change":
        """The same with another strength.

        Raises:
            ValueError: it has none.
        """
        if not isinstance(self.action, Along):
            raise ValueError(f"{self} has no strength: give a change that adds a direction")
        return dataclasses.replace(self, action=dataclasses.replace(self.action, strength=strength))


def quoted(text: str) -> str:
    """A text in quotation marks."""
    return json.dumps(text, ensure_ascii=False)


def data_set_text(name: str) -> str:
    """A data set's name, in quotation marks where it is no plain word."""
    plain = name.replace("_", "").replace("-", "").replace(".", "")
    return name if plain.isalnum() and plain.isascii() else quoted(name)
