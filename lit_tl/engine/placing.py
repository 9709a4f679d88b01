"""Interventions at the points of a model, with their numbers as tensors."""

import collections
import dataclasses
from typing import Callable, Mapping, Optional, Sequence

import torch

from lit_tl.engine.interventions import FromRun, Intervention, Numbers, Value
from lit_tl.engine.prompts import Prompt
from lit_tl.engine.protocol import ModelAdapter, ModelShape, Point
from lit_tl.engine.selection import changed, checked, part, row_index
from lit_tl.engine.sites import POSITION_AXES, WITHOUT_LAYER, Site

ByPoint = Mapping[Point, Sequence["Placed"]]


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
        row: of the batch, the only one that is changed; None for all of them.
        behind: tokens behind the prompt that are changed too.
    """

    intervention: Intervention
    given: tuple[torch.Tensor, ...]
    row: Optional[int] = None
    behind: int = 0

    def __post_init__(self) -> None:
        site = self.intervention.site
        spare = 1 if self.intervention.counts_positions else 0  # the choices of a draw
        for numbers in self.given:
            if (
                numbers.ndim
                > len(_without_positions(site) if spare else site.selected_axes) + spare
            ):
                raise ValueError(
                    f"{site}: an array of shape {list(numbers.shape)} was given, but the value of "
                    f"one prompt has the axes {', '.join(site.selected_axes) or 'of a number'}"
                )

    @property
    def by_prompt(self) -> bool:
        """Whether the numbers differ by position, so that they fit prompts of one length alone."""
        if self.intervention.counts_positions:
            return False
        axes = self.intervention.site.selected_axes
        from_run = any(isinstance(value, FromRun) for value in self.intervention.values)
        return any(
            axis in POSITION_AXES and (size > 1 or from_run)
            for numbers in self.given
            for axis, size in zip(reversed(axes), reversed(numbers.shape))
        )

    @property
    def goes_on(self) -> bool:
        """Whether tokens behind the prompt are changed too."""
        positions = self.intervention.site.positions
        is_open = positions is None or (isinstance(positions, tuple) and positions[1] is None)
        return is_open and not self.intervention.prompt_only and not self.by_prompt

    def begins_behind(self, length: int) -> bool:
        """Whether it begins in tokens behind a prompt of so many, and not with the first of
        them."""
        positions = self.intervention.site.positions
        return isinstance(positions, tuple) and (positions[0] or 0) > length

    def with_tokens_behind(self, length: int, count: int) -> "Placed":
        """The same for a run of one prompt with tokens behind it.

        Args:
            length: of the prompt, from whose end negative positions count.
            count: of the tokens.
        """
        site = self.intervention.site
        if site.positions is None:
            start = 0
        elif isinstance(site.positions, tuple):
            first = site.positions[0] or 0
            start = first if first >= 0 else max(length + first, 0)
        else:
            return self
        if not self.goes_on and site.positions is not None:
            return self
        here = dataclasses.replace(site, positions=(start, None))
        changed_at = dataclasses.replace(self.intervention, site=here)
        return dataclasses.replace(
            self, intervention=changed_at, behind=count if self.goes_on else 0
        )

    def changed(self, value: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """A copy of a value with its batch axis, in which the site's part is changed.

        Raises:
            ValueError: the numbers do not fit.
        """
        site = self.intervention.site
        if self.row is not None:
            return rows_changed(value, [self], lengths)
        if self.behind:
            lengths = [length + self.behind for length in lengths]
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


def _without_positions(site: Site) -> list[str]:
    return [axis for axis in site.selected_axes if axis not in POSITION_AXES]


def rows_changed(
    value: torch.Tensor, changes: Sequence[Placed], lengths: Sequence[int], start: int = 0
) -> torch.Tensor:
    """A copy of a value, in which each change is made in its own row.

    Args:
        value: `[batch, *axes]`.
        changes: each with a row.
        lengths: of the prompts.
        start: the position at which the value begins.

    Raises:
        ValueError: the numbers do not fit.
    """
    new = value.clone()
    for here in changes:
        assert here.row is not None
        site = here.intervention.site
        index = row_index(site, here.row, lengths[here.row], start)
        new[index] = checked(here.change, part(new, index, site), site)
    return new


def place(
    adapter: ModelAdapter,
    interventions: Sequence[Intervention],
    value_of: Callable[[FromRun, Site], torch.Tensor],
) -> dict[Point, list[Placed]]:
    """Interventions by point, those of all layers split.

    Args:
        adapter: of the model.
        interventions: in the order in which they are made.
        value_of: the value of another run at a site of one layer.

    Raises:
        ValueError: a site does not exist, can't be changed, or its numbers do not fit it.
    """
    placed: dict[Point, list[Placed]] = collections.defaultdict(list)
    for intervention in interventions:
        check_reader(adapter, intervention)
        for point in points_of(adapter, intervention.site, read_only=False):
            layer = None if point.layer < 0 else point.layer
            here = dataclasses.replace(intervention, site=intervention.site.at(layer))
            given = tuple(_tensor(value, here.site, value_of) for value in here.values)
            placed[point].append(Placed(here, given))
    return dict(placed)


def _tensor(
    value: Value, site: Site, value_of: Callable[[FromRun, Site], torch.Tensor]
) -> torch.Tensor:
    if isinstance(value, FromRun):
        return value_of(value, site)
    return value.tensor if isinstance(value, Numbers) else torch.from_numpy(value.values.copy())


def check_reader(adapter: ModelAdapter, intervention: Intervention) -> None:
    """See that an edge ends where the model reads the residual.

    Raises:
        ValueError: it does not.
    """
    reader, last = intervention.reader, adapter.shape.n_layers - 1
    if reader is None:
        return
    points_of(adapter, reader)
    if reader.component == "resid_post" and reader.layer != last:
        raise ValueError(
            f"{intervention.site} -> {reader}: resid_post[{last}] is what the final norm of "
            f"{adapter.shape.name} reads; in other layers name attn_in, q_input, k_input, v_input "
            "or mlp_in"
        )


def with_rows(placed: ByPoint, of_rows: Sequence[ByPoint]) -> dict[Point, list[Placed]]:
    """Changes of all rows, and then those of each row alone.

    Args:
        placed: in every row.
        of_rows: for each row of a batch.
    """
    joined = {point: list(here) for point, here in placed.items()}
    for row, own in enumerate(of_rows):
        for point, here in own.items():
            joined.setdefault(point, []).extend(dataclasses.replace(each, row=row) for each in here)
    return joined


def with_tokens_behind(
    placed: ByPoint, prompt: Prompt, ids: Sequence[int]
) -> dict[Point, list[Placed]]:
    """Changes of one prompt, for a run with tokens behind it; see `Placed.with_tokens_behind`."""
    return {
        point: [each.with_tokens_behind(len(prompt), len(ids)) for each in here]
        for point, here in placed.items()
    }
