"""Prompts in tables: CSV, TSV, JSON files, and data sets of the Hugging Face Hub."""

import csv
import dataclasses
import io
import itertools
import json
import re
from typing import Any, Mapping, Optional

from lit_nlp.api import dataset as lit_dataset

from lit_tl.data import hub
from lit_tl.data.errors import DataError
from lit_tl.data.files import DEFAULT_MAX_EXAMPLES, at_most, read_text, typed_dataset

_LONGEST_CELL = 2**30
_TEXT_COLUMNS = ("text", "prompt", "sentence", "content", "question", "input")


def _with_text(record: Mapping[str, Any], column: str) -> dict[str, Any]:
    """The record with its text column first, under the name that models read."""
    return {"text": record[column], **{name: value for name, value in record.items() if name not in (column, "text")}}


def _text_column(names: list[str], asked: str, where: str) -> str:
    if asked:
        if asked not in names:
            raise DataError(f"{where} has no column {asked!r}: it has {', '.join(names)}")
        return asked
    found = next((name for name in _TEXT_COLUMNS if name in names), None)
    if found is None:
        raise DataError(
            f"{where} has no column called {' or '.join(_TEXT_COLUMNS[:2])}: name one of {', '.join(names)} as the text column"
        )
    return found


class Table(lit_dataset.Dataset):
    """Prompts in a CSV or TSV file with a header line. A number column becomes a scalar, text with few values a label; columns
    without a name (pandas' index) are left out.

    Args:
        path: the file; one that ends in .tsv is cut at tabs, any other at the commas, semicolons or tabs of its header.
        text_column: the column with the prompts; empty for `text`, `prompt` or the like.
        max_examples: how many rows to read at most.

    Raises:
        DataError: the file can't be read, a row has another number of cells than the header, or there is no such column.
    """

    def __init__(self, path: str, text_column: str = "", max_examples: int = DEFAULT_MAX_EXAMPLES):
        text = read_text(path).lstrip("\n")
        csv.field_size_limit(_LONGEST_CELL)
        header = text.split("\n", 1)[0]
        delimiter = "\t" if path.lower().endswith(".tsv") else max(",;\t", key=header.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            names = [name.strip() for name in next(reader, [])]
        except csv.Error as error:
            raise DataError(f"{path}:1: {error}") from error
        named = [name for name in names if name]
        if len(set(named)) != len(named):
            raise DataError(f"{path}:1: the header names a column twice")
        column = _text_column(named, text_column, path)
        records: list[tuple[int, Mapping[str, Any]]] = []
        try:
            for cells in filter(None, reader):
                if len(cells) != len(names):
                    raise DataError(f"{path}:{reader.line_num}: {len(cells)} cells, but the header has {len(names)}")
                row = {name: cell for name, cell in zip(names, cells, strict=True) if name}
                records.append((reader.line_num, _with_text(row, column)))
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: {error}") from error
        typed_dataset(self, path, _numbers(at_most(records, max_examples)))


def _numbers(records: list[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Cells as numbers in columns where every cell that is filled is one."""
    names = [name for name in records[0][1] if name not in ("text", "answer", "foil", "target")] if records else []
    for name in names:
        cells = [record[name] for _, record in records if record[name] != ""]
        if cells and all(re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell) for cell in cells):
            records = [(line, {**record, name: float(record[name]) if record[name] else None}) for line, record in records]
    return records


class JsonFile(lit_dataset.Dataset):
    """Prompts in a JSON file that holds one list: of texts, or of objects with a text.

    Args:
        path: the file.
        text_column: the key of the prompts; empty for `text`, `prompt` or the like.
        max_examples: how many prompts to read at most.

    Raises:
        DataError: the file can't be read or is no such list.
    """

    def __init__(self, path: str, text_column: str = "", max_examples: int = DEFAULT_MAX_EXAMPLES):
        try:
            entries = json.loads(read_text(path))
        except RecursionError as error:
            raise DataError(f"{path} is nested too deeply") from error
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}") from error
        if not isinstance(entries, list) or not all(isinstance(entry, (str, dict)) for entry in entries):
            raise DataError(f"{path} does not hold a list of texts or of objects")
        records: list[tuple[int, Mapping[str, Any]]] = []
        for number, entry in enumerate(at_most(entries, max_examples), start=1):
            record = {"text": entry} if isinstance(entry, str) else entry
            column = _text_column(list(record), "" if isinstance(entry, str) else text_column, f"{path}, entry {number}")
            if not isinstance(record[column], str):
                raise DataError(f"{path}, entry {number}: {column!r} is not text")
            records.append((number, _with_text(record, column)))
        typed_dataset(self, path, records)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubSource:
    """A data set of the Hub: `hf:owner/name[split,column,:count]`, what is in brackets optional; a config as owner/name/config."""

    name: str
    config: Optional[str] = None
    split: str = "train"
    column: str = ""
    count: int = 200

    @classmethod
    def parse(cls, text: str) -> "HubSource":
        """Read `hf:...`.

        Raises:
            DataError: it is not of that form.
        """
        match = re.fullmatch(r"hf:([\w.-]+(?:/[\w.-]+)?)(?:/([\w.-]+))?(?:\[(.*)\])?", text)
        if match is None:
            raise DataError(f"{text!r} is not of the form hf:owner/name[split,column,:count]")
        parts = [part.strip() for part in (match[3] or "").split(",")]
        counts = [part for part in parts if part.startswith(":")]
        names = [part for part in parts if not part.startswith(":")]
        if len(counts) > 1 or len(names) > 2 or not all(count[1:].isdigit() and int(count[1:]) for count in counts):
            raise DataError(f"{text!r}: in brackets go a split, a column and a count, as in [train,text,:200]")
        split, column = [*names, "", ""][:2]
        return cls(
            name=match[1], config=match[2], split=split or "train", column=column, count=int(counts[0][1:]) if counts else 200
        )


class HubTable(lit_dataset.Dataset):
    """Prompts out of a data set of the Hugging Face Hub, streamed: no more is read than is shown.

    Args:
        source: `hf:owner/name[split,column,:count]`, or the same without `hf:`.

    Raises:
        DataError: there is no such data set, split or column, or the Hub can't be reached.
    """

    def __init__(self, source: str):
        wanted = HubSource.parse(source if source.startswith("hf:") else f"hf:{source}")
        where = f"{wanted.name}[{wanted.split}]"
        with hub.said_plainly(wanted.name, where):
            rows = list(itertools.islice(hub.stream(wanted.name, wanted.config, wanted.split), wanted.count))
        if not rows:
            raise DataError(f"{where} is empty")
        column = _text_column(list(rows[0]), wanted.column, where)
        records = [(number, _with_text(row, column)) for number, row in enumerate(rows, start=1) if isinstance(row[column], str)]
        if not records:
            raise DataError(f"{where}: column {column!r} holds no text")
        typed_dataset(self, where, [(number, _plain(record)) for number, record in records])


def _plain(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Only what a table shows: texts, numbers and labels."""
    return {name: value for name, value in record.items() if isinstance(value, (str, int, float, bool))}
