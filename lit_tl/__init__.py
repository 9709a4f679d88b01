"""LIT for looking inside language models: any TransformerLens model in Google's Learning
Interpretability Tool."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_tl.lit.config import HookedTransformerLITConfig
    from lit_tl.lit.model import HookedTransformerLIT
    from lit_tl.notebook import analyze, draw, serve, widget
    from lit_tl.session.session import Session

__version__ = "0.1.0"
__all__ = [
    "HookedTransformerLIT",
    "HookedTransformerLITConfig",
    "Session",
    "analyze",
    "draw",
    "serve",
    "widget",
]

_HOMES = {
    "HookedTransformerLIT": "lit_tl.lit.model",
    "HookedTransformerLITConfig": "lit_tl.lit.config",
    "Session": "lit_tl.session.session",
    "analyze": "lit_tl.notebook",
    "draw": "lit_tl.notebook",
    "serve": "lit_tl.notebook",
    "widget": "lit_tl.notebook",
}


def __getattr__(name: str) -> Any:
    """Public names load their modules when they are first used, so that `--help` does not wait for
    torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lit_tl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
