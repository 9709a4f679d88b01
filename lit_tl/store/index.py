"""The single numbers and texts of a store in files that are mapped into memory, not read: what
sorting, filtering and looking need, and no more."""

import hashlib
import json
import pathlib
from typing import Any, Callable, Iterator, Optional, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute

from lit_tl.store import data as data_
from lit_tl.store.columns import Column, Described, metadata_of
from lit_tl.store.files import read_table, said_of, write_stream
from lit_tl.store.manifest import Part
from lit_tl.store.store import Store

BATCH_ROWS = 65_536
"""Rows that stand together."""
MOST_PLACES = 4096
"""Numbers of an array that become columns; longer arrays are looked at row by row only."""
_DATA = "data"


def build(store: Store, report: Callable[[int, int], None] = lambda done, of: None) -> None:
    """Make what is missing or out of date of a store's index. Call it inside `files.alone`, or
    where nobody else writes.

    Args:
        store: whose data are whole.
        report: hears how many files of how many are in it.

    Raises:
        StoreError: a file is damaged or missing, or the disk is full.
    """
    stale = [part for part in (None, *store.manifest.parts) if not _is_current(store, part)]
    total = len(stale) * store.manifest.shards
    for place, part in enumerate(stale):

        def said(done: int, before: int = place * store.manifest.shards) -> None:
            report(before + done, total)

        _build_one(store, part, said)


def is_current(store: Store) -> bool:
    """Whether the whole index is there and up to date."""
    return all(_is_current(store, part) for part in (None, *store.manifest.parts))


def open_index(store: Store) -> pa.Table:
    """The index as one table, mapped into memory: columns of the data under their names, those of
    parts behind the part's name and a dot, a row for each row of the store in its order.

    Raises:
        StoreError: a file of it is damaged or missing.
    """
    names: list[str] = []
    columns: list[pa.ChunkedArray] = []
    fields: list[pa.Field] = []
    for part in (None, *store.manifest.parts):
        path = path_of(store, part)
        with said_of(path):
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        for field, column in zip(table.schema, table.columns, strict=True):
            if part is not None and field.name == "row":
                continue
            name = field.name if part is None else f"{part.name}.{field.name}"
            names.append(name)
            columns.append(column)
            fields.append(field.with_name(name))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def path_of(store: Store, part: Optional[Part]) -> pathlib.Path:
    """Of a file of the index."""
    return store.folder / "index" / f"{_DATA if part is None else part.name}.arrow"


def _files(store: Store, part: Optional[Part]) -> list[pathlib.Path]:
    shards = range(store.manifest.shards)
    if part is None:
        return [data_.path_of(store.folder, shard) for shard in shards]
    return [store.path(part, shard) for shard in shards]


def _state(store: Store, part: Optional[Part]) -> str:
    """What changes when a file does that the index is made of."""
    digest = hashlib.blake2b(str(store.manifest.rows).encode(), digest_size=16)
    for path in _files(store, part):
        known = path.stat() if path.exists() else None
        digest.update(f"{known and (known.st_size, known.st_mtime_ns)}".encode())
    return digest.hexdigest()


def _is_current(store: Store, part: Optional[Part]) -> bool:
    path = path_of(store, part)
    if not path.exists():
        return False
    try:
        schema = pa.ipc.open_file(pa.memory_map(str(path))).schema
    except (pa.ArrowException, OSError):
        return False
    return bool(metadata_of(schema).get("state") == _state(store, part))


def _build_one(store: Store, part: Optional[Part], report: Callable[[int], None]) -> None:
    described = _data_columns(store) if part is None else store.described(part)
    schema = _schema(described, part, {"state": _state(store, part)})

    def batches() -> Iterator[pa.RecordBatch]:
        waiting = schema.empty_table()
        for shard, table in enumerate(_tables(store, part, schema, described)):
            waiting = pa.concat_tables([waiting, table])
            while len(waiting) >= BATCH_ROWS:
                yield waiting.slice(0, BATCH_ROWS).combine_chunks().to_batches()[0]
                waiting = waiting.slice(BATCH_ROWS)
            report(shard + 1)
        if len(waiting):
            yield waiting.combine_chunks().to_batches()[0]

    write_stream(path_of(store, part), schema, batches())


