"""Columns of a store: what a number is of, and how it stands in Parquet."""

import dataclasses
import json
from typing import Any, Literal, Mapping, Optional, Sequence

import numpy as np
import pyarrow as pa

Kind = Literal["number", "count", "boolean", "text"]
Record = Mapping[str, Any]
"""What was found in one example, by column."""
KEY = b"lit_tl"
"""Of what a file's metadata, and a column's, say in JSON."""
_SINGLE: Mapping[Kind, pa.DataType] = {
    "number": pa.float64(),
    "count": pa.int64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
}
_MANY: Mapping[Kind, pa.DataType] = {**_SINGLE, "number": pa.float32(), "count": pa.int32()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """What a column holds in every row.

    Args:
        kind: of its values.
        axes: names of the axes of an array; none for a single value. Arrays lie flat, the last
            axis fastest.
        shape: of the array; None for an axis whose length each row has its own, of which there may
            be one, the first.
        unit: such as "nats"; empty for none.
        half: whether numbers of an array take 16 bits.
    """

    kind: Kind
    axes: tuple[str, ...] = ()
    shape: tuple[Optional[int], ...] = ()
    unit: str = ""
    half: bool = False

    @property
    def arrow(self) -> pa.DataType:
        """Its type in Arrow."""
        if not self.axes:
            return _SINGLE[self.kind]
        return pa.list_(pa.float16() if self.half else _MANY[self.kind])

    def field(self, name: str) -> pa.Field:
        """The column in a schema, its axes in the metadata."""
        said = {"kind": self.kind, "axes": self.axes, "shape": self.shape, "unit": self.unit}
        return pa.field(name, self.arrow, metadata={KEY: json.dumps(said).encode()})

    @classmethod
    def of(cls, field: pa.Field) -> "Column":
        """The column of a schema; of a foreign one as far as its type says."""
        said = json.loads((field.metadata or {}).get(KEY, b"{}"))
        if said:
            half = pa.types.is_list(field.type) and pa.types.is_float16(field.type.value_type)
            shape = tuple(said["shape"])
            return cls(
                kind=said["kind"],
                axes=tuple(said["axes"]),
                shape=shape,
                unit=said["unit"],
                half=half,
            )
        many = pa.types.is_list(field.type)
        kind = _kind_of(field.type.value_type if many else field.type)
        return cls(kind=kind, axes=("item",) if many else (), shape=(None,) if many else ())

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Values of all rows, None where a row has none.

        Raises:
            ValueError: an array has another shape.
        """
        if not self.axes:
            return pa.array([_plain(value) for value in values], self.arrow)
        if self.kind == "text":
            return pa.array(values, self.arrow)
        parts = [None if value is None else self._flat(value) for value in values]
        lengths = [0 if part is None else part.size for part in parts]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        there = [part for part in parts if part is not None]
        inner = self.arrow.value_type
        flat = np.concatenate(there) if there else np.zeros(0, inner.to_pandas_dtype())
        missing = pa.array([part is None for part in parts])
        return pa.ListArray.from_arrays(
            pa.array(offsets), pa.array(flat, inner, from_pandas=False), mask=missing
        )

    def _flat(self, value: Any) -> "np.ndarray[Any, Any]":
        array = np.asarray(value, self.arrow.value_type.to_pandas_dtype())
        fits = len(array.shape) == len(self.shape) and all(
            wanted in (None, length) for wanted, length in zip(self.shape, array.shape)
        )
        if not fits:
            raise ValueError(f"an array of {array.shape} in a column of {self.shape}")
        return array.ravel()

    def read(self, value: Any) -> Any:
        """A row's value out of Arrow: arrays with their shape."""
        if value is None or not self.axes or self.kind == "text":
            return value
        array = np.asarray(value, self.arrow.value_type.to_pandas_dtype())
        if None not in self.shape:
            return array.reshape([int(length or 0) for length in self.shape])
        return array.reshape(-1, *[int(length or 0) for length in self.shape[1:]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """What an analysis gives for each row.

    Args:
        columns: by name.
        coords: for axes whose places have names: those, such as the layers' numbers.
        note: what to know of the numbers, as sentences.
    """

    columns: Mapping[str, Column]
    coords: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    note: str = ""

    def schema(self, said: Mapping[str, Any]) -> pa.Schema:
        """Of a file: `row`, `error`, and the columns.

        Args:
            said: what else the file's metadata says.
        """
        fields = [
            pa.field("row", pa.int64()),
            pa.field("error", pa.string()),
            *(column.field(name) for name, column in self.columns.items()),
        ]
        more = {**said, "coords": self.coords, "note": self.note}
        return pa.schema(fields, {KEY: json.dumps(more, default=_json).encode()})

    def table(
        self,
        records: Sequence[tuple[int, Optional[str], Record]],
        said: Mapping[str, Any],
    ) -> pa.Table:
        """A table of rows: their number, why one has nothing, and what was found."""
        columns = [
            pa.array([row for row, _, _ in records], pa.int64()),
            pa.array([error for _, error, _ in records], pa.string()),
            *(
                column.array([record.get(name) for _, _, record in records])
                for name, column in self.columns.items()
            ),
        ]
        return pa.Table.from_arrays(columns, schema=self.schema(said))


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """What a file of a store says of itself; empty for a foreign one."""
    read: dict[str, Any] = json.loads((schema.metadata or {}).get(KEY, b"{}"))
    return read


def _kind_of(inner: pa.DataType) -> Kind:
    if pa.types.is_boolean(inner):
        return "boolean"
    if pa.types.is_integer(inner):
        return "count"
    return "number" if pa.types.is_floating(inner) else "text"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)
