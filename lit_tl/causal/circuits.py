"""Circuits: few edges or parts that do what the whole model does.

A circuit of a size is chosen greedily: from the logits backwards, the edge of the largest score
that leads to what is already in it (Hanna et al. 2024). It is measured by running the clean prompt
with all other edges carrying the corrupt run's values: faithfulness is `(m(circuit) - m(empty)) /
(m(model) - m(empty))`, 0 for no edges and 1 for all. Over sizes, CPR is the area under that curve
and CMD the area between it and 1 (the MIB benchmark, Mueller et al. 2025).
"""

import dataclasses
import heapq
from typing import Any, Iterator, Literal, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from lit_tl.bootstrap import Bootstrap
from lit_tl.causal.edges import Method, edges, sides_of_one_length
from lit_tl.causal.metrics import Metric, measure
from lit_tl.causal.model import CausalModel
from lit_tl.causal.over_pairs import said_of_each, said_of_left_out
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
        `faithfulness`, with `low` and `high` of an interval of 95 % by bootstrap over pairs (NaN
        for one pair), `random_mean` and `random_faithfulness` by `size`, the last by `sample` too;
        `edges`: how many they have; `order` by
        `reader` and `writer`: the size at which an edge enters, as a count of edges (0 for the
        first), NaN where there is none; `score`. Attributes `cpr` and `cmd`, and `left_out`: what
        pairs do not count, as sentences.

    Raises:
        PairError: no pair has one length and suits the metric, or clean and corrupt prompts measure
            alike.
        ValueError: there is no pair, a size is not between 0 and 1, or the model's edges can't be
            told apart.
    """
    asked = listed(pairs)
    sizes = _check(of, sizes, random, seed)
    read = CausalModel.of(model)
    graph = graph_of(read.runner)
    ask = {"metric": metric, "method": method, "steps": steps}
    with jobs.current().part(0.0, 0.4):
        scored, left_out = _scored(read, asked, ask)
    chosen = [asked[place] for place in scored]
    score = np.mean([np.nan_to_num(each["effect"].values) for each in scored.values()], axis=0)
    order = _order(graph, score, of)
    rng = np.random.default_rng(seed)
    shuffled = [_random_order(graph, of, rng) for _ in range(random)]
    masks = [_mask(graph, each, size, of) for each in (order, *shuffled) for size in sizes]
    with jobs.current().part(0.4, 1.0):
        measured = _measured(read, chosen, metric, masks)
    curves = _faithfulness(measured.mean(0)).reshape(1 + random, len(sizes))
    low, high = _interval(measured[:, : 2 + len(sizes)])
    areas = _areas(np.array(sizes), curves[0])
    return xr.Dataset(
        {
            "faithfulness": ("size", curves[0]),
            "low": ("size", low),
            "high": ("size", high),
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
            **_attributes(scored, left_out, len(asked)),
            "of": of,
            "cpr": areas[0],
            "cmd": areas[1],
        },
    )


def _attributes(
    scored: Mapping[int, xr.Dataset], left_out: Sequence[str], asked: int
) -> dict[str, Any]:
    """What is said of the pairs that circuits were chosen and measured on."""
    attrs = [each.attrs for each in scored.values()]
    said = [said_of_left_out(left_out, asked), said_of_each([each["note"] for each in attrs])]
    return {
        "value": "faithfulness",
        "also": "score",
        "skip_missing": True,
        "metric": attrs[0]["metric"],
        "method": f"greedy circuits by {attrs[0]['method']}",
        "note": " ".join(filter(None, said)),
        "pairs": len(attrs),
        "asked": asked,
        "left_out": list(left_out),
    }


def _check(of: str, sizes: Sequence[float], random: int, seed: int) -> list[float]:
    try:
        shares = [float(size) for size in sizes]
    except (TypeError, ValueError):
        shares = []
    if not shares or any(not 0 <= size <= 1 for size in shares):
        raise ValueError(
            f"sizes is {sizes!r}: give a list of shares of all edges, numbers between 0 and 1"
        )
    if of not in ("edges", "nodes"):
        raise ValueError(f"of is {of!r}: choose from edges and nodes")
    for name, number in (("random", random), ("seed", seed)):
        if not isinstance(number, (int, np.integer)) or number < 0:
            raise ValueError(f"{name} is {number!r}: give a whole number of at least 0")
    return shares


def _scored(
    model: CausalModel, pairs: Sequence[PromptPair], ask: Mapping[str, Any]
) -> tuple[dict[int, xr.Dataset], list[str]]:
    """The edges of each pair by its place, and why others do not count."""
    scored, left_out = {}, []
    for place in jobs.each(range(len(pairs))):
        try:
            scored[place] = edges(model, pairs[place], **ask)
        except PairError as error:
            if len(pairs) == 1:
                raise
            left_out.append(f"pair {place}: {error}")
    if not scored:
        raise PairError(f"no pair can be looked into: {left_out[0]}")
    return scored, left_out


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


def _measured(
    model: CausalModel, pairs: Sequence[PromptPair], metric: Metric, masks: Sequence[torch.Tensor]
) -> "npt.NDArray[np.float64]":
    """The metric of the whole model, of the corrupt run and of each circuit, by pair."""
    numbers = []
    for pair in jobs.each(pairs):
        measured = measure(model, pair, read_pair(model, pair), metric)
        sides = sides_of_one_length(measured, "noise")
        runs = CircuitRuns(model.runner, sides.base, sides.source)
        nothing = torch.zeros(runs.graph.edges.shape, dtype=torch.bool)
        whole = torch.from_numpy(runs.graph.edges)
        logits = runs.logits(torch.stack([whole, nothing, *masks]), read=measured.read)
        numbers.append(measured.against(logits[0]).value(logits).double().cpu().numpy())
    by_pair = np.stack(numbers)
    if abs(by_pair[:, 0].mean() - by_pair[:, 1].mean()) < 1e-4:
        raise PairError(
            "clean and corrupt prompts measure alike, so that there is nothing to recover: choose "
            "another metric, or pairs that differ"
        )
    return by_pair


def _faithfulness(means: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    """Of each circuit, from means `[..., 2 + circuit]`: they are set against each other, and not
    the shares of single pairs, some of which have next to nothing to recover."""
    ends = means[..., 1:2], means[..., :1]
    recovered: npt.NDArray[np.float64] = (means[..., 2:] - ends[0]) / (ends[1] - ends[0])
    return recovered


def _interval(
    measured: "npt.NDArray[np.float64]",
) -> tuple["npt.NDArray[np.float64]", "npt.NDArray[np.float64]"]:
    """Bounds of the faithfulness, pairs drawn anew."""
    count = len(measured)
    if count == 1:
        return np.full(measured.shape[1] - 2, np.nan), np.full(measured.shape[1] - 2, np.nan)
    drawn = Bootstrap().draw(count)
    low, high = np.quantile(_faithfulness(drawn @ measured / count), [0.025, 0.975], axis=0)
    return low, high


def _areas(
    sizes: "npt.NDArray[np.float64]", curve: "npt.NDArray[np.float64]"
) -> tuple[float, float]:
    """CPR and CMD, over all sizes from 0 to 1."""
    # No edge recovers nothing and all of them everything, whatever sizes were asked for.
    x, first = np.unique([0.0, 1.0, *sizes], return_index=True)
    y = np.array([0.0, 1.0, *curve])[first]
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
