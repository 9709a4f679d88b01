"""How sure a mean is: rows are drawn anew, with replacement."""

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_CELLS = 4096
"""Whose means are drawn again at a time."""
_BLOCKS = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How an interval of a mean is found.

    Args:
        samples: how often rows are drawn.
        share: of the means that lie within the interval.
        seed: of the draws.
    """

    samples: int = 1000
    share: float = 0.95
    seed: int = 0

    def draw(self, count: int) -> Floats:
        """How often each of so many rows is drawn, `[sample, row]`."""
        rng = np.random.default_rng(self.seed)
        shares = np.full(count, 1 / count)
        return rng.multinomial(count, shares, size=self.samples).astype(float)

    def interval(self, values: Floats) -> tuple[Floats, Floats]:
        """Bounds of the mean of `values` `[row, *cell]`; NaN where no row has a number, and where
        there is one row alone, which says nothing about others."""
        count = len(values)
        if count == 1:
            return np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
        drawn = self.draw(count)
        flat = values.reshape(count, -1)
        bounds = np.full((2, flat.shape[1]), np.nan)
        ends = [(1 - self.share) / 2, (1 + self.share) / 2]
        for first in range(0, flat.shape[1], _CELLS):
            part = flat[:, first : first + _CELLS]
            there = np.isfinite(part)
            with np.errstate(invalid="ignore", divide="ignore"):
                means = (drawn @ np.where(there, part, 0.0)) / (drawn @ there)
            known = there.any(0)
            bounds[:, first : first + _CELLS][:, known] = np.nanquantile(
                means[:, known], ends, axis=0
            )
        low, high = bounds.reshape(2, *values.shape[1:])
        return low, high

    def interval_of_many(self, values: Floats) -> tuple[float, float]:
        """Bounds of the mean of numbers `[row]`, of which there may be millions: up to 2,000 are
        drawn one by one, more in 2,000 blocks of rows that are put together at random."""
        known = values[np.isfinite(values)]
        if len(known) < 2:
            return float("nan"), float("nan")
        if len(known) > _BLOCKS:
            order = np.random.default_rng(self.seed).permutation(len(known))
            size = len(known) // _BLOCKS
            known = known[order[: size * _BLOCKS]].reshape(_BLOCKS, size).mean(1)
        low, high = self.interval(known[:, None])
        return float(low[0]), float(high[0])
