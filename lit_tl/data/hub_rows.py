"""Data sets of the Hugging Face Hub, and of folders that are laid out like one, as streams of rows.
Knows no LIT."""

import contextlib
import pathlib
from typing import Any, Iterator, Optional

from lit_tl.data.errors import DataError
from lit_tl.hub import connection_errors

_ROWS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow")
"""What surely is data where it lies in a folder of data."""


@contextlib.contextmanager
def said_plainly(name: str, where: str) -> Iterator[None]:
    """Errors of the `datasets` library as one sentence.

    Raises:
        DataError: in place of what the library raised.
    """
    try:
        yield
    except DataError:
        raise
    except connection_errors() as error:
        raise DataError(
            f"{name}: the Hugging Face Hub can't be reached; check the network, or give a local "
            "file"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DataError(f"{where} can't be read: {str(error).strip().splitlines()[0]}") from error


def stream(name: str, config: Optional[str], split: str) -> Any:
    """Rows of a data set, read as they are asked for: `datasets.IterableDataset`.

    Raises:
        DataError: there is no such data set or split, or the Hub can't be reached.
    """
    import datasets

    with said_plainly(name, f"{name}[{split}]"):
        return datasets.load_dataset(name, config, split=split, streaming=True)


def files_of(folder: str, split: str) -> list[str]:
    """The files of a split in a folder on this machine, by the library's rules for names and
    layouts.

    Raises:
        DataError: there is no such split, no data, or data of several kinds, of which the library
            reads one.
    """
    import datasets

    with said_plainly(folder, f"{folder}[{split}]"):
        try:
            files = datasets.load_dataset_builder(folder).config.data_files or {}
        except ValueError as error:
            if "Config name is missing" not in str(error):
                raise
            raise DataError(
                f"{folder} declares several configs in its README.md: give a file, or the "
                "folder, of one"
            ) from error
        read = {pathlib.Path(str(file)).resolve() for paths in files.values() for file in paths}
        left = [
            path
            for path in sorted(pathlib.Path(folder).iterdir())
            if path.suffix in _ROWS and path.resolve() not in read
        ]
        if read and left:
            raise DataError(
                f"{folder} holds {left[0].name}, which would not be read beside its other "
                "files: give each kind its folder"
            )
        if split not in files:
            raise DataError(
                f"{folder} has no split {split!r}: it has "
                f"{', '.join(map(str, files)) or 'none'} (--split)"
            )
        return [str(file) for file in files[split]]
