"""Files that are there whole or not at all."""

import os
import pathlib
import secrets
from typing import IO, Any, Callable


def replace(path: pathlib.Path, write_to: Callable[[IO[bytes]], Any], mode: int = 0o666) -> None:
    """Write a file beside its place, to the disk, and put it there in one go, so that it is never
    seen in part, also where the machine stops. A link leads to the file that is written.

    Args:
        path: the place.
        write_to: writes the content.
        mode: of the file, less the process's mask.

    Raises:
        OSError: it can't be written; what was there before stays.
    """
    path = pathlib.Path(os.path.realpath(path))
    made = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            write_to(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    finally:
        made.unlink(missing_ok=True)  # where it did not become the file
