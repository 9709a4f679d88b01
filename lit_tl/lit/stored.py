"""Predictions that a store holds, in place of the model's own."""

import collections
import threading
from typing import Any, Collection, Mapping, Optional, Sequence

import pyarrow as pa

from lit_tl.lit.model import HookedTransformerLIT
from lit_tl.store import Part, Store
from lit_tl.store.files import read_table
from lit_tl.store.queries import Queries

ROW = "store_row"
"""Of an example that comes from a store: the number of its row."""
_SHARDS = 16
"""Files of arrays that are kept in memory."""
_OF_TOKENS = ("tokens", "token_loss", "token_rank", "next_tokens")
READING = ("prepend_bos", "chat", "chat_template", "max_seq_length", "loss_over")
"""Settings of a wrapper on which stored numbers depend."""


class StoredPredictions:
    """Predictions of one model for the prompts of a store. Safe to use from several threads.

    Args:
        store: that has them.
        queries: of the store.
        part: of the store, of the analysis `predictions`.
    """

    def __init__(self, store: Store, queries: Queries, part: Part):
        self._store, self._queries, self._part = store, queries, part
        columns = store.described(part).columns
        self._scalars = {name for name, column in columns.items() if not column.axes}
        self._arrays = set(columns) & set(_OF_TOKENS)
        settings = part.identity["settings"]["predictions"]
        self._top_k = int(settings["top_k"])
        self._kept: "collections.OrderedDict[int, pa.Table]" = collections.OrderedDict()
        self._lock = threading.Lock()

    def fetch(
        self, examples: Sequence[Mapping[str, Any]], names: Collection[str], top_k: int
    ) -> list[dict[str, Any]]:
        """What the store has of some fields, for those examples that are prompts of it as they
        stand there.

        Args:
            examples: of a page.
            names: of fields.
            top_k: how many next tokens are wanted.

        Returns:
            A mapping for each example, empty where it is none of the store's.
        """
        found: list[dict[str, Any]] = [{} for _ in examples]
        rows = self._rows(examples)
        places = [place for place, row in enumerate(rows) if row is not None]
        known = [rows[place] for place in places]
        if not known:
            return found
        scalars = [name for name in names if name in self._scalars]
        full = [f"{self._part.name}.{name}" for name in scalars]
        values = self._queries.page([row for row in known if row is not None], full)
        for place, record in zip(places, values, strict=True):
            found[place] = {name: record[key] for name, key in zip(scalars, full, strict=True)}
        arrays = [name for name in names if name in self._arrays]
        if self._top_k < top_k and "next_tokens" in arrays:
            arrays.remove("next_tokens")
        for place, row in zip(places, known, strict=True):
            if arrays and row is not None:
                found[place] |= self._of_tokens(row, arrays, top_k)
        return found

    def _rows(self, examples: Sequence[Mapping[str, Any]]) -> list[Optional[int]]:
        """The rows that examples are, of those that are computed and were not edited."""
        asked = [
            None if example.get("tokens") else _row_of(example, len(self._queries))
            for example in examples
        ]
        there = [row for row in asked if row is not None]
        error = f"{self._part.name}.error"
        fields = [name for name in ("text", "answer", "foil") if name in self._queries.names]
        records = dict(zip(there, self._queries.page(there, [*fields, error]), strict=True))
        return [
            row
            if row is not None
            and records[row][error] is None
            and all((example.get(name) or "") == (records[row][name] or "") for name in fields)
            else None
            for row, example in zip(asked, examples, strict=True)
        ]

    def _of_tokens(self, row: int, names: Sequence[str], top_k: int) -> dict[str, Any]:
        shard = row // self._store.manifest.shard_rows
        with self._lock:
            table = self._kept.pop(shard, None)
            if table is None:
                table = read_table(self._store.path(self._part, shard))
            self._kept[shard] = table
            while len(self._kept) > _SHARDS:
                self._kept.popitem(last=False)
        (record,) = table.slice(row - self._store.rows_of(shard).start, 1).to_pylist()
        found = {name: record[name] for name in names}
        if "next_tokens" in found:
            pairs = zip(record["next_tokens"], record["next_probs"], strict=True)
            found["next_tokens"] = list(pairs)[:top_k]
        return found


def _row_of(example: Mapping[str, Any], count: int) -> Optional[int]:
    row = example.get(ROW)
    whole = isinstance(row, (int, float)) and not isinstance(row, bool) and row == int(row)
    return int(row) if whole and 0 <= row < count else None  # type: ignore[arg-type, operator]


def why_not(part: Part, model: HookedTransformerLIT, weights: str) -> str:
    """Why a part's numbers are not those of a model, as words; empty where they are.

    Args:
        part: of a store.
        model: of a page.
        weights: the digest of its weights.
    """
    identity, config = part.identity, model.config
    if identity.get("weights") != weights:
        return "the model of this page has other weights"
    if list(identity.get("changes", [])) != [str(change) for change in model.loaded.changes]:
        return "the model of this page is changed in another way"
    reading = identity.get("reading", {})
    other = [name for name in READING if reading.get(name) != getattr(config, name)]
    if other:
        return f"the model of this page reads prompts with another {' and '.join(other)}"
    return ""
