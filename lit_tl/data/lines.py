"""Lines of UTF-8 text and of JSON, with file and number in every error."""

import codecs
import json
import pathlib
from typing import Any, Iterator, Mapping, NoReturn

from lit_tl.data.errors import DataError


def decoded(raw: bytes, where: str, *, first: bool) -> str:
    """A line as text, without its end.

    Args:
        raw: the line's bytes.
        where: file and number, for errors.
        first: whether it is the file's first line, which may begin with a byte-order mark.

    Raises:
        DataError: it is not UTF-8.
    """
    data = raw.removeprefix(codecs.BOM_UTF8) if first else raw
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        byte, column = data[error.start], error.start + 1
        raise DataError(f"{where}: not UTF-8: byte {byte:#04x} at column {column}") from error


def json_object(
    line: str, where: str, *, example: str = '{"text": "..."}', strict: bool = True
) -> Mapping[str, Any]:
    """A line as a JSON object.

    Args:
        line: the text.
        where: file and number, for errors.
        example: what a line should look like.
        strict: whether NaN and infinities are errors, as JSON has it.

    Raises:
        DataError: it is no JSON, or another value than an object.
    """

    def refuse(name: str) -> NoReturn:
        raise DataError(f"{where}: {name} is not JSON")

    try:
        record = json.loads(line, parse_constant=refuse if strict else None)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError(f"{where}: not JSON: nested too deeply") from error
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{where}: not JSON: a number is too long") from error
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a JSON object: each line must be like {example}")
    return record


def numbered_lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a whole file, numbered from 1, without their ends.

    Raises:
        DataError: the file can't be read, is not UTF-8, or holds no text.
    """
    file = pathlib.Path(path).expanduser()
    if file.is_dir():
        raise DataError(f"{path} is a folder, not a file of prompts")
    if not file.is_file():
        raise DataError(f"{path} does not exist")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
    empty = True
    for number, raw in enumerate(data.split(b"\n"), start=1):
        line = decoded(raw, f"{path}:{number}", first=number == 1)
        empty = empty and not line.strip()
        yield number, line
    if empty:
        raise DataError(f"{path} holds no text")


def whole_text(path: str) -> str:
    """A whole UTF-8 file, lines ending in a newline alone.

    Raises:
        DataError: it can't be read, is not UTF-8, or holds no text.
    """
    return "\n".join(line for _, line in numbered_lines(path))
