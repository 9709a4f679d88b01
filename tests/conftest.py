"""Real small models for all tests. Shapes in signatures are checked at run time here, and only
here."""

import os
import pathlib
import tempfile
from typing import Any

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="lit_tl-data-")  # sessions are kept there

# Before the hook: whatever is imported while a hooked module is, Python compiles anew.
import lit_nlp.api.model  # noqa: F401
import torch
import transformer_lens.model_bridge
import transformer_lens.tools.analysis  # noqa: F401
import transformers
import xarray  # noqa: F401

import datasets  # noqa: F401

hook = install_import_hook(
    [
        "lit_tl.engine",
        "lit_tl.lens",
        "lit_tl.salience",
        "lit_tl.causal.attention_patterns",
        "lit_tl.causal.final_norm",
    ],
    "beartype.beartype",
)

from lit_tl.engine import runner  # noqa: E402
from lit_tl.lit.model import HookedTransformerLIT  # noqa: E402
from lit_tl.models.errors import BUNDLED_MODELS  # noqa: E402
from lit_tl.models.loading import load_model  # noqa: E402

BUNDLED = BUNDLED_MODELS["lit-tl-tiny"]
TOGETHER = {
    "tests/browser/": "browser",
    "tests/lit/test_projectors.py": "projectors",
    "tests/server/test_bounds.py": "bounds",
    "tests/server/test_browsing.py": "browsing",
    "tests/precompute/test_faults.py": "faults",
    "tests/server/test_jobs.py": "jobs",
    "tests/server/test_recipes.py": "recipes",
    "tests/server/test_attacks.py": "attacks",
    "tests/server/test_loading.py": "attacks",
    "tests/server/test_page_access.py": "attacks",
    "tests/server/test_token.py": "attacks",
}
"""Tests that share what is dear to make, servers or what numba compiles, run in one process."""


@pytest.hookimpl(optionalhook=True)  # one environment has no xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives out tests one by one, those of `TOGETHER` in one piece. (pytest-xdist's own groups do
    nothing with pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            shared = (name for start, name in TOGETHER.items() if nodeid.startswith(start))
            return next(shared, nodeid)

    return Scheduling(config, log)


FAMILIES = ("gpt2", "gpt_neox", "llama", "gemma2")
_SHAPE = {"vocab_size": 2048, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
_ROPE_SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}


def _config(family: str) -> transformers.PretrainedConfig:
    if family == "gpt2":
        return transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.2, **_SHAPE
        )
    if family == "gpt_neox":
        return transformers.GPTNeoXConfig(initializer_range=0.2, **_ROPE_SHAPE, **_SHAPE)
    if family == "llama":
        return transformers.LlamaConfig(
            num_key_value_heads=2, initializer_range=0.2, **_ROPE_SHAPE, **_SHAPE
        )
    return transformers.Gemma2Config(
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        final_logit_softcapping=3.0,
        initializer_range=0.2,
        **_ROPE_SHAPE,
        **_SHAPE,
    )


@pytest.fixture(scope="session")
def checkpoint_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Local folders with a tiny random-weight model of each family and the bundled tokenizer."""
    folders = {}
    for family in FAMILIES:
        torch.manual_seed(sum(map(ord, family)))
        model = transformers.AutoModelForCausalLM.from_config(_config(family))
        folders[family] = tmp_path_factory.mktemp("checkpoints") / family
        model.save_pretrained(folders[family])
        transformers.AutoTokenizer.from_pretrained(BUNDLED).save_pretrained(folders[family])
    return folders


@pytest.fixture(scope="session")
def models(checkpoint_folders: dict[str, pathlib.Path]) -> dict[str, HookedTransformerLIT]:
    """The families wrapped for LIT."""
    return {
        family: HookedTransformerLIT.from_pretrained(str(folder))
        for family, folder in checkpoint_folders.items()
    }


@pytest.fixture(scope="session")
def bundled_model() -> object:
    """The shipped model as TransformerLens gives it."""
    return load_model("lit-tl-tiny")


@pytest.fixture(scope="session")
def bundled(bundled_model: object) -> HookedTransformerLIT:
    """The shipped model wrapped for LIT."""
    return HookedTransformerLIT(bundled_model)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts each pass of a model has, as long as the test runs."""
    counted: list[int] = []
    run = runner.run_once

    def count(tree: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        counted.append(len(batch.prompts))
        return run(tree, batch, *args, **kwargs)

    monkeypatch.setattr(runner, "run_once", count)
    return counted
