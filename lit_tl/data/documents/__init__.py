"""Text of any length as a stream that can be gone on with: files of lines (also .gz, .zst), data
sets of the Hub. Knows no LIT."""

import pathlib
import re

from lit_tl.data import hub_rows
from lit_tl.data.documents.lines import LineFile, LineFiles
from lit_tl.data.documents.rows import Rows, public_name
from lit_tl.data.documents.stream import START, BadLines, Documents, Group, Place, TxtDocuments
from lit_tl.data.errors import DataError

__all__ = [
    "START",
    "BadLines",
    "Documents",
    "Group",
    "LineFile",
    "LineFiles",
    "Place",
    "Rows",
    "TxtDocuments",
    "open_documents",
]
_PACKED = (".gz", ".zst")
_PLAIN = (".txt", ".md")
_JSON_LINES = (".jsonl", ".ndjson")
_LINE_SUFFIXES = (*_JSON_LINES, ".json", *_PLAIN)


def open_documents(
    source: str,
    *,
    text_column: str,
    split: str,
    bad_lines: BadLines,
    txt_documents: TxtDocuments = "blank_lines",
) -> Documents:
    """Documents of a file, or of a data set in a folder or on the Hub. A folder of files of lines
    is read line by line, so that what is wrong has a file and a number; any other by the `datasets`
    library, which also says which files are in a split.

    Args:
        source: the file, folder or Hub id.
        text_column: of JSON lines and data sets.
        split: of a data set.
        bad_lines: whether a line that holds no text ends reading, or is counted.
        txt_documents: what separates the documents of files of plain text.

    Raises:
        DataError: there is no such file, or it is of a kind that is not read.
    """
    path = pathlib.Path(source).expanduser()
    if path.is_file():
        if not path.stat().st_size:
            raise DataError(f"{source} is empty")
        if _suffix(path) not in _LINE_SUFFIXES:
            raise DataError(
                f"{source}: files are read as {', '.join(_LINE_SUFFIXES)}, each also with .gz "
                "or .zst behind"
            )
        if split != "train":
            raise DataError(
                f"--split {split} is for data sets, and {source} is a file, which has one "
                "part: leave the flag out"
            )
        return _lines(path, text_column, bad_lines, txt_documents)
    name = source.removeprefix("hf:")
    looks_like_file = path.suffix in (*_LINE_SUFFIXES, *_PACKED) or source.startswith(
        (".", "~", "/")
    )
    if not path.is_dir() and (looks_like_file or not re.fullmatch(r"[\w.-]+(/[\w.-]+){0,2}", name)):
        raise DataError(
            f"{source} {'is not a file or a folder' if path.exists() else 'does not exist'}"
        )
    if path.is_dir():
        files = [pathlib.Path(file) for file in hub_rows.files_of(str(path), split)]
        if files and all(_suffix(file) in (*_JSON_LINES, *_PLAIN) for file in files):
            described = {"data_set": public_name(str(path)), "split": split}
            return LineFiles(
                f"{path}[{split}]",
                described,
                [_lines(file, text_column, bad_lines, txt_documents) for file in files],
            )
    return Rows(
        str(path) if path.is_dir() else name,
        text_column=text_column,
        split=split,
        bad_lines=bad_lines,
    )


def _lines(
    path: pathlib.Path, text_column: str, bad_lines: BadLines, txt_documents: TxtDocuments
) -> LineFile:
    plain = txt_documents if _suffix(path) in _PLAIN else None
    return LineFile(path, plain, text_column=text_column, bad_lines=bad_lines)


def _suffix(path: pathlib.Path) -> str:
    """What a file is, without what it is packed with."""
    return next(
        (
            suffix
            for suffix in reversed([suffix.lower() for suffix in path.suffixes])
            if suffix not in _PACKED
        ),
        "",
    )
