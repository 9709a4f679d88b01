"""Circuits: few edges or parts that do what the whole model does.

A circuit of a size is chosen greedily: from the logits backwards, the edge of the largest score
that leads to what is already in it (Hanna et al. 2024). It is measured by running the clean prompt
with all other edges carrying the corrupt run's values: faithfulness is `(m(circuit) - m(empty)) /
(m(model) - m(empty))`, 0 for no edges and 1 for all. Over sizes, CPR is the area under that curve
and CMD the area between it and 1 (the MIB benchmark, Mueller et al. 2025).
"""

import dataclasses
import heapq
from typing import Any, Iterator, Literal, Sequence

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from lit_tl.causal.edges import Method, edges, sides_of_one_length
from lit_tl.causal.metrics import Metric, measure
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PairError, Pairs, PromptPair, listed, read_pair
from lit_tl.engine import jobs
from lit_tl.engine.circuit_runs import CircuitRuns, graph_of
from lit_tl.engine.graph import Graph

Of = Literal["edges", "nodes"]
SIZES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of a model's edges, or of its nodes, as in MIB."""


def circuit(
    model: Any,
    pairs: Pairs,
    *,
    of: Of = "edges",
    sizes: Sequence[float] = SIZES,
    metric: Metric = "logit difference",
    method: Method = "integrated gradients",
    steps: int = 5,
    random: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """How faithful circuits of several sizes are, and which edges are in them.

    Args:
        model: of ours, of TransformerLens or of Hugging Face, or a `Runner`.
        pairs: one pair of prompts or several, each of one length in tokens.
        of: `edges`, or `nodes`: heads and MLPs with all edges between them.
        sizes: shares of all edges or nodes.
        metric: its name, or a function of your own, with a graph.
        method: that scores edges.
        steps: of integrated gradients.
        random: how many random circuits of each size to compare with.
        seed: of these.

    Returns:
        `faithfulness`, `random_mean` and `random_faithfulness` by `size`, the last by `sample` too;
        `edges`: how many they have; `order` by
        `reader` and `writer`: the size at which an edge enters, as a count of edges (0 for the
        first), NaN where there is none; `score`. Attributes `cpr` and `cmd`.

    Raises:
        PairError: a pair has not one length, or does not suit the metric, or its two prompts
            measure alike.
        ValueError: there is no pair, a size is not between 0 and 1, or the model's edges can't be
            told apart.
    """
    chosen = listed(pairs)
    _check(of, sizes, random)
    read = CausalModel.of(model)
    graph = graph_of(read.runner)
    score = np.zeros(graph.edges.shape)
    with jobs.current().part(0.0, 0.4):
        for pair in jobs.each(chosen):
            scored = edges(read, pair, metric=metric, method=method, steps=steps)
            score += np.nan_to_num(scored["effect"].values) / len(chosen)
    order = _order(graph, score, of)
    rng = np.random.default_rng(seed)
    shuffled = [_random_order(graph, of, rng) for _ in range(random)]
    masks = [_mask(graph, each, size, of) for each in (order, *shuffled) for size in sizes]
    with jobs.current().part(0.4, 1.0):
        recovered = _faithfulness(read, chosen, metric, masks)
    curves = recovered.reshape(1 + random, len(sizes))
    areas = _areas(np.array(sizes), curves[0])
    return xr.Dataset(
        {
            "faithfulness": ("size", curves[0]),
            "random_faithfulness": (("sample", "size"), curves[1:]),
            "random_mean": ("size", curves[1:].mean(0) if random else np.full(len(sizes), np.nan)),
            "edges": ("size", [int(mask.sum()) for mask in masks[: len(sizes)]]),
            "order": (("reader", "writer"), _edge_order(graph, order, of)),
            "score": (("reader", "writer"), np.where(graph.edges, score, np.nan)),
        },
        coords={
            "size": list(sizes),
            "reader": [str(reader) for reader in graph.readers],
            "writer": [str(writer) for writer in graph.writers],
        },
        attrs={
            "value": "faithfulness",
            "also": "score",
            "skip_missing": True,
            "of": of,
            "metric": metric if isinstance(metric, str) else getattr(metric, "__name__", "yours"),
            "method": method,
            "pairs": len(chosen),
            "cpr": areas[0],
            "cmd": areas[1],
        },
    )


def _check(of: str, sizes: Sequence[float], random: int) -> None:
    if not len(sizes) or any(not 0 <= size <= 1 for size in sizes):
        raise ValueError("sizes are shares of all edges: give numbers between 0 and 1")
    if of not in ("edges", "nodes"):
        raise ValueError(f"of is {of!r}: choose from edges and nodes")
    if random < 0:
        raise ValueError(f"random is {random}: give 0 or more circuits")


Order = list[tuple[int, int]]
"""Edges as (reader, writer), or nodes as (-1, writer), the most important first."""


def _order(graph: Graph, score: "npt.NDArray[np.float64]", of: Of) -> Order:
    if of == "nodes":
        by_node = np.abs(score.sum(0))
        return [(-1, int(writer)) for writer in np.argsort(-by_node, kind="stable") if writer]
    return list(greedy_edges(graph, score))


def greedy_edges(graph: Graph, score: "npt.NDArray[np.float64]") -> Iterator[tuple[int, int]]:
    """Edges in the order in which a greedy search takes them in, from the logits backwards."""
    heap: list[tuple[float, int, int]] = []
    opened: set[int] = set()

    def open_reader(reader: int) -> None:
        if reader not in opened:
            opened.add(reader)
            for writer in np.flatnonzero(graph.edges[reader]).tolist():
                heapq.heappush(heap, (-abs(float(score[reader, writer])), reader, writer))

    open_reader(len(graph.readers) - 1)
    while heap:
        _, reader, writer = heapq.heappop(heap)
        yield reader, writer
        for of_writer in graph.inputs[writer]:
            open_reader(of_writer)


def _random_order(graph: Graph, of: Of, rng: np.random.Generator) -> Order:
    if of == "nodes":
        return [(-1, int(writer) + 1) for writer in rng.permutation(len(graph.writers) - 1)]
    there = np.argwhere(graph.edges)
    return [(int(reader), int(writer)) for reader, writer in rng.permutation(there)]


def _mask(graph: Graph, order: Order, size: float, of: Of) -> torch.Tensor:
    """`[reader, writer]`: the edges of a circuit."""
    count = round(size * len(order))
    if of == "nodes":
        inside = {0, *(writer for _, writer in order[:count])}
        return _between(graph, inside if count else set())
    mask = torch.zeros(graph.edges.shape, dtype=torch.bool)
    for reader, writer in order[:count]:
        mask[reader, writer] = True
    return mask


def _between(graph: Graph, inside: set[int]) -> torch.Tensor:
    mask = torch.zeros(graph.edges.shape, dtype=torch.bool)
    writers = sorted(inside)
    for row, reader in enumerate(graph.readers):
        owners = graph.owner(reader)
        if inside and (not owners or inside.intersection(owners)):
            mask[row, writers] = True
    return mask & torch.from_numpy(graph.edges)


def _edge_order(graph: Graph, order: Order, of: Of) -> "npt.NDArray[np.float64]":
    places = np.full(graph.edges.shape, np.nan)
    if of == "edges":
        for place, (reader, writer) in enumerate(order):
            places[reader, writer] = place
        return places
    inside = {0}
    before = torch.zeros(graph.edges.shape, dtype=torch.bool)
    for place, (_, writer) in enumerate(order):
        inside.add(writer)
        now = _between(graph, inside)
        places[(now & ~before).numpy()] = place
        before = now
    return places


def _faithfulness(
    model: CausalModel, pairs: Sequence[PromptPair], metric: Metric, masks: Sequence[torch.Tensor]
) -> "npt.NDArray[np.float64]":
    """Of each circuit, over all pairs: the means of the metric are set against each other."""
    total, ends = np.zeros(len(masks)), np.zeros(2)
    for pair in jobs.each(pairs):
        measured = measure(model, pair, read_pair(model, pair), metric)
        sides = sides_of_one_length(measured, "noise")
        runs = CircuitRuns(model.runner, sides.base, sides.source)
        nothing = torch.zeros(runs.graph.edges.shape, dtype=torch.bool)
        whole = torch.from_numpy(runs.graph.edges)
        logits = runs.logits(torch.stack([whole, nothing, *masks]), read=measured.read)
        numbers = measured.against(logits[0]).value(logits).double().cpu().numpy()
        ends += numbers[:2]
        total += numbers[2:]
    if abs(ends[0] - ends[1]) < 1e-4 * len(pairs):
        raise PairError(
            "clean and corrupt prompts measure alike, so that there is nothing to recover: choose "
            "another metric, or pairs that differ"
        )
    recovered: npt.NDArray[np.float64] = (total - ends[1]) / (ends[0] - ends[1])
    return recovered


def _areas(
    sizes: "npt.NDArray[np.float64]", curve: "npt.NDArray[np.float64]"
) -> tuple[float, float]:
    """CPR and CMD."""
    order = np.argsort(sizes)
    x, y = sizes[order], curve[order]
    return float(np.trapz(y, x)), float(np.trapz(np.abs(1 - y), x))


@dataclasses.dataclass(frozen=True)
class Circuit:
    """The edges of a circuit.

    Args:
        edges: `(writer, reader, score)`, the strongest first.
    """

    edges: tuple[tuple[str, str, float], ...]


def edges_of(result: xr.Dataset, count: int) -> Circuit:
    """The edges of a circuit of so many, out of what `circuit` gives."""
    order, score = result["order"].values, result["score"].values
    inside = np.argwhere(order < count)
    listed = [
        (str(result["writer"].values[w]), str(result["reader"].values[r]), float(score[r, w]))
        for r, w in inside
    ]
    return Circuit(tuple(sorted(listed, key=lambda edge: -abs(edge[2]))))
