"""Rows of data sets that the `datasets` library reads."""

import hashlib
import json
import pathlib
from typing import Any, Iterator

from lit_tl.data import hub_rows
from lit_tl.data.documents.lines import file_hash
from lit_tl.data.documents.stream import (
    GROUP_DOCUMENTS,
    START,
    BadLines,
    Documents,
    Group,
    Place,
    counted_if_bad,
    text_of,
)
from lit_tl.data.errors import DataError

_DATA_SUFFIXES = (
    ".jsonl",
    ".ndjson",
    ".json",
    ".txt",
    ".md",
    ".gz",
    ".zst",
    ".parquet",
    ".arrow",
    ".csv",
    ".tsv",
)


class Rows(Documents):
    """A document in each row of a data set, streamed: no more is fetched than is used.

    Args:
        name: a folder, or owner/name[/config] on the Hub.
        text_column: the column of the text.
        split: which part.
        bad_lines: whether a row that holds no text ends reading, or is counted.
    """

    def __init__(self, name: str, *, text_column: str, split: str, bad_lines: BadLines):
        config = (
            name.split("/", 2)[2]
            if not pathlib.Path(name).is_dir() and name.count("/") == 2
            else None
        )
        self._name, self._config = name.removesuffix(f"/{config}") if config else name, config
        self.where = f"{name}[{split}]"
        self._column, self._split, self._bad_lines = text_column, split, bad_lines

    def groups(self, place: Place = START) -> Iterator[Group]:
        """See `Documents`."""
        now = dict(place)
        data = hub_rows.stream(self._name, self._config, self._split)
        if "rows" in now:
            data.load_state_dict(now["rows"])
        with hub_rows.said_plainly(self._name, self.where):
            for rows in data.iter(batch_size=GROUP_DOCUMENTS):
                if self._column not in rows:
                    raise DataError(
                        f"{self.where} has no column {self._column!r}: it has "
                        f"{', '.join(rows)} (--text_column)"
                    )
                texts: list[str] = []
                for text in rows[self._column]:
                    now["line"] += 1
                    with counted_if_bad(self._bad_lines, now):
                        texts.append(
                            text_of(
                                {self._column: text},
                                self._column,
                                f"{self.where}, row {now['line']}",
                            )
                        )
                texts = [text for text in texts if text]
                now["documents"] += len(texts)
                yield Group(texts, {**now, "rows": data.state_dict()})

    def identity(self) -> dict[str, Any]:
        """Name, config, split, and what the library knows of the version."""
        data = hub_rows.stream(self._name, self._config, self._split)
        described = {
            "data_set": public_name(self._name),
            "config": self._config,
            "split": self._split,
            "text_column": self._column,
        }
        return described | {
            "version": str(data.info.version),
            "fingerprint": _fingerprint(self._name),
        }


def public_name(name: str) -> str:
    """Of a folder its own name, without the path to it."""
    folder = pathlib.Path(name)
    return folder.resolve().name if folder.is_dir() else name


def _fingerprint(name: str) -> str:
    """The commit of a data set on the Hub, or a hash of the data in a folder."""
    folder = pathlib.Path(name)
    if folder.is_dir():
        files = sorted(
            path for path in folder.rglob("*") if path.is_file() and path.suffix in _DATA_SUFFIXES
        )
        described = [(str(path.relative_to(folder)), file_hash(path)) for path in files]
        return hashlib.blake2b(json.dumps(described).encode(), digest_size=16).hexdigest()
    import huggingface_hub

    with hub_rows.said_plainly(name, name):
        return str(huggingface_hub.HfApi().dataset_info(name).sha)
