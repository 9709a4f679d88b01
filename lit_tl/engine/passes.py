"""What happens at each point during one forward pass: interventions, gradients, observations."""

import collections
from typing import Any, Mapping, Optional, Sequence

import numpy as np
import torch

from lit_tl.engine.placing import Placed, points_of, rows_changed
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import Handler, ModelAdapter, Point
from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.selection import changed, select
from lit_tl.engine.sites import Site

_EMBED, _UNEMBED_IN = Point(-1, "embed"), Point(-1, "unembed_in")
_DIFFERENCE = 1e-3


class Pass:
    """One forward pass: which points are hooked, and what their handlers do, in this order:
    changes, gradients, observations.

    Args:
        adapter: the module tree that runs.
        prompts: of the batch.
        observe: what to look at.
        placed: interventions by the point that they change.
        gradient_points: points whose gradient is asked for.
        cut_unembed: keep the graph out of the full product with the unembedding.
        start: the position of the first token that runs; those before it are in a cache.
        entering: residuals `[row, pos, d_model]` that come in as further rows before a layer. The
            first of them take the place of what the token ids gave.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        prompts: Sequence[Prompt],
        *,
        observe: Mapping[str, Observe],
        placed: Mapping[Point, Sequence[Placed]],
        gradient_points: Sequence[Point] = (),
        cut_unembed: bool = False,
        start: int = 0,
        entering: Mapping[int, torch.Tensor] = {},
    ):
        self._adapter = adapter
        self._prompts = prompts
        self._lengths = [len(prompt.ids) for prompt in prompts]
        self._seen_lengths: Optional[torch.Tensor] = None
        self._observe = observe
        self._placed = placed
        self._cut_unembed = cut_unembed
        self._start, self._entering = start, entering
        self._gradient_points = set(gradient_points)
        self._observed_at: dict[Point, list[str]] = collections.defaultdict(list)
        self._stacks: dict[str, dict[int, int]] = {}
        for name, wanted in observe.items():
            points = points_of(adapter, wanted.site, wanted.layers)
            for point in points:
                self._observed_at[point].append(name)
            if wanted.stack:
                self._stacks[name] = {point.layer: row for row, point in enumerate(points)}
        self._edges: dict[Point, list[Placed]] = collections.defaultdict(list)
        for placed_here in placed.values():
            for edge in placed_here:
                if edge.intervention.reader is not None:
                    (reader,) = points_of(adapter, edge.intervention.reader)
                    self._edges[reader].append(edge)
        self._deltas: dict[int, torch.Tensor] = {}
        self._branch_deltas: dict[int, torch.Tensor] = {}
        self._arrived: dict[Point, torch.Tensor] = {}
        self._left: dict[Point, torch.Tensor] = {}
        self._reached: set[Point] = set()
        self.leaves: dict[Point, torch.Tensor] = {}
        """Values that gradients are taken of, after the pass."""
        self.final: Optional[torch.Tensor] = None
        """The input of the unembedding with its graph, where it was cut."""
        self.observed: dict[str, Any] = {}

    @property
    def needs_embeddings_given(self) -> bool:
        """Whether a prompt comes with token embeddings of its own."""
        return any(prompt.token_embeddings is not None for prompt in self._prompts)

    def handlers(self) -> dict[Point, Handler]:
        """A handler for each point that the pass looks at or changes."""
        points = {*self._observed_at, *self._placed, *self._edges, *self._gradient_points}
        points |= {Point(layer, "resid_pre") for layer in self._entering}
        if self.needs_embeddings_given:
            points.add(_EMBED)
        if self._cut_unembed:
            points.add(_UNEMBED_IN)
        self._checked = self._points_to_check(points)
        points |= self._checked
        return {point: self._handler(point) for point in sorted(points)}

    def _points_to_check(self, points: set[Point]) -> set[Point]:
        """What shows that the residual is the sum that edges and `resid_mid` take it for."""
        checked: set[Point] = set()
        for point in points:
            if self._changes_a_branch(point):
                checked |= {Point(point.layer, name) for name in ("mlp_out", "resid_post")} | {
                    point
                }
            for edge in self._placed.get(point, ()):
                if edge.intervention.reader is None:
                    continue
                layer = max(point.layer, 0)
                names = ["resid_pre"] if point == _EMBED else ["resid_pre", "mlp_out", "resid_post"]
                checked |= {Point(layer, name) for name in names} | {point}
                if point == _EMBED and Point(-1, "pos_embed") in self._adapter.points:
                    checked.add(Point(-1, "pos_embed"))
                if point.component in ("result", "mlp_out"):
                    checked.add(Point(layer, "attn_out"))
        return checked

    def _changes_a_branch(self, point: Point) -> bool:
        asked = point in self._gradient_points or point in self._placed
        return asked and self._adapter.branches(point)

    def _handler(self, point: Point) -> Handler:
        def handle(value: torch.Tensor) -> Optional[torch.Tensor]:
            self._reached.add(point)
            return self._at(point, value)

        return handle

    def _at(self, point: Point, value: torch.Tensor) -> Optional[torch.Tensor]:
        before = value
        if point in self._checked:
            self._arrived[point] = value.detach()
        if point == _EMBED and self.needs_embeddings_given:
            value = self._given_embeddings(value)
        if point.component == "resid_post" and point.layer in self._branch_deltas:
            value = value + self._branch_deltas.pop(point.layer)
        if point.component == "resid_pre" and point.layer in self._entering:
            value = self._enter(point.layer, value)
        for edge in self._edges.get(point, ()):
            value = self._receive(edge, value)
        value = self._change(self._placed.get(point, ()), value)
        for here in self._placed.get(point, ()):
            if here.intervention.reader is not None:
                self._send(here, value)
        if self._changes_a_branch(point):
            self._branch_deltas[point.layer] = value - before  # for the stream beside the hook
        if point in self._gradient_points:
            value = self._with_gradient(point, value)
        if point in self._checked:
            self._left[point] = value.detach()
        for name in self._observed_at.get(point, ()):
            self._keep(name, point.layer, value.detach())
        if point == _UNEMBED_IN and self._cut_unembed:
            self.final = value
            value = value.detach()
        # A HookPoint may show a reshaped view: for a gradient, that view itself must flow on.
        return None if value is before and point not in self._gradient_points else value

    def _enter(self, layer: int, value: torch.Tensor) -> torch.Tensor:
        rows = self._entering[layer].to(value.device)
        return rows if layer == min(self._entering) else torch.cat([value, rows])

    def _change(self, placed: Sequence[Placed], value: torch.Tensor) -> torch.Tensor:
        of_rows = []
        for here in placed:
            if here.intervention.reader is not None:
                continue
            if here.row is not None:
                of_rows.append(here)
            else:
                value = here.changed(value, self._lengths)
        return rows_changed(value, of_rows, self._lengths, self._start) if of_rows else value

    def _given_embeddings(self, value: torch.Tensor) -> torch.Tensor:
        value = value.detach().clone()
        for row, prompt in zip(value, self._prompts, strict=True):
            if prompt.token_embeddings is not None:
                given = torch.as_tensor(np.asarray(prompt.token_embeddings))
                row[: len(prompt.ids)] = given.to(row)
        return value

    def _with_gradient(self, point: Point, value: torch.Tensor) -> torch.Tensor:
        if self._changes_a_branch(point):
            leaf = torch.zeros_like(value).requires_grad_(True)
            self.leaves[point] = leaf
            self._branch_deltas[point.layer] = self._branch_deltas[point.layer] + leaf
            return value + leaf
        # Others may read the same tensor beside the hook: only what flows on from here counts.
        here = value.view_as(value) if value.requires_grad else value.detach().requires_grad_(True)
        self.leaves[point] = here
        return here

    def _send(self, edge: Placed, value: torch.Tensor) -> None:
        site = edge.intervention.site
        new = edge.changed(value, self._lengths)
        delta = new - value
        if site.head is not None:
            delta = delta[:, :, site.head]  # batch pos d_model
        self._deltas[id(edge)] = delta

    def _receive(self, edge: Placed, value: torch.Tensor) -> torch.Tensor:
        reader, delta = edge.intervention.reader, self._deltas[id(edge)]
        assert reader is not None
        shown = delta[:, :, None] if "head" in reader.axes else delta
        whole = value + shown
        return changed_like(value, whole, reader, self._lengths)

    def _keep(self, name: str, layer: int, value: torch.Tensor) -> None:
        wanted = self._observe[name]
        part: Any = value
        site = wanted.site
        if (site.positions, site.head, site.neuron) != (None, None, None):
            part = select(value, site, self._lengths)
        if wanted.reduce is not None:
            if self._seen_lengths is None:
                self._seen_lengths = torch.tensor(self._lengths, device=value.device)
            part = wanted.reduce(part, Seen(layer, self._seen_lengths, self._prompts))
        if wanted.stack:
            self._put(name, layer, part)
        elif site.layer is not None or layer < 0:
            self.observed[name] = part
        else:
            self.observed.setdefault(name, {})[layer] = part

    def _put(self, name: str, layer: int, part: Any) -> None:
        if not isinstance(part, torch.Tensor):
            raise ValueError(f"{name}: values of several lengths can't be put into one tensor")
        rows = self._stacks[name]
        if name not in self.observed:
            self.observed[name] = part.new_empty(len(rows), *part.shape)
        self.observed[name][rows[layer]] = part  # to the first layer's device

    def check(self) -> None:
        """See that every point was reached, and that sums are sums where a change relies on it.

        Raises:
            ValueError: the model does not do what the request takes it to do.
        """
        optional = Point(-1, "pos_embed")
        for point in self._hooked_points():
            if point not in self._reached and point != optional:
                raise ValueError(
                    f"{self._adapter.shape.name} never computes {point} in a pass over these "
                    "prompts"
                )
        for point in self._checked:
            if self._changes_a_branch(point):
                parts = [self._arrived[point], self._left[Point(point.layer, "mlp_out")]]
                total = self._arrived[Point(point.layer, "resid_post")]
                self._is_sum(total, parts, f"{point} can't be changed")
            if any(edge.intervention.reader is not None for edge in self._placed.get(point, ())):
                self._check_edge_source(point)

    def _hooked_points(self) -> set[Point]:
        return {
            *self._observed_at,
            *self._placed,
            *self._edges,
            *self._gradient_points,
            *self._checked,
        }

    def _is_sum(self, total: torch.Tensor, parts: Sequence[torch.Tensor], refusal: str) -> None:
        expected = sum(parts[1:], parts[0])
        tolerance = _DIFFERENCE if total.dtype == torch.float32 else 3e-2
        if float((total - expected).abs().max()) > tolerance * float(total.abs().max()):
            raise ValueError(
                f"{refusal} in {self._adapter.shape.name}: its residual is not the plain sum of "
                "what its parts write"
            )

    def _check_edge_source(self, point: Point) -> None:
        refusal = f"an edge from {point} can't be changed"
        arrived, left = self._arrived, self._left
        if point == _EMBED:
            parts = [left[point]]
            if Point(-1, "pos_embed") in left:
                parts.append(left[Point(-1, "pos_embed")])
            self._is_sum(arrived[Point(0, "resid_pre")], parts, refusal)
            return
        layer = point.layer
        names = ("resid_pre", "attn_out", "mlp_out")
        parts = [left[Point(layer, name)] for name in names]
        self._is_sum(arrived[Point(layer, "resid_post")], parts, refusal)
        if point.component == "result":
            rest = arrived[Point(layer, "attn_out")] - left[point].sum(2)
            self._is_sum(rest, [rest[:1, :1].expand_as(rest)], refusal)  # the output bias alone


def changed_like(
    value: torch.Tensor, whole: torch.Tensor, site: Site, lengths: Sequence[int]
) -> torch.Tensor:
    """`value`, with a site's part taken from `whole`."""
    if site.positions is None and site.head is None:
        return whole
    mask = torch.zeros_like(value, dtype=torch.bool)
    mask = changed(mask, site, lengths, torch.ones_like)
    return torch.where(mask, whole, value)
