"""The numbers of a result as a table."""

import csv
import io
import math
from typing import Any

import numpy as np
import xarray as xr


def table(result: xr.Dataset) -> tuple[list[str], list[list[Any]]]:
    """A row for each cell of the result's value: its coordinates, then every variable of the same
    axes, the value last.

    Args:
        result: of an analysis. Attributes: `value` names its value; `value_first` puts the value
            before the other variables; `skip_missing` leaves out cells without a value;
            `whole_numbers` says that values are counts.

    Returns:
        The names of the columns, and the rows.
    """
    name = str(result.attrs["value"])
    value = result[name]
    axes = [str(axis) for axis in value.dims]
    columns: dict[str, np.ndarray] = {}
    for axis in axes:
        columns[axis] = _spread(result[axis], value)
        for coordinate, along in result.coords.items():
            if along.dims == (axis,) and coordinate != axis:
                columns[str(coordinate)] = _spread(along, value)
    beside = [str(other) for other in result.data_vars if str(other) != name]
    before = [other for other in beside if result[other].dims == value.dims]
    for other in [*before, name]:
        columns[other] = result[other].values.ravel()
    if result.attrs.get("value_first"):
        columns = {**{key: columns[key] for key in columns if key not in before}, **columns}
    cells = [[_plain(cell) for cell in column] for column in columns.values()]
    rows = [list(row) for row in zip(*cells, strict=True)]
    place = list(columns).index(name)
    if result.attrs.get("skip_missing"):
        rows = [row for row in rows if row[place] is not None]
    if result.attrs.get("whole_numbers"):
        rows = [[int(cell) if at == place else cell for at, cell in enumerate(row)] for row in rows]
    return list(columns), rows


def _spread(coordinate: xr.DataArray, value: xr.DataArray) -> np.ndarray:
    spread: np.ndarray = coordinate.broadcast_like(value).transpose(*value.dims).values.ravel()
    return spread


def _plain(cell: Any) -> Any:
    value = cell.item() if isinstance(cell, np.generic) else cell
    return None if isinstance(value, float) and math.isnan(value) else value


def to_csv(result: xr.Dataset) -> str:
    """The table as comma-separated values, with a header."""
    columns, rows = table(result)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()
