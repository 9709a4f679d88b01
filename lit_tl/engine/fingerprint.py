"""What tells one state of a model from another, for the keys of caches."""

import functools
import hashlib
from typing import Any, Sequence

import torch

from lit_tl.engine.interventions import Intervention

_LIBRARIES = ("transformer_lens", "transformers", "accelerate", "torch", "bitsandbytes", "lit_tl")


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
    samples = [
        parameter.detach().flatten()[[0, parameter.numel() // 2]].float().cpu()
        for parameter in parameters
    ]
    digest = hashlib.sha256(repr(versions).encode())
    digest.update(torch.cat(samples).numpy().tobytes() if samples else b"")
    points = [
        (name, [id(hook) for hook in (*point.fwd_hooks, *point.bwd_hooks)])
        for name, point in getattr(model, "hook_dict", {}).items()
        if point.fwd_hooks or point.bwd_hooks
    ]
    digest.update(repr(points).encode())
    digest.update("\n".join(map(str, interventions)).encode())
    return digest.hexdigest()[:24]


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
