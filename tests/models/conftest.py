"""Both ways to load a model."""

import os
import subprocess
import sys
from typing import Any, Callable

import pytest
import torch

from lit_tl.models.causal_lm import load_causal_lm
from lit_tl.models.loading import load_model

LOADERS: dict[str, Callable[..., Any]] = {
    "TransformerLens": load_model,
    "Hugging Face": lambda name: load_causal_lm(name, device="cpu"),
}


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        output = model(torch.arange(40, 60)[None])
    return getattr(output, "logits", output)


@pytest.fixture
def run_python() -> Callable[..., None]:
    """Runs a program in a process of its own, with further variables in its environment."""

    def run(program: str, *arguments: str, **environment: str) -> None:
        ended = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **environment},
            check=False,
        )
        assert ended.returncode == 0, ended.stderr

    return run
