"""Runs in which only some edges carry what the run itself computes.

Every reader of the residual gets the other prompt's residual, and on top of it the difference that
those writers make from which an edge of the circuit leads to it. What the writers write is that of
the run itself, so that a difference goes on from edge to edge.
"""

from typing import Iterator, Mapping, Optional, Sequence

import torch
from jaxtyping import Bool, Float

from lit_tl.engine import jobs, selfchecks
from lit_tl.engine.graph import Graph
from lit_tl.engine.placing import Placed
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import Handler, ModelAdapter, Point
from lit_tl.engine.requests import Observe
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import Site
from lit_tl.engine.tree_state import tree_state

_DIFFERENCE = 1e-3


def graph_of(runner: Runner) -> Graph:
    """The graph of a model.

    Raises:
        ValueError: the model does not show what each head writes, or what each reads.
    """
    selfchecks.require_edges(runner)
    shape = runner.shape
    return Graph(shape.n_layers, shape.n_heads, shape.n_key_value_heads, shape.parallel_blocks)


class CircuitRuns:
    """Runs of a prompt in which edges outside a circuit carry another prompt's values.

    Args:
        runner: of the model.
        base: the prompt that runs.
        source: whose values edges outside the circuit carry; as long as the base.

    Raises:
        ValueError: the model's edges can't be told apart, or the prompts have not one length.
    """

    def __init__(self, runner: Runner, base: Prompt, source: Prompt):
        if len(base) != len(source):
            raise ValueError(
                f"edges are cut between prompts of one length, and these have {len(base)} and "
                f"{len(source)} tokens"
            )
        self._runner, self._base = runner, base
        self.graph = graph_of(runner)
        last = runner.shape.n_layers - 1
        observe = {
            "result": Observe(Site("result")),
            "mlp_out": Observe(Site("mlp_out")),
            "resid_pre": Observe(Site("resid_pre")),
            "mlp_in": Observe(Site("mlp_in")),
            "last": Observe(Site("resid_post", last)),
        }
        (batch,) = runner.run([source], observe=observe, logits="none")
        self._source = batch.observed

    def logits(
        self, circuits: Bool[torch.Tensor, "circuit reader writer"], *, read: int = 1
    ) -> Float[torch.Tensor, "circuit read d_vocab"]:
        """Logits of the last positions, with the edges of each circuit.

        Args:
            circuits: for each of them, whether an edge is in it; edges that the graph has not are
                left out.
            read: how many positions are read, from the end on.

        Raises:
            ValueError: the model's residual is not the plain sum of what its parts write.
            lit_tl.engine.jobs.Cancelled: the job was cancelled.
        """
        whole = torch.from_numpy(self.graph.edges)
        tree = self._runner.tree_for({}, [Site("result")])
        masks = torch.cat([circuits & whole, whole[None]])
        parts = []
        for rows in self._parts(len(masks)):
            jobs.current().check()
            parts.append(self._run(tree, masks[rows], read))
        logits = torch.cat(parts)
        (own,) = self._runner.run([self._base])
        expected = own.need_logits()[0, -read:]
        apart = float((logits[-1] - expected).float().abs().max() / expected.float().abs().max())
        if apart > (_DIFFERENCE if expected.dtype == torch.float32 else 1e-1):
            raise ValueError(
                f"the edges of {selfchecks.said(self._runner)} can't be cut: its residual is not "
                "the plain sum of what its parts write"
            )
        return logits[:-1]

    def _parts(self, count: int) -> Iterator[slice]:
        """Circuits that run together: of about 256 MB of differences."""
        numbers = len(self.graph.writers) * len(self._base) * self._runner.shape.d_model
        size = max(1, min(32, 2**26 // numbers))
        for first in range(0, count, size):
            yield slice(first, first + size)

    def _run(self, tree: ModelAdapter, masks: torch.Tensor, read: int) -> torch.Tensor:
        hooks = _Hooks(self.graph, self._source, masks.to(tree.device))
        handlers = self._with_changes(hooks.handlers())
        ids = torch.tensor([self._base.ids]).expand(len(masks), -1)
        with tree_state(tree.module).lock, torch.no_grad(), tree.hooked(handlers):
            logits, _ = tree.forward(ids, keep_cache=False, last=read)
        return logits

    def _with_changes(self, handlers: dict[Point, Handler]) -> dict[Point, Handler]:
        """The runner's own interventions come first: they change what is written."""
        lengths = [len(self._base)]

        def both(changes: Sequence[Placed], then: Optional[Handler]) -> Handler:
            def handle(value: torch.Tensor) -> torch.Tensor:
                for change in changes:
                    value = change.changed(value, lengths * len(value))
                after = None if then is None else then(value)
                return value if after is None else after

            return handle

        placed = self._runner.place(self._runner.interventions)
        for point, changes in placed.items():
            if any(change.intervention.reader is not None for change in changes):
                raise ValueError(
                    f"{changes[0].intervention} changes an edge of {self._runner.shape.name}, "
                    "whose edges can't be cut then: take it out"
                )
            handlers[point] = both(changes, handlers.get(point))
        return handlers


class _Hooks:
    """What writers and readers do in one pass.

    Args:
        graph: of the model.
        source: values of the other prompt.
        masks: `[circuit, reader, writer]`.
    """

    def __init__(self, graph: Graph, source: Mapping[str, object], masks: torch.Tensor):
        self._graph, self._source = graph, source
        self._masks = masks
        self._differences: Optional[torch.Tensor] = None

    def handlers(self) -> dict[Point, Handler]:
        """By point."""
        handlers: dict[Point, Handler] = {}
        for layer in range(self._graph.n_layers):
            handlers[Point(layer, "result")] = self._writes(layer, "result")
            handlers[Point(layer, "mlp_out")] = self._writes(layer, "mlp_out")
        handlers[Point(0, "resid_pre")] = self._begins()
        for point in {reader.point for reader in self._graph.readers}:
            handlers[point] = self._reads(point)
        return handlers

    def _of_source(self, name: str, layer: int) -> torch.Tensor:
        values = self._source[name]
        value = values[layer] if isinstance(values, dict) else values
        assert isinstance(value, torch.Tensor)
        return value[0].float()

    def _begins(self) -> Handler:
        def handle(value: torch.Tensor) -> None:
            rows, pos, d_model = value.shape
            writers = len(self._graph.writers)
            # In float32: the sum of many differences in half precision is off by its own rounding.
            shape = (rows, writers, pos, d_model)
            self._differences = torch.zeros(shape, dtype=torch.float32, device=value.device)
            self._differences[:, 0] = value.float() - self._of_source("resid_pre", 0)

        return handle

    def _writes(self, layer: int, name: str) -> Handler:
        first = 1 + layer * (self._graph.n_heads + 1)

        def handle(value: torch.Tensor) -> None:
            assert self._differences is not None
            difference = value.float() - self._of_source(name, layer)
            if name == "result":
                own = slice(first, first + self._graph.n_heads)
                self._differences[:, own] = difference.transpose(1, 2)  # circuit head pos d_model
            else:
                self._differences[:, first + self._graph.n_heads] = difference

        return handle

    def _reads(self, point: Point) -> Handler:
        rows = self._graph.rows_at(point)
        before = self._graph.written_before(self._graph.readers[rows[0]])
        name = {"mlp_in": "mlp_in", "resid_post": "last"}.get(point.component, "resid_pre")
        masks = self._masks[:, list(rows), :before]

        def handle(value: torch.Tensor) -> torch.Tensor:
            assert self._differences is not None
            written = self._differences[:, :before].flatten(2)  # circuit writer pos*d_model
            summed = torch.bmm(masks.to(written.dtype), written)
            summed = summed.unflatten(2, value.shape[1:2] + value.shape[-1:])
            source = self._of_source(name, point.layer)
            if value.ndim == 4:
                whole = source[:, None] + summed.transpose(1, 2)  # circuit pos head d_model
                return whole.to(value.dtype)
            return (source + summed[:, 0]).to(value.dtype)

        return handle
