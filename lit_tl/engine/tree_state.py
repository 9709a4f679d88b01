"""What belongs to a module tree: its lock, its hooks, and what tells its states apart."""

import contextlib
import dataclasses
import functools
import hashlib
import threading
import weakref
from typing import Any, Iterator, Optional, Sequence, Union

import torch

from lit_tl.engine.interventions import Intervention
from lit_tl.engine.jobs import GivingWay, Turns, turns_on

_LIBRARIES = ("transformer_lens", "transformers", "accelerate", "torch", "bitsandbytes", "lit_tl")


@dataclasses.dataclass
class TreeState:
    """What the engine remembers of a module tree.

    Args:
        lock: whatever hooks the tree or calls its modules holds it: hooks are the tree's state, and
            the device computes one pass at a time.
        twin: a second tree over the same parameters, or None where there is none; see `plain_tree`.
        background_twin: a third, for background passes, which give way to others.
        twin_of: by identity, the parameters that the twin was made of; empty before it was made.
        resumes: whether going on from a cache gives what a plain pass gives; None before it was
            tried.
        resumes_inside: whether rows that come in at a layer, behind keys and values of another run,
            get the model's own logits; None before it was tried.
        generates: whether the library's own `generate` does.
        readout: that gives the model's logits; None before it was looked for.
        reads_tokens: False where it gives other logits than the tree, which then are made for all
            positions at once; None before it was tried.
        values: why attention can't be weighted by values, empty where it can; None before it was
            tried.
        gradients: why the model has none, likewise.
        carried: why a component can't be changed, empty where it can, of those that were tried.
        edges: why edges can't be told apart, empty where they can; None before it was tried.
        users_hooks: those on the tree's HookPoints, while the engine's are there too; else None.
        passes: how often the engine has put hooks on HookPoints.
    """

    lock: Union[Turns, GivingWay]
    twin: Optional[Any] = None
    background_twin: Optional[Any] = None
    twin_of: tuple[int, ...] = ()
    resumes: Optional[bool] = None
    resumes_inside: Optional[bool] = None
    generates: Optional[bool] = None
    readout: Optional[Any] = None
    reads_tokens: Optional[bool] = None
    values: Optional[str] = None
    gradients: Optional[str] = None
    carried: dict[str, str] = dataclasses.field(default_factory=dict)
    edges: Optional[str] = None
    users_hooks: Optional[tuple[Any, ...]] = None
    passes: int = 0

    @contextlib.contextmanager
    def hooking(self, tree: Any) -> Iterator[None]:
        """Inside, the engine's hooks are on the HookPoints of a tree, and `state_of` goes by those
        that were there before. The caller holds the lock."""
        outermost = self.users_hooks is None
        if outermost:
            self.users_hooks = _hooks_on_points(tree)
            self.passes += 1
        try:
            yield
        finally:
            if outermost:
                self.users_hooks = None


_TREES: "weakref.WeakKeyDictionary[Any, TreeState]" = weakref.WeakKeyDictionary()
_GUARD = threading.Lock()


def tree_state(tree: Any) -> TreeState:
    """What the engine remembers of a module tree."""
    with _GUARD:
        if tree not in _TREES:
            first = next(tree.parameters(), None)
            _TREES[tree] = TreeState(turns_on("cpu" if first is None else str(first.device)))
        return _TREES[tree]


