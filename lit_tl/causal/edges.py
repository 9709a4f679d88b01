"""Edges: which part of a model matters to which other part.

The score of an edge from a writer `u` to a reader `v` estimates what the metric does when `v` alone
reads what `u` writes in the other run: `grad(input of v) . (u_source - u)`, summed over positions
(EAP, Syed et al. 2023). With integrated gradients the gradient is averaged over runs whose
embeddings lie between the two prompts (EAP-IG, Hanna et al. 2024). One backward pass for every run.
Query heads that share keys and values share the edges into them.
"""

import dataclasses
from typing import Any, Literal, Sequence

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from lit_tl.causal.estimates import check_steps, nodes_between, objective_of, prompts_between
from lit_tl.causal.metrics import (
    Measure,
    Metric,
    Scale,
    measure,
    require_slope,
    scale_between,
)
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import one_or_many
from lit_tl.causal.pairs import (
    Direction,
    PairError,
    Pairs,
    PromptPair,
    Sides,
    check_direction,
    read_pair,
)
from lit_tl.engine import selfchecks
from lit_tl.engine.circuit_runs import graph_of
from lit_tl.engine.graph import Graph
from lit_tl.engine.one_pass import LastLogits
from lit_tl.engine.requests import Batch, Gradients, Objective, Observe
from lit_tl.engine.sites import Site

Method = Literal["attribution patching", "integrated gradients"]
_EMBED = Site("embed")
_WRITTEN = {"result": Site("result"), "mlp_out": Site("mlp_out"), "first": Site("resid_pre", 0)}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EdgeSetup:
    """A pair whose edges are looked at.

    Args:
        model: that runs it.
        sides: what runs, and whose values take its place.
        measure: what is measured; knows the clean run.
        scale: of the metric.
        graph: of the model.
        direction: of the patch.
    """

    model: CausalModel
    sides: Sides
    measure: Measure
    scale: Scale
    graph: Graph
    direction: Direction


def edges(
    model: Any,
    pairs: Pairs,
    *,
    direction: Direction = "noise",
    metric: Metric = "normalised logit difference",
    method: Method = "integrated gradients",
    steps: int = 5,
) -> xr.Dataset:
    """Scores of all edges.

    Args:
        model: of ours, of TransformerLens or of Hugging Face, or a `Runner`.
        pairs: clean and corrupt, of one length in tokens; or several, whose mean is asked for.
        direction: `noise` asks what is lost when an edge carries the corrupt run's values,
            `denoise` what is won when it carries the clean run's.
        metric: its name, or a function of your own, with a graph.
        method: attribution patching (EAP), or integrated gradients (EAP-IG).
        steps: of integrated gradients.

    Returns:
        Of one pair `effect` by `reader` and `writer`: the change of the metric. NaN where a reader
        does not come behind a writer. `node_effect` by writer: the sum over its edges. Of several
        pairs what `over_pairs` gives.

    Raises:
        PairError: the prompts have not one length, or the pair does not suit the metric.
        ValueError: the model's edges can't be told apart.
    """
    check_direction(direction)
    check_steps(steps)
    if method not in ("attribution patching", "integrated gradients"):
        raise ValueError(
            f"method is {method!r}: choose from attribution patching and integrated gradients"
        )
    of = CausalModel.of(model)

    def make(pair: PromptPair) -> xr.Dataset:
        return _edges_of(of, pair, direction, metric, method, steps)

    return one_or_many(of, pairs, make, direction=direction, metric=metric, by_position=False)


def _edges_of(
    of: CausalModel,
    pair: PromptPair,
    direction: Direction,
    metric: Metric,
    method: Method,
    steps: int,
) -> xr.Dataset:
    graph = graph_of(of.runner)
    measured = measure(of, pair, read_pair(of, pair), metric)
    if method == "attribution patching":
        require_slope(measured, direction)
    sides = sides_of_one_length(measured, direction)
    (other,) = of.runner.run(
        [sides.source], observe=_observed(graph), logits=LastLogits(measured.read)
    )
    source, source_logits = other.observed, other.need_logits()[0]
    bound: list[tuple[Measure, Scale]] = []

    def first(batch: Batch) -> Objective:
        own = batch.need_logits()[0]
        bound.append(scale_between(measured, direction, own, source_logits))
        return objective_of(bound[0][0], batch)

    base = _observed(graph)
    plain = of.runner.run(
        [sides.base],
        observe=base,
        gradients=Gradients(first, at=_read_at(graph)),
        logits=LastLogits(measured.read),
    )
    (batch,) = plain
    written = {name: batch.observed[name] for name in base}
    _check_sum(graph, written, selfchecks.said(of.runner))
    differences = _written(graph, source) - _written(graph, written)  # writer pos d_model
    scores = _scores(graph, batch, [1.0], differences)
    if method == "integrated gradients":
        embeddings = (written["embed"][0], source["embed"][0])
        scores = _integrated(of, graph, sides, bound[0][0], embeddings, differences, steps)
    setup = EdgeSetup(
        model=of,
        sides=sides,
        measure=bound[0][0],
        scale=bound[0][1],
        graph=graph,
        direction=direction,
    )
    said = f"integrated gradients, {steps} steps" if method == "integrated gradients" else method
    return _as_result(setup, scores / bound[0][1].size, said)


