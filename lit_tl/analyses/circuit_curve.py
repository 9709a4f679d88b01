"""A circuit: its edges, and how faithful circuits of every size are."""

import dataclasses
from typing import Iterator

import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.pair_of_prompts import (
    AGAINST_HELP,
    MOST_HELP,
    OVER_HELP,
    Against,
    Over,
    pair_of,
    pairs_in,
)
from lit_tl.causal.circuits import Of, circuit
from lit_tl.causal.edges import Method
from lit_tl.causal.metrics import MetricName
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import Pairs
from lit_tl.figures.circuit import circuit_figure
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class CircuitSettings(Settings):
    """How edges are scored, and how many are shown."""

    over: Over = setting("this pair", OVER_HELP)
    most: int = setting(8, MOST_HELP, low=1, high=1000)
    against: Against = setting("corrupt text", AGAINST_HELP)
    metric: MetricName = setting("logit difference", "What a circuit keeps a share of.")
    of: Of = setting(
        "edges", "Circuits of edges, or of heads and MLPs with all edges between them."
    )
    method: Method = setting("integrated gradients", "What scores edges.")
    random: int = setting(3, "How many random circuits of each size.", low=0, high=20)
    edges: int = setting(40, "How many edges are drawn.", low=1, high=500)


@analysis(
    "Circuit",
    figure=circuit_figure,
    uses=("example", "counterpart", "examples"),
    tab="Causes",
    slow={"over": ("data set",)},
)
def circuit_curve(subject: Subject, settings: CircuitSettings) -> Iterator[xr.Dataset]:
    """The edges that carry the answer, chosen greedily from the logits backwards, and the share of
    the logit difference that circuits of every size keep when all other edges are corrupt."""
    whole = dataclasses.replace(settings, edges=1)
    if settings.over == "this pair":
        subject = dataclasses.replace(subject, examples=())
    result = _whole.answer(subject, whole)  # kept, however many edges are drawn
    cpr, cmd = result.attrs["cpr"], result.attrs["cmd"]
    pairs = result.attrs["pairs"]
    of = f"{result.attrs['of']} of {pairs} pairs" if pairs > 1 else result.attrs["of"]
    note = (
        f"Circuits of {of}: area under the curve (CPR) {cpr:.3f}, from 1 (CMD) {cmd:.3f}. Blue "
        "edges: the answer loses when they carry the corrupt run's values."
    )
    note = f"{note} {result.attrs['note']}".strip()
    yield result.assign_attrs(drawn=settings.edges, note=note, tokens=[])


@analysis(
    "Circuit of pairs",
    figure=circuit_figure,
    uses=("example", "counterpart", "examples"),
    tab="Details",
)
def _whole(subject: Subject, settings: CircuitSettings) -> Iterator[xr.Dataset]:
    """Circuits of every size."""
    model = CausalModel(subject.model.runner, subject.model.prompter)
    pairs: Pairs
    if settings.over == "data set":
        pairs = pairs_in(list(subject.examples), settings.most)
    else:
        pairs = pair_of(subject, settings.against)
    yield circuit(
        model,
        pairs,
        of=settings.of,
        metric=settings.metric,
        method=settings.method,
        random=settings.random,
    )
