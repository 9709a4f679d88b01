"""Files of a store: there whole or not at all."""

import contextlib
import errno
import pathlib
from typing import IO, Any, Callable, Iterable, Iterator, Optional, Sequence

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from lit_tl.whole_files import replace

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCK = ".lock"


class StoreError(ValueError):
    """A store can't be read, written or gone on with. The message says why, and what to do."""


def write_whole(path: pathlib.Path, write_to: Callable[[IO[bytes]], Any]) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the place.
        write_to: writes the content.

    Raises:
        StoreError: the disk is full, or the folder can't be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, write_to)
    except OSError as error:
        if error.errno in _FULL:
            raise StoreError(
                f"the disk of {path.parent} is full: what is finished is kept; make room and run "
                "the same command again"
            ) from error
        raise StoreError(f"{path} can't be written: {error.strerror or error}") from error


def write_table(path: pathlib.Path, table: pa.Table) -> None:
    """Write a table as Parquet with checksums; see `write_whole`."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content = sink.getvalue()
    write_whole(path, lambda file: file.write(content))


def write_stream(path: pathlib.Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches as an Arrow file that can be mapped into memory; see `write_whole`."""

    def write_to(file: IO[bytes]) -> None:
        with pa.ipc.new_file(pa.PythonFile(file, "w"), schema) as writer:
            for batch in batches:
                writer.write_batch(batch)

    write_whole(path, write_to)


def read_table(path: pathlib.Path, columns: Optional[Sequence[str]] = None) -> pa.Table:
    """Read a file of a store.

    Raises:
        StoreError: it is missing or damaged.
    """
    with said_of(path):
        return pq.read_table(
            path, columns=columns, page_checksum_verification=True, partitioning=None
        )


def read_schema(path: pathlib.Path) -> tuple[pa.Schema, int]:
    """The schema of a file, and its number of rows.

    Raises:
        StoreError: it is missing or damaged.
    """
    with said_of(path):
        footer = pq.read_metadata(path)
        return footer.schema.to_arrow_schema(), int(footer.num_rows)


@contextlib.contextmanager
def said_of(path: pathlib.Path) -> Iterator[None]:
    """Errors in reading a file as one sentence.

    Raises:
        StoreError: in place of what pyarrow raised.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing: run precompute on this store again") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path} is damaged: run precompute on this store again, which makes it anew"
        ) from error


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """Inside, no other run writes to a store.

    Raises:
        StoreError: one does, or the folder can't be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / _LOCK, timeout=0)
        with lock:
            yield
    except filelock.Timeout as error:
        raise StoreError(f"another run is writing to {folder}: wait for its end") from error
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise StoreError(f"{folder} can't be written to: {error.strerror}") from error


def remove_unfinished(folder: pathlib.Path) -> None:
    """Take away what runs that were killed left half written. Only inside `alone`."""
    for path in folder.rglob(".*.parquet.*"):
        path.unlink(missing_ok=True)
