"""Prompts as streams of rows, of any number: files here or where fsspec reaches, with globs and
packed ones; data sets of the Hub; tasks."""

import contextlib
import csv
import dataclasses
import json
import pathlib
import zlib
from typing import IO, Any, Callable, Iterator, Mapping, Optional

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from lit_tl.data import hub_prompts, hub_rows, paired
from lit_tl.data.columns import has_prompt, read_conversations
from lit_tl.data.errors import DataError
from lit_tl.data.lines import decoded, json_object
from lit_tl.data.prompt_files import text_column_of, with_text
from lit_tl.data.prompt_source import PromptSource

_BATCH_ROWS = 1024
_PACKED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}
_NO_PROMPT = "no text: a row needs a text or messages"


@dataclasses.dataclass(frozen=True)
class Row:
    """A prompt with its other columns; or why it is none."""

    record: Mapping[str, Any]
    error: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class RowStream:
    """Rows of one data set, in their order.

    Args:
        label: of the data set.
        identity: what tells its content from another's, as far as can be known without reading it.
        read: begins at the first row, each time anew.
    """

    label: str
    identity: Mapping[str, Any]
    read: Callable[[], Iterator[Row]]


def open_rows(entry: str) -> RowStream:
    """A data set as a stream.

    Args:
        entry: `[label=]` and then a task, a file, a glob, `s3://...` or whatever else fsspec
            reaches, or `hf:owner/name[split,column,:count]`. Files are .jsonl, .ndjson, .txt, .md,
            .csv, .tsv, .json, .parquet and .arrow; of lines also with .gz, .zst, .bz2 or .xz
            behind.

    Raises:
        DataError: there is no such data set, it is of another kind, or its address can't be
            reached.
    """
    source = PromptSource.parse(entry)
    if source.name in paired.TASKS:
        count = source.count or 100
        identity = {"task": source.name, "seed": source.seed, "count": count}
        return RowStream(source.label, identity, lambda: _of_task(source))
    if source.name.startswith("hf:"):
        return _of_hub(source)
    return _of_files(source)


def _of_task(source: PromptSource) -> Iterator[Row]:
    for example in source.load().examples:
        yield Row(example)


def _of_hub(source: PromptSource) -> RowStream:
    entry = hub_prompts.HubEntry.parse(source.name)
    most = entry.count if ":" in source.name.removeprefix("hf:") else None
    data = hub_rows.stream(entry.name, entry.config, entry.split)
    identity = {
        "data_set": source.name,
        "version": str(data.info.version),
    }

    def read() -> Iterator[Row]:
        where = f"{entry.name}[{entry.split}]"
        rows = hub_rows.stream(entry.name, entry.config, entry.split)
        with hub_rows.said_plainly(entry.name, where):
            for number, row in enumerate(rows, start=1):
                if most is not None and number > most:
                    return
                yield _row(where, number, row, entry.column)

    return RowStream(source.label, identity, read)


def _of_files(source: PromptSource) -> RowStream:
    with _said_plainly(source.name):
        files, paths = fsspec.core.url_to_fs(str(_expanded(source.name)))
        found = sorted(files.glob(paths)) if any(c in paths for c in "*?[") else [paths]
        found = [path for path in found if not files.isdir(path)]
        if not found or not files.exists(found[0]):
            near = PromptSource(label=source.label, name=source.name)
            if "://" not in source.name and not any(c in source.name for c in "*?["):
                near.load()  # says what is wrong with a name
            raise DataError(f"{source.name}: no file is there")
        kinds = {path: _kind(path) for path in found}
        identity = {
            "files": [
                {
                    "name": pathlib.PurePath(path).name,
                    "bytes": files.size(path),
                    "version": _version(files, path),
                }
                for path in found
            ]
        }

    def read() -> Iterator[Row]:
        for path in found:
            with _said_plainly(path):
                yield from _READERS[kinds[path]](files, path)

    return RowStream(source.label, identity, read)


def _expanded(name: str) -> str:
    return name if "://" in name else str(pathlib.Path(name).expanduser())


def _version(files: Any, path: str) -> str:
    """Of a file on this machine its time; of another what its store says."""
    info = files.info(path)
    for name in ("ETag", "etag", "md5Hash", "LastModified", "mtime"):
        if name in info:
            return str(info[name])
    return ""


def _kind(path: str) -> str:
    suffixes = [suffix.lower() for suffix in pathlib.PurePath(path).suffixes]
    packed = bool(suffixes) and suffixes[-1] in _PACKED
    kind = suffixes[-2 if packed else -1] if len(suffixes) > packed else ""
    if kind not in _READERS or (packed and kind in (".parquet", ".arrow")):
        raise DataError(
            f"{path}: files are read as {', '.join(sorted(_READERS))}, those of lines also packed"
        )
    return kind


