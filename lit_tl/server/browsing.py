"""What a page asks of stores: rows, histograms, comparisons, windows to look into."""

import base64
import pathlib
import threading
from typing import Any, Callable, Mapping, Optional, Sequence

import numpy as np

from lit_tl.engine import jobs
from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.lit.projectors import Umap
from lit_tl.lit.store_windows import MOST_ROWS, window
from lit_tl.lit.stored import StoredPredictions, why_not
from lit_tl.names import safe_label, split_label
from lit_tl.server.large_data import store_of_data
from lit_tl.store import Part, Store, StoreError, projections
from lit_tl.store import index as index_
from lit_tl.store.comparing import Side, described, differences, largest_first
from lit_tl.store.files import alone
from lit_tl.store.filters import FilterError
from lit_tl.store.queries import Order, Queries

TITLES: Mapping[str, str] = {
    "/describe_stores": "Opening the store",
    "/compare_columns": "Comparing",
    "/place_rows": "Placing rows",
}
"""Of what takes long, for the list of jobs."""
LONG = ("/place_rows",)
"""What other requests go before."""
MOST_WINDOWS = 16
"""Data sets of rows of stores that a server holds."""
_MOST_IN_PAGE = 200
_MOST_BINS = 200


class Shelf:
    """A store, opened when somebody first asks.

    Args:
        label: what people call it.
        store: the store.
    """

    def __init__(self, label: str, store: Store):
        self.label, self.store = label, store
        self._lock = threading.Lock()
        self._queries: Optional[Queries] = None

    @property
    def queries(self) -> Queries:
        """Questions about it. The first one makes its index, where it is out of date.

        Raises:
            StoreError: a file is damaged, or the index can't be written.
        """
        with self._lock:
            if self._queries is None:
                if not index_.is_current(self.store):
                    with alone(self.store.folder):
                        index_.build(self.store, jobs.current().advance)
                self._queries = Queries(self.store)
            return self._queries