def _read_at(graph: Graph) -> list[Site]:
    """Where the residual is read."""
    at = [Site("q_input"), Site("k_input"), Site("v_input"), Site("mlp_in")]
    return [*at, Site("resid_post", graph.n_layers - 1)]


def _integrated(
    model: CausalModel,
    graph: Graph,
    sides: Sides,
    measured: Measure,
    embeddings: tuple[torch.Tensor, torch.Tensor],
    differences: torch.Tensor,
    steps: int,
) -> "npt.NDArray[np.float64]":
    """Scores `[reader, writer]` with gradients averaged on the way between two embeddings."""
    shares, weights = nodes_between(steps)
    scores = np.zeros(graph.edges.shape)
    for batch in model.runner.run(
        prompts_between(sides.base, embeddings, shares),
        gradients=Gradients(lambda batch: objective_of(measured, batch), at=_read_at(graph)),
        logits=LastLogits(measured.read),
        batch_size=steps,
    ):
        scores += _scores(graph, batch, [weights[i] for i in batch.index], differences)
    return scores


def sides_of_one_length(measured: Measure, direction: Direction) -> Sides:
    """The sides of a pair whose positions stand for each other one by one.

    Raises:
        PairError: they do not.
    """
    sides = measured.pair.sides(direction)
    if not np.array_equal(sides.partner, np.arange(len(sides.source))):
        why = (
            "the alignment sets other positions against each other"
            if len(sides.base) == len(sides.source)
            else f"these prompts have {len(sides.base)} and {len(sides.source)} tokens"
        )
        raise PairError(
            f"edges are compared position by position, and {why}: choose prompts of one length, "
            "without an alignment"
        )
    return sides


def _observed(graph: Graph) -> dict[str, Observe]:
    last = Site("resid_post", graph.n_layers - 1)
    sites = {**_WRITTEN, "embed": _EMBED, "last": last}
    return {name: Observe(site) for name, site in sites.items()}


def _check_sum(graph: Graph, observed: dict[str, Any], name: str) -> None:
    """See that the last residual is what the writers write, but for the same bias everywhere.

    Raises:
        ValueError: it is not.
    """
    total = observed["last"][0].float()
    rest = total - _written(graph, observed).sum(0)
    apart = float((rest - rest[:1]).abs().max() / total.abs().max())
    if apart > (1e-3 if observed["last"].dtype == torch.float32 else 5e-2):
        raise ValueError(
            f"the edges of {name} can't be told apart: its residual is not the plain sum of what "
            "its parts write"
        )


def _written(graph: Graph, observed: dict[str, Any]) -> torch.Tensor:
    """What each writer writes, `[writer, pos, d_model]`, of a run of one prompt."""
    parts = [observed["first"][0][None]]
    for layer in range(graph.n_layers):
        parts.append(observed["result"][layer][0].transpose(0, 1))  # head pos d_model
        parts.append(observed["mlp_out"][layer][0][None])
    return torch.cat([part.float() for part in parts])


def _scores(
    graph: Graph, batch: Batch, weights: Sequence[float], differences: torch.Tensor
) -> "npt.NDArray[np.float64]":
    """`[reader, writer]`, summed over the runs of a batch by their weights."""
    of_runs = torch.tensor(weights)
    scores = np.zeros(graph.edges.shape)
    flat = differences.flatten(1)  # writer pos*d_model
    for point in dict.fromkeys(reader.point for reader in graph.readers):
        rows = graph.rows_at(point)
        site = Site(point.component, point.layer)  # type: ignore[arg-type]  # of a reader
        gradient = batch.gradients[site].float()
        summed = torch.tensordot(of_runs.to(gradient.device), gradient, 1)
        if summed.ndim == 3:
            summed = summed.transpose(0, 1)  # head pos d_model
        before = graph.written_before(graph.readers[rows[0]])
        own = summed.reshape(len(rows), -1) @ flat[:before].T.to(summed.device)
        scores[list(rows), :before] = own.double().cpu().numpy()
    return scores


def _as_result(setup: EdgeSetup, scores: "npt.NDArray[np.float64]", method: str) -> xr.Dataset:
    graph = setup.graph
    return xr.Dataset(
        {
            "effect": (("reader", "writer"), np.where(graph.edges, scores, np.nan)),
            "node_effect": ("writer", scores.sum(0)),
        },
        coords={
            "reader": [str(reader) for reader in graph.readers],
            "writer": [str(writer) for writer in graph.writers],
        },
        attrs={
            "value": "effect",
            "direction": setup.direction,
            "metric": setup.measure.name,
            "unit": setup.measure.unit,
            "method": method,
            "clean": setup.scale.of(setup.scale.clean),
            "corrupt": setup.scale.of(setup.scale.corrupt),
            "clean_metric": setup.scale.clean,
            "corrupt_metric": setup.scale.corrupt,
            "note": setup.measure.sentence,
        },
    )