@contextlib.contextmanager
def _said_plainly(where: str) -> Iterator[None]:
    """Errors of fsspec and pyarrow as one sentence."""
    try:
        yield
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"{where}: {' '.join(str(error).split())}") from error
    except FileNotFoundError as error:
        raise DataError(f"{where} does not exist") from error
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException) as error:
        said = str(getattr(error, "strerror", None) or error).strip().splitlines() or [""]
        raise DataError(f"{where} can't be read: {said[0]}") from error


def _unpacked(files: Any, path: str) -> IO[bytes]:
    packed = _PACKED.get(pathlib.PurePath(path).suffix.lower())
    opened: IO[bytes] = fsspec.core.OpenFile(files, path, "rb", compression=packed).open()
    return opened


def _lines(files: Any, path: str) -> Iterator[tuple[int, bytes]]:
    with _unpacked(files, path) as file:
        yield from enumerate(file, start=1)


def _of_text(files: Any, path: str) -> Iterator[Row]:
    for number, raw in _lines(files, path):
        try:
            text = decoded(raw, f"{path}:{number}", first=number == 1)
        except DataError as error:
            yield Row({}, str(error))
            continue
        if text.strip():
            yield Row({"text": text})


def _of_json_lines(files: Any, path: str) -> Iterator[Row]:
    for number, raw in _lines(files, path):
        where = f"{path}:{number}"
        try:
            line = decoded(raw, where, first=number == 1)
            if not line.strip():
                continue
            record = json_object(line, where)
        except DataError as error:
            yield Row({}, str(error))
            continue
        yield _row(path, number, record)


def _of_json_list(files: Any, path: str) -> Iterator[Row]:
    with _unpacked(files, path) as file:
        entries = json.load(file)
    if not isinstance(entries, list):
        raise DataError(f"{path} does not hold a list of texts or of objects")
    for number, entry in enumerate(entries, start=1):
        record = {"text": entry} if isinstance(entry, str) else entry
        if isinstance(record, dict):
            yield _row(path, number, record)
        else:
            yield Row({}, f"{path}:{number}: not a text or an object")


def _of_table(files: Any, path: str) -> Iterator[Row]:
    with _unpacked(files, path) as file:
        header = next(csv.reader([file.readline().decode("utf-8-sig", "replace")]), [""])
    delimiter = "\t" if ".tsv" in path.lower() else max(",;\t", key="".join(header).count)
    delimiter = "," if len(header) > 1 and ".tsv" not in path.lower() else delimiter
    options = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with _unpacked(files, path) as file, pyarrow.csv.open_csv(file, parse_options=options) as rows:
        yield from _of_batches(path, rows)


def _of_parquet(files: Any, path: str) -> Iterator[Row]:
    with files.open(path, "rb") as file:
        yield from _of_batches(path, pyarrow.parquet.ParquetFile(file).iter_batches(_BATCH_ROWS))


def _of_arrow(files: Any, path: str) -> Iterator[Row]:
    with files.open(path, "rb") as file:
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            opened = pa.ipc.open_file(file)
            batches = (opened.get_batch(i) for i in range(opened.num_record_batches))
        else:
            batches = iter(pa.ipc.open_stream(file))
        yield from _of_batches(path, batches)


def _of_batches(path: str, batches: Iterator[pa.RecordBatch]) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for record in batch.to_pylist():
            number += 1
            yield _row(path, number, record)


_READERS: Mapping[str, Callable[[Any, str], Iterator[Row]]] = {
    ".jsonl": _of_json_lines,
    ".ndjson": _of_json_lines,
    ".txt": _of_text,
    ".md": _of_text,
    ".csv": _of_table,
    ".tsv": _of_table,
    ".json": _of_json_list,
    ".parquet": _of_parquet,
    ".arrow": _of_arrow,
}


def _row(where: str, number: int, record: Mapping[str, Any], column: str = "") -> Row:
    """A record as a prompt."""
    try:
        if not has_prompt(record) or column not in ("", "text", "messages"):
            record = with_text(record, text_column_of(list(record), column, f"{where}:{number}"))
        ((_, read),) = read_conversations(where, [(number, record)])
        if not isinstance(read.get("text"), str):
            return Row({}, f"{where}:{number}: {_NO_PROMPT}")
        read["text"].encode()
    except (DataError, UnicodeEncodeError) as error:
        return Row({}, str(error))
    return Row(read)