class BrowseDesk:
    """Answers a page's requests about stores.

    Args:
        stores: by label.
        models: of the server, by label, as LIT has them.
        add: takes a data set into the page, under a name of the label; gives what the page is to
            know.
        weights: the digest of a model's weights.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        models: Callable[[], Mapping[str, Any]],
        add: Callable[[str, Any], dict[str, Any]],
        weights: Callable[[HookedTransformerLIT], str],
    ):
        self._shelves = {label: Shelf(label, store) for label, store in stores.items()}
        self._models, self._add, self._weights = models, add, weights

    @property
    def labels(self) -> list[str]:
        """Of the stores."""
        return list(self._shelves)

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """By path."""
        return {
            "/describe_stores": self.describe,
            "/browse_rows": self.rows,
            "/browse_histogram": self.histogram,
            "/browse_statistics": self.statistics,
            "/compare_columns": self.compare,
            "/open_rows": self.open,
            "/place_rows": self.place,
        }

    def stored_for(self, model: HookedTransformerLIT) -> list[StoredPredictions]:
        """The predictions of a model that stores hold."""
        found = []
        for shelf in self._shelves.values():
            for part in shelf.store.manifest.parts:
                if "predictions" in part.identity["settings"] and not self._why_not(part, model):
                    found.append(StoredPredictions(shelf.store, shelf.queries, part))
        return found

    def describe(self, data: Mapping[str, Any], **kw: Any) -> Any:
        """The stores, their columns, and where numbers come from."""
        del data, kw
        return [self._described(shelf) for shelf in self._shelves.values()]

    def _described(self, shelf: Shelf) -> dict[str, Any]:
        queries, manifest = shelf.queries, shelf.store.manifest
        return {
            "label": shelf.label,
            "folder": shelf.store.folder.name,
            "rows": len(queries),
            "columns": [
                {"name": column.name, "kind": column.kind, "unit": column.unit}
                for column in queries.columns.values()
            ],
            "parts": [self._provenance(shelf, part) for part in manifest.parts],
            "data": [str(source.get("label")) for source in manifest.sources],
            "most": MOST_ROWS,
            "vectors": projections.choices(shelf.store),
        }

    def _provenance(self, shelf: Shelf, part: Part) -> dict[str, Any]:
        """Where a part's numbers come from, and which models of the page they are of."""
        ours = {
            name: model.wrapped
            for name, model in self._models().items()
            if isinstance(getattr(model, "wrapped", None), HookedTransformerLIT)
        }
        reasons = {name: self._why_not(part, model) for name, model in ours.items()}
        return {
            "name": part.name,
            "model": part.model,
            "analysis": part.analysis,
            "weights": str(part.identity.get("weights", ""))[:8],
            "changes": part.identity.get("changes", []),
            "code": part.identity.get("code", ""),
            "note": shelf.store.described(part).note,
            "same": [name for name, reason in reasons.items() if not reason],
            "other": {name: reason for name, reason in reasons.items() if reason},
        }

    def _why_not(self, part: Part, model: HookedTransformerLIT) -> str:
        return why_not(part, model, self._weights(model))

    def rows(self, data: Mapping[str, Any], **kw: Any) -> Any:
        """Some rows of a filter, in an order: `store`, `filter`, `sort`, `descending`, `first`,
        `count`, `columns`."""
        del kw
        queries = self._shelf(data).queries
        rows = queries.rows(str(data.get("filter") or ""), _order(data))
        first = _whole(data, "first", 0, max(len(rows), 1))
        count = _whole(data, "count", 50, _MOST_IN_PAGE)
        names = _names(data.get("columns"))
        chosen = rows[first : first + count]
        return {
            "total": len(rows),
            "of": len(queries),
            "rows": queries.page(chosen.tolist(), ["row", *names]),
        }

    def histogram(self, data: Mapping[str, Any], **kw: Any) -> Any:
        """Of a number: `store`, `column`, `filter`, `bins`."""
        del kw
        return self._shelf(data).queries.histogram(
            str(data.get("column")),
            str(data.get("filter") or ""),
            max(1, _whole(data, "bins", 40, _MOST_BINS)),
        )

    def statistics(self, data: Mapping[str, Any], **kw: Any) -> Any:
        """Of numbers, over all rows of a filter or by the values of a column: `store`, `columns`,
        `filter`, `by`."""
        del kw
        return self._shelf(data).queries.statistics(
            _names(data.get("columns")), str(data.get("filter") or ""), str(data.get("by") or "")
        )

    def compare(self, data: Mapping[str, Any], **kw: Any) -> Any:
        """Where two columns differ most, the largest difference first: `store`, `column`,
        `other_store`, `other_column`, `filter`, `first`, `count`, `columns`."""
        del kw
        shelf = self._shelf(data)
        other = self._shelf({"store": data.get("other_store") or data.get("store")})
        queries = shelf.queries
        rows = queries.rows(str(data.get("filter") or ""))
        one = Side(queries=queries, column=str(data.get("column")))
        second = Side(queries=other.queries, column=str(data.get("other_column")))
        found = differences(one, second, rows)
        order = largest_first(found)
        first = _whole(data, "first", 0, max(len(rows), 1))
        places = order[first : first + _whole(data, "count", 50, _MOST_IN_PAGE)]
        names = _names(data.get("columns"))
        chosen = rows[places].tolist()
        records = queries.page(chosen, ["row", *names])
        sides = [
            each.queries.values(each.column, np.array(chosen, np.int64)) for each in (one, second)
        ]
        for place, record in enumerate(records):
            record["one"], record["other"] = (_number(side[place]) for side in sides)
            record["difference"] = _number(found[places[place]])
        return {"total": len(rows), "rows": records, "spread": described(found)}

    def place(self, data: Mapping[str, Any], **kw: Any) -> Any:
        """Rows in two dimensions: `store`, `part`, `layer`, `method` (pca or umap), `color`, a
        column of numbers, and `filter`."""
        del kw
        shelf, method = self._shelf(data), str(data.get("method") or "pca")
        if method not in ("pca", "umap"):
            raise FilterError(f"method is {method!r}: choose pca or umap")
        layer = data.get("layer")
        found = projections.placed(
            shelf.store,
            str(data.get("part")),
            layer if isinstance(layer, int) else None,
            method,
            None if method == "pca" else Umap(2).place,
            jobs.current().advance,
        )
        queries = shelf.queries
        through = np.isin(found.rows, queries.rows(str(data.get("filter") or "")))
        rows = found.rows[through]
        color = str(data.get("color") or "")
        values = queries.values(color, rows) if color else np.zeros(0)
        return {
            "rows": _bytes(rows.astype(np.int32)),
            "x": _bytes(found.places[through, 0]),
            "y": _bytes(found.places[through, 1]),
            "color": _bytes(values.astype(np.float32)),
            "explained": found.explained,
        }

    def open(self, data: Mapping[str, Any], **kw: Any) -> Any:
        """Make a data set of the page: of `rows`, or of the first `count` of a filter and order."""
        del kw
        shelf = self._shelf(data)
        rows = data.get("rows")
        if rows is None:
            every = shelf.queries.rows(str(data.get("filter") or ""), _order(data))
            first = _whole(data, "first", 0, max(len(every), 1))
            rows = every[first : first + _whole(data, "count", MOST_ROWS, MOST_ROWS)].tolist()
        if not isinstance(rows, list) or not all(
            isinstance(row, int) and 0 <= row < len(shelf.queries) for row in rows
        ):
            raise StoreError("rows are a list of numbers of rows")
        return self._add(shelf.label, window(shelf.store, shelf.label, rows))

    def first_windows(self) -> dict[str, Any]:
        """What a page shows of each store when it opens."""
        found = {}
        for label, shelf in self._shelves.items():
            count = min(MOST_ROWS, shelf.store.manifest.rows or 0)
            found[label] = window(shelf.store, label, list(range(count)))
        return found

    def _shelf(self, data: Mapping[str, Any]) -> Shelf:
        label = str(data.get("store") or next(iter(self._shelves), ""))
        if label not in self._shelves:
            there = ", ".join(self._shelves) or "none (start the server with --store)"
            raise StoreError(f"there is no store {label!r} on this server: there is {there}")
        return self._shelves[label]


