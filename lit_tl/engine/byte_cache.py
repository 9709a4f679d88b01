"""A cache that is bounded in bytes."""

import collections
import sys
import threading
from typing import Any, Hashable, Optional

import numpy as np


def size_in_bytes(value: Any) -> int:
    """About how much memory a prediction takes: arrays by their numbers, containers by their
    parts."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes) + 128
    if isinstance(value, (list, tuple)):
        return sys.getsizeof(value) + sum(size_in_bytes(part) for part in value)
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(
            size_in_bytes(key) + size_in_bytes(part) for key, part in value.items()
        )
    return sys.getsizeof(value)


class ByteCache:
    """Keeps what was used last, up to `max_bytes`; safe to use from several threads.

    A value larger than a quarter of the bound is not kept: it would push out too much of the rest.
    """

    def __init__(self, max_bytes: int):
        if max_bytes < 0:
            raise ValueError(f"a cache of {max_bytes} bytes is not possible: give 0 or more")
        self._max_bytes = max_bytes
        self._entries: collections.OrderedDict[Hashable, tuple[Any, int]] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()
        self.bytes = 0

    def get(self, key: Hashable) -> Optional[tuple[Any]]:
        """The value in a tuple, or None where there is none."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return (entry[0],)

    def put(self, key: Hashable, value: Any, *, size: Optional[int] = None) -> None:
        """Keep a value, and let go of what was not used for longest.

        Args:
            key: to get it by.
            value: what to keep.
            size: its bytes; None to have them counted.
        """
        size = (size_in_bytes(value) if size is None else size) + 200
        if size > self._max_bytes // 4:
            return
        with self._lock:
            if key in self._entries:
                self.bytes -= self._entries.pop(key)[1]
            self._entries[key] = (value, size)
            self.bytes += size
            while self.bytes > self._max_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self.bytes -= freed

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0