class TreeWalk:
    """The modules and weights of a tree, found once. To look at them again takes a fraction of what
    PyTorch's own walk takes, and sees what was added, taken away or assigned.

    Args:
        tree: a module.
    """

    def __init__(self, tree: Any):
        self.tree = tree
        self._modules: list[Any] = []
        self._children: list[int] = []
        self._versions: list[tuple[int, int]] = []
        self._numbers: list[Any] = []

    def modules(self) -> list[Any]:
        """Every module of the tree, the tree first."""
        children = [id(child) for module in self._modules for child in module._modules.values()]
        if not self._modules or children != self._children:  # ids last, as the modules are held
            self._modules = list(self.tree.modules())
            self._children = [id(child) for m in self._modules for child in m._modules.values()]
        return self._modules

    def parameters(self) -> list[Any]:
        """Every parameter, once."""
        every = (p for module in self.modules() for p in module._parameters.values())
        return list({id(p): p for p in every if p is not None}.values())

    def versions_and_samples(self) -> tuple[list[tuple[int, int]], bytes]:
        """Where each weight lies and how often it was written to; and two numbers of each."""
        parameters = self.parameters()
        versions = [(parameter.data_ptr(), parameter._version) for parameter in parameters]
        if versions != self._versions or len(self._numbers) != len(parameters):
            self._numbers = [_looked_at(parameter) for parameter in parameters]
            self._versions = versions
        samples = [_first_and_middle(numbers) for numbers in self._numbers if numbers is not None]
        return versions, b"".join(samples)


def _looked_at(weight: torch.Tensor) -> Any:
    """A view of a weight's numbers, as NumPy's where it is on the CPU; None where it has none."""
    weight = weight.detach()
    if not weight.numel():
        return None
    if weight.device.type != "cpu" or weight.layout != torch.strided:
        return weight
    same_size = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return weight.view(same_size[weight.element_size()]).numpy()


def _first_and_middle(numbers: Any) -> bytes:
    """Two of them. No view of the whole: of a transposed weight, that would be a copy."""
    places = (tuple(0 for _ in numbers.shape), tuple(size // 2 for size in numbers.shape))
    if isinstance(numbers, torch.Tensor):
        taken: bytes = torch.stack([numbers[at] for at in places]).float().cpu().numpy().tobytes()
        return taken
    return b"".join(numbers[at].tobytes() for at in places)


def state_of(walk: TreeWalk, interventions: Sequence[Intervention] = ()) -> str:
    """A short text that changes when the model computes something else.

    It covers each weight (an optimizer's step, an assignment, a new parameter), the hooks that a
    user has put on TransformerLens' HookPoints, and the declared interventions. Hooks on plain
    modules are not covered: libraries put some there by themselves, during the first pass.

    Writing through `.data` leaves no trace but the numbers: the first and the middle one of each
    weight are looked at. No lock is needed: hooks of a pass that runs meanwhile are left out.
    """
    versions, samples = walk.versions_and_samples()
    digest = hashlib.sha256(repr(versions).encode())
    digest.update(samples)
    digest.update(repr(_users_hooks_on_points(walk.tree)).encode())
    digest.update("\n".join(map(str, interventions)).encode())
    return digest.hexdigest()[:24]


def _users_hooks_on_points(model: Any) -> tuple[Any, ...]:
    state = tree_state(model)
    while True:
        passes, known = state.passes, state.users_hooks
        points = _hooks_on_points(model) if known is None else known
        if state.passes == passes:  # no pass began meanwhile, whose hooks would be among these
            return points


def _hooks_on_points(model: Any) -> tuple[Any, ...]:
    return tuple(
        (name, *(hook.hook.id for hook in (*point.fwd_hooks, *point.bwd_hooks)))  # PyTorch counts
        for name, point in getattr(model, "hook_dict", {}).items()
        if point.fwd_hooks or point.bwd_hooks
    )


def hooks_of_users(walk: TreeWalk) -> bool:
    """Whether somebody other than a library has hooked a module or a HookPoint of the model.

    The caller holds the lock of the model's tree, so that no hook of the engine is there.
    """
    if _hooks_on_points(walk.tree):
        return True
    for module in walk.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks):
            if hooks and any(
                _home(hook).split(".")[0] not in _LIBRARIES for hook in hooks.values()
            ):
                return True
    return False


def _home(hook: Any) -> str:
    while isinstance(hook, functools.partial):
        hook = hook.func
    return str(getattr(hook, "__module__", None) or type(hook).__module__)
