"""Text of any length as a stream that can be gone on with: files of lines (also .gz, .zst), data sets of the Hub. Knows no LIT."""

import abc
import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import re
import zlib
from typing import IO, Any, Iterator, Literal, Mapping, Optional, Union

from lit_tl.data import hub
from lit_tl.data.errors import DataError

BadLines = Literal["refuse", "skip"]
Place = Mapping[str, Any]
"""How far reading has come, as JSON has it; `documents`, `skipped` and `first_skipped` are counts for the user."""
START: Place = {"line": 0, "documents": 0, "skipped": 0, "first_skipped": ""}
_GROUP_DOCUMENTS, _GROUP_BYTES = 64, 2**20
_SAMPLED_ABOVE, _SAMPLES = 4 * 2**30, 64
_LINE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".txt", ".md")
_DATA_SUFFIXES = (*_LINE_SUFFIXES, ".gz", ".zst", ".parquet", ".arrow", ".csv", ".tsv")


@dataclasses.dataclass(frozen=True)
class Group:
    """Some documents, and the place behind them."""

    texts: list[str]
    place: Place


class Documents(abc.ABC):
    """Documents in their order."""

    where: str

    @abc.abstractmethod
    def groups(self, place: Place = START) -> Iterator[Group]:
        """From a place to the end.

        Raises:
            DataError: something there can't be read.
        """

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells this data from other data, as JSON has it."""

    def most_tokens(self) -> Optional[int]:
        """More tokens than this can't be in it, whatever the tokenizer; None where that is not known beforehand."""
        return None


def open_documents(source: str, *, text_column: str, split: str, bad_lines: BadLines) -> Documents:
    """Documents of a file, or of a data set in a folder or on the Hub.

    Raises:
        DataError: there is no such file, or it is of a kind that is not read.
    """
    path = pathlib.Path(source).expanduser()
    if path.is_file():
        suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zst")]
        if not path.stat().st_size:
            raise DataError(f"{source} is empty")
        if not suffixes or suffixes[-1].lower() not in _LINE_SUFFIXES:
            raise DataError(f"{source}: files are read as {', '.join(_LINE_SUFFIXES)}, each also with .gz or .zst behind")
        return LineFile(path, suffixes[-1].lower() in (".txt", ".md"), text_column=text_column, bad_lines=bad_lines)
    name = source.removeprefix("hf:")
    looks_like_file = path.suffix in (*_LINE_SUFFIXES, ".gz", ".zst") or source.startswith((".", "~", "/"))
    if not path.is_dir() and (looks_like_file or not re.fullmatch(r"[\w.-]+(/[\w.-]+){0,2}", name)):
        raise DataError(f"{source} does not exist")
    return Rows(str(path) if path.is_dir() else name, text_column=text_column, split=split, bad_lines=bad_lines)


class LineFile(Documents):
    """A document on each line: a JSON object with a text, or the line itself. Empty lines and empty texts are passed over.

    Args:
        path: the file; what ends in .gz or .zst is unpacked on the way.
        plain: whether lines are text rather than JSON.
        text_column: the key of the text.
        bad_lines: whether a line that holds no text ends reading, or is counted.
    """

    def __init__(self, path: pathlib.Path, plain: bool, *, text_column: str, bad_lines: BadLines):
        self.where = str(path)
        self._path, self._plain, self._column, self._bad_lines = path, plain, text_column, bad_lines

    def groups(self, place: Place = START) -> Iterator[Group]:
        """See `Documents`."""
        now = dict(place)
        texts: list[str] = []
        size = 0
        for raw in self._lines(now):
            with _bad_lines(self._bad_lines, now) as found:
                found.append(self._text(raw, now["line"] + 1))
            text = "".join(found)
            now["line"] += 1
            now["offset"] = now.get("offset", 0) + len(raw)
            if text:
                texts.append(text)
                size += len(raw)
                now["documents"] += 1
            if len(texts) == _GROUP_DOCUMENTS or size > _GROUP_BYTES:
                yield Group(texts, dict(now))
                texts, size = [], 0
        if texts or now["line"] > place["line"]:
            yield Group(texts, dict(now))

    def identity(self) -> dict[str, Any]:
        """Name, size, and a hash: of the whole file, or of 64 spread parts where it is above 4 GiB."""
        with self._opened(self._path):
            size = self._path.stat().st_size
            return {"file": self._path.name, "bytes": size, "blake2b": _hash(self._path), "text_column": self._column}

    def most_tokens(self) -> Optional[int]:
        """A byte for each, and the line's end for the token that begins a text; not known of packed files."""
        return None if self._path.suffix in (".gz", ".zst") else self._path.stat().st_size + 1

    def _lines(self, now: dict[str, Any]) -> Iterator[bytes]:
        packed = self._path.suffix in (".gz", ".zst")
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(self._opened(self._path))
            lines = stack.enter_context(contextlib.closing(self._unpacked(raw))) if packed else raw
            if not packed:
                raw.seek(now.get("offset", 0))
            behind = now["line"] if packed else 0
            number = now["line"] - behind
            try:
                for line in lines:
                    number += 1
                    if number > behind:
                        yield line
            except _unpacking_errors(self._path) as error:
                raise DataError(f"{self.where}:{number + 1}: can't be unpacked: {error}") from error

    def _unpacked(self, raw: IO[bytes]) -> Union[gzip.GzipFile, io.BufferedReader]:
        if self._path.suffix == ".gz":
            return gzip.GzipFile(fileobj=raw)
        return io.BufferedReader(_zstandard().ZstdDecompressor().stream_reader(raw, read_across_frames=True), 2**20)

    def _opened(self, path: pathlib.Path) -> IO[bytes]:
        try:
            return path.open("rb")
        except OSError as error:
            raise DataError(f"{self.where} can't be read: {error.strerror}") from error

    def _text(self, raw: bytes, number: int) -> str:
        try:
            line = raw.decode("utf-8").strip("\r\n") if number > 1 else raw.decode("utf-8-sig").strip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.where}:{number}: not UTF-8: byte {raw[error.start]:#04x} at column {error.start + 1}"
            ) from error
        if self._plain or not line.strip():
            return line.strip()
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise DataError(f"{self.where}:{number}: not JSON: {reason}") from error
        return text_of(record, self._column, f"{self.where}:{number}")


