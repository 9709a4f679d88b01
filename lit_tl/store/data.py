"""The data of a store: rows of prompts, written once and read by whoever computes."""

import hashlib
import itertools
import json
import math
import pathlib
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional

import pyarrow as pa

from lit_tl.store.columns import KEY, Column, Kind, metadata_of
from lit_tl.store.files import StoreError, read_schema, read_table, write_table

OWN = ("row", "dataset", "error")
"""Columns that a store adds to those of the data."""
Rows = Iterable[tuple[str, Mapping[str, Any], Optional[str]]]
"""For each prompt its data set, its columns, and why it can't be read."""


def path_of(folder: pathlib.Path, shard: int) -> pathlib.Path:
    """Of a file of the data."""
    return folder / "data" / f"{shard:06d}.parquet"


def write_data(
    folder: pathlib.Path,
    rows: Rows,
    shard_rows: int,
    report: Callable[[int], None] = lambda rows: None,
) -> tuple[int, str]:
    """Read rows to their end, and write what is not there yet.

    Args:
        folder: of the store.
        rows: from the first one.
        shard_rows: how many go into a file.
        report: hears how many were read.

    Returns:
        How many rows there are, and a digest of all of them.

    Raises:
        StoreError: a column holds values of different kinds, there are no rows, or a file that is
            there holds other rows.
    """
    kinds: dict[str, Column] = {}
    count, shard = 0, 0
    whole = hashlib.blake2b(digest_size=16)
    numbered = iter(rows)
    while block := list(itertools.islice(numbered, shard_rows)):
        for place, (_, record, _) in enumerate(block):
            _learn(kinds, record, count + place)
        path, digest = path_of(folder, shard), _digest(block)
        whole.update(digest.encode())
        if not _is_there(path, digest, len(block)):
            write_table(path, _table(block, kinds, count, digest))
        count, shard = count + len(block), shard + 1
        report(count)
    if not count:
        raise StoreError("the data hold no rows")
    return count, whole.hexdigest()


def read_rows(folder: pathlib.Path, shard: int) -> list[tuple[int, dict[str, Any], Optional[str]]]:
    """The rows of a file: their number, their columns, and why a row can't be read.

    Raises:
        StoreError: the file is missing or damaged.
    """
    read = []
    for record in read_table(path_of(folder, shard)).to_pylist():
        row, error = record.pop("row"), record.pop("error")
        record.pop("dataset")
        there = {name: value for name, value in record.items() if value is not None}
        read.append((row, there, error))
    return read


def _learn(kinds: dict[str, Column], record: Mapping[str, Any], row: int) -> None:
    """The kind of each column, from its first value.

    Raises:
        StoreError: a later value is of another kind.
    """
    for name, value in record.items():
        if name in OWN:
            raise StoreError(f"row {row}: {name!r} is a column of the store: call it otherwise")
        found = _column(value)
        if found is None:
            continue
        known = kinds.setdefault(name, found)
        if known != found and known.kind != "text":
            raise StoreError(
                f"row {row}: {name!r} is {_said(found)} here, but {_said(known)} before"
            )
        if known != found and known.axes:
            raise StoreError(f"row {row}: {name!r} is {_said(found)} here, but {_said(known)}")


def _column(value: Any) -> Optional[Column]:
    """What a value is; None of nothing."""
    if value is None or value == [] or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, list):
        kinds = {_kind(part) for part in value}
        if len(kinds) == 1 and None not in kinds:
            return Column(kind=kinds.pop() or "text", axes=("item",), shape=(None,))
        return Column(kind="text")
    return Column(kind=_kind(value) or "text")


def _kind(value: Any) -> Optional[Kind]:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else None


def _said(column: Column) -> str:
    nouns = {"number": "a number", "boolean": "true or false", "text": "text", "count": "a number"}
    return f"a list of {column.kind}s" if column.axes else nouns[column.kind]


def _table(
    block: list[tuple[str, Mapping[str, Any], Optional[str]]],
    kinds: Mapping[str, Column],
    first: int,
    digest: str,
) -> pa.Table:
    fields = [
        pa.field("row", pa.int64()),
        pa.field("dataset", pa.string()),
        pa.field("error", pa.string()),
        *(column.field(name) for name, column in kinds.items()),
    ]
    arrays = [
        pa.array(range(first, first + len(block)), pa.int64()),
        pa.array([label for label, _, _ in block], pa.string()),
        pa.array([error for _, _, error in block], pa.string()),
        *(
            column.array([_value(record.get(name), column) for _, record, _ in block])
            for name, column in kinds.items()
        ),
    ]
    said = json.dumps({"digest": digest}).encode()
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, {KEY: said}))


def _value(value: Any, column: Column) -> Any:
    if value is None or value == []:
        return None
    if column.kind == "text" and not column.axes and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    return float(value) if column.kind == "number" and not column.axes else value


def _digest(block: list[tuple[str, Mapping[str, Any], Optional[str]]]) -> str:
    said = json.dumps(block, default=str, sort_keys=True).encode()
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def _is_there(path: pathlib.Path, digest: str, rows: int) -> bool:
    """Whether a file has these rows; a damaged one is made anew.

    Raises:
        StoreError: it has others.
    """
    try:
        schema, count = read_schema(path)
    except StoreError:
        return False
    if metadata_of(schema).get("digest") != digest or count != rows:
        raise StoreError(f"{path} holds other rows than the data do now: give another --output")
    return True


def schemas(folder: pathlib.Path, shards: int) -> Iterator[pa.Schema]:
    """Of the data's files; later ones may have more columns."""
    for shard in range(shards):
        yield read_schema(path_of(folder, shard))[0]
