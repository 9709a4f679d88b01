"""The part of a value that a site means: its head or neuron, and positions of each prompt."""

from typing import Any, Callable, Sequence, Union

import torch

from lit_tl.engine.sites import Positions, Site

Index = tuple[Any, ...]


def resolved(positions: Positions, length: int, site: Site) -> Union[int, slice]:
    """Positions of one prompt, counted from its start.

    Raises:
        ValueError: the prompt has no such position.
    """
    if isinstance(positions, int):
        if not -length <= positions < length:
            raise ValueError(
                f"{site}: position {positions} is out of range, the prompt has {length} tokens"
            )
        return positions % length
    start, stop = (None, None) if positions is None else positions
    return slice(*slice(start, stop).indices(length))


def indices(site: Site, lengths: Sequence[int], *, by_prompt: bool = False) -> list[Index]:
    """Where a site lies in a value `[batch, *axes]`: one index for all rows, or one for each.

    Args:
        site: where.
        lengths: of the prompts.
        by_prompt: one for each row, without its padding.
    """
    if by_prompt:
        return [
            (row, *_inner(site, resolved(site.positions, length, site), slice(length)))
            for row, length in enumerate(lengths)
        ]
    if site.positions is None:
        return [(slice(None), *_inner(site, slice(None)))]
    places = [resolved(site.positions, length, site) for length in lengths]
    if all(place == places[0] for place in places):
        return [(slice(None), *_inner(site, places[0]))]
    return [(row, *_inner(site, place)) for row, place in enumerate(places)]


def _inner(site: Site, place: Union[int, slice], key_positions: slice = slice(None)) -> Index:
    index: list[Any] = []
    for axis in site.axes:
        if axis in ("pos", "query_pos"):
            index.append(place)
        elif axis == "key_pos":
            index.append(key_positions)
        elif axis == "head" and site.head is not None:
            index.append(site.head)
        elif axis == "neuron" and site.neuron is not None:
            index.append(site.neuron)
        else:
            index.append(slice(None))
    return tuple(index)


def row_index(site: Site, row: int, length: int, start: int) -> Index:
    """Where a site of one row lies in a value that begins at a position.

    Raises:
        ValueError: the prompt has no such position, or it comes before `start`.
    """
    place = resolved(site.positions, length, site)
    if isinstance(place, int):
        if place < start:
            raise ValueError(f"{site}: position {place} comes before {start}")
        return (row, *_inner(site, place - start))
    stop = max(place.stop - start, 0)
    return (row, *_inner(site, slice(max(place.start - start, 0), stop), slice(length)))


def part(value: torch.Tensor, index: Index, site: Site) -> torch.Tensor:
    """A site's part of a value.

    Raises:
        ValueError: the value has no such head, neuron or position.
    """
    try:
        return value[index]
    except IndexError as error:
        raise ValueError(f"{site} is out of range: a value has {list(value.shape[1:])}") from error


def select(value: torch.Tensor, site: Site, lengths: Sequence[int]) -> Any:
    """A site's part of a value: a tensor with the batch axis first, or a list of one tensor for
    each row where their spans have different lengths."""
    where = indices(site, lengths)
    if len(where) == 1 and isinstance(where[0][0], slice):
        return part(value, where[0], site)
    parts = [part(value, index, site) for index in where]
    if all(each.shape == parts[0].shape for each in parts):
        return torch.stack(parts)
    return parts


def changed(
    value: torch.Tensor,
    site: Site,
    lengths: Sequence[int],
    change: Callable[[torch.Tensor], torch.Tensor],
    *,
    by_prompt: bool = False,
) -> torch.Tensor:
    """A copy of a value in which a site's part is changed.

    Args:
        value: `[batch, *axes]`.
        site: the part.
        lengths: of the prompts.
        change: from a part to a new one; of one prompt, or with the batch axis first.
        by_prompt: prompt by prompt, without padding.

    Raises:
        ValueError: what `change` gives does not have the part's shape, or the value has no such
            neuron.
    """
    new = value.clone()
    for index in indices(site, lengths, by_prompt=by_prompt):
        new[index] = checked(change, part(value, index, site), site)
    return new


def checked(
    change: Callable[[torch.Tensor], torch.Tensor], old: torch.Tensor, site: Site
) -> torch.Tensor:
    """What a change makes of a part.

    Raises:
        ValueError: it can't be made, or does not keep the part's shape.
    """
    try:
        replacement = change(old)
    except RuntimeError as error:
        raise ValueError(
            f"{site}: the given numbers do not fit a value of shape {list(old.shape)}"
        ) from error
    if replacement.shape != old.shape:
        raise ValueError(
            f"{site}: the given numbers make shape {list(replacement.shape)} of {list(old.shape)}"
        )
    return replacement
