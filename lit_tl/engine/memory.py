"""What a pass needs of memory, and what there is."""

import dataclasses
import functools
import pathlib
import re
import resource
import threading
from typing import Mapping, Optional

import psutil
import torch
from absl import logging

from lit_tl.engine.protocol import ModelShape
from lit_tl.engine.requests import Observe
from lit_tl.engine.sites import AXES, INSIDE_ATTENTION, Axis

_CGROUPS = pathlib.Path("/sys/fs/cgroup")
_KEPT_FOR_BACKWARD = 17
"""Numbers of the size of the residual that a block keeps for the backward pass, and of the size of
the attention scores 2.5 more (Korthikanti et al. 2022, section 4)."""
_UNDER_WAY = 10
"""Numbers of the size of the residual that a block holds while it runs."""
_SCORES = 4.0
_LEAST = 100_000_000
_LIMIT = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>%|[KMGT]?B)", re.IGNORECASE)
_UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc", "not enough memory")


class OutOfMemory(ValueError):
    """A prompt does not fit into memory. The message says how much it needs."""


class _Limit:
    """On this process; None where there is none."""

    bytes: Optional[int] = None


def set_limit(limit: Optional[int]) -> None:
    """Stay within so many bytes of memory in this process, weights included; None for what the
    machine has."""
    _Limit.bytes = limit


def limit_of(text: str) -> int:
    """Bytes out of a text such as `8GB`, `500MB`, or `80%` of what is free now.

    Raises:
        ValueError: it is none of these.
    """
    match = _LIMIT.fullmatch(text.strip())
    number = float(match["number"]) if match else 0.0
    unit = match["unit"].upper() if match else ""
    if not number > 0 or (unit == "%" and number > 100):
        raise ValueError(f"a memory limit of {text!r}: give a size such as 8GB, or a share as 80%")
    held = psutil.Process().memory_info().rss
    if unit == "%":
        return int(held + free_on_cpu() * number / 100)
    limit = min(number * _UNITS[unit], 1e18)
    if limit < held + _LEAST:
        raise ValueError(
            f"a memory limit of {text}: the server takes {said(held)} before it holds a model, and "
            f"needs {said(_LEAST)} more at least"
        )
    return int(limit)


def free_on_cpu() -> int:
    """Bytes that this process may still take: of the machine, its container, `ulimit -v`, and the
    limit that was set."""
    memory = psutil.Process().memory_info()
    free = [psutil.virtual_memory().available]
    for limit, used in _cgroup_files():
        numbers = [_number_in(limit), _number_in(used)]
        if None not in numbers:
            free.append(numbers[0] - numbers[1])  # type: ignore[operator]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        free.append(address_space - memory.vms)
    if _Limit.bytes is not None:
        free.append(_Limit.bytes - memory.rss)
    return max(0, min(free))


def free_on(device: torch.device) -> int:
    """Bytes that are free on a device, those that PyTorch holds and does not use among them."""
    if device.type != "cuda":
        return free_on_cpu()
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free + unused)


@functools.cache
def _cgroup_files() -> tuple[tuple[pathlib.Path, pathlib.Path], ...]:
    """Of the control groups that this process is in, from its own up: the file with the limit, and
    that with what is used, of version 2 and 1."""
    files = []
    try:
        lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ()
    for line in lines:
        _, kinds, own = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root = _CGROUPS / "memory" if kinds else _CGROUPS
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        limit, used = names if kinds else ("memory.max", "memory.current")
        folder = root / own.lstrip("/")
        for each in (folder, *folder.parents):
            if each == root.parent:
                break
            files.append((each / limit, each / used))
    return tuple(files)


def _number_in(path: pathlib.Path) -> Optional[int]:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What makes a pass large.

    Args:
        gradients: whether there is a backward pass.
        logits: whether logits of all positions are made.
        observe: what is looked at.
        bytes_of_number: of an activation.
        fused_attention: whether attention is computed without its scores, where nothing in it is
            looked at.
    """

    gradients: bool
    logits: bool
    observe: Mapping[str, Observe]
    bytes_of_number: int
    fused_attention: bool


def bytes_of_pass(shape: ModelShape, needs: Needs, *, rows: int, length: int) -> int:
    """About how much a pass over a batch takes beside the weights: an estimate, by the sizes of the
    activations, rather too much than too little.

    Args:
        shape: of the model.
        needs: of the pass.
        rows: prompts in the batch.
        length: of the longest one, in tokens.
    """
    d_model, heads, layers = shape.d_model, shape.n_heads, shape.n_layers
    inside = any(each.site.component in INSIDE_ATTENTION for each in needs.observe.values())
    scores = heads * length if inside or not needs.fused_attention else 0
    running = _UNDER_WAY * d_model + _SCORES * scores
    kept = layers * (_KEPT_FOR_BACKWARD * d_model + 2.5 * scores) if needs.gradients else 0.0
    seen = sum(_numbers_observed(shape, wanted, length) for wanted in needs.observe.values())
    numbers = length * (running + kept) + seen
    # Logits are read in float32, where probabilities are made of them: of one prompt at a time.
    logits = length * shape.d_vocab if needs.logits else 0
    return int(rows * (numbers + logits) * needs.bytes_of_number + 2 * 4 * logits)


def _numbers_observed(shape: ModelShape, wanted: Observe, length: int) -> int:
    """Of one prompt; what a reduction makes of a value is taken to be small."""
    if wanted.reduce is not None:
        return 0
    sizes: dict[Axis, int] = {
        "pos": length,
        "query_pos": length,
        "key_pos": length,
        "head": shape.n_heads if wanted.site.head is None else 1,
        "d_head": max(1, shape.d_model // shape.n_heads),
        "d_model": shape.d_model,
        "neuron": 4 * shape.d_model,
        "expert": 64,
    }
    numbers = 1
    for axis in AXES[wanted.site.component]:
        numbers *= sizes[axis]
    one = wanted.site.layer is not None
    layers = 1 if one else len(wanted.layers) if wanted.layers is not None else shape.n_layers
    return numbers * layers


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is at its end, on the CPU or a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in text for part in _OUT_OF_MEMORY)


def said(size: int) -> str:
    """A size for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def does_not_fit(
    name: str, length: int, needed: Optional[int], device: torch.device
) -> OutOfMemory:
    """The error for a prompt that does not fit alone.

    Args:
        name: of the model.
        length: in tokens.
        needed: bytes; None where the pass began, and took more than was thought.
        device: of the model.
    """
    free = said(free_on(device))
    takes = (
        f"more than the {free} of memory that are free in {name}"
        if needed is None
        else f"about {said(needed)} in {name}, and {free} of memory is free"
    )
    return OutOfMemory(
        f"a prompt of {length} tokens takes {takes}: shorten it, or ask for less at once"
    )


def no_room() -> OutOfMemory:
    """The error for work that came to the end of memory behind a pass that fitted."""
    return OutOfMemory(
        f"this takes more memory than there is ({said(free_on_cpu())} are free now): ask for less "
        "at once, or shorten the prompt"
    )


_GUARD = threading.Lock()
_SAID: set[tuple[str, int]] = set()


def say_halving(name: str, rows: int) -> None:
    """Say, once, that batches of so many prompts are cut in two."""
    with _GUARD:
        news = (name, rows) not in _SAID
        _SAID.add((name, rows))
    if news:
        logging.warning(
            "memory is short: %d prompts at once do not fit beside %s, and run as two batches",
            rows,
            name,
        )
