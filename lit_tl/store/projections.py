"""Where rows stand in two dimensions: principal components of stored activations, exactly, however
many rows there are, and whatever else is made of the first fifty of them."""

import dataclasses
import json
import pathlib
from typing import Any, Callable, Optional, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from lit_tl.store.columns import KEY, Column, metadata_of
from lit_tl.store.files import StoreError, read_table, write_table
from lit_tl.store.manifest import Part
from lit_tl.store.store import Store

Points = npt.NDArray[np.float32]
FIRST = 50
"""Principal components that further methods start from."""
Further = Callable[[Points], Points]
"""From points `[row, component]` to places `[row, 2]`."""
Report = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placed:
    """Rows in two dimensions.

    Args:
        rows: their numbers; those that have activations.
        places: `[row, 2]`.
        explained: of the variance, by the two axes; None where that has no meaning.
    """

    rows: "npt.NDArray[np.int64]"
    places: Points
    explained: Optional[Sequence[float]]


def choices(store: Store) -> list[dict[str, Any]]:
    """Parts with one vector for each row, and the layers that they have."""
    found = []
    for part in store.manifest.parts:
        described = store.described(part)
        value = described.columns.get("value")
        if value is None or None in value.shape or len(value.shape) not in (1, 2):
            continue
        layers = described.coords.get("layer", []) if len(value.shape) == 2 else []
        found.append({"part": part.name, "layers": list(layers)})
    return found


def placed(
    store: Store,
    name: str,
    layer: Optional[int],
    method: str,
    further: Optional[Further] = None,
    report: Report = lambda done, of: None,
) -> Placed:
    """Rows in two dimensions, made once and kept in the store.

    Args:
        store: with activations.
        name: of their part.
        layer: of those; None where the part has one vector a row.
        method: what places are called: `pca`, or of what `further` makes.
        further: makes places of the first principal components; None takes the first two.
        report: hears how many files of how many are read.

    Raises:
        StoreError: there is no such part or layer, or too few rows.
    """
    part = store.manifest.part(name)
    path = store.folder / "projections" / f"{name}.{layer}.{method}.parquet"
    known = _kept(path, part)
    if known is not None:
        return known
    column, place = _column(store, part, layer)
    components, mean, explained = _components(store, part, column, place, report)
    rows, points = _projected(store, part, column, place, components, mean)
    places = points[:, :2] if further is None else further(points)
    made = Placed(
        rows=rows,
        places=np.ascontiguousarray(places, np.float32),
        explained=explained[:2] if further is None else None,
    )
    said = {"identity": part.digest, "explained": made.explained}
    table = pa.table({"row": rows, "x": made.places[:, 0], "y": made.places[:, 1]})
    write_table(path, table.replace_schema_metadata({KEY: json.dumps(said).encode()}))
    return made


def _kept(path: pathlib.Path, part: Part) -> Optional[Placed]:
    if not path.exists():
        return None
    try:
        table = read_table(path)
    except StoreError:
        return None
    said = metadata_of(table.schema)
    if said.get("identity") != part.digest:
        return None
    places = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], 1)
    return Placed(rows=table["row"].to_numpy(), places=places, explained=said["explained"])


def _column(store: Store, part: Part, layer: Optional[int]) -> tuple[Column, Optional[int]]:
    described = store.described(part)
    there = {each["part"]: each["layers"] for each in choices(store)}
    if part.name not in there:
        raise StoreError(
            f"{part.name} has no vector for each row: compute activations[positions=last]"
        )
    layers = there[part.name]
    if layers and layer not in layers:
        raise StoreError(f"{part.name} has no layer {layer}: it has {', '.join(map(str, layers))}")
    return described.columns["value"], layers.index(layer) if layers else None


def _vectors(table: pa.Table, column: Column, place: Optional[int]) -> "npt.NDArray[np.float64]":
    """Of the rows of a file that have some."""
    flat = table["value"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    shaped = flat.reshape(len(table), *[int(length or 0) for length in column.shape])
    return np.asarray(shaped if place is None else shaped[:, place], np.float64)


def _there(table: pa.Table) -> pa.Table:
    return table.filter(pa.compute.is_valid(table["value"]))


def _components(
    store: Store, part: Part, column: Column, place: Optional[int], report: Report
) -> tuple[Any, Any, list[float]]:
    """Eigenvectors of the covariance, which is added up file by file around the first file's
    mean."""
    count, total, products = 0, 0.0, 0.0
    shift: Any = None
    for shard, table in store.tables(part, ["row", "value"]):
        report(shard, store.manifest.shards)
        vectors = _vectors(_there(table), column, place)
        if not len(vectors):
            continue
        shift = vectors.mean(0) if shift is None else shift
        moved = vectors - shift
        count, total = count + len(moved), total + moved.sum(0)
        products = products + moved.T @ moved
    if count < 3:
        raise StoreError(f"{part.name} has {count} rows with numbers: too few to be placed")
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(-values)[:FIRST]
    components = vectors[:, order]
    signs = np.sign(components[np.abs(components).argmax(0), np.arange(components.shape[1])])
    explained = (values[order] / values.clip(min=0).sum()).tolist()
    return components * signs, shift + mean, explained


def _projected(
    store: Store, part: Part, column: Column, place: Optional[int], components: Any, mean: Any
) -> tuple["npt.NDArray[np.int64]", Points]:
    rows, points = [], []
    for _, table in store.tables(part, ["row", "value"]):
        there = _there(table)
        rows.append(there["row"].to_numpy())
        points.append(((_vectors(there, column, place) - mean) @ components).astype(np.float32))
    return np.concatenate(rows), np.concatenate(points)
