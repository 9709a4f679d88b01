"""What tells weights and data from others."""

import hashlib
import json
from typing import Any, Mapping, Sequence

import torch

_SAMPLES = 256


def digest_of_weights(module: Any) -> str:
    """A digest of a model's parameters: their names, shapes and types, for each the sum of its
    bytes' words, which one changed number changes, and 256 spread numbers, which tell orders apart.

    Args:
        module: a torch module.

    Returns:
        32 hexadecimal digits. Shared parameters count once.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in sorted(module.named_parameters()):
        values = parameter.detach()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        words = _words(values)
        digest.update(str(int(words.sum(dtype=torch.int64))).encode())
        step = max(1, words.numel() // _SAMPLES)
        digest.update(words[::step].cpu().numpy().tobytes())
    return digest.hexdigest()


def _words(values: torch.Tensor) -> torch.Tensor:
    """The numbers' bits as whole numbers."""
    flat = values.contiguous().reshape(-1)
    kinds: Mapping[int, torch.dtype] = {
        1: torch.uint8,
        2: torch.int16,
        4: torch.int32,
        8: torch.int64,
    }
    return flat.view(kinds[flat.element_size()])


def digest_of_data(examples: Sequence[Mapping[str, Any]]) -> str:
    """A digest of examples in their order.

    Args:
        examples: without what a page adds to them (names that begin with `_`).
    """
    digest = hashlib.blake2b(digest_size=16)
    for example in examples:
        read = {name: value for name, value in example.items() if not name.startswith("_")}
        digest.update(json.dumps(read, sort_keys=True, default=str).encode() + b"\0")
    return digest.hexdigest()
