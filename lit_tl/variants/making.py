"""From changes to interventions of a model: data sets are run, directions made."""

from typing import Any, Iterator, Mapping, Sequence, Union

from lit_tl.engine.interventions import (
    Array,
    Draw,
    FromRun,
    Intervention,
    ProjectOut,
    Replace,
    Steer,
    Zero,
)
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import AXES, WITHOUT_LAYER, Site
from lit_tl.variants.changes import (
    Along,
    Change,
    Layer,
    ToMean,
    ToOthers,
    ToRun,
    ToZero,
    Without,
)
from lit_tl.variants.directions import vector_of
from lit_tl.variants.ground import Ground
from lit_tl.variants.text import parse_changes

Means = Mapping[str, Mapping[Site, Any]]
"""By data set and site."""
Given = Union[str, Change, Intervention]
"""A change as a user gives it."""


def interventions_of(
    changes: Sequence[Union[Change, Intervention]], ground: Ground
) -> tuple[Intervention, ...]:
    """The interventions that changes are, in their order.

    Args:
        changes: as they are written; interventions of the engine stay as they are.
        ground: that they are made on.

    Raises:
        ValueError: the model has no such site, a vector does not fit it, or there is no such data
            set; the message says what there is.
    """
    places: list[tuple[Change, Site]] = []
    made: list[list[Intervention]] = []
    for change in changes:
        if isinstance(change, Intervention):
            ground.runner.require([change])
        else:
            places += [(change, site) for site in _sites(change, ground.runner)]
    for _, site in places:  # before a data set runs
        _require(site, ground)
    means_of = _means(places, ground)
    for change in changes:
        if isinstance(change, Intervention):
            made.append([change])
        else:
            sites = _sites(change, ground.runner)
            made.append([_made(change, site, ground, means_of) for site in sites])
    return tuple(each for own in made for each in own)


def _require(site: Site, ground: Ground) -> None:
    """See that the model has a site, its neuron too."""
    there = [name for name in AXES if name in WITHOUT_LAYER or ground.runner.layers(name)]  # type: ignore[arg-type]
    if site.component not in there:
        raise ValueError(
            f"{ground.runner.shape.name} has no {site.component}: choose from {', '.join(there)}"
        )
    ground.runner.require([Zero(site)])
    if site.neuron is None:
        return
    count = ground.width(site)
    if site.neuron >= count:
        raise ValueError(
            f"neuron {site.neuron} is out of range: {site.component} of layer {site.layer} of "
            f"{ground.runner.shape.name} has neurons 0 to {count - 1}"
        )


def _means(places: Sequence[tuple[Change, Site]], ground: Ground) -> Means:
    """The means that changes need, each data set run once."""
    wanted: dict[str, dict[Site, None]] = {}
    for change, site in places:
        if isinstance(change.action, ToMean):
            wanted.setdefault(change.action.data_set, {})[site] = None
    return {
        name: ground.means(ground.data_set(name), list(sites)) for name, sites in wanted.items()
    }


def _sites(change: Change, runner: Runner) -> Iterator[Site]:
    """Where a change is made: a site of each layer that it means."""
    where = change.where
    if isinstance(where, Layer):
        sites = [
            Site("attn_out", where.layer, positions=where.positions),
            Site("mlp_out", where.layer, positions=where.positions),
        ]
        there = [site for site in sites if where.layer in runner.layers(site.component)]
        yield from there or sites[1:]
    elif where.layer is None and where.component not in WITHOUT_LAYER:
        yield from [where.at(layer) for layer in runner.layers(where.component)] or [where]
    else:
        yield where


def _made(change: Change, site: Site, ground: Ground, means_of: Means) -> Intervention:
    action = change.action
    where: dict[str, Any] = {"prompt_only": change.prompt_only}
    if isinstance(action, ToZero):
        return Zero(site, **where)
    if isinstance(action, ToRun):
        return Replace(site, FromRun(ground.prompter.from_text(action.prompt).ids), **where)
    if isinstance(action, ToMean):
        return Replace(site, Array(means_of[action.data_set][site]), **where)
    if isinstance(action, ToOthers):
        prompts = ground.data_set(action.data_set)
        values = ground.drawn_values(prompts, site, action.seed)
        return Draw(site, Array(values), action.seed, **where)
    assert isinstance(action, (Along, Without))
    vector = Array(vector_of(action.direction, site, ground))
    if isinstance(action, Along):
        return Steer(site, vector, action.strength, **where)
    return ProjectOut(site, vector, **where)


def read_changes(given: Sequence[Given]) -> tuple[Union[Change, Intervention], ...]:
    """Changes as a user gives them: texts, of one or several changes each, or changes, or
    interventions of the engine.

    Raises:
        ValueError: a text is no change.
        TypeError: something is neither.
    """
    read: list[Union[Change, Intervention]] = []
    for each in given:
        if isinstance(each, str):
            read += parse_changes(each)
        elif isinstance(each, (Change, Intervention)):
            read.append(each)
        else:
            raise TypeError(
                f"a change is a text such as 'L9H6 = zero', or an intervention, and not {each!r}"
            )
    return tuple(read)
