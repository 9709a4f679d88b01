"""Prompts in files: lines of text, JSON lines, CSV and TSV tables, JSON lists."""

import csv
import io
import json
import re
from typing import Any, Mapping, Sequence, TypeVar

from lit_tl.data.columns import PromptData, has_prompt, prompt_data
from lit_tl.data.errors import DataError
from lit_tl.data.lines import json_object, numbered_lines, whole_text

DEFAULT_MAX_EXAMPLES = 2000
_LONGEST_CELL = 2**30
_TEXT_COLUMNS = ("text", "prompt", "sentence", "content", "question", "input")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_Record = TypeVar("_Record")


def read_text_lines(path: str, max_examples: int = DEFAULT_MAX_EXAMPLES) -> PromptData:
    """One prompt on each line of a UTF-8 text file; empty lines are passed over.

    Args:
        path: the file.
        max_examples: how many prompts to read at most.

    Raises:
        DataError: the file can't be read, is not UTF-8, or holds no text.
    """
    lines = [(number, {"text": line}) for number, line in numbered_lines(path) if line.strip()]
    distinct = {record["text"]: (number, record) for number, record in reversed(lines)}
    unique = sorted(distinct.values(), key=lambda entry: entry[0])
    return prompt_data(path, at_most(unique, max_examples), read=len(lines))


def read_json_lines(path: str, max_examples: int = DEFAULT_MAX_EXAMPLES) -> PromptData:
    """One JSON object on each line of a UTF-8 file, with a string `text`, or with `messages`, a
    conversation as transformers has it: a list of `role` and `content`, whose last message is a
    prefill where it has `"prefix": true` or the line `"continue_final_message": true`.

    `answer` and `foil` (with their leading space), `target` and `corrupted_text` are used where
    they are there. Other strings become labels to slice by (up to 30 different ones, or else text),
    numbers scalars, lists of strings tokens.

    Args:
        path: the file.
        max_examples: how many prompts to read at most.

    Raises:
        DataError: the file can't be read or is not UTF-8; a line is not a JSON object with a text
            or messages; a field has values of different kinds; or there is no line at all.
    """
    records = []
    for number, line in numbered_lines(path):
        if line.strip():
            where = f"{path}:{number}"
            record = json_object(line, where)
            if not has_prompt(record):
                raise DataError(
                    f'{where}: no text: each line must be like {{"text": "..."}} or '
                    '{"messages": [{"role": "user", "content": "..."}]}'
                )
            records.append((number, record))
    data = prompt_data(path, records)
    unique = at_most(data.examples, max_examples)
    if len(unique) == len(data.examples):
        return data
    left = len(records) - len(unique)
    description = f"{len(unique)} prompts from {path} ({left} more are repeated or past the limit)"
    return PromptData(examples=unique, columns=data.columns, description=description)


def read_table(
    path: str, text_column: str = "", max_examples: int = DEFAULT_MAX_EXAMPLES
) -> PromptData:
    """Prompts in a CSV or TSV file with a header line. A number column becomes a scalar, text with
    few values a label; columns without a name (pandas' index) are left out.

    Args:
        path: the file; one that ends in .tsv is cut at tabs, any other at the commas, semicolons or
            tabs of its header.
        text_column: the column with the prompts; empty for `text`, `prompt` or the like.
        max_examples: how many rows to read at most.

    Raises:
        DataError: the file can't be read, a row has another number of cells than the header, or
            there is no such column.
    """
    text = whole_text(path).lstrip("\n")
    csv.field_size_limit(_LONGEST_CELL)
    header = text.split("\n", 1)[0]
    delimiter = "\t" if path.lower().endswith(".tsv") else max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records: list[tuple[int, Mapping[str, Any]]] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        named = [name for name in names if name]
        if len(set(named)) != len(named):
            raise DataError(f"{path}:1: the header names a column twice")
        column = text_column_of(named, text_column, path)
        for cells in filter(None, reader):
            if len(cells) != len(names):
                raise DataError(
                    f"{path}:{reader.line_num}: {len(cells)} cells, but the header has {len(names)}"
                )
            row = {name: cell for name, cell in zip(names, cells, strict=True) if name}
            records.append((reader.line_num, with_text(row, column)))
    except csv.Error as error:
        raise DataError(f"{path}:{max(reader.line_num, 1)}: {error}") from error
    return prompt_data(path, _numbers(at_most(records, max_examples)))


def _numbers(records: list[tuple[int, Mapping[str, Any]]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Cells as numbers in columns where every cell that is filled is one."""
    texts = ("text", "answer", "foil", "target")
    names = [name for name in records[0][1] if name not in texts] if records else []
    for name in names:
        cells = [record[name] for _, record in records if record[name] != ""]
        if cells and all(_NUMBER.fullmatch(cell) for cell in cells):
            records = [
                (line, {**record, name: float(record[name]) if record[name] else None})
                for line, record in records
            ]
    return records


def read_json_list(
    path: str, text_column: str = "", max_examples: int = DEFAULT_MAX_EXAMPLES
) -> PromptData:
    """Prompts in a JSON file that holds one list: of texts, or of objects with a text.

    Args:
        path: the file.
        text_column: the key of the prompts; empty for `text`, `prompt` or the like.
        max_examples: how many prompts to read at most.

    Raises:
        DataError: the file can't be read or is no such list.
    """
    try:
        entries = json.loads(whole_text(path))
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply") from error
    except json.JSONDecodeError as error:
        place = f"at column {error.colno}"
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg} {place}") from error
    if not isinstance(entries, list) or not all(isinstance(e, (str, dict)) for e in entries):
        raise DataError(f"{path} does not hold a list of texts or of objects")
    records: list[tuple[int, Mapping[str, Any]]] = []
    for number, entry in enumerate(at_most(entries, max_examples), start=1):
        record = {"text": entry} if isinstance(entry, str) else entry
        if not text_column and record.get("messages") is not None:
            records.append((number, record))
            continue
        asked = "" if isinstance(entry, str) else text_column
        column = text_column_of(list(record), asked, f"{path}, entry {number}")
        if not isinstance(record[column], str):
            raise DataError(f"{path}, entry {number}: {column!r} is not text")
        records.append((number, with_text(record, column)))
    return prompt_data(path, records)


def at_most(records: Sequence[_Record], max_examples: int) -> list[_Record]:
    """The first of them.

    Raises:
        DataError: fewer than one is asked for.
    """
    if max_examples < 1:
        raise DataError(f"max_examples is {max_examples}: give 1 or more")
    return list(records[:max_examples])


def with_text(record: Mapping[str, Any], column: str) -> dict[str, Any]:
    """The record with its text column first, under the name that models read."""
    rest = {name: value for name, value in record.items() if name not in (column, "text")}
    return {"text": record[column], **rest}


def text_column_of(names: list[str], asked: str, where: str) -> str:
    """The column that holds the prompts.

    Raises:
        DataError: there is none of that name, or none of the usual ones.
    """
    if asked:
        if asked not in names:
            raise DataError(f"{where} has no column {asked!r}: it has {', '.join(names)}")
        return asked
    column = next((name for name in _TEXT_COLUMNS if name in names), None)
    if column is None:
        usual = " or ".join(_TEXT_COLUMNS[:2])
        raise DataError(
            f"{where} has no column called {usual}: name one of {', '.join(names)} as the text "
            "column"
        )
    return column
