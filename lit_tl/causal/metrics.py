"""What is measured of a run: how much it answers as the clean prompt is answered."""

import dataclasses
from typing import Callable, Literal, Union

import torch
from jaxtyping import Float

from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import Direction, PairError, PromptPair, TokenPair
from lit_tl.engine.prompts import first_difference
from lit_tl.engine.requests import at_least_float32

MetricName = Literal[
    "normalised logit difference",
    "logit difference",
    "probability",
    "log-probability",
    "KL divergence",
]
"""`normalised logit difference` is 0 for the corrupt run and 1 for the clean one. Probabilities are
of the answer, all its tokens. `KL divergence` is that of the clean run's next token from the
patched run's, in nats: 0 for the clean run."""
OwnMetric = Callable[[torch.Tensor], torch.Tensor]
"""From logits after each prompt, `[run, d_vocab]`, to a number for each run, with a graph."""
Metric = Union[MetricName, OwnMetric]
_UNITS = {
    "normalised logit difference": "of the clean run's",
    "logit difference": "logits",
    "probability": "probability",
    "log-probability": "nats",
    "KL divergence": "nats",
}
_LEAST = 1e-4
"""Logits: a smaller difference between the two runs is not divided by."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Measure:
    """A metric of one pair.

    Args:
        name: of the metric.
        pair: with the tokens behind the prompts that the metric reads on.
        read: how many positions it reads, from the end on.
        value: from their logits `[run, read, d_vocab]` to a number for each run, with a graph.
        needs_clean: whether it is only known when the clean run is; see `against`.
        note: what is compared, as words; empty where answer and foil are one token each.
    """

    name: str
    pair: TokenPair
    read: int
    value: Callable[[torch.Tensor], torch.Tensor]
    needs_clean: bool = False
    note: str = ""

    @property
    def unit(self) -> str:
        """Of its numbers."""
        return _UNITS.get(self.name, "")

    @property
    def is_normalised(self) -> bool:
        """Whether numbers are given as a share of the difference between the two runs."""
        return self.name == "normalised logit difference"

    @property
    def sentence(self) -> str:
        """The note as a sentence; empty where there is none."""
        return f"{self.note[:1].upper()}{self.note[1:]}." if self.note else ""

    def has_slope(self, direction: Direction) -> bool:
        """Whether a gradient at the run that is patched says anything: the divergence from the
        clean run is least there, and flat."""
        return self.name != "KL divergence" or direction == "denoise"

    def against(self, clean: Float[torch.Tensor, "read d_vocab"]) -> "Measure":
        """The measure, given the clean run's logits."""
        if not self.needs_clean:
            return self
        log_p = at_least_float32(clean[-1]).log_softmax(-1)

        def divergence(logits: torch.Tensor) -> torch.Tensor:
            log_q = at_least_float32(logits[:, -1]).log_softmax(-1)
            own = log_p.to(log_q.device)
            return (own.exp() * (own - log_q)).sum(-1)

        return dataclasses.replace(self, value=divergence, needs_clean=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """How a metric's numbers are given.

    Args:
        clean: the metric of the clean run, as it is.
        corrupt: of the corrupt run.
        normalised: whether numbers are shares of the difference.
    """

    clean: float
    corrupt: float
    normalised: bool

    def __post_init__(self) -> None:
        if self.normalised and abs(self.clean - self.corrupt) < _LEAST:
            raise PairError(
                f"the logit difference is {self.clean:.4g} for both prompts, so that there is "
                "nothing to normalise by: choose another metric, or a pair that differs"
            )

    @property
    def size(self) -> float:
        """What a difference of the metric is divided by."""
        return self.clean - self.corrupt if self.normalised else 1.0

    @property
    def zero(self) -> float:
        """What is taken away before that."""
        return self.corrupt if self.normalised else 0.0

    def of(self, value: float) -> float:
        """A metric's number as it is given."""
        return (value - self.zero) / self.size


def require_slope(measured: Measure, direction: Direction) -> None:
    """See that attribution patching can say anything; see `Measure.has_slope`.

    Raises:
        ValueError: it can't.
    """
    if not measured.has_slope(direction):
        raise ValueError(
            f"the {measured.name} is flat at the clean run, which noising starts from, so that "
            "attribution patching says 0 of every part: choose integrated gradients"
        )


def scale_between(
    measured: Measure,
    direction: Direction,
    base: Float[torch.Tensor, "read d_vocab"],
    source: Float[torch.Tensor, "read d_vocab"],
) -> tuple[Measure, Scale]:
    """The measure, knowing the clean run, and what the two runs measure.

    Args:
        measured: of the pair.
        direction: of the patch.
        base: logits of the run that is patched.
        source: logits of the other.

    Raises:
        PairError: there is nothing to normalise by.
        ValueError: the metric is no number.
    """
    clean, corrupt = (source, base) if direction == "denoise" else (base, source)
    bound = measured.against(clean)
    of_both = bound.value(torch.stack([clean, corrupt.to(clean.device)]))
    numbers = require_numbers(bound.name, of_both).tolist()
    return bound, Scale(clean=numbers[0], corrupt=numbers[1], normalised=measured.is_normalised)


def measure(model: CausalModel, pair: PromptPair, tokens: TokenPair, metric: Metric) -> Measure:
    """A metric of a pair.

    Args:
        model: that reads it.
        pair: with answer and foil where the metric needs them.
        tokens: the pair as the model reads it.
        metric: its name, or a function of your own.

    Raises:
        PairError: the pair lacks an answer or a foil, or they do not differ.
        ValueError: there is no such metric.
    """
    if callable(metric):
        own = metric
        name = getattr(own, "__name__", "your metric")
        return Measure(
            name=name, pair=tokens, read=1, value=lambda logits: checked(own(logits[:, -1]), logits)
        )
    if not isinstance(metric, str) or metric not in _UNITS:
        raise ValueError(f"there is no metric {metric!r}: choose from {', '.join(_UNITS)}")
    if metric == "KL divergence":
        return Measure(name=metric, pair=tokens, read=1, value=_unknown, needs_clean=True)
    if not pair.answer:
        raise PairError(
            f"this pair has no answer, of which the {metric} is: give one, or choose the KL "
            "divergence"
        )
    answer = tuple(model.prompter.answer(pair.answer))
    if metric in ("probability", "log-probability"):
        return _of_answer(model, tokens, metric, answer)
    return _of_difference(model, pair, tokens, metric, answer)


def _unknown(logits: torch.Tensor) -> torch.Tensor:
    raise ValueError("the KL divergence is known when the clean run is")


def require_numbers(name: str, numbers: torch.Tensor) -> torch.Tensor:
    """See that a metric, or its gradient, is a number in every run.

    Args:
        name: of the metric.
        numbers: of it.

    Raises:
        ValueError: it is infinite or NaN.
    """
    wrong = numbers.detach()[~numbers.detach().isfinite()]
    if wrong.numel():
        raise ValueError(
            f"{name} is {float(wrong.flatten()[0])} in a run, so that nothing can be compared with "
            "it: choose a metric that is a finite number for all logits"
        )
    return numbers


def checked(numbers: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """What a metric of one's own gives.

    Raises:
        ValueError: it is not one number for each run.
    """
    if not isinstance(numbers, torch.Tensor):
        raise ValueError(
            f"a metric gives a tensor of one number for each run, and not {type(numbers).__name__}"
        )
    if numbers.shape != logits.shape[:1]:
        raise ValueError(
            f"a metric gives one number for each run, a tensor of shape {list(logits.shape[:1])}, "
            f"and not {list(numbers.shape)}"
        )
    return numbers


def _of_answer(
    model: CausalModel, tokens: TokenPair, metric: str, answer: tuple[int, ...]
) -> Measure:
    longer = _longer(model, tokens, answer[:-1])
    wanted = torch.tensor(answer)

    def value(logits: torch.Tensor) -> torch.Tensor:
        log_probs = at_least_float32(logits).log_softmax(-1)
        index = wanted.to(logits.device).expand(len(logits), -1)[..., None]
        total = log_probs.gather(-1, index)[..., 0].sum(-1)  # [run]
        return total.exp() if metric == "probability" else total

    count = len(answer)
    return Measure(
        name=metric,
        pair=longer,
        read=count,
        value=value,
        note=f"all {count} tokens of the answer" if count > 1 else "",
    )


def _of_difference(
    model: CausalModel, pair: PromptPair, tokens: TokenPair, metric: str, answer: tuple[int, ...]
) -> Measure:
    if not pair.foil:
        raise PairError(
            "this pair has no foil to set against its answer: give one, or choose the probability "
            "of the answer, its log-probability or the KL divergence"
        )
    foil = tuple(model.prompter.answer(pair.foil))
    place = first_difference(answer, foil)
    if place is None:
        raise PairError("answer and foil begin alike to the end: no token tells them apart")
    longer = _longer(model, tokens, answer[:place])
    token, other = answer[place], foil[place]
    strings = model.prompter.vocabulary.string
    several = max(len(answer), len(foil)) > 1
    return Measure(
        name=metric,
        pair=longer,
        read=1,
        value=lambda logits: (
            at_least_float32(logits[:, -1, token]) - at_least_float32(logits[:, -1, other])
        ),
        note=f"token {place + 1} of the answer, {strings(token)!r} against {strings(other)!r}"
        if several
        else "",
    )


def _longer(model: CausalModel, tokens: TokenPair, ids: tuple[int, ...]) -> TokenPair:
    longer = tokens.with_behind(ids)
    most = model.prompter.max_length
    if max(len(longer.clean), len(longer.corrupt)) > most:
        raise PairError(
            f"the answer does not fit behind these prompts, of which {most} tokens are read: "
            "shorten them"
        )
    return longer
