"""A lock that nobody waits for in vain."""

import collections
import threading
from types import TracebackType
from typing import Optional


class FairLock:
    """A reentrant lock that goes to whoever has waited longest.

    Python's own locks may be taken again by the thread that has just let go, so that a thread that
    works in a loop, batch after batch, can keep all others out until it is done.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: collections.deque[tuple[int, threading.Lock]] = collections.deque()
        self._owner: Optional[int] = None
        self._depth = 0

    def __enter__(self) -> "FairLock":
        me = threading.get_ident()
        with self._guard:
            if self._owner == me or (self._owner is None and not self._waiting):
                self._owner = me
                self._depth += 1
                return self
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append((me, gate))
        gate.acquire()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        with self._guard:
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                self._owner, gate = self._waiting.popleft()
                self._depth = 1
                gate.release()
