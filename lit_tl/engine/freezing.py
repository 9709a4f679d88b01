"""Parameters that ask for no gradient while somebody needs them not to."""

import contextlib
import threading
from typing import Any, Iterator

_GUARD = threading.Lock()
_HOLDERS: dict[int, int] = {}
"""By `id`, how many hold each parameter frozen that asked for gradients before."""


@contextlib.contextmanager
def frozen_parameters(*modules: Any) -> Iterator[None]:
    """Inside, no parameter asks for a gradient; the last one to leave restores it.

    Several module trees share parameters, so that passes in several threads may hold the same ones.
    """
    frozen = []
    with _GUARD:
        for parameter in {id(p): p for module in modules for p in module.parameters()}.values():
            if parameter.requires_grad or id(parameter) in _HOLDERS:
                _HOLDERS[id(parameter)] = _HOLDERS.get(id(parameter), 0) + 1
                parameter.requires_grad_(False)
                frozen.append(parameter)
    try:
        yield
    finally:
        with _GUARD:
            for parameter in frozen:
                _HOLDERS[id(parameter)] -= 1
                if not _HOLDERS[id(parameter)]:
                    del _HOLDERS[id(parameter)]
                    parameter.requires_grad_(True)
