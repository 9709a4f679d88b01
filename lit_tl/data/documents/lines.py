"""Files of lines, also .gz and .zst."""

import codecs
import contextlib
import gzip
import hashlib
import io
import json
import pathlib
import zlib
from typing import IO, Any, Iterator, Optional, Sequence, Union

from lit_tl.data.documents.stream import (
    GROUP_DOCUMENTS,
    START,
    BadLines,
    Documents,
    Group,
    Place,
    TxtDocuments,
    counted_if_bad,
    text_of,
)
from lit_tl.data.errors import DataError
from lit_tl.data.lines import decoded, json_object

_GROUP_BYTES = 2**20
_SAMPLED_ABOVE, _SAMPLES = 4 * 2**30, 64


class LineFile(Documents):
    """Documents of JSON lines, a text in each; or of plain text, where they are separated by blank
    lines, or where the file is one. Empty lines and empty texts are passed over.

    Args:
        path: the file; what ends in .gz or .zst is unpacked on the way.
        plain: what separates the documents of plain text; None for JSON lines.
        text_column: the key of the text.
        bad_lines: whether a line that holds no text ends reading, or is counted.
    """

    def __init__(
        self,
        path: pathlib.Path,
        plain: Optional[TxtDocuments],
        *,
        text_column: str,
        bad_lines: BadLines,
    ):
        self.where = str(path)
        self._path, self._plain, self._column, self._bad_lines = path, plain, text_column, bad_lines
        self._packed = path.suffix.lower() in (".gz", ".zst")

    def groups(self, place: Place = START) -> Iterator[Group]:
        """See `Documents`."""
        now = dict(place)
        texts: list[str] = []
        size = 0
        for text in self._json_texts(now) if self._plain is None else self._plain_texts(now):
            if text:
                texts.append(text)
                size += len(text)
                now["documents"] += 1
            if len(texts) == GROUP_DOCUMENTS or size > _GROUP_BYTES:
                yield Group(texts, dict(now))
                texts, size = [], 0
        if texts or now["line"] > place["line"]:
            yield Group(texts, dict(now))

    def _json_texts(self, now: dict[str, Any]) -> Iterator[str]:
        """The text of each line, when `now` is behind it."""
        for raw in self._lines(now):
            if not now["documents"] and not now["skipped"]:
                self._refuse_a_list(raw)
            with counted_if_bad(self._bad_lines, now) as text:
                text.append(self._text(raw, now["line"] + 1))
            _go_on(now, raw)
            yield "".join(text)

    def _plain_texts(self, now: dict[str, Any]) -> Iterator[str]:
        """Each document, when `now` is behind it and the blank line that ended it."""
        document: list[str] = []
        for raw in self._lines(now):
            with counted_if_bad(self._bad_lines, now) as line:
                line.append(decoded(raw, f"{self.where}:{now['line'] + 1}", first=not now["line"]))
            _go_on(now, raw)
            document += line
            if self._plain == "blank_lines" and line and not line[0].strip():
                yield _without_edges(document)
                document = []
        yield _without_edges(document)

    def identity(self) -> dict[str, Any]:
        """Name, size, and a hash: of the whole file, or of 64 spread parts where it is above 4
        GiB."""
        with self._opened(self._path):
            size = self._path.stat().st_size
            return {
                "file": self._path.name,
                "bytes": size,
                "blake2b": file_hash(self._path),
                **({"documents": self._plain} if self._plain else {"text_column": self._column}),
            }

    def most_tokens(self) -> Optional[int]:
        """One for each byte. The line's end is for the token that begins a text, and a plain text
        may have one more, for the space that some tokenizers put in front. Not known of packed
        files."""
        size = self._path.stat().st_size
        return None if self._packed else size + (size // 2 + 2 if self._plain else 1)

    def _lines(self, now: dict[str, Any]) -> Iterator[bytes]:
        packed = self._packed
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
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(
                    f"{self.where}: can't be unpacked to its end, beyond line {number}: {error}"
                ) from error

    def _unpacked(self, raw: IO[bytes]) -> Union[gzip.GzipFile, io.BufferedReader]:
        if self._path.suffix.lower() == ".gz":
            return gzip.GzipFile(fileobj=raw)
        import pyarrow  # whose reader, unlike zstandard's, tells a file that was cut off

        return io.BufferedReader(
            pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd"), 2**20
        )

    def _opened(self, path: pathlib.Path) -> IO[bytes]:
        try:
            return path.open("rb")
        except OSError as error:
            raise DataError(f"{self.where} can't be read: {error.strerror}") from error

    def _refuse_a_list(self, raw: bytes) -> None:
        start = raw.removeprefix(codecs.BOM_UTF8).strip()
        if not start.startswith(b"["):
            return
        try:
            json.loads(start)  # a line that is a whole list is one bad line
        except (ValueError, RecursionError) as error:
            described = (
                f"{self.where} is a list in JSON: make JSON lines of it, "
                f'{{"{self._column}": "..."}} on each line'
            )
            raise DataError(described) from error

    def _text(self, raw: bytes, number: int) -> str:
        where = f"{self.where}:{number}"
        line = decoded(raw, where, first=number == 1)
        if not line.strip():
            return ""
        example = f'{{"{self._column}": "..."}}'
        record = json_object(line, where, example=example, strict=False)
        return text_of(record, self._column, where)


def _without_edges(lines: Sequence[str]) -> str:
    """Lines as one text; the indentation of the first is part of it."""
    return "\n".join(lines).rstrip().lstrip("\n")


def _go_on(now: dict[str, Any], raw: bytes) -> None:
    """To behind a line."""
    now["line"] += 1
    now["offset"] = now.get("offset", 0) + len(raw)


class LineFiles(Documents):
    """The lines of several files, one file after another.

    Args:
        where: what the user calls them.
        described: what tells them from others, beside their content.
        files: in their order.
    """

    def __init__(self, where: str, described: dict[str, Any], files: Sequence[LineFile]):
        self.where, self._described, self._files = where, described, files

    def groups(self, place: Place = START) -> Iterator[Group]:
        """See `Documents`."""
        last = place
        for at in range(place.get("file", 0), len(self._files)):
            if at != last.get("file", 0):
                last = {
                    **START,
                    **{name: last[name] for name in ("documents", "skipped", "first_skipped")},
                }
            for group in self._files[at].groups(last):
                last = {**group.place, "file": at}
                yield Group(group.texts, last)

    def identity(self) -> dict[str, Any]:
        """Of each file."""
        return {**self._described, "files": [file.identity() for file in self._files]}

    def most_tokens(self) -> Optional[int]:
        """Of all files; not known where one is packed."""
        counts = [file.most_tokens() for file in self._files]
        return None if None in counts else sum(count for count in counts if count is not None)


def file_hash(path: pathlib.Path) -> str:
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