def _tables(
    store: Store, part: Optional[Part], schema: pa.Schema, described: Described
) -> Iterator[pa.Table]:
    """A table of single columns for each file, a row for each of its rows."""
    for shard, path in enumerate(_files(store, part)):
        rows = store.rows_of(shard)
        own = pa.table({"row": pa.array(rows, pa.int64())})
        if part is not None and not path.exists():
            yield _filled(own, schema)
            continue
        table = read_table(path)
        if part is not None and table["row"].to_pylist() != list(rows):
            yield _filled(own, schema)  # of folded parts, whose rows are not those of the data
            continue
        found: dict[str, Any] = {"row": own["row"]}
        for name in ("error", *(["dataset"] if part is None else [])):
            found[name] = table[name]
        for name, column in described.columns.items():
            if name in table.column_names:
                found |= _singles(name, table[name], column, described)
        yield _filled(pa.table(found), schema)


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """With nulls for columns that a file lacks."""
    arrays = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _data_columns(store: Store) -> Described:
    columns: dict[str, Column] = {}
    for schema in data_.schemas(store.folder, store.manifest.shards):
        for field in schema:
            if field.name not in data_.OWN:
                columns.setdefault(field.name, Column.of(field))
    return Described(columns=columns)


def _schema(described: Described, part: Optional[Part], said: Any) -> pa.Schema:
    fields = [pa.field("row", pa.int64())]
    fields += [pa.field("dataset", pa.string())] if part is None else []
    fields.append(pa.field("error", pa.string()))
    for name, column in described.columns.items():
        if not column.axes:
            fields.append(pa.field(name, column.arrow))
        elif _has_places(column):
            fields += [pa.field(each, pa.float32()) for each in places_of(name, column, described)]
    return pa.schema(fields, {b"lit_tl": json.dumps(said).encode()})


def _has_places(column: Column) -> bool:
    return (
        column.kind != "text"
        and None not in column.shape
        and int(np.prod(column.shape)) <= MOST_PLACES  # type: ignore[arg-type]
    )


def places_of(name: str, column: Column, described: Described) -> list[str]:
    """Names of the single numbers of an array: `name[layer,head]`, by the axes' own names."""
    axes: Sequence[Sequence[Any]] = [
        described.coords.get(axis, range(length or 0))
        for axis, length in zip(column.axes, column.shape, strict=True)
    ]
    return [
        f"{name}[{','.join(str(axes[i][place]) for i, place in enumerate(index))}]"
        for index in np.ndindex(*[len(axis) for axis in axes])
    ]


def _singles(
    name: str, values: pa.ChunkedArray, column: Column, described: Described
) -> dict[str, Any]:
    """An array's numbers as columns of their own; a single value as it is."""
    if not column.axes:
        return {name: _finite(values)}
    if not _has_places(column):
        return {}
    count = int(np.prod(column.shape))  # type: ignore[arg-type]
    flat = np.full((len(values), count), np.nan, np.float32)
    there = np.flatnonzero(values.is_valid().to_numpy())
    read = values.drop_null().combine_chunks()
    if len(there):
        flat[there] = read.flatten().to_numpy(zero_copy_only=False).reshape(-1, count)
    flat[~np.isfinite(flat)] = np.nan
    names = places_of(name, column, described)
    return {
        each: pa.array(flat[:, place], pa.float32(), from_pandas=True)
        for place, each in enumerate(names)
    }


def _finite(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(values.type):
        return values
    return pa.compute.if_else(pa.compute.is_finite(values), values, None)
