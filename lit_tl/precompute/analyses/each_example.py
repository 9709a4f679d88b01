"""Any analysis of one prompt, for every prompt."""

from typing import Any, Sequence

import numpy as np
import xarray as xr

from lit_tl.analyses.contract import Analysis, Subject
from lit_tl.analyses.loaded_model import Example
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.precompute.contract import OverRows
from lit_tl.settings import Settings
from lit_tl.store import Column, Described
from lit_tl.store.columns import Record

_PROBED = "The capital of France is"
_SHAPE = ".shape"


def over_each(analysis: Analysis) -> OverRows:
    """An analysis of one prompt as one of many. Each variable of its result becomes a column, and
    where its axes differ from prompt to prompt their lengths another, `NAME.shape`.

    Raises:
        ValueError: it looks at more than one prompt.
    """
    more = analysis.uses - {"example"}
    if "example" not in analysis.uses or more & {"other_model", "examples"}:
        raise ValueError(
            f"{analysis.name} looks at {', '.join(sorted(analysis.uses))}: what goes over many "
            "prompts looks at one"
        )

    def columns(model: HookedTransformerLIT, settings: Settings) -> Described:
        return _described(_result(analysis, model, {"text": _PROBED}, settings))

    def compute(
        model: HookedTransformerLIT, examples: Sequence[Example], settings: Settings
    ) -> Sequence[Record]:
        return [_record(_result(analysis, model, example, settings)) for example in examples]

    return OverRows(
        name=analysis.name,
        description=analysis.description,
        settings=analysis.settings,
        columns=columns,
        compute=compute,
        reads_lens=analysis.tab == "Lens",
    )


def _result(
    analysis: Analysis, model: HookedTransformerLIT, example: Example, settings: Settings
) -> xr.Dataset:
    *_, result = analysis.function(Subject(model=model.loaded, example=example), settings)
    return result


def _parts(result: xr.Dataset) -> dict[str, xr.DataArray]:
    """The variables, and the coordinates that are texts, which name tokens."""
    named = {str(name): each for name, each in result.data_vars.items()}
    for name, each in result.coords.items():
        if each.dtype.kind in "UO" and str(name) not in named:
            named[str(name)] = each
    return named


def _described(result: xr.Dataset) -> Described:
    columns: dict[str, Column] = {}
    for name, each in _parts(result).items():
        dims = tuple(map(str, each.dims))
        kind: Any = {"b": "boolean", "i": "count", "u": "count", "f": "number"}.get(
            each.dtype.kind, "text"
        )
        if not dims:
            columns[name] = Column(kind=kind)
            continue
        columns[name] = Column(kind=kind, axes=(" x ".join(dims),), shape=(None,))
        columns[name + _SHAPE] = Column(kind="count", axes=("axis",), shape=(len(dims),))
    coords = {
        str(name): each.values.tolist()
        for name, each in result.coords.items()
        if each.dtype.kind in "iu" and each.dims == (name,)
    }
    return Described(columns=columns, coords=coords, note=str(result.attrs.get("note", "")))


def _record(result: xr.Dataset) -> Record:
    record: dict[str, Any] = {}
    for name, each in _parts(result).items():
        if not each.dims:
            record[name] = each.item()
            continue
        flat = each.values.ravel()
        text = flat.dtype.kind in "UO"
        record[name] = [None if v is None else str(v) for v in flat] if text else np.asarray(flat)
        record[name + _SHAPE] = np.array(each.shape)
    return record
