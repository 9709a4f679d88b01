"""Weights that bitsandbytes keeps in 4 bits, on the CPU.

Where the processor has AVX-512 with bfloat16, the first pass without a graph repacks them. A
backward pass reads the repacked weights in their old order, and gives other gradients without an
error.
"""

from typing import Any, Iterator

_REPACKS = "support_avx512bf16_for_cpu"
"""The attribute of a 4-bit layer that allows repacking."""


def keep_unpacked(model: Any) -> None:
    """Let 4-bit layers stay as they are, so that predictions and gradients both are right.

    Args:
        model: its layers change their way to compute, not their numbers.
    """
    for layer in _layers(model):
        setattr(layer, _REPACKS, False)


def require_unpacked(model: Any, name: str) -> None:
    """Refuse gradients of a model that was repacked before it came here.

    Args:
        model: whose gradients are wanted.
        name: what the error calls it.

    Raises:
        ValueError: its 4-bit weights are repacked.
    """
    states = (getattr(layer.weight, "quant_state", None) for layer in _layers(model))
    if any(getattr(state, "packing_format_for_cpu", False) for state in states):
        raise ValueError(
            f"{name} has no gradients any more: bitsandbytes repacked its 4-bit weights for the "
            "predictions that it made before lit_tl had it. Load it anew, and give it to lit_tl "
            "before its first pass"
        )


def _layers(model: Any) -> Iterator[Any]:
    return (layer for layer in model.modules() if hasattr(layer, _REPACKS))