def _bytes(values: "np.ndarray[Any, Any]") -> str:
    """Numbers as a page reads them at once."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _order(data: Mapping[str, Any]) -> Order:
    return Order(column=str(data.get("sort") or ""), descending=bool(data.get("descending")))


def _whole(data: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = data.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FilterError(f"{name} is {value!r}: give a whole number")
    return min(value, most)


def _names(given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise FilterError("columns are a list of names")
    return given


def _number(value: Any) -> Optional[float]:
    return float(value) if np.isfinite(value) else None


def open_stores(
    entries: Sequence[str], say: Callable[[str], None] = lambda text: None
) -> dict[str, Store]:
    """Stores by label, of entries `[label=]folder`; or of data sets that have none, which are read
    into one.

    Args:
        entries: folders, files, globs, addresses or `hf:owner/name`.
        say: hears what takes long.

    Raises:
        StoreError: one is none, or two have one label.
        DataError: a data set can't be read.
    """
    stores: dict[str, Store] = {}
    for entry in entries:
        label, source = split_label(entry)
        folder = pathlib.Path(source).expanduser()
        is_folder = folder.is_dir() or not (folder.suffix or ":" in source or "*" in source)
        name = folder.resolve().name if is_folder else source.split("/")[-1].split(".")[0]
        label = safe_label(label or name)
        if label in stores:
            raise StoreError(f"two stores are called {label!r}: name one of them with label=...")
        store = Store(folder) if is_folder else store_of_data(source, say)
        if store.manifest.rows is None:
            raise StoreError(f"{source} was not read to its end: run precompute on it again")
        stores[label] = store
    return stores


def models_of(stores: Mapping[str, Store]) -> Optional[tuple[str, ...]]:
    """Entries of `--models` for the models of stores; None where they have none."""
    found: dict[str, str] = {}
    for store in stores.values():
        for part in store.manifest.parts:
            found.setdefault(part.model, part.source)
    labelled = (
        source if source.startswith(f"{label}=") else f"{label}={source}"
        for label, source in found.items()
    )
    return tuple(labelled) or None
