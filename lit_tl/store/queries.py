"""Questions about all rows of a store, answered by DuckDB over the mapped index.

DuckDB sees one table and no file: it is not allowed to open any, to load extensions, or to have its
settings changed. Names of columns come from the index, and values are parameters.
"""

import contextlib
import dataclasses
import threading
from typing import Any, Iterable, Iterator, Literal, Optional, Sequence

import cachetools
import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lit_tl.store.filters import Condition, FilterError, Known, lookup_in, parse_filter
from lit_tl.store.index import BATCH_ROWS, open_index
from lit_tl.store.store import Store

Rows = npt.NDArray[np.int64]
_VIEWS_BYTES = 64 * 2**20
_MEMORY = "256MB"
_GUARDS = (
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    f"SET memory_limit = '{_MEMORY}'",
    "SET threads = 2",
    "SET preserve_insertion_order = true",
    "SET lock_configuration = true",
)
Kind = Literal["number", "text", "boolean"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """A column of the index.

    Args:
        name: as people type it, the shortest that is clear.
        full: in the index.
        kind: of its values.
        unit: such as "nats".
    """

    name: str
    full: str
    kind: Kind
    unit: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What rows are sorted by.

    Args:
        column: its name; empty for the data's order.
        descending: the largest first. Rows without a value come last either way.
    """

    column: str = ""
    descending: bool = False


class Queries:
    """Questions about one store. Safe to use from several threads.

    Args:
        store: whose index is up to date.
    """

    def __init__(self, store: Store):
        self._table = open_index(store)
        self.data_digest = store.manifest.digest
        """Of the prompts, in their order."""
        self.columns = _shown(store, self._table)
        self._by_name = {column.name: column for column in self.columns.values()}
        self._by_name |= {full: column for full, column in self.columns.items()}
        self.names = frozenset(self._by_name)
        """Of columns, in both ways."""
        known = {name: _known(column) for name, column in self._by_name.items()}
        self._lookup = lookup_in(known, [column.name for column in self.columns.values()])
        self._connection = duckdb.connect(":memory:")
        self._connection.register("t", self._table)
        for guard in _GUARDS:
            self._connection.execute(guard)
        self._views: "cachetools.LRUCache[Any, Rows]" = cachetools.LRUCache(
            _VIEWS_BYTES, getsizeof=lambda rows: rows.nbytes
        )
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._table)

    def column(self, name: str) -> Shown:
        """A column by its name.

        Raises:
            FilterError: there is none.
        """
        try:
            self._lookup(name, ())
        except KeyError as error:
            raise FilterError(str(error.args[0])) from error
        return self._by_name[name]

    def condition(self, text: str) -> Condition:
        """A filter as a condition.

        Raises:
            FilterError: it can't be read.
        """
        return parse_filter(text, self._lookup)

    def rows(self, filter_text: str = "", order: Order = Order()) -> Rows:
        """Numbers of the rows that a filter lets through, in an order.

        Raises:
            FilterError: the filter can't be read, or there is no such column.
        """
        condition = self.condition(filter_text)
        by = self.column(order.column).full if order.column else ""
        key = (condition, by, order.descending)
        with self._lock:
            if key in self._views:
                return self._views[key]
        direction = "DESC" if order.descending else "ASC"
        sort = f"ORDER BY {_quoted(by)} {direction} NULLS LAST, row" if by else "ORDER BY row"
        sql = f"SELECT row FROM t WHERE {condition.sql} {sort}"
        with self._asked(sql, condition.values) as cursor:
            found: Rows = cursor.fetchnumpy()["row"]
        with self._lock:
            self._views[key] = found
        return found

    def page(self, rows: Iterable[int], names: Sequence[str]) -> list[dict[str, Any]]:
        """Values of some rows, in their order.

        Args:
            rows: their numbers.
            names: of columns.

        Raises:
            FilterError: there is no such column.
        """
        columns = [self.column(name).full for name in names]
        wanted = np.fromiter(rows, np.int64)
        found: list[dict[str, Any]] = [{} for _ in wanted]
        for piece in np.unique(wanted // BATCH_ROWS):
            # a piece at a time: Arrow would put all texts of the column together first
            places = np.flatnonzero(wanted // BATCH_ROWS == piece)
            start = int(piece) * BATCH_ROWS
            part = self._table.slice(start, BATCH_ROWS).select(columns)
            taken = part.take(pa.array(wanted[places] - start))
            records = taken.rename_columns(list(names)).to_pylist()
            for place, record in zip(places, records, strict=True):
                found[place] = record
        return found

    def histogram(
        self,
        name: str,
        filter_text: str = "",
        bins: int = 40,
        between: Optional[tuple[float, float]] = None,
    ) -> dict[str, Any]:
        """How often numbers of a column are in equal intervals.

        Args:
            name: of the column.
            filter_text: of the rows that count.
            bins: how many intervals.
            between: ends of the first and the last; None for the least and the largest number.

        Returns:
            `edges`, one more than `counts`, and `missing`.

        Raises:
            FilterError: the column holds no numbers.
        """
        column = self._number(name)
        condition = self.condition(filter_text)
        value = _quoted(column.full)
        sql = (
            f"SELECT min({value}) AS low, max({value}) AS high, count({value}) AS there, "
            f"count(*) AS every FROM t WHERE {condition.sql}"
        )
        (known,) = self._records(sql, condition.values)
        there = int(known["there"])
        low, high = between or (known["low"], known["high"])
        if not there or low is None:
            return {"edges": [], "counts": [], "missing": int(known["every"])}
        low, high = float(low), float(high)
        width = (high - low) / bins if high > low else 1.0
        place = f"least(greatest(floor(({value} - ?) / ?), 0), {int(bins) - 1})"
        sql = (
            f"SELECT CAST({place} AS INTEGER) AS bin, count(*) AS count FROM t "
            f"WHERE {condition.sql} AND {value} BETWEEN ? AND ? GROUP BY bin"
        )
        values = (low, width, *condition.values, low, high)
        counts = [0] * bins
        for record in self._records(sql, values):
            counts[int(record["bin"])] = int(record["count"])
        edges = [low + width * i for i in range(bins + 1)]
        return {"edges": edges, "counts": counts, "missing": int(known["every"]) - there}

    def statistics(
        self, names: Sequence[str], filter_text: str = "", by: str = ""
    ) -> list[dict[str, Any]]:
        """Count, mean, standard deviation, least, median and largest of columns, over all rows or
        by the values of another column, the most frequent first.

        Raises:
            FilterError: a column holds no numbers, or there is none.
        """
        condition = self.condition(filter_text)
        group = self.column(by).full if by else ""
        found: list[dict[str, Any]] = []
        for name in names:
            value = _quoted(self._number(name).full)
            select = (
                f"count({value}) AS count, avg({value}) AS mean, "
                f"stddev_samp({value}) AS deviation, min({value}) AS least, "
                f"median({value}) AS median, max({value}) AS largest"
            )
            grouped = f"CAST({_quoted(group)} AS VARCHAR) AS slice, " if group else ""
            end = (
                f"GROUP BY {_quoted(group)} ORDER BY count(*) DESC, slice LIMIT 200"
                if group
                else ""
            )
            sql = f"SELECT {grouped}{select} FROM t WHERE {condition.sql} {end}"
            for record in self._records(sql, condition.values):
                found.append({"column": name, **record})
        return found

    def values(self, name: str, rows: Optional[Rows] = None) -> "npt.NDArray[np.float64]":
        """Numbers of a column; NaN where there is none.

        Raises:
            FilterError: the column holds no numbers.
        """
        column = self._table[self._number(name).full]
        taken = column if rows is None else column.take(pa.array(rows))
        return np.asarray(taken.to_numpy(), np.float64)

    def _number(self, name: str) -> Shown:
        column = self.column(name)
        if column.kind != "number":
            raise FilterError(f"{column.name} is no number")
        return column

    def _records(self, sql: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        """The rows of a short answer."""
        with self._asked(sql, values) as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @contextlib.contextmanager
    def _asked(self, sql: str, values: Sequence[Any]) -> Iterator[Any]:
        """A cursor with an answer. Each thread has one of its own."""
        cursor = self._connection.cursor()
        cursor.register("t", self._table)
        try:
            yield cursor.execute(sql, list(values))
        except duckdb.OutOfMemoryException as error:
            raise FilterError(
                "this question needs more memory than it may take: ask of fewer rows"
            ) from error
        finally:
            cursor.close()


def _shown(store: Store, table: pa.Table) -> dict[str, Shown]:
    """Columns by their full names. A part's column has its own name where no other has that, or
    else the model's label, or the whole part's name in front."""
    parts = {part.name: part for part in store.manifest.parts}
    units: dict[str, str] = {}
    ways: dict[str, list[str]] = {}
    for full in table.column_names:
        ways[full] = [full]
        for name, part in parts.items():
            if full.startswith(f"{name}."):
                own = full.removeprefix(f"{name}.")
                ways[full] = [own, f"{part.model}.{own}", full]
    for name, part in parts.items():
        for own, column in store.described(part).columns.items():
            units[f"{name}.{own}"] = column.unit
    taken: dict[str, int] = {}
    for names in ways.values():
        for name in dict.fromkeys(names):
            taken[name] = taken.get(name, 0) + 1
    shown: dict[str, Shown] = {}
    for field in table.schema:
        name = next((each for each in ways[field.name] if taken[each] == 1), field.name)
        unit = units.get(field.name.split("[")[0], "")
        shown[field.name] = Shown(name=name, full=field.name, kind=_kind(field.type), unit=unit)
    return shown


def _kind(kind: pa.DataType) -> Kind:
    if pa.types.is_boolean(kind):
        return "boolean"
    return "text" if pa.types.is_string(kind) else "number"


def _known(column: Shown) -> Known:
    return Known(_quoted(column.full), column.kind)


def _quoted(name: str) -> str:
    """A name of the index as SQL has it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
