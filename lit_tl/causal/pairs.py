"""Pairs of prompts, clean and corrupt, and which of their positions belong together."""

import dataclasses
import itertools
import operator
from typing import Any, Iterable, Literal, Mapping, Optional, Sequence, Union

import numpy as np
import numpy.typing as npt

from lit_tl.causal.model import CausalModel
from lit_tl.engine.prompts import Prompt, text_of

Direction = Literal["denoise", "noise"]
"""`denoise` puts the clean run's activations into the corrupt run, `noise` the corrupt run's into
the clean one."""
Positions = npt.NDArray[np.int64]
NONE = -1
"""In place of a partner: there is none."""


class PairError(ValueError):
    """A pair can't be looked into. The message says why, and what to do."""


@dataclasses.dataclass(frozen=True)
class PromptPair:
    """Two prompts that differ in what matters.

    Args:
        clean: the prompt that `answer` comes after.
        corrupt: the prompt with the difference.
        answer: what should come after `clean`, with its leading space: ` Mary`.
        foil: what should come after `corrupt`; metrics that compare need it.
        alignment: pairs of positions, of `corrupt` and of `clean`, whose activations stand for each
            other; None for what `align` finds. Positions count a beginning-of-text token.
    """

    clean: str
    corrupt: str
    answer: str = ""
    foil: str = ""
    alignment: Optional[tuple[tuple[int, int], ...]] = None

    def __post_init__(self) -> None:
        for name in ("clean", "corrupt", "answer", "foil"):
            if not isinstance(getattr(self, name), str):
                raise PairError(f"{name} is {getattr(self, name)!r}: give a text")
        if self.alignment is not None:
            object.__setattr__(self, "alignment", _alignment(self.alignment))

    @classmethod
    def of(cls, example: Mapping[str, Any]) -> "PromptPair":
        """The pair that an example of a paired data set makes: its `text` and `corrupted_text`, or
        its `messages` and `corrupted_messages`.

        Raises:
            PairError: it has no corrupt text.
        """
        corrupt = "corrupted_text" if example.get("corrupted_text") else "corrupted_messages"
        if not example.get(corrupt):
            raise PairError(
                "this prompt has no corrupt one beside it: give it a corrupted_text, or pin the "
                "prompt that it is compared with"
            )
        return cls(
            clean=text_of(example),
            corrupt=text_of(example, "corrupted_text"),
            answer=str(example.get("answer") or ""),
            foil=str(example.get("foil") or ""),
        )


def _alignment(given: Any) -> tuple[tuple[int, int], ...]:
    try:
        return tuple(
            (operator.index(of_corrupt), operator.index(of_clean)) for of_corrupt, of_clean in given
        )
    except (TypeError, ValueError) as error:
        raise PairError(
            f"the alignment is {given!r}: give pairs of positions, of the corrupt prompt and of "
            "the clean one"
        ) from error


Pairs = Union[PromptPair, Sequence[PromptPair]]


def listed(pairs: Pairs) -> list[PromptPair]:
    """Pairs as a list.

    Raises:
        PairError: there is none, or something else.
    """
    every: list[Any] = [pairs]
    if isinstance(pairs, Iterable) and not isinstance(pairs, (str, bytes)):
        every = list(pairs)
    if not every:
        raise PairError("no pair is given: give at least one")
    for pair in every:
        if not isinstance(pair, PromptPair):
            raise PairError(
                f"a pair is a PromptPair(clean, corrupt, answer, foil), and not {pair!r}"
            )
    return every


def check_direction(direction: str) -> None:
    """See that there is such a direction.

    Raises:
        ValueError: there is none.
    """
    if direction not in ("denoise", "noise"):
        raise ValueError(f"direction is {direction!r}: choose from denoise and noise")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """A pair in one direction.

    Args:
        base: the prompt that runs, and whose positions a map shows.
        source: the prompt whose activations are put into it.
        partner: for each position of `base`, that of `source` which stands for it, or `NONE`.
    """

    base: Prompt
    source: Prompt
    partner: Positions

    @property
    def first(self) -> int:
        """The first position that differs. What comes before is the same in both runs, so that
        nothing changes when it is patched."""
        shorter = min(len(self.base), len(self.source))
        same = self.partner[:shorter] == np.arange(shorter)
        same &= np.array(self.base.ids[:shorter]) == np.array(self.source.ids[:shorter])
        return shorter if same.all() else int(np.argmin(same))

    def positions(self) -> list[int]:
        """Positions of `base` that have a partner and may differ from it."""
        return [p for p in range(self.first, len(self.base)) if self.partner[p] != NONE]

    def spans(self) -> list[tuple[int, int, int]]:
        """Those positions as spans that are whole on both sides: `(start, stop, start in
        source)`."""
        spans: list[tuple[int, int, int]] = []
        for p in self.positions():
            partner = int(self.partner[p])
            if spans and spans[-1][1] == p and spans[-1][2] + p - spans[-1][0] == partner:
                spans[-1] = (spans[-1][0], p + 1, spans[-1][2])
            else:
                spans.append((p, p + 1, partner))
        return spans


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenPair:
    """A pair as a model reads it.

    Args:
        clean: the prompt.
        corrupt: the prompt.
        partner: for each position of `corrupt`, that of `clean` which stands for it, or `NONE`.
    """

    clean: Prompt
    corrupt: Prompt
    partner: Positions

    def sides(self, direction: Direction) -> Sides:
        """What runs, and what is put into it."""
        if direction == "denoise":
            return Sides(base=self.corrupt, source=self.clean, partner=self.partner)
        turned = np.full(len(self.clean), NONE)
        there = np.flatnonzero(self.partner != NONE)
        turned[self.partner[there]] = there
        return Sides(base=self.clean, source=self.corrupt, partner=turned)

    def with_behind(self, ids: Sequence[int]) -> "TokenPair":
        """The pair with the same tokens behind both prompts."""
        behind = np.arange(len(self.clean), len(self.clean) + len(ids))
        return TokenPair(
            clean=dataclasses.replace(self.clean, ids=(*self.clean.ids, *ids)),
            corrupt=dataclasses.replace(self.corrupt, ids=(*self.corrupt.ids, *ids)),
            partner=np.concatenate([self.partner, behind]),
        )


