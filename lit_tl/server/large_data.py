"""Data sets that are too large for a page, as stores without computed numbers."""

import hashlib
import json
import pathlib
import shutil
from typing import Callable

import platformdirs

from lit_tl.data.row_streams import open_rows
from lit_tl.store import Store
from lit_tl.store.files import alone

_SHARD_ROWS = 4096
_MOST = 8
"""Copies of data sets that are kept."""


def store_of_data(entry: str, say: Callable[[str], None]) -> Store:
    """A data set as a store, in the user's folder for caches; read once, as long as it does not
    change.

    Args:
        entry: as of `row_streams.open_rows`.
        say: hears that it is read.

    Raises:
        DataError: there is no such data set.
        StoreError: it holds no prompts, or the folder can't be written to.
    """
    stream = open_rows(entry)
    sources = [{"label": stream.label, "identity": dict(stream.identity)}]
    known = json.dumps([entry, sources], sort_keys=True, default=str).encode()
    shelf = platformdirs.user_cache_path("lit_tl") / "stores"
    folder = shelf / hashlib.blake2b(known, digest_size=12).hexdigest()
    with alone(folder):
        store = Store.create(folder, json.loads(json.dumps(sources, default=str)), _SHARD_ROWS)
        if store.manifest.rows is None:
            say(f"reading {stream.label}")
            store.read_data((stream.label, row.record, row.error) for row in stream.read())
    folder.touch()
    _forget_oldest(shelf)
    return store


def _forget_oldest(shelf: pathlib.Path) -> None:
    folders = sorted(shelf.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[_MOST:]:
        shutil.rmtree(folder, ignore_errors=True)
