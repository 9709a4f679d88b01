"""A circuit: its edges, and how faithful circuits of every size are."""

import dataclasses
from typing import Iterator

import xarray as xr

from lit_tl.analyses.contract import Subject, analysis
from lit_tl.analyses.pair_of_prompts import AGAINST_HELP, Against, pair_of
from lit_tl.causal.circuits import Of, circuit
from lit_tl.causal.edges import Method
from lit_tl.causal.model import CausalModel
from lit_tl.figures.circuit import circuit_figure
from lit_tl.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class CircuitSettings(Settings):
    """How edges are scored, and how many are shown."""

    against: Against = setting("corrupt text", AGAINST_HELP)
    of: Of = setting(
        "edges", "Circuits of edges, or of heads and MLPs with all edges between them."
    )
    method: Method = setting("integrated gradients", "What scores edges.")
    random: int = setting(3, "How many random circuits of each size.", low=0, high=20)
    edges: int = setting(40, "How many edges are drawn.", low=1, high=500)


@analysis("Circuit", figure=circuit_figure, uses=("example", "counterpart"), tab="Causes")
def circuit_curve(subject: Subject, settings: CircuitSettings) -> Iterator[xr.Dataset]:
    """The edges that carry the answer, chosen greedily from the logits backwards, and the share of
    the logit difference that circuits of every size keep when all other edges are corrupt."""
    whole = dataclasses.replace(settings, edges=1)
    result = _whole.answer(subject, whole)  # kept, however many edges are drawn
    cpr, cmd = result.attrs["cpr"], result.attrs["cmd"]
    note = (
        f"Circuits of {result.attrs['of']}: area under the curve (CPR) {cpr:.3f}, from 1 (CMD) "
        f"{cmd:.3f}. Blue edges: the answer loses when they carry the corrupt run's values."
    )
    yield result.assign_attrs(drawn=settings.edges, note=note, tokens=[])


@analysis(
    "Circuit of a pair", figure=circuit_figure, uses=("example", "counterpart"), tab="Details"
)
def _whole(subject: Subject, settings: CircuitSettings) -> Iterator[xr.Dataset]:
    """Circuits of every size."""
    model = CausalModel(subject.model.runner, subject.model.prompter)
    pair = pair_of(subject, settings.against)
    yield circuit(model, pair, of=settings.of, method=settings.method, random=settings.random)
