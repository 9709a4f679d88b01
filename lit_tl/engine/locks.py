"""A lock for each module tree: hooks are the tree's state."""

import threading
import weakref
from typing import Any

from lit_tl.engine.fair_lock import FairLock

_LOCKS: "weakref.WeakKeyDictionary[Any, FairLock]" = weakref.WeakKeyDictionary()
_GUARD = threading.Lock()


def lock_of(tree: Any) -> FairLock:
    """The lock of a module tree. Whatever hooks the tree or calls its modules holds it."""
    with _GUARD:
        return _LOCKS.setdefault(tree, FairLock())
