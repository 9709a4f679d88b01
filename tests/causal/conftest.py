"""Tiny models with random weights, and pairs of prompts that they read."""

import pathlib
from typing import Any

import pytest
import torch
import transformers

from lit_tl import HookedTransformerLIT
from lit_tl.causal.model import CausalModel
from lit_tl.causal.pairs import PromptPair
from lit_tl.engine.runner import Runner
from lit_tl.models.loading import load_model
from tests.conftest import BUNDLED

FAMILIES = ("gpt2", "gpt_neox", "llama", "gemma2", "mistral", "bundled")
"""The Llama and the Mistral have two query heads for each key-value head; the Mistral sees
the last five positions alone."""
SAME_LENGTH = PromptPair(
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Mary gave a drink to",
    " Mary",
    " John",
)
OTHER_LENGTH = PromptPair(
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the big old store, Mary gave a drink to",
    " Mary",
    " John",
)


@pytest.fixture(scope="session")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model whose attention reaches five positions back."""
    torch.manual_seed(3)
    config = transformers.MistralConfig(
        vocab_size=2048,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        sliding_window=5,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    folder = pathlib.Path(tmp_path_factory.mktemp("mistral"))
    transformers.MistralForCausalLM(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(BUNDLED).save_pretrained(folder)
    return load_model(str(folder))


@pytest.fixture(params=FAMILIES)
def runner(
    request: pytest.FixtureRequest,
    models: dict[str, HookedTransformerLIT],
    bundled: HookedTransformerLIT,
    mistral: Any,
) -> Runner:
    """Of each family."""
    if request.param == "mistral":
        return Runner(mistral)
    return Runner((bundled if request.param == "bundled" else models[request.param]).model)


@pytest.fixture
def model(runner: Runner) -> CausalModel:
    """Of each family."""
    return CausalModel.of(runner)
