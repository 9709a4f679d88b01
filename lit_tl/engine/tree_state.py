"""What belongs to a module tree: its lock, its hooks, and what tells its states apart."""

import collections
import dataclasses
import functools
import hashlib
import threading
import weakref
from types import TracebackType
from typing import Any, Optional, Sequence

import torch

from lit_tl.engine.interventions import Intervention

_LIBRARIES = ("transformer_lens", "transformers", "accelerate", "torch", "bitsandbytes", "lit_tl")


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
            place = (me, gate)
            self._waiting.append(place)
        try:
            gate.acquire()
        except BaseException:  # Ctrl-C while waiting: nobody may be left holding the lock
            self._give_up(place)
            raise
        return self

    def _give_up(self, place: tuple[int, threading.Lock]) -> None:
        with self._guard:
            if place in self._waiting:
                self._waiting.remove(place)
                return
        self._leave()  # it was handed over meanwhile

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        with self._guard:
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                self._owner, gate = self._waiting.popleft()
                self._depth = 1
                gate.release()


@dataclasses.dataclass
class TreeState:
    """What the engine remembers of a module tree.

    Args:
        lock: whatever hooks the tree or calls its modules holds it: hooks are the tree's state.
        twin: a second tree over the same parameters, or None where there is none; see `plain_tree`.
        twin_of: by identity, the parameters that the twin was made of; empty before it was made.
        resumes: whether going on from a cache gives what a plain pass gives; None before it was
            tried.
        generates: whether the library's own `generate` does.
        readout: that gives the model's logits; None before it was looked for.
        values: why attention can't be weighted by values, empty where it can; None before it was
            tried.
        gradients: why the model has none, likewise.
    """

    lock: FairLock = dataclasses.field(default_factory=FairLock)
    twin: Optional[Any] = None
    twin_of: tuple[int, ...] = ()
    resumes: Optional[bool] = None
    generates: Optional[bool] = None
    readout: Optional[Any] = None
    values: Optional[str] = None
    gradients: Optional[str] = None


_TREES: "weakref.WeakKeyDictionary[Any, TreeState]" = weakref.WeakKeyDictionary()
_GUARD = threading.Lock()


def tree_state(tree: Any) -> TreeState:
    """What the engine remembers of a module tree."""
    with _GUARD:
        return _TREES.setdefault(tree, TreeState())


def state_of(model: Any, interventions: Sequence[Intervention] = ()) -> str:
    """A short text that changes when the model computes something else.

    It covers each weight (an optimizer's step, an assignment, a new parameter), the hooks that a
    user has put on TransformerLens' HookPoints, and the declared interventions. Hooks on plain
    modules are not covered: libraries put some there by themselves, during the first pass.

    Writing through `.data` leaves no trace but the numbers: the first and the middle one of each
    weight are looked at. The caller holds the lock of the model's tree.
    """
    parameters = list(model.parameters())
    versions = [(parameter.data_ptr(), parameter._version) for parameter in parameters]
    samples = [_first_and_middle(parameter) for parameter in parameters if parameter.numel()]
    digest = hashlib.sha256(repr(versions).encode())
    digest.update(torch.cat(samples).numpy().tobytes() if samples else b"")
    points = [
        (name, [hook.hook.id for hook in (*point.fwd_hooks, *point.bwd_hooks)])  # PyTorch counts
        for name, point in getattr(model, "hook_dict", {}).items()
        if point.fwd_hooks or point.bwd_hooks
    ]
    digest.update(repr(points).encode())
    digest.update("\n".join(map(str, interventions)).encode())
    return digest.hexdigest()[:24]


def _first_and_middle(weight: torch.Tensor) -> torch.Tensor:
    """Two of its numbers, on the CPU. No view of the whole weight: of a transposed one, that would
    be a copy."""
    places = (tuple(0 for _ in weight.shape), tuple(size // 2 for size in weight.shape))
    return torch.stack([weight.detach()[place] for place in places]).float().cpu()


def hooks_of_users(model: Any) -> bool:
    """Whether somebody other than a library has hooked a module or a HookPoint of the model.

    The caller holds the lock of the model's tree, so that no hook of the engine is there.
    """
    if any(p.fwd_hooks or p.bwd_hooks for p in getattr(model, "hook_dict", {}).values()):
        return True
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            if any(_home(hook).split(".")[0] not in _LIBRARIES for hook in hooks.values()):
                return True
    return False


def _home(hook: Any) -> str:
    while isinstance(hook, functools.partial):
        hook = hook.func
    return str(getattr(hook, "__module__", None) or type(hook).__module__)
