"""What happens at each point during one forward pass: interventions, gradients, observations."""

import collections
import dataclasses
from typing import Any, Mapping, Optional, Sequence

import numpy as np
import torch

from lit_tl.engine.interventions import FromRun, Intervention
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import Handler, ModelAdapter, ModelShape, Point
from lit_tl.engine.requests import Observe, Seen
from lit_tl.engine.selection import changed, select
from lit_tl.engine.sites import POSITION_AXES, WITHOUT_LAYER, Site

_EMBED, _UNEMBED_IN = Point(-1, "embed"), Point(-1, "unembed_in")
_DIFFERENCE = 1e-3


def points_of(
    adapter: ModelAdapter,
    site: Site,
    layers: Optional[Sequence[int]] = None,
    *,
    read_only: bool = True,
) -> list[Point]:
    """The points of a site in a model: one, or of each layer that has the component.

    Args:
        adapter: of the model.
        site: where.
        layers: only these, where the site names none.
        read_only: whether points will do whose value the model does not go on with.

    Raises:
        ValueError: the model has no such layer, component or head there, or does not go on with its
            value.
    """
    n_layers = adapter.shape.n_layers
    if site.component in WITHOUT_LAYER:
        points = [Point(-1, site.component)]
    elif site.layer is None and layers is None:
        every = [Point(layer, site.component) for layer in range(n_layers)]
        points = [point for point in every if point in adapter.points]
    else:
        points = [
            Point(layer, site.component)
            for layer in ([site.layer] if site.layer is not None else layers or ())
        ]
    for point in points:
        if site.component not in WITHOUT_LAYER and not 0 <= point.layer < n_layers:
            raise ValueError(
                f"layer {point.layer} is out of range: {adapter.shape.name} has layers 0 to "
                f"{n_layers - 1}"
            )
    missing = [point for point in points if point not in adapter.points]
    if missing or (not points and layers is None):
        raise ValueError(adapter.lacks(str(missing[0]) if missing else site.component))
    if site.head is not None:
        _check_head(adapter.shape, site)
    for point in points:
        if not read_only and adapter.is_read_only(point):
            raise ValueError(
                f"{point} of {adapter.shape.name} can be observed, but neither changed nor "
                "differentiated: the model chooses its experts before it gives this value out"
            )
    return points


def _check_head(shape: ModelShape, site: Site) -> None:
    grouped = site.component in ("k", "v", "k_input", "v_input")
    count = shape.n_key_value_heads if grouped else shape.n_heads
    if site.head is not None and site.head >= count:
        kind = "key-value heads" if grouped and count != shape.n_heads else "heads"
        raise ValueError(
            f"head {site.head} is out of range: {shape.name} has {kind} 0 to {count - 1}"
        )


@dataclasses.dataclass(frozen=True)
class Placed:
    """An intervention at one point, with its numbers as tensors.

    Args:
        intervention: whose site is of the point's layer.
        given: its `values`, without a batch axis.
    """

    intervention: Intervention
    given: tuple[torch.Tensor, ...]

    def __post_init__(self) -> None:
        site = self.intervention.site
        for numbers in self.given:
            if numbers.ndim > len(site.selected_axes):
                raise ValueError(
                    f"{site}: an array of shape {list(numbers.shape)} was given, but the value of "
                    f"one prompt has the axes {', '.join(site.selected_axes) or 'of a number'}"
                )

    @property
    def by_prompt(self) -> bool:
        """Whether the numbers differ by position, so that they fit prompts of one length alone."""
        axes = self.intervention.site.selected_axes
        from_run = any(isinstance(value, FromRun) for value in self.intervention.values)
        return any(
            axis in POSITION_AXES and (size > 1 or from_run)
            for numbers in self.given
            for axis, size in zip(reversed(axes), reversed(numbers.shape))
        )

    def changed(self, value: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """A copy of a value with its batch axis, in which the site's part is changed.

        Raises:
            ValueError: the numbers do not fit.
        """
        site = self.intervention.site
        return changed(value, site, lengths, self.change, by_prompt=self.by_prompt)

    def change(self, value: torch.Tensor) -> torch.Tensor:
        """The new value of the selected part."""
        given = tuple(numbers.to(value.device, value.dtype) for numbers in self.given)
        for numbers, source in zip(given, self.intervention.values, strict=True):
            if self.by_prompt and isinstance(source, FromRun) and numbers.shape != value.shape:
                raise ValueError(
                    f"{self.intervention.site}: the given numbers do not fit a value of shape "
                    f"{list(value.shape)}: the other run's has {list(numbers.shape)}"
                )
        return self.intervention.change(value, given)


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
    ):
        self._adapter = adapter
        self._prompts = prompts
        self._lengths = [len(prompt.ids) for prompt in prompts]
        self._seen_lengths: Optional[torch.Tensor] = None
        self._observe = observe
        self._placed = placed
        self._cut_unembed = cut_unembed
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
        for edge in self._edges.get(point, ()):
            value = self._receive(edge, value)
        for here in self._placed.get(point, ()):
            if here.intervention.reader is None:
                value = here.changed(value, self._lengths)
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
