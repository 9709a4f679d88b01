"""Data sets of the Hugging Face Hub, and of folders that are laid out like one, as streams of rows. Knows no LIT."""

import contextlib
from typing import Any, Iterator, Optional

from lit_tl.data.errors import DataError
from lit_tl.hub import connection_errors


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
        raise DataError(f"{name}: the Hugging Face Hub can't be reached; check the network, or give a local file") from error
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
    """The files of a split in a folder on this machine, by the library's rules for names and layouts.

    Raises:
        DataError: there is no such split, or no data.
    """
    import datasets

    with said_plainly(folder, f"{folder}[{split}]"):
        files = datasets.load_dataset_builder(folder).config.data_files or {}
        if split not in files:
            raise DataError(f"{folder} has no split {split!r}: it has {', '.join(map(str, files)) or 'none'} (--split)")
        return [str(file) for file in files[split]]
