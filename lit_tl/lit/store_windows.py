"""Some rows of a store as a LIT data set."""

from typing import Any, Mapping, Sequence

from lit_tl.data.columns import prompt_data
from lit_tl.lit.datasets import PromptDataset
from lit_tl.lit.stored import ROW
from lit_tl.store import Store, StoreError

MOST_ROWS = 1000
"""What a page holds at once."""


def window(store: Store, label: str, rows: Sequence[int]) -> PromptDataset:
    """Prompts of a store, each with the number of its row.

    Args:
        store: that has them.
        label: what people call the store.
        rows: their numbers, in the order in which the page shows them.

    Raises:
        StoreError: there are none, more than a page holds, or none can be read.
    """
    if not len(rows):
        raise StoreError("no row is chosen: choose some, or change the filter")
    if len(rows) > MOST_ROWS:
        raise StoreError(f"{len(rows):,} rows are more than the {MOST_ROWS:,} that a page holds")
    records = _records(store, rows)
    readable = [(row, records[row]) for row in dict.fromkeys(rows) if row in records]
    if not readable:
        raise StoreError("none of these rows has a prompt that can be read")
    numbered = [(row, {**record, ROW: row}) for row, record in readable]
    data = PromptDataset(prompt_data(label, numbered))
    return data


def _records(store: Store, rows: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
    """Those that can be read, by their numbers."""
    wanted, found = set(map(int, rows)), {}
    for shard in sorted({row // store.manifest.shard_rows for row in wanted}):
        for row, record, error in store.examples(shard):
            if row in wanted and error is None:
                found[row] = record
    return found
