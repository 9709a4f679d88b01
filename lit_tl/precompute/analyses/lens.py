"""What each layer predicts through a lens, for every prompt."""

import dataclasses
from typing import Sequence

import numpy as np

from lit_tl.analyses.lens_over_data import LensOverDataSettings, read_batches
from lit_tl.analyses.lens_reading import layer_names
from lit_tl.analyses.loaded_model import Example
from lit_tl.lens.statistics import OF_PAGE
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.contract import over_rows
from lit_tl.store import Column, Described
from lit_tl.store.columns import Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredLensSettings(LensOverDataSettings):
    """Which number, through which lens."""


def _columns(model: HookedTransformerLIT, settings: StoredLensSettings) -> Described:
    names = layer_names(model.loaded, settings.residual_component)
    unit = OF_PAGE[settings.statistic].unit
    by_layer = Column(kind="number", axes=("layer",), shape=(len(names),), unit=unit)
    return Described(
        columns={"mean": by_layer, "last": by_layer},
        coords={"layer": names},
        note=f"{settings.statistic}, {settings.lens} lens. {model.loaded.lenses.note}".strip(),
    )


@over_rows("lens", columns=_columns, reads_lens=True)
def lens(
    model: HookedTransformerLIT, examples: Sequence[Example], settings: StoredLensSettings
) -> Sequence[Record]:
    """A statistic of what each layer predicts: its mean over a prompt's tokens, and at the last."""
    records: list[Record] = [{} for _ in examples]
    for batch, values, _ in read_batches(model.loaded, examples, settings):
        ends = np.cumsum(batch.lengths)
        for place, stop, length in zip(batch.index, ends, batch.lengths, strict=True):
            own = values[:, stop - length : stop]
            records[place] = {"mean": own.mean(1), "last": own[:, -1]}
    return records