class Rows(Documents):
    """A document in each row of a data set, streamed: no more is fetched than is used.

    Args:
        name: a folder, or owner/name[/config] on the Hub.
        text_column: the column of the text.
        split: which part.
        bad_lines: whether a row that holds no text ends reading, or is counted.
    """

    def __init__(self, name: str, *, text_column: str, split: str, bad_lines: BadLines):
        config = name.split("/", 2)[2] if not pathlib.Path(name).is_dir() and name.count("/") == 2 else None
        self._name, self._config = name.removesuffix(f"/{config}") if config else name, config
        self.where = f"{name}[{split}]"
        self._column, self._split, self._bad_lines = text_column, split, bad_lines

    def groups(self, place: Place = START) -> Iterator[Group]:
        """See `Documents`."""
        now = dict(place)
        data = hub.stream(self._name, self._config, self._split)
        if "rows" in now:
            data.load_state_dict(now["rows"])
        with hub.said_plainly(self._name, self.where):
            for rows in data.iter(batch_size=_GROUP_DOCUMENTS):
                if self._column not in rows:
                    raise DataError(f"{self.where} has no column {self._column!r}: it has {', '.join(rows)} (--text_column)")
                texts: list[str] = []
                for text in rows[self._column]:
                    now["line"] += 1
                    with _bad_lines(self._bad_lines, now):
                        texts.append(text_of({self._column: text}, self._column, f"{self.where}, row {now['line']}"))
                texts = [text for text in texts if text]
                now["documents"] += len(texts)
                yield Group(texts, {**now, "rows": data.state_dict()})

    def identity(self) -> dict[str, Any]:
        """Name, config, split, and what the library knows of the version."""
        data = hub.stream(self._name, self._config, self._split)
        told = {"data_set": self._name, "config": self._config, "split": self._split, "text_column": self._column}
        return told | {"version": str(data.info.version), "fingerprint": _fingerprint(self._name)}


def text_of(record: Any, column: str, where: str) -> str:
    """The text of a JSON object.

    Raises:
        DataError: it is no object, or has no text there.
    """
    if not isinstance(record, dict):
        raise DataError(f'{where}: not a JSON object: each line must be like {{"{column}": "..."}}')
    text = record.get(column)
    if not isinstance(text, str):
        found = f"it is {type(text).__name__}" if column in record else f"there are {', '.join(map(repr, record)) or 'none'}"
        raise DataError(f"{where}: no text under {column!r}: {found} (--text_column names another)")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: {column!r} holds half a character: {error.reason}") from error
    return text


def _hash(path: pathlib.Path) -> str:
    """Of a file, or of 64 spread parts of it where it is above 4 GiB."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= _SAMPLED_ABOVE:
            while block := file.read(2**20):
                digest.update(block)
        else:
            for part in range(_SAMPLES):
                file.seek((size - 2**20) * part // (_SAMPLES - 1))
                digest.update(file.read(2**20))
    return digest.hexdigest()


@contextlib.contextmanager
def _bad_lines(what: BadLines, now: dict[str, Any]) -> Iterator[list[str]]:
    """A list for one line's text; it stays empty where the line has none and such lines are skipped, which is counted."""
    try:
        yield []
    except DataError as error:
        if what == "refuse":
            raise DataError(f"{error} (--bad_lines=skip goes on without such lines)") from error
        now["skipped"] += 1
        now["first_skipped"] = now["first_skipped"] or str(error)


def _fingerprint(name: str) -> str:
    """The commit of a data set on the Hub, or a hash of the data in a folder."""
    folder = pathlib.Path(name)
    if folder.is_dir():
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _DATA_SUFFIXES)
        told = [(str(path.relative_to(folder)), _hash(path)) for path in files]
        return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
    import huggingface_hub

    with hub.said_plainly(name, name):
        return str(huggingface_hub.HfApi().dataset_info(name).sha)


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise DataError("reading .zst needs the package zstandard: pip install 'lit_tl[train]', or unpack the file") from error
    return zstandard


def _unpacking_errors(path: pathlib.Path) -> tuple[type[BaseException], ...]:
    return (OSError, EOFError, zlib.error, *([_zstandard().ZstdError] if path.suffix == ".zst" else []))
