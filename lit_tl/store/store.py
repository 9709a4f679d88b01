"""A store as Python has it."""

import dataclasses
import pathlib
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import xarray as xr

from lit_tl.store import data as data_
from lit_tl.store.columns import Column, Described, Record, metadata_of
from lit_tl.store.files import StoreError, read_schema, read_table, write_table
from lit_tl.store.manifest import Manifest, Part


class Store:
    """Numbers over many prompts.

    Args:
        folder: of the store.

    Raises:
        StoreError: it is none, is damaged, or of a later version.
    """

    def __init__(self, folder: Union[str, pathlib.Path]):
        self.folder = pathlib.Path(folder).expanduser()
        self.manifest = Manifest.read(self.folder)

    @classmethod
    def create(
        cls, folder: Union[str, pathlib.Path], sources: Sequence[Mapping[str, Any]], shard_rows: int
    ) -> "Store":
        """A new store without data, or the one that is there.

        Args:
            folder: where it is.
            sources: of the data: label, and what tells it from others.
            shard_rows: how many prompts go into a file.

        Raises:
            StoreError: one that is there was made of other data.
        """
        folder = pathlib.Path(folder).expanduser()
        if not (folder / "manifest.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            others = [path.name for path in folder.iterdir() if path.name != ".lock"]
            if others:
                raise StoreError(
                    f"{folder} holds {others[0]} and is no store: give an empty folder, or a new "
                    "one"
                )
            Manifest(sources=list(sources), shard_rows=shard_rows).write(folder)
        store = cls(folder)
        if list(store.manifest.sources) != list(sources):
            raise StoreError(
                f"{folder} was made of other data ({_labels(store.manifest.sources)}), or they "
                "have changed since: give another --output"
            )
        if store.manifest.shard_rows != shard_rows:
            raise StoreError(
                f"{folder} has {store.manifest.shard_rows} rows in a file: give --shard_rows "
                f"{store.manifest.shard_rows}, or another --output"
            )
        return store

    def read_data(self, rows: data_.Rows, report: Any = lambda rows: None) -> None:
        """Write the data, where they are not there to their end; see `data.write_data`."""
        if self.manifest.rows is None:
            count, digest = data_.write_data(self.folder, rows, self.manifest.shard_rows, report)
            self._change(dataclasses.replace(self.manifest, rows=count, digest=digest))

    def add(self, part: Part) -> None:
        """Announce a part.

        Raises:
            StoreError: there is one of that name, made with something else.
        """
        manifest = self.manifest.with_part(part)
        if manifest is not self.manifest:
            self._change(manifest)

    def _change(self, manifest: Manifest) -> None:
        manifest.write(self.folder)
        self.manifest = manifest

    def rows_of(self, shard: int) -> range:
        """Numbers of the rows of a file."""
        first = shard * self.manifest.shard_rows
        assert self.manifest.rows is not None
        return range(first, min(first + self.manifest.shard_rows, self.manifest.rows))

    def examples(self, shard: int) -> list[tuple[int, dict[str, Any], Optional[str]]]:
        """Prompts of a file; see `data.read_rows`."""
        return data_.read_rows(self.folder, shard)

    def path(self, part: Part, shard: int) -> pathlib.Path:
        """Of a file of a part."""
        return self.folder / "parts" / part.name / f"{shard:06d}.parquet"

    def summary_path(self, part: Part) -> pathlib.Path:
        """Of what a part says of all rows."""
        return self.folder / "summaries" / f"{part.name}.parquet"

    def write(
        self,
        part: Part,
        shard: int,
        described: Described,
        records: Sequence[tuple[int, Optional[str], Record]],
    ) -> None:
        """Write what was found in the rows of a file; it is there whole or not at all.

        Raises:
            StoreError: it can't be written.
        """
        rows = self.rows_of(shard)
        said = {
            "identity": part.digest,
            "model": part.model,
            "analysis": part.analysis,
            "rows": [rows.start, rows.stop],
        }
        write_table(self.path(part, shard), described.table(records, said))

    def missing(self, part: Part) -> tuple[list[int], list[pathlib.Path]]:
        """Files that a part lacks.

        Returns:
            Their numbers, and those among them that are there and damaged.

        Raises:
            StoreError: a file was made with something else.
        """
        lacking: list[int] = []
        damaged: list[pathlib.Path] = []
        for shard in range(self.manifest.shards):
            path = self.path(part, shard)
            if not path.exists():
                lacking.append(shard)
                continue
            try:
                said = metadata_of(read_schema(path)[0])
            except StoreError:
                lacking.append(shard)
                damaged.append(path)
                continue
            if said.get("identity") != part.digest:
                raise StoreError(f"{path} was made with something else than the manifest says")
        return lacking, damaged

    def tables(
        self, part: Part, columns: Optional[Sequence[str]] = None
    ) -> Iterator[tuple[int, pa.Table]]:
        """What there is of a part, file by file, checked while it is read.

        Raises:
            StoreError: a file is damaged.
        """
        for shard in range(self.manifest.shards):
            path = self.path(part, shard)
            if path.exists():
                yield shard, read_table(path, columns)

    def verify(self, part: Part) -> list[pathlib.Path]:
        """Read all of a part, and take away what is damaged, so that it is made anew."""
        damaged = []
        for shard in range(self.manifest.shards):
            path = self.path(part, shard)
            try:
                if path.exists():
                    read_table(path)
            except StoreError:
                damaged.append(path)
                path.unlink(missing_ok=True)
        return damaged

    def described(self, part: Part) -> Described:
        """Columns and axes of a part; without any where nothing is there yet."""
        for shard in range(self.manifest.shards):
            path = self.path(part, shard)
            if path.exists():
                schema, _ = read_schema(path)
                said = metadata_of(schema)
                columns = {
                    field.name: Column.of(field)
                    for field in schema
                    if field.name not in ("row", "error")
                }
                return Described(
                    columns=columns, coords=said.get("coords", {}), note=said.get("note", "")
                )
        return Described(columns={})

    def dataset(self, name: str = "data") -> pyarrow.dataset.Dataset:
        """The data, or a part by its name, as pyarrow has it: read as it is asked for.

        Raises:
            StoreError: there is no such part.
        """
        if name == "data":
            files = [data_.path_of(self.folder, i) for i in range(self.manifest.shards)]
        else:
            part = self.manifest.part(name)
            files = [self.path(part, i) for i in range(self.manifest.shards)]
            files = [path for path in files if path.exists()]
        schema = pa.unify_schemas([read_schema(path)[0] for path in files])
        return pyarrow.dataset.dataset([str(path) for path in files], schema=schema)

    def xarray(self, name: str, columns: Optional[Sequence[str]] = None) -> xr.Dataset:
        """A part with named axes: `row`, and those of its arrays.

        Args:
            name: of the part.
            columns: which; None for all. Arrays whose length differs from row to row are left out:
                read them with `dataset`.

        Raises:
            StoreError: there is no such part, or no such column.
        """
        part = self.manifest.part(name)
        described = self.described(part)
        wanted = list(described.columns if columns is None else columns)
        for column in wanted:
            if column not in described.columns:
                there = ", ".join(described.columns)
                raise StoreError(f"{name} has no column {column}: it has {there}")
        fixed = [c for c in wanted if None not in described.columns[c].shape]
        tables = [table for _, table in self.tables(part, ["row", "error", *fixed])]
        table = pa.concat_tables(tables)
        values = {}
        for column in fixed:
            of = described.columns[column]
            values[column] = (("row", *of.axes), _array(table[column], of), {"unit": of.unit})
        coords = {axis: list(places) for axis, places in described.coords.items()}
        used = {axis for dims, _, _ in values.values() for axis in dims}
        return xr.Dataset(
            values,
            coords={
                "row": table["row"].to_numpy(),
                **{axis: places for axis, places in coords.items() if axis in used},
            },
            attrs={"note": described.note, "failures": len(table) - table["error"].null_count},
        )

    def failures(self) -> pa.Table:
        """Rows that could not be computed: `part`, `row`, `error`."""
        found = []
        for part in self.manifest.parts:
            for _, table in self.tables(part, ["row", "error"]):
                there = table.filter(pa.compute.is_valid(table["error"]))
                there = there.append_column("part", pa.array([part.name] * len(there), pa.string()))
                found.append(there.select(["part", "row", "error"]).replace_schema_metadata(None))
        empty = pa.schema(
            [("part", pa.string()), ("row", pa.int64()), ("error", pa.string())]
        ).empty_table()
        return pa.concat_tables([empty, *found])


def _array(values: pa.ChunkedArray, column: Column) -> "np.ndarray[Any, Any]":
    if not column.axes:
        return np.asarray(values.to_numpy())
    shape = [int(length or 0) for length in column.shape]
    empty = np.full(shape, np.nan)
    rows = [empty if row is None else column.read(row) for row in values.to_pylist()]
    return np.stack(rows) if rows else np.zeros((0, *shape))


def _labels(sources: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(str(source.get("label")) for source in sources)