def read_pair(model: CausalModel, pair: PromptPair) -> TokenPair:
    """Tokenize and align a pair.

    Raises:
        PairError: a prompt is empty or too long, both are the same, or the alignment names
            positions that they do not have.
    """
    (pair,) = listed(pair)
    prompts = []
    for name, text in (("clean", pair.clean), ("corrupt", pair.corrupt)):
        if not text:
            raise PairError(f"the {name} prompt is empty: give both prompts")
        prompt = model.prompter.prompt({"text": text})
        if prompt.truncated:
            raise PairError(
                f"the {name} prompt is longer than the {len(prompt)} tokens that are read of "
                f"{model.runner.shape.name}: shorten it"
            )
        prompts.append(prompt)
    clean, corrupt = prompts
    if clean.ids == corrupt.ids:
        raise PairError(
            "clean and corrupt are the same tokens: change what should matter in one of them"
        )
    if pair.alignment is None:
        return TokenPair(clean=clean, corrupt=corrupt, partner=align(corrupt.ids, clean.ids))
    return TokenPair(clean=clean, corrupt=corrupt, partner=_given(pair.alignment, clean, corrupt))


def _given(alignment: Sequence[tuple[int, int]], clean: Prompt, corrupt: Prompt) -> Positions:
    partner = np.full(len(corrupt), NONE)
    taken = set()
    for each in alignment:
        of_corrupt, of_clean = each
        if not (0 <= of_corrupt < len(corrupt) and 0 <= of_clean < len(clean)):
            raise PairError(
                f"the alignment sets position {of_corrupt} against {of_clean}, but the corrupt "
                f"prompt has {len(corrupt)} tokens and the clean one {len(clean)}"
            )
        if partner[of_corrupt] != NONE or of_clean in taken:
            raise PairError(
                f"the alignment names position {of_corrupt} of the corrupt prompt, or {of_clean} "
                "of the clean one, twice"
            )
        partner[of_corrupt] = of_clean
        taken.add(of_clean)
    if (partner == NONE).all():
        raise PairError("the alignment is empty: no activation stands for another")
    return partner


def align(ids: Sequence[int], others: Sequence[int]) -> Positions:
    """For each of some tokens, the position of the token that stands for it among others, or
    `NONE`.

    Prompts of one length are aligned position by position. Else the longest common subsequence is
    aligned, and between two of its tokens as many different ones in their place.
    """
    if len(ids) == len(others):
        return np.arange(len(ids))
    partner = np.full(len(ids), NONE)
    common = [(-1, -1), *_common(np.array(ids), np.array(others)), (len(ids), len(others))]
    for (last, other_last), (here, other) in itertools.pairwise(common):
        if here - last == other - other_last:
            partner[last + 1 : here] = np.arange(other_last + 1, other)
        if here < len(ids):
            partner[here] = other
    return partner


def _common(ids: Positions, others: Positions) -> list[tuple[int, int]]:
    """Places of a longest common subsequence, in both."""
    lengths = np.zeros((len(ids) + 1, len(others) + 1), np.int32)
    for row, token in enumerate(ids):
        longer = np.maximum(lengths[row, 1:], lengths[row, :-1] + (others == token))
        lengths[row + 1, 1:] = np.maximum.accumulate(longer)
    places = []
    row, column = len(ids), len(others)
    while row and column:
        if ids[row - 1] == others[column - 1]:
            row, column = row - 1, column - 1
            places.append((row, column))
        elif lengths[row - 1, column] >= lengths[row, column - 1]:
            row -= 1
        else:
            column -= 1
    return places[::-1]
