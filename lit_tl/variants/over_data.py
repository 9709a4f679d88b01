"""What stands at a site over a data set: its mean, and values to draw from."""

from typing import Any, Mapping, Optional, Sequence

import numpy as np
import numpy.typing as npt
import torch

from lit_tl.engine.prompts import Prompt
from lit_tl.engine.requests import Observe, Reduce, Seen
from lit_tl.engine.runner import Runner
from lit_tl.engine.sites import POSITION_AXES, Site

DRAWN = 256
"""Most values that are drawn from."""
Vector = npt.NDArray[np.float32]


def means(runner: Runner, prompts: Sequence[Prompt], sites: Sequence[Site]) -> dict[Site, Vector]:
    """The mean of what stands at each site, over prompts and the positions that it selects, in one
    pass a batch.

    Args:
        runner: of the model.
        prompts: at least one.
        sites: of one layer each.

    Returns:
        Vectors without an axis of positions, float32.

    Raises:
        ValueError: there is no prompt, or a site's value depends on the length of the prompt.
    """
    for site in sites:
        _require_vectors(site, "mean")
    shortest = max(map(_least, sites), default=1)
    prompts = [prompt for prompt in prompts if len(prompt) >= shortest]
    _require_tokens(prompts, sites)
    observe = {str(site): Observe(site, _summed(site)) for site in sites}
    totals: dict[Site, torch.Tensor] = {}
    counts = dict.fromkeys(sites, 0)
    for batch in runner.run(prompts, observe=observe, logits="none"):
        for site in sites:
            total, count = batch.observed[str(site)]
            totals[site] = total + totals.get(site, 0.0)
            counts[site] += count
    for site in sites:
        if not counts[site]:
            _require_tokens([], [site])
    return {site: (totals[site] / counts[site]).float().numpy() for site in sites}


def _summed(site: Site) -> Reduce:
    """The sum over rows and positions in float64, and how many there are."""

    def reduce(value: Any, seen: Seen) -> tuple[torch.Tensor, int]:
        rows = _rows(value, site, seen)
        return rows.double().sum(0).cpu(), len(rows)

    return reduce


def _rows(value: Any, site: Site, seen: Seen) -> torch.Tensor:
    """Values of a batch position by position, `[value, ...]`, without padding."""
    axis = _position_axis(site)
    if axis is None:
        return torch.as_tensor(value)
    parts = [
        part.movedim(axis, 0)[: int(length)] if site.positions is None else part.movedim(axis, 0)
        for part, length in zip(value, seen.lengths, strict=True)
    ]
    return torch.cat(parts)


def _position_axis(site: Site) -> Optional[int]:
    """Of a value of one prompt."""
    axes = site.selected_axes
    return next((place for place, axis in enumerate(axes) if axis in POSITION_AXES), None)


def drawn_values(runner: Runner, prompts: Sequence[Prompt], site: Site, seed: int) -> Vector:
    """Values at tokens of a data set, drawn by a seed, `[choice, ...]` float32.

    Args:
        runner: of the model.
        prompts: at least one.
        site: of one layer.
        seed: of the draw; at most 256 are drawn.

    Raises:
        ValueError: there is no prompt, or the site's value depends on the length of the prompt.
    """
    _require_vectors(site, "resample")
    prompts = [prompt for prompt in prompts if len(prompt) >= _least(site)]
    _require_tokens(prompts, [site])
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(prompts), generator=random).tolist()[:DRAWN]
    chosen = [prompts[index] for index in order]
    observe = {"values": Observe(site, lambda value, seen: _rows(value, site, seen).cpu())}
    by_batch: Mapping[int, torch.Tensor] = {
        batch.index[0]: batch.observed["values"]
        for batch in runner.run(chosen, observe=observe, logits="none")
    }
    values = torch.cat([by_batch[first] for first in sorted(by_batch)])
    if not len(values):
        _require_tokens([], [site])
    some = torch.randperm(len(values), generator=random)[:DRAWN]
    drawn: Vector = values[some].float().numpy()
    return drawn


def _require_vectors(site: Site, what: str) -> None:
    if "key_pos" in site.axes:
        raise ValueError(
            f"{site} has as many numbers as the prompt has tokens, and no {what}: choose z, or "
            "another site of vectors"
        )


def _least(site: Site) -> int:
    """How many tokens a prompt needs to have a site."""
    if not isinstance(site.positions, int):
        return 1
    return site.positions + 1 if site.positions >= 0 else -site.positions


def _require_tokens(prompts: Sequence[Prompt], sites: Sequence[Site]) -> None:
    if not prompts:
        named = ", ".join(map(str, sites))
        raise ValueError(f"no prompt of the data set has a token at {named}: name other positions")
